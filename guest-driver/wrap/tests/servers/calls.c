// SPDX-License-Identifier: GPL-3.0-only
// Waits by poll and select, reads and writes in all forms, on a pair of sockets; prints what it saw, with the time.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int ends[2];

static void waits(void) {
    struct pollfd ask[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = ends[1], .events = POLLIN | POLLOUT}};
    int found = poll(ask, 2, 0);
    printf("poll %d %x %x\n", found, ask[0].revents, ask[1].revents);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(ends[0], &in);
    FD_SET(ends[1], &out);
    struct timeval soon = {0, 1000};
    found = select(ends[1] + 1, &in, &out, NULL, &soon);
    printf("select %d %d %d\n", found, !!FD_ISSET(ends[0], &in), !!FD_ISSET(ends[1], &out));
}

int main(void) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
        return 1;
    waits();
    char a[3], b[64];
    struct iovec parts[2] = {{a, sizeof a}, {b, sizeof b}};
    ssize_t none = recv(ends[0], b, sizeof b, 0);
    printf("recv %zd %d\n", none, errno == EAGAIN);
    struct iovec words[2] = {{"one ", 4}, {"two ", 4}};
    struct msghdr message = {.msg_iov = words, .msg_iovlen = 2};
    printf("writev %zd sendmsg %zd\n", writev(ends[1], words, 2), sendmsg(ends[1], &message, 0));
    waits();
    printf("peek %zd\n", recv(ends[0], b, 5, MSG_PEEK));
    ssize_t got = readv(ends[0], parts, 2);
    printf("readv %zd %.3s|%.*s\n", got, a, (int)got - 3, b);
    // Fills the socket: how much fits is the kernel's affair.
    size_t filled = 0;
    for (ssize_t put; (put = write(ends[1], b, sizeof b)) > 0;)
        filled += put;
    printf("filled %zu %d\n", filled, errno == EAGAIN);
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec often = {{0, 10000}, {0, 10000}};
    timerfd_settime(timer, 0, &often, NULL);
    usleep(1000 + clock() % 997);
    unsigned long long ticks = 0;
    printf("timer %zd %llu\n", read(timer, &ticks, sizeof ticks), ticks);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%ld.%09ld\n", now.tv_sec, now.tv_nsec);
    return 0;
}
