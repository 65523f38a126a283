#include "collector/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/routes.h"
#include "common/time.h"

#define CLASSES 5 /* 1xx .. 5xx */

static const uint64_t bucket_us[] = {500,   1000,   2500,   5000,   10000,   25000,
                                     50000, 100000, 250000, 500000, 1000000, 5000000};
#define BUCKETS (WIND_ARRAY_SIZE(bucket_us) + 1) /* the last one: +Inf */

/* Several server threads add: relaxed read-modify-write, no order between counters. */
struct row {
    const struct route *route; /* NULL in the last row */
    _Atomic uint64_t by_class[CLASSES];
    _Atomic uint64_t by_bucket[BUCKETS];
    _Atomic uint64_t total_us;
};

/* Alerts of one detector. */
struct kind {
    char detector[TYPE_MAX + 1];
    uint64_t n[4][ALERT_OUTCOMES]; /* by severity */
};

struct metrics {
    _Atomic uint64_t counters[METRICS_COUNTERS_N];
    size_t n;
    struct row *rows;
    pthread_mutex_t lock; /* guards what follows: a batch takes it a few times */
    size_t n_kinds;
    struct kind kinds[METRICS_KINDS];
};

static void add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

int metrics_new(struct metrics **ret, struct err *e)
{
    size_t n = 1;
    for (const struct route *const *t = all_routes; *t != NULL; t++)
        for (const struct route *r = *t; r->method != NULL; r++)
            n++;

    WIND_AUTO(metrics) struct metrics *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return err_set(e, -ENOMEM, "metrics: out of memory");
    m->rows = calloc(n, sizeof(*m->rows));
    if (m->rows == NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return err_set(e, -ENOMEM, "metrics: out of memory for %zu routes", n);
    (void)pthread_mutex_init(&m->lock, NULL);
    m->n = n;
    n = 0;
    for (const struct route *const *t = all_routes; *t != NULL; t++)
        for (const struct route *r = *t; r->method != NULL; r++)
            m->rows[n++].route = r;

    *ret = WIND_STEAL(m);
    return 0;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (m == NULL)
        return NULL;
    if (m->rows != NULL)
        (void)pthread_mutex_destroy(&m->lock);
    free(m->rows);
    free(m);
    return NULL;
}

void metrics_add(struct metrics *m, enum metrics_counter which, uint64_t n)
{
    add(&m->counters[which], n);
}

/* With the lock held. The last place is for all who came too late. */
static struct kind *find_kind(struct metrics *m, const char *detector)
{
    for (size_t i = 0; i < m->n_kinds; i++)
        if (strcmp(m->kinds[i].detector, detector) == 0)
            return &m->kinds[i];
    if (m->n_kinds == METRICS_KINDS)
        return &m->kinds[METRICS_KINDS - 1];
    struct kind *k = &m->kinds[m->n_kinds++];
    (void)snprintf(k->detector, sizeof(k->detector), "%s",
                   m->n_kinds == METRICS_KINDS ? "other" : detector);
    return k;
}

void metrics_alerts(struct metrics *m, const char *detector, int severity,
                    enum alert_put_outcome outcome, uint64_t n)
{
    (void)pthread_mutex_lock(&m->lock);
    find_kind(m, detector)->n[severity - 1][outcome] += n;
    (void)pthread_mutex_unlock(&m->lock);
}

void metrics_request(struct metrics *m, const struct route *route, int status, uint64_t took_ns)
{
    struct row *row = &m->rows[0];
    const uint64_t us = took_ns / WIND_NS_PER_US;
    size_t bucket = 0;

    while (row->route != route)
        row++;
    while (bucket < BUCKETS - 1 && us > bucket_us[bucket])
        bucket++;
    if (status >= 100 && status < 600)
        add(&row->by_class[status / 100 - 1], 1);
    add(&row->by_bucket[bucket], 1);
    add(&row->total_us, us);
}

static const char *method_of(const struct row *row)
{
    return row->route != NULL ? row->route->method : "GET";
}

static const char *pattern_of(const struct row *row)
{
    return row->route != NULL ? row->route->pattern : "other";
}

static void print_histogram(const struct row *row, struct buf *out)
{
    uint64_t sum = 0;

    for (size_t b = 0; b < BUCKETS; b++) {
        sum += get(&row->by_bucket[b]);
        buf_printf(out, "wind_http_request_seconds_bucket{method=\"%s\",route=\"%s\",le=\"",
                   method_of(row), pattern_of(row));
        if (b < BUCKETS - 1)
            buf_printf(out, "%g\"} %" PRIu64 "\n", (double)bucket_us[b] / 1e6, sum);
        else
            buf_printf(out, "+Inf\"} %" PRIu64 "\n", sum);
    }
    buf_printf(out, "wind_http_request_seconds_sum{method=\"%s\",route=\"%s\"} %.6f\n",
               method_of(row), pattern_of(row), (double)get(&row->total_us) / 1e6);
    buf_printf(out, "wind_http_request_seconds_count{method=\"%s\",route=\"%s\"} %" PRIu64 "\n",
               method_of(row), pattern_of(row), sum);
}

static void print_kind(const struct kind *k, struct buf *out)
{
    static const char *const outcomes[ALERT_OUTCOMES] = {
        [ALERT_ADDED] = "new",
        [ALERT_UPDATED] = "updated",
        [ALERT_UNCHANGED] = "unchanged",
    };

    for (int s = 0; s < 4; s++) {
        for (int o = 0; o < ALERT_OUTCOMES; o++) {
            if (k->n[s][o] == 0)
                continue;
            buf_puts(out, "wind_alerts_total{detector=\"");
            for (const char *p = k->detector; *p != '\0'; p++) { /* a sensor may call it anything */
                if (*p == '"' || *p == '\\')
                    buf_putc(out, '\\');
                buf_putc(out, (char)(*p == '\n' || *p == '\r' ? ' ' : *p));
            }
            buf_printf(out, "\",severity=\"%s\",outcome=\"%s\"} %" PRIu64 "\n", severity_words[s],
                       outcomes[o], k->n[s][o]);
        }
    }
}

static void print_kinds(struct metrics *m, struct buf *out)
{
    buf_puts(out, "# HELP wind_alerts_total Alerts that came, by what became of them.\n"
                  "# TYPE wind_alerts_total counter\n");
    (void)pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_kinds; i++)
        print_kind(&m->kinds[i], out);
    (void)pthread_mutex_unlock(&m->lock);
}

