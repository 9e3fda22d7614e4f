/*
 * Records what a process does to the files below POWERCUT_DIR, in order, into POWERCUT_LOG, so that a test can
 * rebuild what a disk may hold after a power cut. Preloaded (LD_PRELOAD); Linux with glibc.
 *
 * A record is: kind (1 byte), handle (u32), a (u64), b (u64), length (u32), bytes. Numbers little-endian.
 *
 *   O  a file was opened     a: its flags of interest (1 created if missing, 2 emptied, 4 is a folder); bytes: path
 *   W  written               a: offset; bytes: the data
 *   T  cut or extended       a: length
 *   B  a sync begins         a: number of the sync; b: 1 for fsync, 0 for fdatasync
 *   E  a sync has returned   a: number of the sync
 *   R  renamed               bytes: from, NUL, to
 *   U  removed (file/folder) bytes: path
 *   M  folder made           bytes: path
 *   A  acknowledged          bytes: a line on standard output that starts with "ack "
 *
 * The fdatasync with the number POWERCUT_FAIL fails.
 *
 * Syncs do not reach the real disk: the test decides what they mean. sync_file_range is not recorded, because it makes
 * nothing durable.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static uint32_t handle_of[MAX_FDS]; /* 0: not ours */
static uint32_t next_handle = 1;
static uint64_t next_sync = 1;
static int log_fd = -1;
static const char *dir;
static size_t dir_len;
static long fdatasyncs, fails_at; /* 0: none fails */

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rmdir)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void start(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_close = dlsym(RTLD_NEXT, "close");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    const char *log = getenv("POWERCUT_LOG");
    dir = getenv("POWERCUT_DIR");
    if (!log || !dir) return;
    dir_len = strlen(dir);
    const char *fails = getenv("POWERCUT_FAIL");
    fails_at = fails ? atol(fails) : 0;
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) {
    return log_fd >= 0 && strncmp(path, dir, dir_len) == 0 &&
           (path[dir_len] == '/' || path[dir_len] == 0);
}

/* Call with `order` held. */
static void record(char kind, uint32_t handle, uint64_t a, uint64_t b, const void *bytes, uint32_t len) {
    unsigned char head[25];
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &handle, 4);
    memcpy(head + 5, &a, 8);
    memcpy(head + 13, &b, 8);
    memcpy(head + 21, &len, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, len}};
    if (real_writev(log_fd, parts, len ? 2 : 1) != (ssize_t)(sizeof head + len)) abort();
}

static uint32_t handle(int fd) {
    return fd >= 0 && fd < MAX_FDS ? handle_of[fd] : 0;
}

/* The path of `name` in the folder `at`, in `out`. */
static const char *resolve(int at, const char *name, char *out) {
    if (name[0] == '/' || at == AT_FDCWD) return name;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len < 0) return name;
    snprintf(out + len, PATH_MAX - (size_t)len, "/%s", name);
    return out;
}

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= MAX_FDS) return fd;
    handle_of[fd] = 0;
    if (!is_ours(path)) return fd;
    struct stat found;
    int is_dir = fstat(fd, &found) == 0 && S_ISDIR(found.st_mode);
    uint64_t interest = (flags & O_CREAT ? 1 : 0) | (flags & O_TRUNC ? 2 : 0) | (is_dir ? 4 : 0);
    handle_of[fd] = next_handle++;
    record('O', handle_of[fd], interest, 0, path, (uint32_t)strlen(path));
    return fd;
}

#define MODE_ARGUMENT                          \
    mode_t mode = 0;                           \
    if (flags & (O_CREAT | __O_TMPFILE)) {     \
        va_list list;                          \
        va_start(list, flags);                 \
        mode = va_arg(list, mode_t);           \
        va_end(list);                          \
    }

int open64(const char *path, int flags, ...) {
    MODE_ARGUMENT
    pthread_mutex_lock(&order);
    int fd = opened(real_open(path, flags, mode), path, flags);
    pthread_mutex_unlock(&order);
    return fd;
}

int open(const char *path, int flags, ...) {
    MODE_ARGUMENT
    return open64(path, flags, mode);
}

