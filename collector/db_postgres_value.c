#include "collector/db_postgres.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"

/* ---------------------------------------------------------------- to the server */

static const struct type {
    Oid one, many;
} types[] = {
    [DB_TYPE_INT] = {PG_INT8, PG_INT8S},   [DB_TYPE_F64] = {PG_FLOAT8, PG_FLOAT8S},
    [DB_TYPE_TEXT] = {PG_TEXT, PG_TEXTS},  [DB_TYPE_BLOB] = {PG_BYTEA, PG_BYTEAS},
    [DB_TYPE_TSVECTOR] = {PG_TSVECTOR, 0},
};

Oid pg_type(const struct db_value *v)
{
    if (v->type == DB_TYPE_NULL)
        return 0;
    return v->type == DB_TYPE_INTS || v->type == DB_TYPE_ARRAY ? types[v->of].many
                                                               : types[v->type].one;
}

static void put64(struct buf *out, uint64_t v)
{
    pg_put32(out, (uint32_t)(v >> 32));
    pg_put32(out, (uint32_t)v);
}

void pg_put32(struct buf *out, uint32_t v)
{
    const unsigned char bytes[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                                    (unsigned char)(v >> 8), (unsigned char)v};

    buf_put(out, bytes, 4);
}

static struct db_value item_of(const struct db_value *v, size_t i)
{
    return v->type == DB_TYPE_INTS ? db_int(((const int64_t *)v->p)[i])
                                   : ((const struct db_value *)v->p)[i];
}

static uint32_t size_of(const struct db_value *v)
{
    return db_has_bytes(v) ? (uint32_t)v->len : 8;
}

static void encode_one(struct buf *out, const struct db_value *v)
{
    uint64_t bits;

    switch (v->type) {
    case DB_TYPE_INT:
        put64(out, (uint64_t)v->i);
        break;
    case DB_TYPE_F64:
        memcpy(&bits, &v->f, sizeof(bits));
        put64(out, bits);
        break;
    case DB_TYPE_TEXT:
    case DB_TYPE_BLOB:
    case DB_TYPE_TSVECTOR:
        buf_put(out, v->p, v->len);
        break;
    default:
        break;
    }
}

/* Dimensions, has NULLs, type; size and first index of the one dimension; the items. */
static void encode_array(struct buf *out, const struct db_value *v)
{
    pg_put32(out, v->len > 0);
    pg_put32(out, 1);
    pg_put32(out, types[v->of].one);
    if (v->len > 0) {
        pg_put32(out, (uint32_t)v->len);
        pg_put32(out, 1);
    }
    for (size_t i = 0; i < v->len; i++) {
        const struct db_value item = item_of(v, i);
        if (item.type == DB_TYPE_NULL) {
            pg_put32(out, UINT32_MAX);
            continue;
        }
        pg_put32(out, size_of(&item));
        encode_one(out, &item);
    }
}

void pg_encode(struct buf *out, const struct db_value *v)
{
    if (v->type == DB_TYPE_INTS || v->type == DB_TYPE_ARRAY)
        encode_array(out, v);
    else
        encode_one(out, v);
}

void pg_encode_text(struct buf *out, const struct db_value *v)
{
    switch (v->type) {
    case DB_TYPE_INT:
        buf_printf(out, "%lld", (long long)v->i);
        break;
    case DB_TYPE_F64:
        buf_printf(out, "%.17g", v->f);
        break;
    case DB_TYPE_TEXT:
        buf_put(out, v->p, v->len);
        break;
    case DB_TYPE_BLOB:
        buf_puts(out, "\\x");
        for (size_t i = 0; i < v->len; i++)
            buf_printf(out, "%02x", ((const unsigned char *)v->p)[i]);
        break;
    default:
        out->failed = true; /* the others have a type from the start */
        break;
    }
    buf_putc(out, '\0');
}

/* ---------------------------------------------------------------- from the server */

static uint64_t get(const unsigned char *p, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* sum() of BIGINT: base 10000 digits, the first worth 10000 ^ weight. */
static double read_numeric(const unsigned char *p, int len)
{
    if (len < 8)
        return 0;
    const int digits = (int)get(p, 2), weight = (int16_t)get(p + 2, 2);
    const bool is_negative = get(p + 4, 2) == 0x4000;
    double v = 0;
    for (int i = 0; i < digits && 8 + 2 * i + 2 <= len; i++)
        v += (double)get(p + 8 + 2 * (size_t)i, 2) * pow(10000, weight - i);
    return is_negative ? -v : v;
}

static int64_t int_of(const unsigned char *p, Oid type)
{
    switch (type) {
    case PG_INT8:
        return (int64_t)get(p, 8);
    case PG_INT4:
        return (int32_t)get(p, 4);
    case PG_INT2:
        return (int16_t)get(p, 2);
    default:
        return p[0] != 0; /* PG_BOOL */
    }
}

static double real_of(const unsigned char *p, Oid type)
{
    const uint64_t bits = get(p, type == PG_FLOAT8 ? 8 : 4);
    double real;

    if (type == PG_FLOAT8) {
        memcpy(&real, &bits, sizeof(real));
        return real;
    }
    const uint32_t half = (uint32_t)bits;
    float single;
    memcpy(&single, &half, sizeof(single));
    return (double)single;
}

static bool is_int(Oid type)
{
    return type == PG_INT8 || type == PG_INT4 || type == PG_INT2 || type == PG_BOOL;
}

/* All answers are binary, so that only texts end in a NUL for a reason. */
int64_t pg_read_i64(const PGresult *res, int row, int col)
{
    const char *p = PQgetvalue(res, row, col);
    const Oid type = PQftype(res, col);

    if (is_int(type))
        return int_of((const unsigned char *)p, type);
    if (type == PG_TEXT)
        return strtoll(p, NULL, 10);
    return (int64_t)pg_read_f64(res, row, col);
}

double pg_read_f64(const PGresult *res, int row, int col)
{
    const char *p = PQgetvalue(res, row, col);
    const Oid type = PQftype(res, col);

    if (type == PG_FLOAT8 || type == PG_FLOAT4)
        return real_of((const unsigned char *)p, type);
    if (type == PG_NUMERIC)
        return read_numeric((const unsigned char *)p, PQgetlength(res, row, col));
    if (is_int(type))
        return (double)int_of((const unsigned char *)p, type);
    return type == PG_TEXT ? strtod(p, NULL) : 0;
}
