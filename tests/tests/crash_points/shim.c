// Preloaded into a process by the test of crash points: SIGKILL before the n-th operation on files that a crash could
// leave half done (rename, fsync, unlink, rmdir, mkdir), of those whose path holds a given text.
//
//   CRASH_PATH  the text
//   CRASH_AT    n, counted from 1; 0 never strikes
//   CRASH_LOG   gets one line for each operation
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int operations;

static void before(const char *operation, const char *path) {
    const char *wanted = getenv("CRASH_PATH"), *at = getenv("CRASH_AT"), *log = getenv("CRASH_LOG");
    if (!wanted || !strstr(path, wanted)) return;
    int number = __sync_add_and_fetch(&operations, 1);
    if (log) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%d %s %s\n", number, operation, path);
        int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (file >= 0) {
            if (write(file, line, length) < 0) abort();
            close(file);
        }
    }
    if (at && atoi(at) == number) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

// The path behind a descriptor.
static const char *path_of(int descriptor, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

#define REAL(result, name, ...) result (*real)(__VA_ARGS__) = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    before("rename", to);
    return real(from, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    before("renameat2", to);
    return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
}

int fsync(int descriptor) {
    char path[PATH_MAX];
    REAL(int, fsync, int);
    before("fsync", path_of(descriptor, path));
    return real(descriptor);
}

int fdatasync(int descriptor) {
    char path[PATH_MAX];
    REAL(int, fdatasync, int);
    before("fdatasync", path_of(descriptor, path));
    return real(descriptor);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    before("unlink", path);
    return real(path);
}

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX * 2], directory[PATH_MAX];
    REAL(int, unlinkat, int, const char *, int);
    snprintf(path, sizeof path, "%s/%s", at == AT_FDCWD ? "" : path_of(at, directory), name);
    before("unlinkat", path);
    return real(at, name, flags);
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *);
    before("rmdir", path);
    return real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    before("mkdir", path);
    return real(path, mode);
}