int openat64(int at, const char *name, int flags, ...) {
    MODE_ARGUMENT
    char room[PATH_MAX];
    pthread_mutex_lock(&order);
    const char *path = resolve(at, name, room);
    int fd = opened(real_openat(at, name, flags, mode), path, flags);
    /* Folders opened here are read and then closed by closedir, which is not seen. */
    if ((flags & O_DIRECTORY) && fd >= 0 && fd < MAX_FDS) handle_of[fd] = 0;
    pthread_mutex_unlock(&order);
    return fd;
}

int openat(int at, const char *name, int flags, ...) {
    MODE_ARGUMENT
    return openat64(at, name, flags, mode);
}

int close(int fd) {
    pthread_mutex_lock(&order);
    if (fd >= 0 && fd < MAX_FDS) handle_of[fd] = 0;
    int done = real_close(fd);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len) {
    pthread_mutex_lock(&order);
    off_t at = handle(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real_write(fd, bytes, len);
    if (done > 0 && handle(fd)) record('W', handle(fd), (uint64_t)at, 0, bytes, (uint32_t)done);
    if (done > 4 && fd == 1 && log_fd >= 0 && memcmp(bytes, "ack ", 4) == 0)
        record('A', 0, 0, 0, bytes, (uint32_t)done);
    pthread_mutex_unlock(&order);
    return done;
}

/* Nobody does this to the store's files; if that changes, the record would be wrong. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (handle(fd)) abort();
    return real_writev(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) {
    pthread_mutex_lock(&order);
    ssize_t done = real_pwrite(fd, bytes, len, at);
    if (done > 0 && handle(fd)) record('W', handle(fd), (uint64_t)at, 0, bytes, (uint32_t)done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    return pwrite64(fd, bytes, len, at);
}

int ftruncate64(int fd, off_t len) {
    pthread_mutex_lock(&order);
    int done = real_ftruncate(fd, len);
    if (done == 0 && handle(fd)) record('T', handle(fd), (uint64_t)len, 0, 0, 0);
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate(int fd, off_t len) {
    return ftruncate64(fd, len);
}

/* Not under the lock: others write while a sync is under way. */
static int synced(int fd, uint64_t is_fsync) {
    pthread_mutex_lock(&order);
    uint64_t number = next_sync++;
    uint32_t file = handle(fd);
    record('B', file, number, is_fsync, 0, 0);
    pthread_mutex_unlock(&order);
    usleep(200);
    pthread_mutex_lock(&order);
    record('E', file, number, is_fsync, 0, 0);
    pthread_mutex_unlock(&order);
    return 0;
}

int fsync(int fd) {
    return handle(fd) ? synced(fd, 1) : real_fsync(fd);
}

int fdatasync(int fd) {
    if (handle(fd) && fails_at && ++fdatasyncs == fails_at) {
        errno = EIO;
        return -1;
    }
    return handle(fd) ? synced(fd, 0) : real_fdatasync(fd);
}

int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    (void)fd, (void)at, (void)len, (void)flags;
    return 0;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&order);
    int done = real_rename(from, to);
    int error = errno;
    if (done == 0 && is_ours(from)) {
        char both[2 * PATH_MAX];
        size_t first = strlen(from) + 1, second = strlen(to);
        memcpy(both, from, first);
        memcpy(both + first, to, second);
        record('R', 0, 0, 0, both, (uint32_t)(first + second));
    }
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

static int path_done(char kind, const char *path, int done) {
    int error = errno;
    if (done == 0 && is_ours(path)) record(kind, 0, 0, 0, path, (uint32_t)strlen(path));
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

int unlink(const char *path) {
    pthread_mutex_lock(&order);
    return path_done('U', path, real_unlink(path));
}

int rmdir(const char *path) {
    pthread_mutex_lock(&order);
    return path_done('U', path, real_rmdir(path));
}

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&order);
    return path_done('M', path, real_mkdir(path, mode));
}

int unlinkat(int at, const char *name, int flags) {
    char room[PATH_MAX];
    pthread_mutex_lock(&order);
    const char *path = resolve(at, name, room);
    return path_done('U', path, real_unlinkat(at, name, flags));
}
