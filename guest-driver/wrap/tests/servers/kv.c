// SPDX-License-Identifier: GPL-3.0-only
// The kv demo's protocol (PING, GET, SET, ADD, DEL, QUIT; tests/src/netns/kv.rs) as a single-threaded event loop with its
// values in memory. Like other event loops it looks at the clock once each time round. Started with a port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4096, LINE = 256 };

static struct entry {
    char key[64], value[128];
} table[SLOTS];

struct session {
    int fd, length;
    char line[LINE];
};

static struct entry *slot(const char *key) {
    unsigned hash = 2166136261u;
    for (const char *at = key; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (unsigned step = 0; step < SLOTS; step++) {
        struct entry *one = &table[(hash + step) % SLOTS];
        if (!one->key[0] || !strcmp(one->key, key))
            return one;
    }
    return &table[hash % SLOTS];
}

static int answer(char *line, char *out, int room) {
    char verb[16] = "", key[64] = "-", value[128] = "";
    sscanf(line, "%15s %63s %127s", verb, key, value);
    if (!strcmp(verb, "PING"))
        return snprintf(out, room, "PONG\n");
    struct entry *one = slot(key);
    if (!strcmp(verb, "GET"))
        return snprintf(out, room, "%s\n", one->key[0] ? one->value : "-");
    snprintf(one->key, sizeof one->key, "%s", key);
    if (!strcmp(verb, "ADD")) {
        snprintf(one->value, sizeof one->value, "%ld", atol(one->value) + atol(value));
        return snprintf(out, room, "%s\n", one->value);
    }
    snprintf(one->value, sizeof one->value, "%s", value);
    return snprintf(out, room, "%s\n", !strcmp(verb, "QUIT") ? "BYE" : "OK");
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 64))
        return perror("cannot listen"), 1;
    int loop = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    fprintf(stderr, "listening\n");
    for (;;) {
        struct epoll_event ready[64];
        int found = epoll_wait(loop, ready, 64, -1);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        for (int i = 0; i < found; i++) {
            struct session *one = ready[i].data.ptr;
            if (!one) {
                one = calloc(1, sizeof *one);
                one->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event.data.ptr = one;
                epoll_ctl(loop, EPOLL_CTL_ADD, one->fd, &event);
                continue;
            }
            ssize_t got = read(one->fd, one->line + one->length, LINE - 1 - one->length);
            if (got <= 0) {
                close(one->fd);
                free(one);
                continue;
            }
            one->length += got;
            one->line[one->length] = 0;
            char *start = one->line, *end, out[4096];
            int length = 0;
            while ((end = strchr(start, '\n'))) {
                *end = 0;
                length += answer(start, out + length, sizeof out - length);
                start = end + 1;
            }
            one->length -= start - one->line;
            memmove(one->line, start, one->length);
            if (length)
                send(one->fd, out, length, MSG_NOSIGNAL);
        }
    }
}
