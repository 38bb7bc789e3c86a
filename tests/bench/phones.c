/* Many phones in one cheap process: what tests/support/loadgen.py plays, at a fraction of its processor time.

       cc -O2 -o phones phones.c -lm
       ./phones HOST PORT DOMAIN FIRST COUNT PASSWORD SOCKETS        PASSWORD may hold {number}

   Reads phases as lines from standard input, "register window=200 seconds=60", and answers each with one line of JSON:

       register     REGISTER, 401, REGISTER with digest, 200: what a phone does after a power cut
       refresh      the kept nonce with nc counted up: one round trip
       unregister   the same with Expires: 0
       echo         of a server that only echoes: two round trips, no digest
       window=N     so many registrations are under way at once (closed loop), or
       rate=N       so many begin each second whatever the server does (open loop, at random instants that are the same
                    in every run); latencies then count from the planned instant, not from when we came to it
       requests=N   so many in all, the phones in turn; without it each phone once
       seconds=N    after which it ends whatever is under way

   Each phone behaves: T1 retransmissions and Timer F (RFC 3261 17.1.2), one answer to each challenge, stale=true and
   Retry-After obeyed; a 200 counts only when it lists the phone's own Contact. Answers are read as strangers' bytes:
   none, however odd, does more than fail one registration.

   The phones are spread over many sockets, because a server of several processes is given its datagrams by a hash of
   the source port. One process, no threads: a registration costs it less than the kernel takes to carry it. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define T1 0.5 /* seconds */
#define T2 4.0
#define TIMER_F (64 * T1)
#define LOOK 0.05          /* seconds between two looks at who has to repeat its request */
#define MOST_CHALLENGES 4  /* of one registration: a server that says stale=true for ever is a failure */
#define LONGEST_WAIT 60    /* seconds of Retry-After that are obeyed */
#define GATHER 250000      /* nanoseconds that answers may gather where no delay is measured, as in a network card: else
                              the server would pay for waking this process with nearly every answer */
#define AT_ONCE 32         /* datagrams read by one call */
#define DATAGRAM 4096      /* bytes; a longer answer is cut, and fails what it answers */
#define REQUEST 2048
#define NAME 256           /* bytes of a nonce, realm or opaque; a longer one fails its registration */
#define MOST_SOCKETS 1024

enum state { IDLE, UNDER_WAY, WAITING };

struct phone {
    enum state state;
    unsigned place_in_list; /* of those under way, or of those waiting for their Retry-After */
    unsigned cseq, nc, challenges;
    int echoed, has_ha1;
    double begun;     /* of the whole registration, or its planned instant */
    double sent;      /* the first sending of the request under way */
    double again;     /* when to repeat it, or when the Retry-After is over */
    double interval;
    char ha1[33];
    char nonce[NAME];
};

struct list { unsigned *places, length; };

static struct phone *phones;
static struct list under_way, waiting;
static unsigned first_number, count, sockets;
static const char *domain, *password;
static int descriptors[MOST_SOCKETS];
static char contacts[MOST_SOCKETS][64]; /* host and port of each socket */
static char ha2[33], realm[NAME], opaque[NAME];
static int with_qop;

/* One phase. */
static enum { REGISTER, REFRESH, UNREGISTER, ECHO } phase;
static const char *const phase_names[] = {"register", "refresh", "unregister", "echo"};
static unsigned long asked, confirmed, most, retransmissions, refused, answers[1000];
enum { CHALLENGE, TIMEOUT, NO_CONTACT, NO_RETRY_AFTER, ODD, STALE_FOR_EVER, BUSY, UNFINISHED, OTHERS };
static const char *const other_names[] = {
    "challenge", "timeout", "200 without the Contact", "503 without Retry-After", "401 without a usable challenge",
    "stale for ever", "the phone was still busy", "unfinished"};
static unsigned long others[OTHERS];
static unsigned *numbers;     /* of the confirmed */
static uint32_t *latencies;   /* of the confirmed, microseconds */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void *zeros(size_t number, size_t size) {
    void *made = calloc(number ? number : 1, size);
    if (!made) { fputs("out of memory\n", stderr); exit(1); }
    return made;
}

/* --- MD5, as RFC 1321 3 tells it --------------------------------------------------------------------------- */

