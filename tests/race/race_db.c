/*
 * Several threads post the same alerts, a person posts others in groups of which every second part
 * is undone, and others read the outbox: nothing is lost, nothing is stored twice, and
 * ThreadSanitizer has nothing to say.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "collector/alerts.h"
#include "collector/ingest.h"
#include "collector/outbox.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

#define BATCHES 30
#define ALERTS  5
#define GROUPS  20
#define TOTAL   (BATCHES * ALERTS + GROUPS / 2)

static _Atomic int commits;

static void count_commit(void *arg)
{
    (void)arg;
    commits++;
}

static struct ingest *door;

static const char alert[] =
    "{\"timestamp\":\"2026-01-02T03:04:05.678901+0000\",\"alert\":{\"signature\":\"x\"},"
    "\"wind\":{\"uid\":\"0198f2c4-7a31-7c5e-9d2b-%012x\",\"rev\":1,\"detector\":\"port_scan\","
    "\"severity\":\"low\",\"entities\":[{\"kind\":\"host\",\"value\":\"10.0.0.1\","
    "\"role\":\"attacker\"}]}}";

static void *post(void *arg)
{
    char texts[ALERTS][sizeof(alert) + 16];
    struct ingest_item items[ALERTS];

    (void)arg;
    for (int n = 0; n < BATCHES; n++) {
        for (int i = 0; i < ALERTS; i++) {
            (void)snprintf(texts[i], sizeof(texts[i]), alert, (unsigned)(n * ALERTS + i));
            items[i] = (struct ingest_item){.json = texts[i], .len = strlen(texts[i])};
        }
        const struct ingest_batch batch = {
            .sensor = "race", .version = "0", .items = items, .n_items = ALERTS};
        struct ingest_result res;
        int r;
        do
            r = ingest_batch(door, &batch, &res, NULL);
        while (r == -EBUSY); /* a slow machine: a sensor would come again */
        FUZZ_CHECK(r == 0);
        FUZZ_CHECK(res.n[INGEST_STORED] + res.n[INGEST_KNOWN] == ALERTS);
        ingest_result_done(&res);
    }
    return NULL;
}

/* As people do: in a part of a group, every second of which is undone. */
static void *post_grouped(void *arg)
{
    const struct entity who = {.kind = "host", .value = "10.0.0.1", .role = "victim"};
    const struct alert *alerts[1];

    (void)arg;
    for (int n = 0; n < GROUPS; n++) {
        WIND_AUTO(db_tx) struct db_tx *tx = NULL;
        const struct alert a = {
            .uid = {1, (uint8_t)n},
            .rev = 1,
            .severity = 1,
            .type = "report",
            .source = "ann",
            .description = "x",
            .score = -1,
            .metadata = "{}",
            .entities = &who,
            .n_entities = 1,
            .entities_json = "[{\"kind\":\"host\",\"value\":\"10.0.0.1\",\"role\":\"victim\"}]"};
        int r;
        alerts[0] = &a;
        do
            r = db_group_begin(temp_db, NULL);
        while (r == -EBUSY);
        FUZZ_CHECK(r == 0 && db_begin_write(temp_db, &tx, NULL) == 0);
        FUZZ_CHECK(ingest_alerts(door, tx, alerts, 1, NULL) == 0);
        if (n % 2 == 0)
            FUZZ_CHECK(db_commit(&tx, NULL) == 0);
        tx = db_tx_free(tx);
        FUZZ_CHECK(db_group_end(temp_db, NULL) == 0);
    }
    return NULL;
}

static void *listen_all(void *arg)
{
    int64_t since = 0, alerts = 0;

    while (alerts < TOTAL) {
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
    pthread_t writers[3], readers[2], person;
    int64_t heard[2] = {0};

    temp_db_init();
    const struct ingest_conf conf = {.db = temp_db,
                                     .correlate = {.window_ns = 1000000000, .alerts_max = 100}};
    FUZZ_CHECK(ingest_new(&door, &conf, NULL) == 0);
    db_on_commit(temp_db, count_commit, NULL);
    for (size_t i = 0; i < 3; i++)
        FUZZ_CHECK(pthread_create(&writers[i], NULL, post, NULL) == 0);
    FUZZ_CHECK(pthread_create(&person, NULL, post_grouped, NULL) == 0);
    for (size_t i = 0; i < 2; i++)
        FUZZ_CHECK(pthread_create(&readers[i], NULL, listen_all, &heard[i]) == 0);
    for (size_t i = 0; i < 3; i++)
        FUZZ_CHECK(pthread_join(writers[i], NULL) == 0);
    FUZZ_CHECK(pthread_join(person, NULL) == 0);
    for (size_t i = 0; i < 2; i++)
        FUZZ_CHECK(pthread_join(readers[i], NULL) == 0);
    FUZZ_CHECK(heard[0] == TOTAL && heard[1] == TOTAL);
    FUZZ_CHECK(commits == 3 * BATCHES + GROUPS);
    door = ingest_free(door);
    temp_db_fini();
    return 0;
}
