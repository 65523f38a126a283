#include "sensor/source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define RAW_BUFFER      (1 << 18)
#define ZSTD_WINDOW_LOG 27
#define ZSTD_BITE       (1 << 14)
#define GZIP_WINDOW     (16 + MAX_WBITS) /* zlib: expect a gzip header */

/*
 * raw (mapping or pipe) -> decompression -> window.
 * Plain input skips the middle: a mapping is its own window, a pipe is read into it.
 */
enum compression { UNKNOWN, PLAIN, GZIP, ZSTD };

struct source {
    int fd;
    bool is_file;
    bool raw_ended;
    bool in_member;  /* within a gzip member or a zstd frame */
    bool has_member; /* gzip: there was one */
    enum compression compression;
    enum source_fill last; /* END, CUT or BAD once it was met: nothing follows */
    struct span window;
    uint8_t *buffer; /* SOURCE_WINDOW bytes, or NULL */
    uint8_t *map;    /* the regular file, or NULL */
    size_t map_len;
    struct span raw;     /* compressed bytes not used yet */
    uint8_t *raw_buffer; /* RAW_BUFFER bytes for a pipe, else NULL */
    z_stream *gzip;
    ZSTD_DCtx *zstd;
    char problem[120];
};

static int map_file(struct source *s, int fd, const struct stat *st, struct err *e)
{
    s->is_file = true;
    s->raw_ended = true;
    if (st->st_size == 0)
        return 0;
    void *map = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_set(e, -errno, "cannot map the file: %s", strerror(errno));
    s->map = map;
    s->map_len = (size_t)st->st_size;
    s->raw = (struct span){s->map, s->map_len};
    (void)madvise(map, s->map_len, MADV_SEQUENTIAL); /* only advice */
    return 0;
}

int source_new(struct source **ret_source, int fd, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "cannot read it: %s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "it is a folder");

    WIND_AUTO(source) struct source *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->fd = -1; /* not ours before all went well */

    if (S_ISREG(st.st_mode)) {
        const int r = map_file(s, fd, &st, e);
        if (r < 0)
            return r;
    } else {
        s->raw_buffer = malloc(RAW_BUFFER);
        if (s->raw_buffer == NULL)
            return err_set(e, -ENOMEM, "out of memory");
    }
    s->fd = fd;
    *ret_source = WIND_STEAL(s);
    return 0;
}

struct source *source_free(struct source *s)
{
    if (s == NULL)
        return NULL;
    if (s->gzip != NULL)
        (void)inflateEnd(s->gzip);
    (void)ZSTD_freeDCtx(s->zstd);
    if (s->map != NULL)
        (void)munmap(s->map, s->map_len);
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s->gzip);
    free(s->raw_buffer);
    free(s->buffer);
    free(s);
    return NULL;
}

struct span *source_window(struct source *s)
{
    return &s->window;
}

const char *source_compression(const struct source *s)
{
    return s->compression == GZIP ? "gzip" : s->compression == ZSTD ? "zstd" : "";
}

const char *source_problem(const struct source *s)
{
    return s->problem;
}

/* ---------------------------------------------------------------- raw bytes */

/* Read what the pipe has, at most `room` bytes. */
static enum source_fill read_pipe(struct source *s, uint8_t *at, size_t room, int wait_ms,
                                  size_t *ret_n)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    if (s->raw_ended)
        return SOURCE_END;
    const int ready = poll(&p, 1, wait_ms);
    if (ready == 0 || (ready < 0 && errno == EINTR))
        return SOURCE_WAIT;
    const ssize_t n = read(s->fd, at, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return SOURCE_WAIT;
    if (n < 0) {
        (void)snprintf(s->problem, sizeof(s->problem), "it cannot be read (%s)", strerror(errno));
        return SOURCE_BAD;
    }
    s->raw_ended = n == 0;
    *ret_n = (size_t)n;
    return n == 0 ? SOURCE_END : SOURCE_FILLED;
}

/* Append to the raw bytes. Those of a mapping are all there from the start. */
static enum source_fill fill_raw(struct source *s, int wait_ms)
{
    size_t n = 0;

    if (s->raw_ended)
        return SOURCE_END;
    memmove(s->raw_buffer, s->raw.at != NULL ? s->raw.at : s->raw_buffer, s->raw.left);
    s->raw.at = s->raw_buffer;
    const enum source_fill r =
        read_pipe(s, s->raw_buffer + s->raw.left, RAW_BUFFER - s->raw.left, wait_ms, &n);
    s->raw.left += n;
    return r;
}

/* ---------------------------------------------------------------- decompression */

static enum source_fill bad(struct source *s, const char *what, const char *why)
{
    (void)snprintf(s->problem, sizeof(s->problem), "%s (%.60s)", what, why);
    return SOURCE_BAD;
}

static enum source_fill inflate_some(struct source *s, uint8_t *at, size_t room, size_t *ret_n)
{
    if (!s->in_member && s->has_member && s->raw.at[0] == 0) { /* padded to whole blocks */
        (void)span_take(&s->raw, 1);
        return SOURCE_FILLED;
    }
    if (!s->in_member) {
        s->has_member = true;
        if (inflateReset(s->gzip) != Z_OK)
            return bad(s, "its gzip data cannot be read", "zlib refuses to start");
        s->in_member = true;
    }
    s->gzip->next_in = (z_const Bytef *)(uintptr_t)s->raw.at; /* zlib does not write there */
    s->gzip->avail_in = (uInt)(s->raw.left < UINT32_MAX ? s->raw.left : UINT32_MAX);
    s->gzip->next_out = at;
    s->gzip->avail_out = (uInt)room;
    const uInt offered = s->gzip->avail_in;
    const int r = inflate(s->gzip, Z_NO_FLUSH);

