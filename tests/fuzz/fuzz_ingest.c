/* Batches: any JSON is accepted or rejected item by item, and nothing is stored twice. */
#include <jansson.h>

#include "collector/ingest.h"
#include "support/fuzz.h"
#include "support/temp_db.h"

static struct ingest *fuzz_ingest;

static void begin(void)
{
    temp_db_init();
    (void)atexit(temp_db_fini);
    const struct ingest_conf conf = {.db = temp_db,
                                     .correlate = {.window_ns = 1000000000, .alerts_max = 10}};
    FUZZ_CHECK(ingest_new(&fuzz_ingest, &conf, NULL) == 0);
}

static struct ingest_result post(const struct ingest_item *items, size_t n)
{
    const struct ingest_batch batch = {
        .sensor = "fuzz", .version = "0", .items = items, .n_items = n};
    struct ingest_result res = {0};
    int64_t sum = 0;

    FUZZ_CHECK(ingest_batch(fuzz_ingest, &batch, &res, NULL) == 0);
    for (int i = 0; i < INGEST_STATES; i++)
        sum += res.n[i];
    FUZZ_CHECK(sum == (int64_t)n && res.n_outcomes == n);
    return res;
}

/* The lines of the input are alerts, good or bad. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ingest_item items[64];
    const char *p = (const char *)data;
    size_t n = 0;

    if (fuzz_ingest == NULL)
        begin();
    while (size > 0 && n < WIND_ARRAY_SIZE(items)) {
        const char *end = memchr(p, '\n', size);
        const size_t len = end == NULL ? size : (size_t)(end - p);
        items[n++] = (struct ingest_item){.json = p, .len = len};
        p += len + (end != NULL);
        size -= len + (end != NULL);
    }
    struct ingest_result first = post(items, n), again = post(items, n);
    FUZZ_CHECK(again.n[INGEST_STORED] == 0 && again.n[INGEST_UPDATED] == 0);
    FUZZ_CHECK(first.n[INGEST_REJECTED] == again.n[INGEST_REJECTED]);
    ingest_result_done(&first);
    ingest_result_done(&again);
    return 0;
}