static uint32_t sines[64];
static const int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static void md5_block(uint32_t state[4], const unsigned char *block) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], words[16];
    memcpy(words, block, 64); /* little-endian, as the machines are that run this */
    for (int i = 0; i < 64; i++) {
        uint32_t f;
        int word;
        switch (i / 16) {
        case 0: f = (b & c) | (~b & d); word = i; break;
        case 1: f = (d & b) | (~d & c); word = (5 * i + 1) % 16; break;
        case 2: f = b ^ c ^ d; word = (3 * i + 5) % 16; break;
        default: f = c ^ (b | ~d); word = 7 * i % 16;
        }
        uint32_t sum = a + f + sines[i] + words[word];
        int turn = turns[i / 16][i % 4];
        a = d; d = c; c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
}

/* The MD5 of `length` bytes as 32 hexadecimal digits and a zero. */
static void md5(const char *text, size_t length, char hex[33]) {
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    unsigned char last[128] = {0};
    size_t whole = length / 64 * 64, rest = length - whole, end = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)length * 8;
    for (size_t at = 0; at < whole; at += 64) md5_block(state, (const unsigned char *)text + at);
    memcpy(last, text + whole, rest);
    last[rest] = 0x80;
    memcpy(last + end - 8, &bits, 8);
    for (size_t at = 0; at < end; at += 64) md5_block(state, last + at);
    for (int i = 0; i < 16; i++) {
        unsigned byte = state[i / 4] >> 8 * (i % 4) & 255;
        hex[2 * i] = "0123456789abcdef"[byte >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[byte & 15];
    }
    hex[32] = 0;
}

/* --- text ------------------------------------------------------------------------------------------------- */

static char *put(char *at, const char *text) { return stpcpy(at, text); }

static char *put_number(char *at, unsigned long value) {
    char digits[24];
    int length = 0;
    do digits[length++] = '0' + value % 10; while (value /= 10);
    while (length) *at++ = digits[--length];
    *at = 0;
    return at;
}

