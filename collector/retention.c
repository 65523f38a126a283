#include "collector/retention.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/db.h"
#include "collector/metrics.h"
#include "collector/replay.h"
#include "collector/retention_rows.h"
#include "common/log.h"
#include "common/time.h"

#define S         ((int64_t)WIND_NS_PER_S)
#define LOOK_NS   (WIND_NS_PER_S / 4)  /* between two looks at the disk */
#define AGAIN_NS  (10 * WIND_NS_PER_S) /* between two passes that a full disk asks for */
#define FIRST_NS  (60 * WIND_NS_PER_S) /* the first pass, when the interval is longer */
#define REST_MAX  WIND_NS_PER_S        /* after one step */
#define ROWS_MIN  4                    /* of a step that found no room */
#define SIZE_GOAL 95                   /* percent of the limit that a pass goes down to */

const char *const retention_table_words[RETENTION_TABLES_N] = {
#define TABLE(name) #name,
    RETENTION_TABLES(TABLE)
#undef TABLE
};

struct retention {
    struct retention_conf conf;
    char folder[256];
    struct disk_guard guard;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock; /* guards `stop` */
    pthread_cond_t stopped;
    bool stop;

    _Atomic uint64_t deleted[RETENTION_TABLES_N], passes, failures; /* relaxed, as all here */
    _Atomic uint64_t disk_total, disk_free, bytes;

    /* the thread's own, or retention_run's */
    bool is_forgetful; /* entities may have lost their last alert */
    bool is_server;    /* PostgreSQL */
    bool is_short;     /* what may go was not enough: said once */
};

/* ---------------------------------------------------------------- life */

int retention_new(struct retention **ret, const struct retention_conf *conf, struct err *e)
{
    WIND_AUTO(retention) struct retention *r = calloc(1, sizeof(*r));
    pthread_condattr_t attr;

    if (r == NULL)
        return err_set(e, -ENOMEM, "retention: out of memory");
    r->conf = *conf;
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->stopped, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (conf->folder != NULL)
        (void)snprintf(r->folder, sizeof(r->folder), "%s", conf->folder);
    memcpy(r->guard.percent, conf->percent, sizeof(r->guard.percent));
    r->is_forgetful = true;
    *ret = WIND_STEAL(r);
    return 0;
}

struct retention *retention_free(struct retention *r)
{
    if (r == NULL)
        return NULL;
    retention_stop(r);
    (void)pthread_cond_destroy(&r->stopped);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

/* False: it is to stop. */
static bool rest(struct retention *r, uint64_t ns)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / WIND_NS_PER_S);
    t.tv_nsec = (long)(ns % WIND_NS_PER_S);
    (void)pthread_mutex_lock(&r->lock);
    int waited = 0;
    while (!r->stop && waited == 0)
        waited = pthread_cond_timedwait(&r->stopped, &r->lock, &t);
    const bool goes_on = !r->stop;
    (void)pthread_mutex_unlock(&r->lock);
    return goes_on;
}

/* ---------------------------------------------------------------- steps */

struct pass {
    struct retention *r;
    int64_t now, rows; /* of one step */
    int64_t deleted[RETENTION_TABLES_N];
};

typedef int step_fn(struct db_tx *tx, struct retention_scan *s, int64_t *deleted, struct err *e);

static void add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* Count what lasts, and let others write for as long as we did. */
static int end_step(struct pass *p, struct db_tx **tx, const int64_t *deleted, uint64_t began_ns,
                    struct err *e)
{
    const int code = db_commit(tx, e);

    if (code != 0)
        return code;
    for (int t = 0; t < RETENTION_TABLES_N; t++) {
        p->deleted[t] += deleted[t];
        add(&p->r->deleted[t], (uint64_t)deleted[t]);
    }
    const uint64_t took_ns = time_mono_ns() - began_ns;
    if (!rest(p->r, took_ns < REST_MAX ? took_ns : REST_MAX))
        return err_set(e, -ECANCELED, "stopped");
    return 0;
}

/* One transaction. 0: there is no more, 1, < 0. Deleting needs room, too: for the log. */
static int step(struct pass *p, step_fn *fn, struct retention_scan *s, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int64_t deleted[RETENTION_TABLES_N] = {0};
    const struct retention_scan before = *s;
    const uint64_t began_ns = time_mono_ns();
    int more = db_begin_write(p->r->conf.db, &tx, e);

    s->rows = p->rows;
    if (more == 0)
        more = fn(tx, s, deleted, e);
    const int code = more < 0 ? more : end_step(p, &tx, deleted, began_ns, e);
    if (code == -ENOSPC && p->rows > ROWS_MIN) {
        *s = before;
        p->rows /= 4;
        return 1;
    }
    return code < 0 ? code : more;
}

