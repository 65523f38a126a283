/* Batches: any JSON is accepted or rejected item by item, and nothing is stored twice. */
#include <errno.h>

#include "collector/ingest.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

static struct ingest_result post(const json_t *alerts)
{
    const struct correlate_conf conf = {.window_ns = 1000000000, .alerts_max = 10};
    const struct ingest_batch batch = {
        .sensor = "fuzz", .version = "0", .alerts = alerts, .stats = NULL};
    struct ingest_result res = {0};
    struct err e = {0};

    FUZZ_CHECK(ingest_batch(temp_db, &conf, &batch, &res, &e) == 0);
    FUZZ_CHECK(res.accepted + res.updated + res.unchanged +
                   (int64_t)json_array_size(res.rejected) ==
               (int64_t)json_array_size(alerts));
    return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

    if (body == NULL)
        return 0;
    if (temp_db == NULL) {
        temp_db_init();
        (void)atexit(temp_db_fini);
    }
    const json_t *alerts = json_object_get(body, "alerts");
    if (json_is_array(alerts) && json_array_size(alerts) <= INGEST_ALERTS) {
        const struct ingest_result first = post(alerts);
        const struct ingest_result again = post(alerts);
        FUZZ_CHECK(again.accepted == 0 && again.updated == 0);
        FUZZ_CHECK(json_array_size(first.rejected) == json_array_size(again.rejected));
        json_decref(first.rejected);
        json_decref(again.rejected);
    }
    json_decref(body);
    return 0;
}
