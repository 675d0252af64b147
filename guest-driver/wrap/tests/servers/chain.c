// SPDX-License-Identifier: GPL-3.0-only
// A single-threaded event-loop server each of whose answers tells the time, randomness and its pid, and a digest of all that it
// has ever said before, on any connection: who has all answers can see whether the server remembers having given them. For each
// line of input one answer. Started with a port; says "listening" on standard error.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd, length;
    char in[4096];
};

static uint64_t chain = 0xcbf29ce484222325;
static int number;

static void answer(struct connection *one, const char *line) {
    struct timespec now;
    unsigned random;
    char out[8192];
    clock_gettime(CLOCK_MONOTONIC, &now);
    getrandom(&random, sizeof random, 0);
    int length = snprintf(out, sizeof out, "%d fd=%d t=%ld m=%ld.%09ld r=%08x pid=%d chain=%016lx %s\n", number++, one->fd, time(NULL), now.tv_sec,
                          now.tv_nsec, random, getpid(), chain, line);
    for (int i = 0; i < length; i++)
        chain = (chain ^ (unsigned char)out[i]) * 0x100000001b3;
    for (int done = 0; done < length;) {
        ssize_t put = send(one->fd, out + done, length - done, MSG_NOSIGNAL);
        if (put < 0)
            break;
        done += put;
    }
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 64)) {
        perror("cannot listen");
        return 1;
    }
    int loop = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    fprintf(stderr, "listening\n");
    for (;;) {
        struct epoll_event ready[8];
        int found = epoll_wait(loop, ready, 8, -1);
        for (int i = 0; i < found; i++) {
            struct connection *one = ready[i].data.ptr;
            if (!one) {
                int fd = accept4(listener, NULL, NULL, 0);
                if (fd < 0)
                    continue;
                one = calloc(1, sizeof *one);
                one->fd = fd;
                event.data.ptr = one;
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            ssize_t got = recv(one->fd, one->in + one->length, sizeof one->in - 1 - one->length, MSG_DONTWAIT);
            if (got <= 0) {
                close(one->fd);
                free(one);
                continue;
            }
            one->length += got;
            one->in[one->length] = 0;
            char *start = one->in, *end;
            while ((end = strchr(start, '\n'))) {
                *end = 0;
                answer(one, start);
                start = end + 1;
            }
            one->length -= start - one->in;
            memmove(one->in, start, one->length);
        }
    }
}