static int all_steps(struct pass *p, step_fn *fn, struct retention_scan *s, struct err *e)
{
    int more = 1;

    while (more == 1)
        more = step(p, fn, s, e);
    return more;
}

/* 0, or 1: somebody reads what would go. */
static int drop_parts(struct pass *p, struct err *e)
{
    struct retention_scan none = {.after = 0};
    const int code = all_steps(p, retention_parts, &none, e);

    return code == -EBUSY ? 1 : code;
}

/* ---------------------------------------------------------------- by age */

static int64_t age(const struct pass *p, int64_t ns)
{
    return ns > 0 && ns < p->now ? p->now - ns : 0;
}

static int plain(struct pass *p, enum retention_table table, int64_t before, struct err *e)
{
    int more = before > 0;

    while (more == 1) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        int64_t deleted[RETENTION_TABLES_N] = {0};
        const uint64_t began_ns = time_mono_ns();
        more = db_begin_write(p->r->conf.db, &tx, e);
        if (more == 0)
            more = retention_plain(tx, table, before, &deleted[table], e);
        const int code = more < 0 ? more : end_step(p, &tx, deleted, began_ns, e);
        more = code < 0 ? code : more;
    }
    return more;
}

static int by_age(struct pass *p, struct err *e)
{
    const struct retention_conf *c = &p->r->conf;
    const int64_t open_before = age(p, c->open_ns);
    struct retention_scan alerts = {.before = age(p, c->alerts_ns), .open_before = open_before};
    struct retention_scan incidents = {.before = age(p, c->incidents_ns),
                                       .open_before = open_before};

    int r = alerts.before > 0 ? all_steps(p, retention_alerts, &alerts, e) : 0;
    if (r == 0 && incidents.before + open_before > 0)
        r = all_steps(p, retention_incidents, &incidents, e);
    if (r == 0)
        r = plain(p, RETENTION_sensors, age(p, c->sensors_ns), e);
    if (r == 0)
        r = plain(p, RETENTION_bus_sequences, age(p, c->sensors_ns), e);
    if (r == 0)
        r = plain(p, RETENTION_sessions, p->now, e);
    if (r == 0)
        r = plain(p, RETENTION_revoked_tokens, p->now, e);
    if (r == 0)
        r = plain(p, RETENTION_replays, p->now - S * 3600 * REPLAY_HOURS, e);
    return r;
}

/* ---------------------------------------------------------------- by size */

/*
 * Bytes of the database that hold something, and that it has at hand without asking the disk.
 * PostgreSQL does not tell the two apart; there only a dropped table makes less of it.
 */
static int measure(struct retention *r, int64_t *ret_used, int64_t *ret_spare, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int code = db_begin_single(r->conf.db, &tx, e);

    *ret_used = *ret_spare = 0;
    if (code == 0)
        code = db_query_row(tx,
                            db_engine(tx) == DB_POSTGRES
                                ? "SELECT pg_database_size(current_database()), CAST(0 AS BIGINT)"
                                : "SELECT (p.page_count - f.freelist_count) * z.page_size, "
                                  "f.freelist_count * z.page_size FROM pragma_page_count() p, "
                                  "pragma_freelist_count() f, pragma_page_size() z",
                            DB_NONE, &s, e);
    if (code != DB_ROW)
        return code;
    r->is_server = db_engine(tx) == DB_POSTGRES;
    *ret_used = db_i64(s, 0);
    *ret_spare = db_i64(s, 1);
    atomic_store_explicit(&r->bytes, (uint64_t)*ret_used, memory_order_relaxed);
    return 0;
}

/* Until the database holds no more than `goal` bytes. 0, or 1: what may go was not enough. */
static int shrink(struct pass *p, struct retention_scan *s, int64_t goal, struct err *e)
{
    int64_t used, spare;
    int more = measure(p->r, &used, &spare, e);

    if (more < 0 || used <= goal)
        return more;
    for (more = 1; more == 1;) {
        more = step(p, retention_alerts, s, e);
        const int code = more < 0 ? more : measure(p->r, &used, &spare, e);
        if (code < 0 || used <= goal)
            return code;
    }
    struct retention_scan incidents = {.level = s->level};
    const int code = all_steps(p, retention_incidents, &incidents, e);
    return code < 0 ? code : 1;
}

/* PostgreSQL: one table of a million alerts. 0, or 1: there is none that may go. */
static int shrink_part(struct pass *p, struct err *e)
{
    struct retention_scan alerts = {.level = RETENTION_ASSIGNED, .before = INT64_MAX};
    struct retention_scan incidents = {.level = RETENTION_ASSIGNED};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int code = db_begin_single(p->r->conf.db, &tx, e);

    if (code == 0)
        code = retention_oldest_part(tx, &alerts.up_to, e);
    tx = db_tx_free(tx);
    if (code < 0 || alerts.up_to == 0)
        return code < 0 ? code : 1;
    code = all_steps(p, retention_alerts, &alerts, e);
    if (code == 0)
        code = all_steps(p, retention_incidents, &incidents, e);
    return code == 0 ? drop_parts(p, e) : code;
}