    (void)span_take(&s->raw, offered - s->gzip->avail_in);
    *ret_n = room - s->gzip->avail_out;
    if (r == Z_STREAM_END)
        s->in_member = false; /* another member may follow */
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return bad(s, "its gzip data are damaged",
                   s->gzip->msg != NULL ? s->gzip->msg : "out of memory");
    return SOURCE_FILLED;
}

static enum source_fill unzstd_some(struct source *s, uint8_t *at, size_t room, size_t *ret_n)
{
    /* In small bites: what a call decompressed is lost when it ends in an error. */
    ZSTD_inBuffer in = {s->raw.at, s->raw.left < ZSTD_BITE ? s->raw.left : ZSTD_BITE, 0};
    ZSTD_outBuffer out = {at, room, 0};
    const size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

    (void)span_take(&s->raw, in.pos);
    *ret_n = out.pos;
    if (ZSTD_isError(r))
        return bad(s, "its zstd data are damaged", ZSTD_getErrorName(r));
    s->in_member = r != 0;
    return SOURCE_FILLED;
}

/* Decompress until the window is full or the raw bytes are used up. */
static enum source_fill fill_decompressed(struct source *s, int wait_ms)
{
    const size_t before = s->window.left;

    while (s->window.left < SOURCE_WINDOW) {
        uint8_t *const at = s->buffer + s->window.left;
        const size_t room = SOURCE_WINDOW - s->window.left;
        enum source_fill r;
        size_t n = 0;

        if (s->raw.left == 0) {
            r = s->window.left > before ? SOURCE_WAIT : fill_raw(s, wait_ms);
            if (r == SOURCE_END)
                r = s->in_member ? SOURCE_CUT : SOURCE_END;
        } else {
            const size_t raw_before = s->raw.left;
            r = s->compression == GZIP ? inflate_some(s, at, room, &n)
                                       : unzstd_some(s, at, room, &n);
            s->window.left += n;
            if (r == SOURCE_FILLED && n == 0 && s->raw.left == raw_before && s->in_member)
                r = bad(s, "its compressed data are damaged", "no progress");
        }
        if (r != SOURCE_FILLED && r != SOURCE_WAIT)
            s->last = r;
        if (r != SOURCE_FILLED)
            return s->window.left > before ? SOURCE_FILLED : r;
    }
    return SOURCE_FILLED;
}

/* ---------------------------------------------------------------- which is it? */

static int prepare(struct source *s)
{
    if (s->compression == GZIP) {
        s->gzip = calloc(1, sizeof(*s->gzip));
        if (s->gzip == NULL || inflateInit2(s->gzip, GZIP_WINDOW) != Z_OK)
            return -ENOMEM;
    }
    if (s->compression == ZSTD) {
        s->zstd = ZSTD_createDCtx();
        if (s->zstd == NULL ||
            ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
            return -ENOMEM;
    }
    if (s->compression == PLAIN && s->is_file)
        return 0; /* the mapping is the window */
    s->buffer = malloc(SOURCE_WINDOW);
    s->window.at = s->buffer;
    return s->buffer == NULL ? -ENOMEM : 0;
}

static enum source_fill start(struct source *s, int wait_ms)
{
    static const uint8_t gzip_magic[2] = {0x1f, 0x8b};
    static const uint8_t zstd_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

    while (s->raw.left < sizeof(zstd_magic)) {
        const enum source_fill r = fill_raw(s, wait_ms);
        if (r == SOURCE_END)
            break;
        if (r != SOURCE_FILLED)
            return r;
    }
    if (s->raw.left >= 2 && memcmp(s->raw.at, gzip_magic, 2) == 0)
        s->compression = GZIP;
    else if (s->raw.left >= 4 && memcmp(s->raw.at, zstd_magic, 4) == 0)
        s->compression = ZSTD;
    else
        s->compression = PLAIN;

    if (prepare(s) < 0)
        return s->last = bad(s, "it cannot be read", "out of memory");
    if (s->compression != PLAIN)
        return fill_decompressed(s, wait_ms);
    if (s->raw.left == 0)
        return SOURCE_END;
    if (s->is_file) {
        s->window = s->raw;
    } else {
        memcpy(s->buffer, s->raw.at, s->raw.left);
        s->window.left = s->raw.left;
    }
    return SOURCE_FILLED;
}

enum source_fill source_fill(struct source *s, int wait_ms)
{
    if (s->last != SOURCE_FILLED)
        return s->last;
    if (s->compression == UNKNOWN)
        return start(s, wait_ms);
    if (s->buffer == NULL)
        return SOURCE_END;

    memmove(s->buffer, s->window.at, s->window.left);
    s->window.at = s->buffer;
    if (s->compression != PLAIN)
        return fill_decompressed(s, wait_ms);

    size_t n = 0;
    const enum source_fill r =
        read_pipe(s, s->buffer + s->window.left, SOURCE_WINDOW - s->window.left, wait_ms, &n);
    s->window.left += n;
    return r;
}
