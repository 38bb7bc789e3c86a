/* The floor: a registrar that knows nothing. A REGISTER without Authorization gets a fixed 401, one with it a 200.

       cc -O2 -o echo echo.c
       ./echo PORT            prints "listening" and runs until a signal

   It copies what an answer must repeat of the request (RFC 3261 8.2.6.2) and the Contact, checks no password and keeps
   nothing: what is left is the kernel carrying four datagrams. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define AT_ONCE 32
#define DATAGRAM 4096

static const char *const copied[] = {"Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"};

static char *answer(const char *text, char *at) {
    int proven = strstr(text, "\r\nAuthorization:") != NULL;
    at = stpcpy(at, proven ? "SIP/2.0 200 OK\r\n" : "SIP/2.0 401 Unauthorized\r\n");
    for (const char *line = strstr(text, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        const char *end = strstr(line + 2, "\r\n");
        for (int i = 0; end && i < 5 + proven; i++) {
            if (strncmp(line + 2, copied[i], strlen(copied[i]))) continue;
            at = mempcpy(at, line + 2, end - line - 2);
            at = stpcpy(at, i == 2 ? ";tag=floor\r\n" : "\r\n");
        }
    }
    if (!proven) {
        at = stpcpy(at, "WWW-Authenticate: Digest realm=\"floor.test\", nonce=\"0123456789abcdef0123456789abcdef\", "
                        "algorithm=MD5, qop=\"auth\"\r\n");
    }
    return stpcpy(at, "Content-Length: 0\r\n\r\n");
}

int main(int argc, char **argv) {
    static char texts[AT_ONCE][DATAGRAM + 1], answers[AT_ONCE][2 * DATAGRAM];
    struct sockaddr_in peers[AT_ONCE], own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct mmsghdr messages[AT_ONCE] = {0};
    struct iovec parts[AT_ONCE];
    int opened = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
    own.sin_port = htons(argc == 2 ? atoi(argv[1]) : 0);
    if (argc != 2 || opened < 0 || bind(opened, (void *)&own, sizeof own)) {
        perror("usage: echo PORT");
        return 2;
    }
    setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    puts("listening");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < AT_ONCE; i++) {
            parts[i] = (struct iovec){texts[i], DATAGRAM};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int got = recvmmsg(opened, messages, AT_ONCE, MSG_WAITFORONE, NULL);
        for (int i = 0; i < got; i++) {
            texts[i][messages[i].msg_len] = 0;
            parts[i] = (struct iovec){answers[i], answer(texts[i], answers[i]) - answers[i]};
        }
        for (int sent = 0, some; sent < got; sent += some) {
            some = sendmmsg(opened, messages + sent, got - sent, 0);
            if (some <= 0) some = 1; /* that one could not be sent */
        }
    }
}