static int shrink_parts(struct pass *p, int64_t size, struct err *e)
{
    int64_t used = 0, spare = 0;
    int code = measure(p->r, &used, &spare, e);

    while (code >= 0 && used > size) {
        code = shrink_part(p, e);
        if (code == 1)
            return 0;
        if (code == 0)
            code = measure(p->r, &used, &spare, e);
    }
    return code < 0 ? code : 0;
}

/* The limit that somebody set counts more than what is open or assigned. */
static int by_size(struct pass *p, struct err *e)
{
    const int64_t size = p->r->conf.size;
    int64_t used = 0, spare = 0;
    int more = size == 0 ? 0 : measure(p->r, &used, &spare, e);

    if (more < 0 || used <= size)
        return more;
    if (p->r->is_server)
        return shrink_parts(p, size, e);
    more = 1;
    for (enum retention_level level = 0; more == 1 && level < RETENTION_LEVELS; level++) {
        struct retention_scan s = {.level = level, .before = p->now};
        more = shrink(p, &s, size / 100 * SIZE_GOAL, e);
    }
    return more < 0 ? more : 0;
}

/* ---------------------------------------------------------------- the disk */

/*
 * What the database can use without more of the disk counts as free: empty pages, and its log,
 * which is written from the start again and again. But empty pages alone are no room for the log.
 */
static int look(struct retention *r, struct disk_use *use, struct err *e)
{
    int64_t used = 0, spare = 0;
    struct db_stats stats;
    int code = disk_use_of(r->folder, use, e);

    if (code == 0)
        code = measure(r, &used, &spare, e);
    if (code < 0)
        return code;
    db_stats(r->conf.db, &stats);
    atomic_store_explicit(&r->disk_total, use->total, memory_order_relaxed);
    atomic_store_explicit(&r->disk_free, use->free, memory_order_relaxed);
    if (use->free + stats.wal_bytes >
        disk_guard_excess(&r->guard, &(struct disk_use){use->total, 0}, DISK_FLOOD) / 4)
        use->free += (uint64_t)spare;
    return 0;
}

static void tell_stage(enum disk_stage before, enum disk_stage now, const struct disk_use *use)
{
    static const char *const what[DISK_STAGES] = {
        [DISK_FINE] = "there is room again",
        [DISK_LOW] = "make room, or set retention.size",
        [DISK_HIGH] = "deleting old alerts",
        [DISK_FLOOD] = "taking nothing new until there is room",
    };

    if (now == before)
        return;
    log_write(now > before ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
              "disk of the database: %" PRIu64 " of %" PRIu64 " MB are free (%s): %s",
              use->free >> 20, use->total >> 20, disk_stage_words[now], what[now]);
}

static enum disk_stage look_at_disk(struct retention *r)
{
    const enum disk_stage before = disk_guard_stage(&r->guard);
    struct disk_use use;
    struct err e = {0};

    if (r->folder[0] == '\0')
        return DISK_FINE;
    if (look(r, &use, &e) != 0) {
        log_debug("retention: %s", e.text);
        return before;
    }
    const enum disk_stage stage = disk_guard_look(&r->guard, &use);
    tell_stage(before, stage, &use);
    return stage;
}

/* Nothing that somebody is assigned to, nothing young: it may be others who fill the disk. */
static int by_disk(struct pass *p, struct err *e)
{
    struct retention *r = p->r;
    int64_t used = 0, spare = 0;
    struct disk_use use;

    if (look_at_disk(r) < DISK_HIGH)
        return 0;
    int code = look(r, &use, e);
    if (code == 0)
        code = measure(r, &used, &spare, e);
    const int64_t excess = code < 0 ? 0 : (int64_t)disk_guard_excess(&r->guard, &use, DISK_HIGH);
    if (code < 0 || excess == 0)
        return code;
    code = 1;
    for (enum retention_level level = 0; code == 1 && level < RETENTION_ASSIGNED; level++) {
        struct retention_scan s = {.level = level, .before = p->now - r->conf.disk_keep_ns};
        code = shrink(p, &s, used - excess, e);
    }
    if (code == 1 && !r->is_short)
        log_warn("retention: what is older than retention.disk_keep and nobody's is gone, and the "
                 "disk is still too full");
    r->is_short = code == 1;
    (void)look_at_disk(r);
    return code < 0 ? code : 0;
}

