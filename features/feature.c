#include "features/feature.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PACKET  FEATURE_PACKET
#define NETFLOW FEATURE_NETFLOW

static const struct feature_info infos[FEATURE_COUNT] = {
#define FEATURE(name, unit, family, sources, meaning)                                              \
    [FEATURE_##name] = {#name, unit, meaning, FEATURE_##family, sources},
#include "features/features.def"
#undef FEATURE
};

#define ALL_MISSING (UINT64_MAX >> (64 - FEATURE_COUNT))

const struct feature_info *feature_info(size_t feature)
{
    return feature < FEATURE_COUNT ? &infos[feature] : NULL;
}

const char *feature_name(size_t feature)
{
    return feature < FEATURE_COUNT ? infos[feature].name : "?";
}

const char *feature_unit(size_t feature)
{
    return feature < FEATURE_COUNT ? infos[feature].unit : "?";
}

const char *feature_meaning(size_t feature)
{
    return feature < FEATURE_COUNT ? infos[feature].meaning : "?";
}

int feature_find(const char *name)
{
    for (int f = 0; f < FEATURE_COUNT; f++)
        if (strcmp(infos[f].name, name) == 0)
            return f;
    return -1;
}

/* FNV-1a, including each string's NUL so that "ab","c" and "a","bc" differ. */
static uint64_t hash_text(uint64_t h, const char *s)
{
    do {
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    } while (*s++ != '\0');
    return h;
}

uint64_t feature_schema_hash(size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t f = 0; f < n && f < FEATURE_COUNT; f++) {
        h = hash_text(h, infos[f].name);
        h = hash_text(h, infos[f].unit);
    }
    return h;
}

void feature_schema_text(size_t n, char ret_text[FEATURE_SCHEMA_TEXT])
{
    if (n > FEATURE_COUNT)
        n = FEATURE_COUNT;
    (void)snprintf(ret_text, FEATURE_SCHEMA_TEXT, "%zu:%016llx", n,
                   (unsigned long long)feature_schema_hash(n));
}

float feature_finite(double value)
{
    if (!(value > 0)) /* NaN too */
        return 0.0f;
    return value < (double)FLT_MAX ? (float)value : FLT_MAX;
}

static double deviation(double sum, double sum2, double n)
{
    const double var = (sum2 - sum * sum / n) / n;

    return var > 0 ? sqrt(var) : 0;
}

static double to_ms(uint64_t ns)
{
    return (double)ns * 1e-6;
}

static void put_timing(const struct flow_stats *s, float *row, uint64_t *missing)
{
    const struct flow_dir_stats *fwd = &s->dir[0], *rev = &s->dir[1];
    const double pkts = (double)fwd->pkts + (double)rev->pkts;
    uint64_t first = fwd->pkts ? fwd->first_ns : rev->first_ns, last = fwd->last_ns;

    if (rev->pkts && rev->first_ns < first)
        first = rev->first_ns;
    if (rev->last_ns > last)
        last = rev->last_ns;
    const double ms = to_ms(last - first);
    feature_put(row, missing, FEATURE_duration, ms);
    if (pkts > 1) /* a flow shorter than a millisecond is one of a millisecond */
        feature_put(row, missing, FEATURE_pkt_rate, pkts * 1e3 / (ms > 1 ? ms : 1));

    if (fwd->pkts > 1) {
        const double gaps = (double)fwd->pkts - 1, sum = to_ms(fwd->last_ns - fwd->first_ns);
        feature_put(row, missing, FEATURE_gap_mean_fwd, sum / gaps);
        feature_put(row, missing, FEATURE_gap_sd_fwd, deviation(sum, fwd->gap2, gaps));
    }
    if (rev->pkts > 1)
        feature_put(row, missing, FEATURE_gap_mean_rev,
                    to_ms(rev->last_ns - rev->first_ns) / ((double)rev->pkts - 1));
    if (fwd->pkts > 1 || rev->pkts > 1)
        feature_put(row, missing, FEATURE_gap_max,
                    fwd->gap_max > rev->gap_max ? fwd->gap_max : rev->gap_max);
    if (fwd->pkts && rev->pkts)
        feature_put(row, missing, FEATURE_answer_time,
                    rev->first_ns > fwd->first_ns ? to_ms(rev->first_ns - fwd->first_ns) : 0);
}

static void put_payload(const struct flow_stats *s, float *row, uint64_t *missing)
{
    static const struct {
        enum feature mean, sd, first;
    } to[2] = {
        {FEATURE_payload_mean_fwd, FEATURE_payload_sd_fwd, FEATURE_first_payload_fwd},
        {FEATURE_payload_mean_rev, FEATURE_payload_sd_rev, FEATURE_first_payload_rev},
    };
    const double all = (double)s->dir[0].payload + (double)s->dir[1].payload;

    for (unsigned i = 0; i < 2; i++) {
        const struct flow_dir_stats *d = &s->dir[i];
        const double n = d->payload_pkts, sum = (double)d->payload;
        if (d->payload_pkts == 0)
            continue;
        feature_put(row, missing, to[i].mean, sum / n);
        feature_put(row, missing, to[i].sd, deviation(sum, d->payload2, n));
        feature_put(row, missing, to[i].first, s->first_payload[i]);
    }
    if (all > 0)
        feature_put(row, missing, FEATURE_payload_out_share, (double)s->dir[0].payload / all);
}

void feature_flow(const struct flow_stats *s, uint8_t proto, float *row, uint64_t *ret_missing)
{
    const uint8_t tcp = 6;

    memset(row, 0, FEATURE_COUNT * sizeof(*row));
    *ret_missing = ALL_MISSING;
    if (s == NULL || (s->dir[0].pkts == 0 && s->dir[1].pkts == 0))
        return;

    feature_put(row, ret_missing, FEATURE_pkts_fwd, s->dir[0].pkts);
    feature_put(row, ret_missing, FEATURE_pkts_rev, s->dir[1].pkts);
    feature_put(row, ret_missing, FEATURE_bytes_fwd, (double)s->dir[0].bytes);
    feature_put(row, ret_missing, FEATURE_bytes_rev, (double)s->dir[1].bytes);
    put_timing(s, row, ret_missing);
    put_payload(s, row, ret_missing);
    if (proto == tcp) {
        feature_put(row, ret_missing, FEATURE_tcp_syn, s->dir[0].syn + s->dir[1].syn);
        feature_put(row, ret_missing, FEATURE_tcp_rst, s->dir[0].rst + s->dir[1].rst);
    }
}