static char *put_hex8(char *at, unsigned value) {
    for (int shift = 28; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[value >> shift & 15];
    *at = 0;
    return at;
}

/* --- requests --------------------------------------------------------------------------------------------- */

static void make_ha1(struct phone *one, unsigned number) {
    char text[1024], *at = text;
    at = put_number(at, number);
    at = put(put(put(at, ":"), realm), ":");
    const char *mark = strstr(password, "{number}");
    if (mark) {
        memcpy(at, password, mark - password);
        at = put(put_number(at + (mark - password), number), mark + 8);
    } else {
        at = put(at, password);
    }
    md5(text, at - text, one->ha1);
    one->has_ha1 = 1;
}

/* The request of a phone as its CSeq, nonce and nc stand: the same bytes each time, for the repetition. */
static size_t compose(unsigned place, char *text) {
    struct phone *one = &phones[place];
    unsigned number = first_number + place;
    const char *contact = contacts[place % sockets];
    char *at = text;
    at = put(put(put(at, "REGISTER sip:"), domain), " SIP/2.0\r\nVia: SIP/2.0/UDP ");
    at = put_number(put(put(at, contact), ";rport;branch=z9hG4bK."), place);
    at = put_number(put(at, "."), one->cseq);
    at = put_number(put(at, "\r\nMax-Forwards: 70\r\nFrom: <sip:"), number);
    at = put_number(put(put(put(at, "@"), domain), ">;tag=t"), place);
    at = put_number(put(at, "\r\nTo: <sip:"), number);
    at = put_number(put(put(put(at, "@"), domain), ">\r\nCall-ID: load-"), number);
    at = put_number(put(put(put(at, "@"), contact), "\r\nUser-Agent: load/1\r\nCSeq: "), one->cseq);
    at = put_number(put(at, " REGISTER\r\nContact: <sip:"), number);
    at = put(put(put(at, "@"), contact), ">\r\nExpires: ");
    at = put(at, phase == UNREGISTER ? "0\r\n" : "3600\r\n");
    if (one->nonce[0]) {
        char hashed[1024], *end = hashed, count_text[9], response[33];
        put_hex8(count_text, one->nc);
        if (!one->has_ha1) make_ha1(one, number);
        end = put(put(put(end, one->ha1), ":"), one->nonce);
        if (with_qop) end = put(put(put(end, ":"), count_text), ":5f3a:auth");
        end = put(put(end, ":"), ha2);
        md5(hashed, end - hashed, response);
        at = put_number(put(at, "Authorization: Digest username=\""), number);
        at = put(put(at, "\", realm=\""), realm);
        at = put(put(at, "\", nonce=\""), one->nonce);
        at = put(put(at, "\", uri=\"sip:"), domain);
        at = put(put(put(at, "\", response=\""), response), "\", algorithm=MD5");
        if (with_qop) at = put(put(at, ", cnonce=\"5f3a\", qop=auth, nc="), count_text);
        if (opaque[0]) at = put(put(put(at, ", opaque=\""), opaque), "\"");
        at = put(at, "\r\n");
    }
    return put(at, "Content-Length: 0\r\n\r\n") - text;
}

static void enter(struct list *list, unsigned place, enum state state) {
    phones[place].state = state;
    phones[place].place_in_list = list->length;
    list->places[list->length++] = place;
}

static void leave(struct list *list, unsigned place) {
    unsigned hole = phones[place].place_in_list, last = list->places[--list->length];
    list->places[hole] = last;
    phones[last].place_in_list = hole;
    phones[place].state = IDLE;
}

static void transmit(unsigned place) {
    char text[REQUEST + 3 * NAME];
    size_t length = compose(place, text);
    if (send(descriptors[place % sockets], text, length, 0) < 0) refused++; /* Timer E goes on */
}

/* A new request of a phone that is idle. */
static void ask(unsigned place, double begun) {
    struct phone *one = &phones[place];
    double time = now();
    one->cseq++;
    if (one->nonce[0]) one->nc++;
    one->begun = begun ? begun : time;
    one->sent = time;
    one->interval = T1;
    one->again = time + T1;
    enter(&under_way, place, UNDER_WAY);
    transmit(place);
}

static void begin(unsigned place, double planned) {
    struct phone *one = &phones[place];
    asked++;
    if (one->state != IDLE) { others[BUSY]++; return; }
    one->challenges = 0;
    one->echoed = 0;
    if (phase == REGISTER || phase == ECHO) one->nonce[0] = 0, one->nc = 0;
    ask(place, planned);
}

static void confirm(unsigned place, double time) {
    if (confirmed == most) return;
    double waited = (time - phones[place].begun) * 1e6;
    numbers[confirmed] = first_number + place;
    latencies[confirmed++] = waited < 4e9 ? waited : 4e9;
}

/* --- answers ---------------------------------------------------------------------------------------------- */

/* A number at `at`, at most nine digits; -1 where there is none. `*after` is what follows. */
static long read_number(const char *at, const char **after) {
    long value = 0;
    int digits = 0;
    while (*at >= '0' && *at <= '9' && digits < 9) value = value * 10 + *at++ - '0', digits++;
    *after = at;
    return digits && !(*at >= '0' && *at <= '9') ? value : -1;
}

/* The value of `name="..."` in one line, at most NAME - 1 bytes; 0 where there is none or it is too long. */
static int read_quoted(const char *line, const char *end, const char *name, char value[NAME]) {
    size_t length = strlen(name);
    for (const char *at = line; at + length + 2 < end; at++) {
        if (strncasecmp(at, name, length) || at[length] != '=' || at[length + 1] != '"') continue;
        if (at > line && at[-1] != ' ' && at[-1] != ',' && at[-1] != '\t') continue;
        const char *from = at + length + 2, *to = memchr(from, '"', end - from);
        if (!to || to - from >= NAME) return 0;
        memcpy(value, from, to - from);
        value[to - from] = 0;
        return 1;
    }
    return 0;
}

/* The value of a header of that name from `*after` on, as line and end; `*after` moves behind it. */
static const char *header(const char **after, const char *name, const char **end) {
    size_t length = strlen(name);
    const char *at = *after;
    while ((at = strstr(at, "\r\n")) != NULL) {
        at += 2;
        if (!strncmp(at, "\r\n", 2)) return NULL;
        if (strncasecmp(at, name, length)) continue;
        const char *value = at + length;
        while (*value == ' ' || *value == '\t') value++;
        if (*value++ != ':') continue;
        while (*value == ' ' || *value == '\t') value++;
        const char *line_end = strstr(value, "\r\n");
        *end = *after = line_end ? line_end : value + strlen(value);
        return value;
    }
    return NULL;
}

/* Takes nonce and realm of the first challenge that we can answer. */
static int learn(struct phone *one, const char *text) {
    const char *line, *end, *after = text;
    while ((line = header(&after, "WWW-Authenticate", &end)) != NULL) {
        char said[NAME], nonce[NAME];
        if (strncasecmp(line, "Digest ", 7)) continue;
        const char *algorithm = strcasestr(line, "algorithm=");
        if (algorithm && algorithm < end) {
            algorithm += 10;
            if (*algorithm == '"') algorithm++;
            if (strncasecmp(algorithm, "MD5", 3) || algorithm[3] == '-') continue;
        }
        if (!read_quoted(line, end, "realm", said) || !read_quoted(line, end, "nonce", nonce) || !nonce[0]) continue;
        if (strcmp(said, realm)) {
            strcpy(realm, said);
            for (unsigned place = 0; place < count; place++) phones[place].has_ha1 = 0;
        }
        const char *qop = strcasestr(line, "qop=");
        with_qop = qop && qop < end;
        if (!read_quoted(line, end, "opaque", opaque)) opaque[0] = 0;
        strcpy(one->nonce, nonce);
        one->nc = 0;
        return 1;
    }
    return 0;
}

static int is_stale(const char *text) {
    const char *stale = strcasestr(text, "stale=");
    return stale && (!strncasecmp(stale + 6, "true", 4) || !strncasecmp(stale + 6, "\"true", 5));
}

static int lists_contact(unsigned place, const char *text) {
    char wanted[128], *end = put(put_number(put(wanted, "sip:"), first_number + place), "@");
    end = put(end, contacts[place % sockets]);
    const char *found = strstr(text, wanted);
    return found && !(found[end - wanted] >= '0' && found[end - wanted] <= '9');
}

/* One answer, ended with a zero. */
static void take(const char *text) {
    const char *after, *mark = strstr(text, "branch=z9hG4bK.");
    if (!mark || (phase != ECHO && strncmp(text, "SIP/2.0 ", 8))) return;
    long place = read_number(mark + 15, &after);
    if (place < 0 || place >= count || *after != '.') return;
    struct phone *one = &phones[place];
    if (one->state != UNDER_WAY || read_number(after + 1, &after) != one->cseq) return; /* the double of one seen */
    double time = now();
    if (phase == ECHO) {
        leave(&under_way, place);
        if (one->echoed) confirm(place, time);
        else one->echoed = 1, ask(place, one->begun);
        return;
    }
    long status = read_number(text + 8, &after);
    if (status < 200 || status > 699) return; /* 1xx, or none */
    leave(&under_way, place);
    if (status == 200) {
        if (phase != UNREGISTER && !lists_contact(place, text)) { others[NO_CONTACT]++; return; }
        answers[200]++;
        confirm(place, time);
    } else if (status == 401 && (!one->nonce[0] || is_stale(text))) {
        if (++one->challenges > MOST_CHALLENGES) { others[STALE_FOR_EVER]++; return; }
        if (!learn(one, text)) { others[ODD]++; return; }
        others[CHALLENGE]++;
        ask(place, one->begun);
    } else if (status == 503) {
        const char *from = text, *end, *value = header(&from, "Retry-After", &end);
        long wait = value ? read_number(value, &after) : -1;
        answers[503]++;
        if (wait < 0) others[NO_RETRY_AFTER]++, wait = 1;
        one->again = time + (wait < LONGEST_WAIT ? wait : LONGEST_WAIT);
        enter(&waiting, place, WAITING);
    } else {
        answers[status]++;
    }
}

static void receive(int descriptor) {
    static char buffers[AT_ONCE][DATAGRAM + 1];
    struct mmsghdr messages[AT_ONCE];
    struct iovec parts[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        parts[i] = (struct iovec){buffers[i], DATAGRAM};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    int got = recvmmsg(descriptor, messages, AT_ONCE, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) { /* -1: none, or an ICMP error of an earlier request */
        buffers[i][messages[i].msg_len] = 0;
        take(buffers[i]);
    }
}

/* Repeats what was not answered, ends what was not answered for too long, and goes on after a Retry-After. */
static void look(double time) {
    for (unsigned i = 0; i < under_way.length;) {
        unsigned place = under_way.places[i];
        struct phone *one = &phones[place];
        if (time - one->sent > TIMER_F) {
            others[TIMEOUT]++;
            leave(&under_way, place); /* the last comes to this place of the list */
            continue;
        }
        if (time > one->again) {
            one->interval = one->interval * 2 < T2 ? one->interval * 2 : T2;
            one->again = time + one->interval;
            retransmissions++;
            transmit(place);
        }
        i++;
    }
    for (unsigned i = 0; i < waiting.length;) {
        unsigned place = waiting.places[i];
        if (time < phones[place].again) { i++; continue; }
        leave(&waiting, place);
        ask(place, phones[place].begun);
    }
}

/* --- a phase ---------------------------------------------------------------------------------------------- */

static uint64_t dice = 1;

/* An exponentially distributed time with the mean 1. */
static double gap(void) {
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return -log(((dice >> 11) + 1) / 9007199254740993.0);
}

static void report(double started, double ended, double processor, double behind) {
    const char *comma = "";
    printf("{\"kind\": \"report\", \"phase\": \"%s\", \"asked\": %lu, \"answers\": {", phase_names[phase], asked);
    for (int status = 200; status < 700; status++) {
        if (answers[status]) printf("%s\"%d\": %lu", comma, status, answers[status]), comma = ", ";
    }
    for (int i = 0; i < OTHERS; i++) {
        if (others[i]) printf("%s\"%s\": %lu", comma, other_names[i], others[i]), comma = ", ";
    }
    printf("}, \"retransmissions\": %lu, \"unsent\": %lu, \"started\": %.6f, \"ended\": %.6f, \"own_cpu\": %.6f, "
           "\"behind\": %.6f, \"confirmed\": [", retransmissions, refused, started, ended, processor, behind);
    for (unsigned long i = 0; i < confirmed; i++) printf("%s%u", i ? "," : "", numbers[i]);
    printf("], \"latencies_us\": [");
    for (unsigned long i = 0; i < confirmed; i++) printf("%s%u", i ? "," : "", latencies[i]);
    printf("]}\n");
    fflush(stdout);
}

static void play(int poll, int timer, unsigned window, double rate, double seconds) {
    asked = confirmed = retransmissions = refused = 0;
    memset(answers, 0, sizeof answers);
    memset(others, 0, sizeof others);
    numbers = zeros(most, sizeof *numbers);
    latencies = zeros(most, sizeof *latencies);
    dice = 1;
    double processor = processor_seconds(), started = now(), end = started + seconds, looked = started, behind = 0;
    double planned = started;
    unsigned place = 0;
    struct epoll_event events[64];
    for (;;) {
        double time = now();
        if (time > end || (asked == most && !under_way.length && !waiting.length)) break;
        if (rate) {
            for (; asked < most && planned <= time; planned += gap() / rate) {
                if (time - planned > behind) behind = time - planned;
                begin(place++ % count, planned);
            }
            if (asked < most) {
                long wait = (planned - now()) * 1e9;
                struct itimerspec at = {.it_value = {wait / 1000000000, wait % 1000000000}};
                if (wait < 1000) at.it_value = (struct timespec){0, 1000};
                timerfd_settime(timer, 0, &at, NULL);
            }
        } else {
            while (asked < most && under_way.length < window) begin(place++ % count, 0);
        }
        int ready = epoll_wait(poll, events, 64, 20);
        if (!rate && ready) {
            nanosleep(&(struct timespec){0, GATHER}, NULL);
            ready = epoll_wait(poll, events, 64, 0);
        }
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != timer) receive(events[i].data.fd);
            else if (read(timer, &(uint64_t){0}, 8) < 0) continue; /* it had already rung */
        }
        if ((time = now()) - looked > LOOK) look(looked = time);
    }
    double ended = now();
    others[UNFINISHED] = under_way.length + waiting.length;
    while (under_way.length) leave(&under_way, under_way.places[0]);
    while (waiting.length) leave(&waiting, waiting.places[0]);
    report(started, ended, processor_seconds() - processor, behind);
    free(numbers);
    free(latencies);
}

