/* Counts what a tree of processes does with the files below one folder, and makes one of these calls fail or kill.

CHAOS_ROOT   the folder
CHAOS_CALLS  the calls that count, such as ",rename,fsync,"
CHAOS_COUNT  a file of 8 bytes, in which all processes count together
CHAOS_AT     the number of the call that something happens to, from 1; 0: only count
CHAOS_DO     0: the process is killed before the call; else the errno that the call fails with
CHAOS_CLOCK  seconds that the clock is behind
CHAOS_ON     the call after which, counted from CHAOS_AT, calls succeed again; 0: never
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int counted(const char *call, const char *path) {
    const char *root = getenv("CHAOS_ROOT"), *calls = getenv("CHAOS_CALLS"), *file = getenv("CHAOS_COUNT");
    char word[32];
    if (!root || !calls || !file || !path || strncmp(path, root, strlen(root)))
        return 0;
    snprintf(word, sizeof word, ",%s,", call);
    if (!strstr(calls, word) || strstr(path, "/.locks/"))
        return 0;
    int (*opens)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int descriptor = opens(file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return 0;
    long *count = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (count == MAP_FAILED)
        return 0;
    long now = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST), at = number("CHAOS_AT"), on = number("CHAOS_ON");
    munmap(count, sizeof(long));
    int action = (int)number("CHAOS_DO");
    if (!at || (action ? now < at || (on && now >= at + on) : now != at))
        return 0;
    if (!action)
        kill(getpid(), SIGKILL);
    errno = action;
    return 1;
}

static int counted_file(const char *call, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!getenv("CHAOS_ROOT"))
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return counted(call, path);
}

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

int fsync(int f) { return counted_file("fsync", f) ? -1 : REAL(int, fsync, int)(f); }
int rename(const char *a, const char *b) {
    return counted("rename", b) ? -1 : REAL(int, rename, const char *, const char *)(a, b);
}
int unlink(const char *p) { return counted("unlink", p) ? -1 : REAL(int, unlink, const char *)(p); }
int mkdir(const char *p, mode_t m) {
    return counted("mkdir", p) ? -1 : REAL(int, mkdir, const char *, mode_t)(p, m);
}
ssize_t write(int f, const void *b, size_t n) {
    return counted_file("write", f) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(f, b, n);
}
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) {
    return counted_file("write", f) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(f, b, n, o);
}
ssize_t read(int f, void *b, size_t n) {
    return counted_file("read", f) ? -1 : REAL(ssize_t, read, int, void *, size_t)(f, b, n);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = REAL(int, clock_gettime, clockid_t, struct timespec *)(clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec -= number("CHAOS_CLOCK");
    return failed;
}

#define OPEN(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                     \
        va_list rest;                                                                                                \
        va_start(rest, flags);                                                                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                \
        return counted("open", path) ? -1 : REAL(int, name, const char *, int, ...)(path, flags, mode);              \
    }
OPEN(open)
OPEN(open64)
