/*
 * search.h - the text index over alerts and incidents, and the thread that fills it.
 *
 * Why      Words are found through an index that is filled behind the commits: it never slows
 *          or stops an ingest, and an index that was away catches up alone. One grammar
 *          (filter.h) asks it, whichever it is: the database's own (FTS5, tsvector) or a search
 *          server (search.url).
 * Owns     The thread, the index, its position in the outbox (table search_state).
 * Threads  new, start, stop, free: main. Everything else: any.
 * Bounds   SEARCH_BATCH (PostgreSQL: SEARCH_BATCH_MAX) changes or rows at a time, fewer when they
 * do not fit. A batch begins SEARCH_PACE_MS after the one before, or when somebody asks.
 * The outbox keeps what the index has not taken, up to OUTBOX_HELD changes; beyond, the index is
 * filled anew from the tables.
 *
 * What was committed before a question is found: the question waits for the index, at most
 * SEARCH_SETTLE_MS and SEARCH_NEAR changes. When that is not enough (a rebuild, the server away),
 * it is answered from what is there, and *ret_behind says how many changes that does not know.
 */
#pragma once

#include "collector/filter.h"

#define SEARCH_BATCH     1000
#define SEARCH_BATCH_MAX 5000 /* of PostgreSQL's own, which keeps nobody waiting */
#define SEARCH_PACE_MS   500
#define SEARCH_SETTLE_MS 1000
#define SEARCH_NEAR      (INT64_C(20) * SEARCH_BATCH) /* a question waits for no more than that */
#define SEARCH_PRUNE_S   600

struct search;

struct search_conf {
    struct db *db;
    const char *url; /* of a search server; NULL or "": the database's own index */
    const char *user, *password_file, *ca_file, *prefix;
    bool is_gzip;
    int64_t retention_ns;
};

WIND_MUST_USE int search_new(struct search **ret_search, const struct search_conf *conf,
                             struct err *e);
WIND_MUST_USE int search_start(struct search *s, struct err *e);
void search_stop(struct search *s);
struct search *search_free(struct search *s);
WIND_DEFINE_FREE(search)

/* There was a commit. */
void search_wake(struct search *s);

/* For tests, without the thread: one batch. 1: there was one, 0: the index knows everything. */
WIND_MUST_USE int search_step(struct search *s, struct err *e);

/*
 * Make `f` ready for its page (filter_page, on a read transaction that begins afterwards): wait
 * for the index, and have a search server pick the rows. -EAGAIN: the server is away.
 */
WIND_MUST_USE int search_ask(struct search *s, struct filter *f, int64_t *ret_behind,
                             struct err *e);

/* Fill it anew from the tables, in the background, while it goes on answering. */
WIND_MUST_USE int search_rebuild(struct search *s, struct err *e);

/* For tests: what the follower does every SEARCH_PRUNE_S. 1: there is more of it. */
WIND_MUST_USE int search_prune(struct search *s, struct err *e);

struct search_stats {
    const char *index;               /* "text", "rest" */
    int64_t behind;                  /* changes it has not taken */
    int64_t rebuild_at, rebuild_to;  /* equal: no rebuild */
    uint64_t taken, refused, failed; /* documents; documents the index refused; failed batches */
    char trouble[240];               /* why the last batch failed; "" when it did not */
};
WIND_MUST_USE int search_stats(struct search *s, struct search_stats *ret_stats, struct err *e);

/* As Prometheus text. */
void search_print(struct search *s, struct buf *out);
