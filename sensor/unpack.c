#include "sensor/unpack.h"

#include <errno.h>
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define ZSTD_WINDOW_LOG 27
#define GZIP_WINDOW     (16 + MAX_WBITS) /* zlib: expect a gzip header */

/* In small bites: what a call decompressed is lost when it ends in an error. */
#define BITE (1 << 14)

struct unpack_kind {
    const char *name;
    size_t magic_len;
    uint8_t magic[UNPACK_MAGIC];
    bool (*start)(struct unpack *u);
    /* Set *ret_n; return NULL, or what is wrong. */
    const char *(*some)(struct unpack *u, struct span *in, uint8_t *to, size_t room, size_t *ret_n);
    void (*stop)(struct unpack *u);
};

struct unpack {
    const struct unpack_kind *kind;
    bool is_midway;
    bool has_member; /* gzip: there was one */
    union {
        z_stream gzip;
        ZSTD_DCtx *zstd;
        LZ4F_dctx *lz4;
    };
    char problem[120];
};

/* ---------------------------------------------------------------- gzip */

static bool gzip_start(struct unpack *u)
{
    return inflateInit2(&u->gzip, GZIP_WINDOW) == Z_OK;
}

static void gzip_stop(struct unpack *u)
{
    (void)inflateEnd(&u->gzip);
}

static const char *gzip_some(struct unpack *u, struct span *in, uint8_t *to, size_t room,
                             size_t *ret_n)
{
    z_stream *const z = &u->gzip;

    if (!u->is_midway && u->has_member && in->at[0] == 0) { /* padded to whole blocks */
        (void)span_take(in, 1);
        return NULL;
    }
    if (!u->is_midway && inflateReset(z) != Z_OK)
        return "zlib refuses to start";
    u->has_member = u->is_midway = true;
    z->next_in = (z_const Bytef *)(uintptr_t)in->at; /* zlib does not write there */
    z->avail_in = (uInt)(in->left < UINT32_MAX ? in->left : UINT32_MAX);
    z->next_out = to;
    z->avail_out = (uInt)room;
    const uInt offered = z->avail_in;
    const int r = inflate(z, Z_NO_FLUSH);

    (void)span_take(in, offered - z->avail_in);
    *ret_n = room - z->avail_out;
    if (r == Z_STREAM_END)
        u->is_midway = false; /* another member may follow */
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return z->msg != NULL ? z->msg : "out of memory";
    return NULL;
}

/* ---------------------------------------------------------------- zstd */

static bool zstd_start(struct unpack *u)
{
    u->zstd = ZSTD_createDCtx();
    return u->zstd != NULL &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
}

static void zstd_stop(struct unpack *u)
{
    (void)ZSTD_freeDCtx(u->zstd);
}

static const char *zstd_some(struct unpack *u, struct span *in, uint8_t *to, size_t room,
                             size_t *ret_n)
{
    ZSTD_inBuffer from = {in->at, in->left < BITE ? in->left : BITE, 0};
    ZSTD_outBuffer out = {to, room, 0};
    const size_t r = ZSTD_decompressStream(u->zstd, &out, &from);

    (void)span_take(in, from.pos);
    *ret_n = out.pos;
    u->is_midway = r != 0;
    return ZSTD_isError(r) ? ZSTD_getErrorName(r) : NULL;
}

/* ---------------------------------------------------------------- LZ4 */

static bool lz4_start(struct unpack *u)
{
    return !LZ4F_isError(LZ4F_createDecompressionContext(&u->lz4, LZ4F_VERSION));
}

static void lz4_stop(struct unpack *u)
{
    (void)LZ4F_freeDecompressionContext(u->lz4);
}

static const char *lz4_some(struct unpack *u, struct span *in, uint8_t *to, size_t room,
                            size_t *ret_n)
{
    size_t taken = in->left < BITE ? in->left : BITE, made = room;
    const size_t r = LZ4F_decompress(u->lz4, to, &made, in->at, &taken, NULL);

    if (LZ4F_isError(r))
        return LZ4F_getErrorName(r);
    (void)span_take(in, taken);
    *ret_n = made;
    u->is_midway = r != 0;
    return NULL;
}

/* ---------------------------------------------------------------- all of them */

static const struct unpack_kind kinds[] = {
    {"gzip", 2, {0x1f, 0x8b}, gzip_start, gzip_some, gzip_stop},
    {"zstd", 4, {0x28, 0xb5, 0x2f, 0xfd}, zstd_start, zstd_some, zstd_stop},
    {"lz4", 4, {0x04, 0x22, 0x4d, 0x18}, lz4_start, lz4_some, lz4_stop},
};

const struct unpack_kind *unpack_detect(const uint8_t *magic, size_t len)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(kinds); i++)
        if (len >= kinds[i].magic_len && memcmp(magic, kinds[i].magic, kinds[i].magic_len) == 0)
            return &kinds[i];
    return NULL;
}

const char *unpack_name(const struct unpack_kind *kind)
{
    return kind->name;
}

int unpack_new(struct unpack **ret_unpack, const struct unpack_kind *kind)
{
    WIND_AUTO(unpack) struct unpack *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return -ENOMEM;
    u->kind = kind;
    if (!kind->start(u))
        return -ENOMEM;
    *ret_unpack = WIND_STEAL(u);
    return 0;
}

struct unpack *unpack_free(struct unpack *u)
{
    if (u != NULL) {
        u->kind->stop(u);
        free(u);
    }
    return NULL;
}

int unpack_some(struct unpack *u, struct span *in, uint8_t *to, size_t room, size_t *ret_n)
{
    const size_t before = in->left;

    *ret_n = 0;
    const char *why = u->kind->some(u, in, to, room, ret_n);
    if (why == NULL && *ret_n == 0 && in->left == before && u->is_midway)
        why = "no progress";
    if (why == NULL)
        return 0;
    (void)snprintf(u->problem, sizeof(u->problem), "its %s data are damaged (%.60s)", u->kind->name,
                   why);
    return -EBADMSG;
}

bool unpack_is_midway(const struct unpack *u)
{
    return u->is_midway;
}

const char *unpack_problem(const struct unpack *u)
{
    return u->problem;
}
