/*
 * Several threads post the same alerts while others read lists and the outbox: nothing is lost,
 * nothing is stored twice, and ThreadSanitizer has nothing to say.
 */
#include <pthread.h>
#include <stdio.h>

#include "collector/alerts.h"
#include "collector/ingest.h"
#include "collector/outbox.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

#define BATCHES 30
#define ALERTS  5

static _Atomic int commits;

static void count_commit(void *arg)
{
    (void)arg;
    commits++;
}

static json_t *batch_of(int n)
{
    json_t *items = json_array();
    char uid[37];

    for (int i = 0; i < ALERTS; i++) {
        (void)snprintf(uid, sizeof(uid), "0198f2c4-7a31-7c5e-9d2b-%012x",
                       (unsigned)(n * ALERTS + i));
        (void)json_array_append_new(
            items,
            json_pack("{s:s, s:{s:s}, s:{s:s, s:i, s:s, s:s, s:[{s:s, s:s, s:s}]}}", "timestamp",
                      "2026-01-02T03:04:05.678901+0000", "alert", "signature", "x", "wind", "uid",
                      uid, "rev", 1, "detector", "port_scan", "severity", "low", "entities", "kind",
                      "host", "value", "10.0.0.1", "role", "attacker"));
    }
    return items;
}

static void *post(void *arg)
{
    const struct correlate_conf conf = {.window_ns = 1000000000, .alerts_max = 100};

    (void)arg;
    for (int n = 0; n < BATCHES; n++) {
        json_t *items = batch_of(n);
        const struct ingest_batch batch = {.sensor = "race", .version = "0", .alerts = items};
        struct ingest_result res;
        FUZZ_CHECK(ingest_batch(temp_db, &conf, &batch, &res, NULL) == 0);
        FUZZ_CHECK(res.accepted + res.unchanged == ALERTS);
        json_decref(res.rejected);
        json_decref(items);
    }
    return NULL;
}

static void *listen_all(void *arg)
{
    int64_t since = 0, alerts = 0;

    while (alerts < BATCHES * ALERTS) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        struct outbox_batch b;
        FUZZ_CHECK(db_begin_read(temp_db, &tx, NULL) == 0);
        FUZZ_CHECK(outbox_read(tx, since, &b, NULL) == 0);
        for (size_t i = 0; i < b.n; i++)
            alerts += b.items[i].topic == TOPIC_ALERTS && b.items[i].is_new;
        since = b.seq;
        outbox_done(&b);
    }
    *(int64_t *)arg = alerts;
    return NULL;
}

int main(void)
{
    pthread_t writers[3], readers[2];
    int64_t heard[2] = {0};

    temp_db_init();
    db_on_commit(temp_db, count_commit, NULL);
    for (size_t i = 0; i < 3; i++)
        FUZZ_CHECK(pthread_create(&writers[i], NULL, post, NULL) == 0);
    for (size_t i = 0; i < 2; i++)
        FUZZ_CHECK(pthread_create(&readers[i], NULL, listen_all, &heard[i]) == 0);
    for (size_t i = 0; i < 3; i++)
        FUZZ_CHECK(pthread_join(writers[i], NULL) == 0);
    for (size_t i = 0; i < 2; i++)
        FUZZ_CHECK(pthread_join(readers[i], NULL) == 0);
    FUZZ_CHECK(heard[0] == BATCHES * ALERTS && heard[1] == BATCHES * ALERTS);
    FUZZ_CHECK(commits == 3 * BATCHES);
    temp_db_fini();
    return 0;
}
