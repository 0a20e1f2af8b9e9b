// Processes by hand: fork, waitpid, and a counter under a pthread mutex in memory that the forked processes share.
// Each line that comes in is a command, each that goes out the nanoseconds that it took and what was counted:
//   fork N           N times: forks a child that exits at once, and waits for it; N
//   count plain      4 children take the lock 100 times each and add one; what is in the counter then
//   bank plain       10 times: one child takes the lock 10,000 times to take one away, another to add one; the sum of what was left
// `robust` instead of `plain` is the other kind of mutex.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct Shared {
    pthread_mutex_t mutex;
    long value;
};

static void check(int holds, const char *what) {
    if (holds) return;
    perror(what);
    _exit(1);
}

static long long now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void wait_for(pid_t child) {
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, "a child");
}

static struct Shared *share(int robust, long value) {
    struct Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED, "mmap");
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes) == 0, "pthread_mutexattr_init");
    check(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0, "pthread_mutexattr_setpshared");
    if (robust) check(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0, "pthread_mutexattr_setrobust");
    check(pthread_mutex_init(&shared->mutex, &attributes) == 0, "pthread_mutex_init");
    pthread_mutexattr_destroy(&attributes);
    shared->value = value;
    return shared;
}

// The value after each of some children has added its step so many times.
static long together(int robust, long value, int children, const long *steps, int times) {
    struct Shared *shared = share(robust, value);
    pid_t pids[4];
    for (int child = 0; child < children; child++) {
        pids[child] = fork();
        check(pids[child] >= 0, "fork");
        if (pids[child] == 0) {
            for (int time = 0; time < times; time++) {
                check(pthread_mutex_lock(&shared->mutex) == 0, "pthread_mutex_lock");
                shared->value += steps[child];
                check(pthread_mutex_unlock(&shared->mutex) == 0, "pthread_mutex_unlock");
            }
            _exit(0);
        }
    }
    for (int child = 0; child < children; child++) wait_for(pids[child]);
    value = shared->value;
    munmap(shared, sizeof *shared);
    return value;
}

static long fork_and_wait(int times) {
    for (int time = 0; time < times; time++) {
        pid_t child = fork();
        check(child >= 0, "fork");
        if (child == 0) _exit(0);
        wait_for(child);
    }
    return times;
}

static long bank(int robust) {
    long left = 0;
    for (int round = 0; round < 10; round++) left += together(robust, 100, 2, (const long[]){-1, 1}, 10000);
    return left;
}

int main(void) {
    char command[16], argument[16];
    while (scanf("%15s %15s", command, argument) == 2) {
        int robust = strcmp(argument, "robust") == 0;
        long counted = -1;
        long long start = now();
        if (strcmp(command, "fork") == 0) counted = fork_and_wait(atoi(argument));
        if (strcmp(command, "count") == 0) counted = together(robust, 0, 4, (const long[]){1, 1, 1, 1}, 100);
        if (strcmp(command, "bank") == 0) counted = bank(robust);
        printf("%lld %ld\n", now() - start, counted);
        fflush(stdout);
    }
    return 0;
}
