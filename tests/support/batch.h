/*
 * batch.h - batches as a sensor would post them, for tests of the collector.
 */
#pragma once

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

#include "collector/ingest.h"
#include "support/temp_db.h"

#define BATCH_WINDOW_NS (INT64_C(1800) * 1000000000)

/* What tests vary; the rest of the alert is always the same and right. */
struct batch_alert {
    int n;    /* makes the uid */
    int rev;  /* 0 = 1 */
    int at_s; /* event time, seconds after 2026-01-02T00:00:00Z, below a day */
    const char *detector, *severity, *attacker, *victim, *tactic;
    const char *roles[2]; /* of attacker and victim, when they are something else */
};

static inline json_t *batch_item(const struct batch_alert *a)
{
    char uid[37], at[32];

    (void)snprintf(uid, sizeof(uid), "0198f2c4-7a31-7c5e-9d2b-%012x", (unsigned)a->n);
    (void)snprintf(at, sizeof(at), "2026-01-02T%02d:%02d:%02d.000000", a->at_s / 3600 % 24,
                   a->at_s / 60 % 60, a->at_s % 60);
    const char *detector = a->detector ? a->detector : "port_scan";
    const char *attacker = a->attacker ? a->attacker : "10.9.0.66";
    const char *victim = a->victim ? a->victim : "10.9.0.5";
    char eve[40], zulu[40];
    (void)snprintf(eve, sizeof(eve), "%s+0000", at);
    (void)snprintf(zulu, sizeof(zulu), "%sZ", at);
    json_t *item = json_pack(
        "{s:s, s:I, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:s,"
        " s:{s:s, s:i, s:s, s:s},"
        " s:{s:s, s:i, s:s, s:s, s:f, s:n, s:i, s:s, s:s,"
        "    s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}], s:{s:s, s:s, s:s}, s:[]}}",
        "timestamp", eve, "flow_id", (json_int_t)12, "community_id", "1:abc", "event_type", "alert",
        "src_ip", attacker, "src_port", 4242, "dest_ip", victim, "dest_port", 22, "proto", "TCP",
        "app_proto", "ssh", "host", "lab", "alert", "action", "allowed", "signature_id", 9000001,
        "signature", "somebody did something", "category", "Network scan", "wind", "uid", uid,
        "rev", a->rev ? a->rev : 1, "detector", detector, "severity",
        a->severity ? a->severity : "high", "score", 0.98, "p_value", "count", 1000, "first_seen",
        zulu, "last_seen", zulu, "entities", "kind", "host", "value", attacker, "role",
        a->roles[0] ? a->roles[0] : "attacker", "kind", "host", "value", victim, "role",
        a->roles[1] ? a->roles[1] : "victim", "technique", "id", "T1046", "name", "x", "tactic",
        a->tactic ? a->tactic : "Discovery", "explain");
    cr_assert_not_null(item);
    return item;
}

static struct ingest *batch_ingest;

static inline void batch_open(int64_t alerts_max)
{
    const struct ingest_conf conf = {
        .db = temp_db, .correlate = {.window_ns = BATCH_WINDOW_NS, .alerts_max = alerts_max}};

    if (ingest_new(&batch_ingest, &conf, NULL) != 0)
        abort();
}

/* For TestSuite: a database and what posts into it. */
static inline void batch_init(void)
{
    temp_db_init();
    batch_open(1000);
}

static inline void batch_fini(void)
{
    batch_ingest = ingest_free(batch_ingest);
    temp_db_fini();
}

/* As after a restart of the collector. */
static inline void batch_reopen(int64_t alerts_max)
{
    batch_ingest = ingest_free(batch_ingest);
    temp_db_reopen();
    batch_open(alerts_max);
}

/* Post `items` (taken); the caller ends the result. */
static inline struct ingest_result batch_post_json(json_t *items)
{
    const size_t n = json_array_size(items);
    struct ingest_item *texts = calloc(n + 1, sizeof(*texts));
    struct ingest_result res = {0};
    struct err e = {0};

    for (size_t i = 0; i < n; i++) {
        char *text = json_dumps(json_array_get(items, i), JSON_COMPACT | JSON_ENCODE_ANY);
        texts[i] = (struct ingest_item){.json = text, .len = strlen(text)};
    }
    const struct ingest_batch batch = {
        .sensor = "lab", .version = "0.1.0", .items = texts, .n_items = n};
    cr_assert_eq(ingest_batch(batch_ingest, &batch, &res, &e), 0, "%s", e.text);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)texts[i].json);
    free(texts);
    json_decref(items);
    return res;
}

static inline void batch_post(const struct batch_alert *alerts, size_t n)
{
    json_t *items = json_array();

    for (size_t i = 0; i < n; i++)
        cr_assert_eq(json_array_append_new(items, batch_item(&alerts[i])), 0);
    struct ingest_result res = batch_post_json(items);
    cr_assert_eq(res.n[INGEST_REJECTED], 0);
    ingest_result_done(&res);
}

/* The first column of the first row, as a number or as text (valid until the next call). */
static inline int64_t ask(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, &e), 0, "%s", e.text);
    cr_assert_eq(db_step(s, &e), DB_ROW, "no row: %s", sql);
    return db_i64(s, 0);
}

static inline const char *ask_text(const char *sql)
{
    static char text[512];
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_read(temp_db, &tx, &e), 0);
    cr_assert_eq(db_query(tx, sql, DB_NONE, &s, &e), 0, "%s", e.text);
    cr_assert_eq(db_step(s, &e), DB_ROW, "no row: %s", sql);
    (void)snprintf(text, sizeof(text), "%s", db_text(s, 0) ? db_text(s, 0) : "");
    return text;
}
