/*
 * packing.h - compress bytes in every way that we can read, for tests.
 */
#pragma once

#include <criterion/criterion.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "support/capture_drain.h"

static inline void gzip_of(const struct bytes *b, struct bytes *out)
{
    z_stream z = {.next_in = b->data, .avail_in = (uInt)b->len};
    uint8_t *const buffer = malloc(BYTES_MAX);

    cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = buffer;
    z.avail_out = BYTES_MAX;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    put(out, buffer, z.total_out);
    (void)deflateEnd(&z);
    free(buffer);
}

static inline void zstd_of(const struct bytes *b, struct bytes *out)
{
    uint8_t *const buffer = malloc(BYTES_MAX);
    ZSTD_CCtx *const z = ZSTD_createCCtx();

    (void)ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    put(out, buffer, ZSTD_compress2(z, buffer, BYTES_MAX, b->data, b->len));
    (void)ZSTD_freeCCtx(z);
    free(buffer);
}

static inline void lz4_of(const struct bytes *b, struct bytes *out)
{
    const LZ4F_preferences_t p = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB,
                      .contentChecksumFlag = LZ4F_contentChecksumEnabled}};
    uint8_t *const buffer = malloc(BYTES_MAX);

    put(out, buffer, LZ4F_compressFrame(buffer, BYTES_MAX, b->data, b->len, &p));
    free(buffer);
}

static const struct packing {
    const char *name;
    void (*pack)(const struct bytes *b, struct bytes *out);
} packings[] = {{"gzip", gzip_of}, {"zstd", zstd_of}, {"lz4", lz4_of}};

/* 300 packets of 8 KiB and more: several windows and several pipe buffers. */
static inline void long_file(struct bytes *b)
{
    static uint8_t data[8300];
    uint32_t random = 1;

    file_pcap(b, US, 1);
    for (uint32_t i = 0; i < 300; i++) {
        for (size_t j = 0; j < sizeof(data); j++)
            data[j] = (uint8_t)((random = random * 1664525 + 1013904223) >> 25); /* 7 of 8 bits */
        data[0] = (uint8_t)i;
        file_record(b, i, 0, data, 8000 + i);
    }
}

static inline void expect_long_file(const struct outcome *o, size_t first)
{
    cr_assert_eq(o->n, 300 - first);
    for (size_t i = 0; i < o->n; i++) {
        cr_assert_eq(o->packet[i].len, 8000 + first + i);
        cr_assert_eq(o->first[i], (uint8_t)(first + i));
    }
}
