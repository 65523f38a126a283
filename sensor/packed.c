#include "sensor/packed.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor/unpack.h"

#define RAW_BUFFER (1 << 18)

/* raw (mapping, or bytes read) -> decompression, unless plain */
struct packed {
    int fd;
    bool is_file, is_started, raw_ended;
    _Atomic bool is_followed;       /* the one thing that is changed from outside */
    enum source_fill last;          /* END, CUT or BAD once it was met: nothing follows */
    const struct unpack_kind *kind; /* NULL: plain */
    struct unpack *unpack;
    uint8_t *map; /* the regular file, or NULL */
    size_t map_len;
    uint64_t offset;     /* of a followed file: read so far */
    struct span raw;     /* bytes not used yet */
    uint8_t *raw_buffer; /* RAW_BUFFER bytes, unless mapped */
    char problem[120];
};

static int map_file(struct packed *p, int fd, struct err *e)
{
    const off_t size = lseek(fd, 0, SEEK_END);

    if (size < 0)
        return err_set(e, -errno, "cannot read it: %s", strerror(errno));
    p->raw_ended = true;
    if (size == 0)
        return 0;
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_set(e, -errno, "cannot map the file: %s", strerror(errno));
    p->map = map;
    p->map_len = (size_t)size;
    p->raw = (struct span){p->map, p->map_len};
    (void)madvise(map, p->map_len, MADV_SEQUENTIAL); /* only advice */
    return 0;
}

static int find_kind(struct packed *p, int fd, unsigned flags, struct err *e)
{
    struct stat st;

    p->is_file = (flags & PACKED_IS_FILE) != 0;
    if (!p->is_file) {
        if (fstat(fd, &st) < 0)
            return err_set(e, -errno, "cannot read it: %s", strerror(errno));
        if (S_ISDIR(st.st_mode))
            return err_set(e, -EISDIR, "it is a folder");
        p->is_file = S_ISREG(st.st_mode);
    }
    p->is_followed = p->is_file && (flags & PACKED_FOLLOW) != 0;
    return 0;
}

int packed_new(struct packed **ret_packed, int fd, unsigned flags, struct err *e)
{
    WIND_AUTO(packed) struct packed *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    p->fd = -1; /* not ours before all went well */
    int r = find_kind(p, fd, flags, e);
    if (r == 0 && p->is_file && !p->is_followed) {
        r = map_file(p, fd, e);
    } else if (r == 0) {
        p->raw_buffer = malloc(RAW_BUFFER);
        p->raw.at = p->raw_buffer;
        if (p->raw_buffer == NULL)
            r = err_set(e, -ENOMEM, "out of memory");
    }
    if (r < 0)
        return r;
    p->fd = fd;
    *ret_packed = WIND_STEAL(p);
    return 0;
}

struct packed *packed_free(struct packed *p)
{
    if (p == NULL)
        return NULL;
    p->unpack = unpack_free(p->unpack);
    if (p->map != NULL)
        (void)munmap(p->map, p->map_len);
    if (p->fd >= 0)
        (void)close(p->fd);
    free(p->raw_buffer);
    free(p);
    return NULL;
}

const char *packed_compression(const struct packed *p)
{
    return p->kind != NULL ? unpack_name(p->kind) : "";
}

bool packed_mapping(const struct packed *p, struct span *ret_all)
{
    if (p->kind != NULL || !p->is_file || p->raw_buffer != NULL)
        return false;
    *ret_all = p->raw;
    return true;
}

void packed_stop_following(struct packed *p)
{
    p->is_followed = false;
}

bool packed_looks_compressed(const struct packed *p)
{
    uint8_t magic[UNPACK_MAGIC];

    if (!p->is_file)
        return false;
    const ssize_t n = pread(p->fd, magic, sizeof(magic), 0);
    return n > 0 && unpack_detect(magic, (size_t)n) != NULL;
}

const char *packed_problem(const struct packed *p)
{
    return p->problem;
}

/* ---------------------------------------------------------------- raw bytes */

static enum source_fill bad(struct packed *p, const char *what)
{
    (void)snprintf(p->problem, sizeof(p->problem), "%s", what);
    return SOURCE_BAD;
}

/* After bytes that are gone nothing makes sense: records start somewhere else. */
static enum source_fill wait_for_growth(struct packed *p, int wait_ms)
{
    const off_t size = lseek(p->fd, 0, SEEK_END);

    if (size >= 0 && (uint64_t)size < p->offset)
        return bad(p, "it was cut while it was followed");
    if (size >= 0 && (uint64_t)size > p->offset)
        return SOURCE_WAIT; /* just now */
    p->raw_ended = !p->is_followed;
    if (p->raw_ended)
        return SOURCE_END;
    (void)poll(NULL, 0, wait_ms);
    return SOURCE_WAIT;
}