static void open_sockets(const char *host, unsigned port, int poll) {
    struct sockaddr_storage server = {0};
    struct sockaddr_in *four = (void *)&server;
    struct sockaddr_in6 *six = (void *)&server;
    int family = strchr(host, ':') ? AF_INET6 : AF_INET, room = 4 << 20;
    socklen_t length = family == AF_INET ? sizeof *four : sizeof *six;
    if (family == AF_INET) four->sin_family = AF_INET, four->sin_port = htons(port);
    else six->sin6_family = AF_INET6, six->sin6_port = htons(port);
    if (inet_pton(family, host, family == AF_INET ? (void *)&four->sin_addr : (void *)&six->sin6_addr) != 1) {
        fprintf(stderr, "%s is no address\n", host);
        exit(2);
    }
    for (unsigned i = 0; i < sockets; i++) {
        struct sockaddr_storage own;
        socklen_t own_length = sizeof own;
        char text[INET6_ADDRSTRLEN];
        int one = descriptors[i] = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (one < 0 || connect(one, (void *)&server, length) || getsockname(one, (void *)&own, &own_length)) {
            perror("socket");
            exit(1);
        }
        setsockopt(one, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        if (family == AF_INET) {
            inet_ntop(family, &((struct sockaddr_in *)&own)->sin_addr, text, sizeof text);
            snprintf(contacts[i], sizeof contacts[i], "%s:%d", text, ntohs(((struct sockaddr_in *)&own)->sin_port));
        } else {
            inet_ntop(family, &((struct sockaddr_in6 *)&own)->sin6_addr, text, sizeof text);
            snprintf(contacts[i], sizeof contacts[i], "[%s]:%d", text, ntohs(((struct sockaddr_in6 *)&own)->sin6_port));
        }
        struct epoll_event event = {.events = EPOLLIN, .data.fd = one};
        epoll_ctl(poll, EPOLL_CTL_ADD, one, &event);
    }
}

static double option(const char *line, const char *name, double otherwise) {
    const char *found = strstr(line, name);
    return found ? atof(found + strlen(name)) : otherwise;
}

int main(int argc, char **argv) {
    if (argc != 8 || strlen(argv[3]) > 128 || strlen(argv[6]) > 128) {
        fputs("usage: phones HOST PORT DOMAIN FIRST COUNT PASSWORD SOCKETS\n", stderr);
        return 2;
    }
    domain = argv[3], password = argv[6];
    first_number = strtoul(argv[4], NULL, 10), count = strtoul(argv[5], NULL, 10), sockets = strtoul(argv[7], NULL, 10);
    if (!count || count > 10000000 || !sockets || sockets > MOST_SOCKETS) {
        fprintf(stderr, "1 to 10000000 phones on 1 to %d sockets\n", MOST_SOCKETS);
        return 2;
    }
    for (int i = 0; i < 64; i++) sines[i] = (uint32_t)(int64_t)(fabs(sin(i + 1)) * 4294967296.0);
    phones = zeros(count, sizeof *phones);
    under_way.places = zeros(count, sizeof(unsigned));
    waiting.places = zeros(count, sizeof(unsigned));
    char text[256];
    md5(text, snprintf(text, sizeof text, "REGISTER:sip:%s", domain), ha2);
    int poll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = timer};
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event);
    open_sockets(argv[1], strtoul(argv[2], NULL, 10), poll);
    puts("{\"kind\": \"ready\"}");
    fflush(stdout);
    char line[512];
    while (fgets(line, sizeof line, stdin)) {
        int known = -1;
        for (int i = 0; i < 4; i++) {
            if (!strncmp(line, phase_names[i], strlen(phase_names[i]))) known = i;
        }
        if (known < 0) { fprintf(stderr, "no phase: %s", line); return 2; }
        phase = known;
        most = option(line, " requests=", count);
        play(poll, timer, option(line, " window=", 200), option(line, " rate=", 0), option(line, " seconds=", 120));
    }
    return 0;
}