bool retention_is_full(const struct retention *r)
{
    return disk_guard_stage(&r->guard) == DISK_FLOOD;
}

/* ---------------------------------------------------------------- passes */

static void tell_pass(const struct pass *p)
{
    char text[512];
    struct buf b = BUF_FIXED(text);

    for (int t = 0; t < RETENTION_TABLES_N; t++)
        if (p->deleted[t] > 0)
            buf_printf(&b, "%s%" PRId64 " %s", b.len > 0 ? ", " : "", p->deleted[t],
                       retention_table_words[t]);
    if (b.len > 0)
        log_info("retention: deleted rows: %s", buf_text(&b));
}

int retention_run(struct retention *r, int64_t ret_deleted[RETENTION_TABLES_N], struct err *e)
{
    struct pass p = {.r = r, .now = (int64_t)time_wall_ns(), .rows = RETENTION_ROWS};
    struct retention_scan entities = {.after = 0};

    int code = by_age(&p, e);
    if (code == 0)
        code = drop_parts(&p, e);
    if (code > 0)
        code = 0; /* the next pass will */
    if (code == 0)
        code = by_size(&p, e);
    if (code == 0)
        code = by_disk(&p, e);
    r->is_forgetful = r->is_forgetful || p.deleted[RETENTION_alert_entities] > 0 ||
                      p.deleted[RETENTION_incident_entities] > 0;
    if (code == 0 && r->is_forgetful) {
        code = all_steps(&p, retention_entities, &entities, e);
        r->is_forgetful = code != 0;
    }
    tell_pass(&p);
    if (ret_deleted != NULL)
        memcpy(ret_deleted, p.deleted, sizeof(p.deleted));
    add(code == 0 ? &r->passes : &r->failures, code != -ECANCELED);
    return code;
}

static void *run_passes(void *arg)
{
    struct retention *r = arg;
    const uint64_t interval_ns = (uint64_t)r->conf.interval_ns;
    uint64_t due_ns = time_mono_ns() + (interval_ns < FIRST_NS ? interval_ns : FIRST_NS);
    uint64_t again_ns = 0; /* when a full disk may ask for the next one */

    while (rest(r, LOOK_NS)) {
        const enum disk_stage stage = look_at_disk(r);
        const uint64_t now_ns = time_mono_ns();
        struct err e = {0};
        if (now_ns < due_ns && (stage < DISK_HIGH || now_ns < again_ns))
            continue;
        const int code = retention_run(r, NULL, &e);
        if (code < 0 && code != -ECANCELED)
            log_warn("retention: %s, trying again", e.text);
        due_ns = time_mono_ns() + (code < 0 ? AGAIN_NS : interval_ns);
        again_ns = time_mono_ns() + AGAIN_NS;
    }
    return NULL;
}

int retention_start(struct retention *r, struct err *e)
{
    (void)look_at_disk(r); /* before anything is taken */
    const int code = pthread_create(&r->thread, NULL, run_passes, r);
    if (code != 0)
        return err_set(e, -code, "retention: no thread: %s", strerror(code));
    r->is_running = true;
    return 0;
}

void retention_stop(struct retention *r)
{
    if (r == NULL || !r->is_running)
        return;
    (void)pthread_mutex_lock(&r->lock);
    r->stop = true;
    (void)pthread_cond_signal(&r->stopped);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
    r->is_running = false;
}

/* ---------------------------------------------------------------- metrics */

void retention_print(struct retention *r, struct buf *out)
{
    buf_puts(out, "# HELP wind_retention_deleted_total Rows deleted, by table.\n"
                  "# TYPE wind_retention_deleted_total counter\n");
    for (int t = 0; t < RETENTION_TABLES_N; t++)
        buf_printf(out, "wind_retention_deleted_total{table=\"%s\"} %" PRIu64 "\n",
                   retention_table_words[t], get(&r->deleted[t]));
    metrics_print_one(out, "wind_retention_passes_total", "counter", "Passes that came to an end.",
                      get(&r->passes));
    metrics_print_one(out, "wind_retention_failures_total", "counter", "Passes that did not.",
                      get(&r->failures));
    if (r->folder[0] == '\0')
        return;
    metrics_print_one(out, "wind_db_used_bytes", "gauge",
                      "Of the database's file, what holds something.", get(&r->bytes));
    metrics_print_one(out, "wind_disk_total_bytes", "gauge", "Size of the database's disk.",
                      get(&r->disk_total));
    metrics_print_one(out, "wind_disk_free_bytes", "gauge", "Free on it.", get(&r->disk_free));
    metrics_print_one(out, "wind_disk_stage", "gauge",
                      "0 fine, 1 low, 2 high (deleting), 3 flood (taking nothing new).",
                      (uint64_t)disk_guard_stage(&r->guard));
}