/* Of a file that is, or was, followed. */
static enum source_fill read_on(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                                size_t *ret_n)
{
    const ssize_t n = pread(p->fd, to, room, (off_t)p->offset);

    if (n < 0 && errno != EINTR && errno != EAGAIN) {
        (void)snprintf(p->problem, sizeof(p->problem), "it cannot be read (%s)", strerror(errno));
        return SOURCE_BAD;
    }
    if (n <= 0)
        return n < 0 ? SOURCE_WAIT : wait_for_growth(p, wait_ms);
    p->offset += (uint64_t)n;
    *ret_n = (size_t)n;
    return SOURCE_FILLED;
}

static enum source_fill read_pipe(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                                  size_t *ret_n)
{
    struct pollfd ready = {.fd = p->fd, .events = POLLIN};

    const int r = poll(&ready, 1, wait_ms);
    if (r == 0 || (r < 0 && errno == EINTR))
        return SOURCE_WAIT;
    const ssize_t n = read(p->fd, to, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return SOURCE_WAIT;
    if (n < 0) {
        (void)snprintf(p->problem, sizeof(p->problem), "it cannot be read (%s)", strerror(errno));
        return SOURCE_BAD;
    }
    p->raw_ended = n == 0;
    *ret_n = (size_t)n;
    return n == 0 ? SOURCE_END : SOURCE_FILLED;
}

static enum source_fill read_some(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                                  size_t *ret_n)
{
    if (p->raw_ended)
        return SOURCE_END;
    return p->is_file ? read_on(p, to, room, wait_ms, ret_n)
                      : read_pipe(p, to, room, wait_ms, ret_n);
}

/* Append to the raw bytes. Those of a mapping are all there from the start. */
static enum source_fill fill_raw(struct packed *p, int wait_ms)
{
    size_t n = 0;

    if (p->raw_ended)
        return SOURCE_END;
    memmove(p->raw_buffer, p->raw.at, p->raw.left);
    p->raw.at = p->raw_buffer;
    const enum source_fill r =
        read_some(p, p->raw_buffer + p->raw.left, RAW_BUFFER - p->raw.left, wait_ms, &n);
    p->raw.left += n;
    return r;
}

/* ---------------------------------------------------------------- decompression */

enum source_fill packed_start(struct packed *p, int wait_ms)
{
    while (!p->is_started && p->raw.left < UNPACK_MAGIC) {
        const enum source_fill r = fill_raw(p, wait_ms);
        if (r == SOURCE_END)
            break;
        if (r != SOURCE_FILLED)
            return r;
    }
    if (!p->is_started) {
        p->kind = unpack_detect(p->raw.at, p->raw.left);
        p->is_started = true;
        if (p->kind != NULL && unpack_new(&p->unpack, p->kind) < 0)
            return p->last = bad(p, "out of memory");
    }
    return p->last != SOURCE_FILLED ? p->last : p->raw.left > 0 ? SOURCE_FILLED : SOURCE_END;
}

static enum source_fill fill_plain(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                                   size_t *ret_n)
{
    if (p->raw.left == 0)
        return read_some(p, to, room, wait_ms, ret_n);
    *ret_n = p->raw.left < room ? p->raw.left : room; /* what packed_start has read */
    memcpy(to, span_take(&p->raw, *ret_n), *ret_n);
    return SOURCE_FILLED;
}

/* Decompress until there is no more room, or the raw bytes are used up. */
static enum source_fill fill_unpacked(struct packed *p, uint8_t *to, size_t room, int wait_ms,
                                      size_t *ret_n)
{
    enum source_fill r = SOURCE_FILLED;
    size_t n = 0;

    for (*ret_n = 0; *ret_n < room && r == SOURCE_FILLED; *ret_n += n) {
        n = 0;
        if (p->raw.left == 0) {
            r = *ret_n > 0 ? SOURCE_WAIT : fill_raw(p, wait_ms);
            if (r == SOURCE_END && unpack_is_midway(p->unpack))
                r = SOURCE_CUT;
        } else if (unpack_some(p->unpack, &p->raw, to + *ret_n, room - *ret_n, &n) < 0) {
            r = bad(p, unpack_problem(p->unpack));
        }
    }
    if (r != SOURCE_FILLED && r != SOURCE_WAIT)
        p->last = r;
    return *ret_n > 0 ? SOURCE_FILLED : r;
}

enum source_fill packed_fill(struct packed *p, uint8_t *to, size_t room, int wait_ms, size_t *ret_n)
{
    enum source_fill r = p->last;

    *ret_n = 0;
    if (r != SOURCE_FILLED)
        return r;
    if (p->kind != NULL)
        return fill_unpacked(p, to, room, wait_ms, ret_n);
    r = fill_plain(p, to, room, wait_ms, ret_n);
    if (r != SOURCE_FILLED && r != SOURCE_WAIT)
        p->last = r;
    return r;
}
