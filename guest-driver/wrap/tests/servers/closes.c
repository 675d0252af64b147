// SPDX-License-Identifier: GPL-3.0-only
// Closes all descriptors but the first three as daemons do when they start, in each of the ways, then has more random bytes
// than a small record has room for. Ends at last, and leaves a child that lives until its standard input ends.
#define _GNU_SOURCE
#include <sys/random.h>
#include <unistd.h>

int main(void) {
    unsigned char bytes[256], end;
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    close_range(3, ~0U, 0);
    closefrom(3);
    for (int time = 0; time < 400; time++)
        getrandom(bytes, sizeof bytes, 0);
    if (fork() == 0)
        read(0, &end, 1);
    _exit(0);
}
