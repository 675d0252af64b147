// SPDX-License-Identifier: GPL-3.0-only
// A single-threaded event-loop server whose output depends on how long its reads were, on the order of connections, on the
// time, on randomness and on its pid. Started with a port; says "listening" on standard error.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd;
    int number;
};

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc < 2 || bind(listener, (void *)&address, sizeof address) || listen(listener, 64)) {
        perror("cannot listen");
        return 1;
    }
    int loop = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    fprintf(stderr, "listening\n");
    int device = open("/dev/urandom", O_RDONLY);
    int count = 0;
    for (;;) {
        struct epoll_event ready[8];
        int found = epoll_wait(loop, ready, 8, 50);
        if (found < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < found; i++) {
            struct connection *one = ready[i].data.ptr;
            if (!one) {
                struct sockaddr_in peer;
                socklen_t length = sizeof peer;
                int fd = accept4(listener, (void *)&peer, &length, SOCK_NONBLOCK);
                if (fd < 0)
                    continue;
                one = malloc(sizeof *one);
                one->fd = fd;
                one->number = count++;
                event.events = EPOLLIN;
                event.data.ptr = one;
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            char in[64], out[256];
            ssize_t got = read(one->fd, in, sizeof in);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got <= 0) {
                close(one->fd);
                free(one);
                continue;
            }
            struct timespec now;
            struct timeval day;
            unsigned random, more;
            clock_gettime(CLOCK_MONOTONIC, &now);
            gettimeofday(&day, NULL);
            getrandom(&random, sizeof random, 0);
            read(device, &more, sizeof more);
            int length = snprintf(out, sizeof out, "%d fd=%d got=%zd %.*s %ld.%09ld %ld.%06ld %ld %08x %08x pid=%d\n", one->number, one->fd,
                                  got, (int)got, in, now.tv_sec, now.tv_nsec, day.tv_sec, day.tv_usec, time(NULL), random, more, getpid());
            send(one->fd, out, length, MSG_NOSIGNAL);
        }
    }
}
