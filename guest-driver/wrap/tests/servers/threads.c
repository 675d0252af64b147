// SPDX-License-Identifier: GPL-3.0-only
// A program with a second thread: what cannot be recorded.
#include <pthread.h>
#include <stdio.h>
#include <time.h>

static void *work(void *with) {
    return with;
}

int main(void) {
    pthread_t thread;
    time(NULL);
    if (pthread_create(&thread, NULL, work, NULL) || pthread_join(thread, NULL))
        return 1;
    puts("both threads have ended");
    return 0;
}
