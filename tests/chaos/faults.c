/* Makes writes below one folder fail: preloaded into the sweep server by tests/chaos/faults.py.
 *
 * It stands between the program (Python's os and io modules, and SQLite) and the C library, so the
 * server's own code runs as it is. Environment: FAULTS_ROOT (the folder), FAULTS_CONTROL (a file
 * with `struct control`, shared with the test) and FAULTS_LOG (one line for each call that failed).
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { COUNT, ONE, EACH_FIRST };
enum { SLOTS = 1 << 17, KINDS = 256 };

struct control {
    uint32_t mode;       /* COUNT: none fails; ONE: the `target`-th; EACH_FIRST: each, once */
    uint32_t target;
    uint32_t seen;       /* calls so far */
    uint32_t request;    /* which one the server works on, and */
    uint32_t tries;      /* how many tries of all requests there were */
    uint32_t unused;
    uint64_t tried[SLOTS]; /* a hash set: calls that have failed once */
};

static struct control *control;
static const char *root;
static size_t root_length;
static int log_file = -1;
static uint32_t current_try;
static struct { uint64_t kind; uint32_t calls; } in_this_try[KINDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *shared = getenv("FAULTS_CONTROL"), *log = getenv("FAULTS_LOG");
    root = getenv("FAULTS_ROOT");
    if (!root || !shared || !log)
        return;
    root_length = strlen(root);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC);
    log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    close(fd);
}

static uint64_t mix(uint64_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data; /* FNV-1a */
    for (size_t at = 0; at < length; at++)
        hash = (hash ^ bytes[at]) * 1099511628211ull;
    return hash;
}

static int is_new(uint64_t key)
{
    key = key ? key : 1;
    for (uint64_t at = key % SLOTS;; at = (at + 1) % SLOTS) {
        if (control->tried[at] == key)
            return 0;
        if (control->tried[at] == 0) {
            control->tried[at] = key;
            return 1;
        }
    }
}

/* How many calls of this kind the present try has made before. */
static uint32_t count_in_try(uint64_t kind)
{
    if (current_try != control->tries) {
        memset(in_this_try, 0, sizeof in_this_try);
        current_try = control->tries;
    }
    for (uint64_t at = kind % KINDS;; at = (at + 1) % KINDS) {
        if (in_this_try[at].calls == 0)
            in_this_try[at].kind = kind;
        if (in_this_try[at].kind == kind)
            return in_this_try[at].calls++;
    }
}

static int is_below_root(const char *path)
{
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

/* Is this call to fail? A request that is tried again makes the same calls on the same files. */
static int fails(const char *call, const char *path, int error)
{
    if (!control || !is_below_root(path))
        return 0;
    pthread_mutex_lock(&lock);
    int wanted = 0;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    uint32_t number = ++control->seen;
    if (control->mode == ONE) {
        wanted = number == control->target;
    } else if (control->mode == EACH_FIRST) {
        /* a passing name (.xyz) is another one at each try: its folder must do */
        size_t length = name[0] == '.' ? (size_t)(name - path) : strlen(path);
        uint64_t kind = mix(mix(14695981039346656037ull, call, strlen(call)), path, length);
        uint32_t which[2] = {control->request, count_in_try(kind)};
        wanted = is_new(mix(kind, which, sizeof which));
    }
    if (wanted) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        if (length > 0)
            syscall(SYS_write, log_file, line, (size_t)length);
        errno = error;
    }
    pthread_mutex_unlock(&lock);
    return wanted;
}

static int path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    if (!control || fd < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 && is_below_root(path);
}

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int fails_on(const char *call, int fd, int error)
{
    char path[PATH_MAX];
    return path_of(fd, path) && fails(call, path, error);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (fails_on("write", fd, ENOSPC))
        return -1;
    return REAL("write", ssize_t, int, const void *, size_t)(fd, data, size);
}

static ssize_t write_at(const char *name, int fd, const void *data, size_t size, off_t at)
{
    if (fails_on("pwrite", fd, ENOSPC))
        return -1;
    return REAL(name, ssize_t, int, const void *, size_t, off_t)(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return write_at("pwrite", fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return write_at("pwrite64", fd, data, size, at);
}

static int truncate_to(const char *name, int fd, off_t size)
{
    return fails_on("ftruncate", fd, ENOSPC) ? -1 : REAL(name, int, int, off_t)(fd, size);
}

int ftruncate(int fd, off_t size)
{
    return truncate_to("ftruncate", fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return truncate_to("ftruncate64", fd, size);
}

static int sync_file(const char *name, int fd)
{
    struct stat now;
    int folder = control && fstat(fd, &now) == 0 && S_ISDIR(now.st_mode);
    return fails_on(folder ? "fsync-folder" : "fsync", fd, EIO) ? -1 : REAL(name, int, int)(fd);
}

int fsync(int fd)
{
    return sync_file("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_file("fdatasync", fd);
}

static int is_missing(const char *path)
{
    return control && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
}

static int open_file(const char *name, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && is_missing(path) && fails("create", path, ENOSPC))
        return -1;
    return REAL(name, int, const char *, int, ...)(path, flags, mode);
}

#define MODE(flags, mode)                  \
    mode_t mode = 0;                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more;                      \
        va_start(more, flags);             \
        mode = va_arg(more, mode_t);       \
        va_end(more);                      \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_file("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_file("open64", path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
    if (is_missing(path) && fails("mkdir", path, ENOSPC))
        return -1;
    return REAL("mkdir", int, const char *, mode_t)(path, mode);
}

int rename(const char *from, const char *to)
{
    if (fails("rename", to, EIO))
        return -1;
    return REAL("rename", int, const char *, const char *)(from, to);
}

int link(const char *from, const char *to)
{
    return fails("link", to, EIO) ? -1 : REAL("link", int, const char *, const char *)(from, to);
}

int linkat(int here, const char *from, int there, const char *to, int flags)
{
    if (fails("link", to, EIO))
        return -1;
    return REAL("linkat", int, int, const char *, int, const char *, int)(here, from, there, to,
                                                                          flags);
}