void metrics_print_one(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name, type, name,
               value);
}

void metrics_print(struct metrics *m, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } counters[] = {
#define COUNTER(name, text, help) {text, help},
        METRICS_COUNTERS(COUNTER)
#undef COUNTER
    };

    buf_puts(out, "# HELP wind_http_requests_total Requests answered, by route and class.\n"
                  "# TYPE wind_http_requests_total counter\n");
    for (size_t i = 0; i < m->n; i++)
        for (int c = 0; c < CLASSES; c++)
            if (get(&m->rows[i].by_class[c]) > 0)
                buf_printf(out,
                           "wind_http_requests_total{method=\"%s\",route=\"%s\",status=\"%dxx\"}"
                           " %" PRIu64 "\n",
                           method_of(&m->rows[i]), pattern_of(&m->rows[i]), c + 1,
                           get(&m->rows[i].by_class[c]));
    buf_puts(out,
             "# HELP wind_http_request_seconds Time from the head of a request to its answer.\n"
             "# TYPE wind_http_request_seconds histogram\n");
    for (size_t i = 0; i < m->n; i++)
        print_histogram(&m->rows[i], out);
    for (size_t i = 0; i < METRICS_COUNTERS_N; i++)
        metrics_print_one(out, counters[i].name, "counter", counters[i].help, get(&m->counters[i]));
    print_kinds(m, out);
}
