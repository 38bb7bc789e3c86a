/* Load for the relay benchmark: one process, one thread, that plays the phones of many calls.

       rtp_load SECONDS ADDRESS LOCAL>REMOTE ...

   Each further argument is a phone: its own port, and the port of the relay that faces it, both at ADDRESS. Every phone sends a G.711
   packet (172 bytes) each 20 ms, all of them spread evenly over the 20 ms, after a second of warming up that does not
   count. Says "go", "end" and one line of JSON: sent, received, delay in milliseconds, processor seconds of its own.

   It never waits for packets: it wakes when the next phones have to speak and takes what has come by then. So the
   relay is not charged for waking somebody, as it would not be with phones behind a network. The delay is that of the
   relay alone: from just before a packet is sent until the kernel has put the answer into the phone's socket
   (SO_TIMESTAMPNS), however late we look there. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD 20000000LL /* nanoseconds */
#define SLICES 40         /* bursts a period: each phone keeps its place in the 20 ms */
#define WARM 50           /* periods */
#define PACKET 172        /* bytes: 12 of RTP and 160 of sound, which is 20 ms */
#define EVENTS 1024
#define BUCKETS 200000    /* of 10 us: up to 2 s */
#define LATE 1000         /* milliseconds to wait for the last packets */

static int64_t clock_now(clockid_t which) {
    struct timespec time;
    clock_gettime(which, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static double processor_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what) {
    fprintf(stderr, "rtp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int phone(struct sockaddr_in address, unsigned local, unsigned remote) {
    int opened = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = 1 << 18, yes = 1;
    if (opened < 0)
        fail("socket");
    setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(opened, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    address.sin_port = htons(local);
    if (bind(opened, (struct sockaddr *)&address, sizeof address))
        fail("bind");
    address.sin_port = htons(remote);
    if (connect(opened, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    return opened;
}

static uint32_t delays[BUCKETS];
static long sent, received, timed;

/* Takes what has come; gives how many packets that were. */
static int take(int poll, int patience) {
    static struct epoll_event events[EVENTS];
    int found = epoll_wait(poll, events, EVENTS, patience);
    for (int i = 0; i < found; i++) {
        unsigned char packet[2048];
        union { char bytes[128]; struct cmsghdr aligned; } control;
        struct iovec where = {packet, sizeof packet};
        struct msghdr message = {.msg_iov = &where, .msg_iovlen = 1, .msg_control = &control,
                                 .msg_controllen = sizeof control};
        int64_t stamp;
        if (recvmsg(events[i].data.fd, &message, 0) != PACKET || (packet[1] & 0x7f) != 8)
            continue;
        memcpy(&stamp, packet + 12, sizeof stamp); /* when it was sent; 0 while warming up */
        if (!stamp)
            continue;
        received++;
        struct cmsghdr *each = CMSG_FIRSTHDR(&message);
        for (; each; each = CMSG_NXTHDR(&message, each)) {
            if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPNS)
                continue;
            struct timespec time;
            memcpy(&time, CMSG_DATA(each), sizeof time);
            int64_t bucket = (time.tv_sec * 1000000000LL + time.tv_nsec - stamp) / 10000;
            delays[bucket < 0 ? 0 : bucket < BUCKETS ? bucket : BUCKETS - 1]++;
            timed++;
        }
    }
    return found > 0 ? found : 0;
}

static double delay(double share) { /* milliseconds that so many of the packets needed at most */
    long wanted = (long)(timed * share), seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        if ((seen += delays[bucket]) > wanted)
            return (bucket + 1) / 100.0;
    return BUCKETS / 100.0; /* nothing has come */
}

int main(int count, char **words) {
    int phones = count - 3, poll = epoll_create1(EPOLL_CLOEXEC);
    double seconds = count > 3 ? atof(words[1]) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int *sockets = calloc(phones > 0 ? phones : 1, sizeof *sockets);
    if (phones < 1 || seconds <= 0 || poll < 0 || !sockets || !inet_aton(words[2], &address.sin_addr))
        return fprintf(stderr, "usage: rtp_load SECONDS ADDRESS LOCAL>REMOTE ...\n"), 2;
    for (int i = 0; i < phones; i++) {
        unsigned local, remote;
        if (sscanf(words[i + 3], "%u>%u", &local, &remote) != 2)
            return fprintf(stderr, "rtp_load: not LOCAL>REMOTE: %s\n", words[i + 3]), 2;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sockets[i] = phone(address, local, remote)};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i], &event))
            fail("epoll_ctl");
    }
    unsigned char packet[PACKET] = {0x80, 8};
    int turns = WARM + (int)(seconds * 1e9 / PERIOD);
    int64_t start = clock_now(CLOCK_MONOTONIC) + 50000000LL;
    double before = 0;
    for (int turn = 0; turn < turns; turn++) {
        uint16_t sequence = htons((uint16_t)turn);
        uint32_t timestamp = htonl((uint32_t)turn * 160);
        if (turn == WARM) {
            before = processor_seconds();
            puts("go"), fflush(stdout);
        }
        for (int slice = 0; slice < SLICES; slice++) {
            int64_t due = start + turn * PERIOD + slice * PERIOD / SLICES;
            struct timespec until = {due / 1000000000LL, due % 1000000000LL};
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
                continue;
            memcpy(packet + 2, &sequence, sizeof sequence);
            memcpy(packet + 4, &timestamp, sizeof timestamp);
            for (int i = slice; i < phones; i += SLICES) {
                uint32_t ssrc = htonl(i + 1);
                int64_t stamp = turn < WARM ? 0 : clock_now(CLOCK_REALTIME);
                memcpy(packet + 8, &ssrc, sizeof ssrc);
                memcpy(packet + 12, &stamp, sizeof stamp);
                if (send(sockets[i], packet, PACKET, 0) == PACKET || turn >= WARM)
                    sent += turn >= WARM;
            }
            take(poll, 0);
        }
    }
    double used = processor_seconds() - before;
    puts("end"), fflush(stdout);
    while (received < sent && take(poll, LATE))
        continue;
    printf("{\"sent\": %ld, \"received\": %ld, \"cpu\": %.6f, \"median_ms\": %.2f, \"p99_ms\": %.2f}\n", sent, received, used,
           delay(0.5), delay(0.99));
    return 0;
}
