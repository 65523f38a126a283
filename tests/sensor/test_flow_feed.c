/* Which flows go to Kafka, under which key, with what in them. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "features/feature.h"
#include "sensor/flow_feed.h"
#include "support/records.h"

static struct {
    size_t n;
    char key[128];
    json_t *value;
} got;

static void take_flow(struct sink *s, const char *key, size_t key_len, const char *json, size_t len)
{
    (void)s;
    got.n++;
    (void)snprintf(got.key, sizeof(got.key), "%.*s", (int)key_len, key);
    json_decref(got.value);
    got.value = json_loadb(json, len, 0, NULL);
    cr_assert_not_null(got.value);
}

static const struct sink_ops ops = {.flow = take_flow};
static struct sink sink = {.ops = &ops};
static struct sink_books books;
static struct flow_feed feed;

static void put(uint32_t i, bool is_alerted, bool is_swapped, size_t n_features, uint64_t missing)
{
    static const struct eve_source source = {.sensor = "edge-1"};
    static union {
        struct flow_record flow;
        char room[sizeof(struct flow_record) + RECORD_FEATURES_MAX * sizeof(float)];
    } slot;
    static struct eve_record r;
    struct buf line;

    record_flow(&slot.flow, i);
    slot.flow.alerted = is_alerted;
    slot.flow.missing = missing;
    slot.flow.n_features = (uint16_t)n_features;
    slot.flow.facts_len = 0;
    slot.flow.header.len = (uint32_t)(sizeof(slot.flow) + n_features * sizeof(float));
    for (size_t f = 0; f < n_features; f++)
        slot.flow.feature[f] = (float)f / 4;
    if (is_swapped) {
        uint8_t address[16];
        memcpy(address, slot.flow.key.src, 16);
        memcpy(slot.flow.key.src, slot.flow.key.dst, 16);
        memcpy(slot.flow.key.dst, address, 16);
    }
    cr_assert_eq(eve_take(&slot, sizeof(slot), EVE_RING_FLOWS, &r), 0);
    buf_init(&line, EVE_LINE_MAX);
    eve_line(&line, &source, &r);
    flow_feed_put(&feed, &r, line.data, line.len - 1);
    buf_done(&line);
}

static void use(enum flow_feed_which which, uint64_t sample)
{
    flow_feed_init(&feed, which, sample, &sink, &books);
}

static void tear_down(void)
{
    flow_feed_done(&feed);
    json_decref(got.value);
}
TestSuite(flow_feed, .fini = tear_down);

Test(flow_feed, both_directions_have_one_key)
{
    char key[128];

    use(FLOW_FEED_ALL, 1);
    put(7, false, false, 3, 0);
    memcpy(key, got.key, sizeof(key));
    put(7, false, true, 3, 0);
    cr_assert_eq(got.n, 2);
    cr_assert_str_eq(got.key, key);
    cr_assert_not_null(strchr(key, ' '));
}

Test(flow_feed, features_are_values_in_order_and_null_where_they_are_missing)
{
    char schema[FEATURE_SCHEMA_TEXT];

    use(FLOW_FEED_ALL, 1);
    put(7, false, false, FEATURE_COUNT, 1u << 2);
    feature_schema_text(FEATURE_COUNT, schema);
    const json_t *wind = json_object_get(got.value, "wind");
    const json_t *list = json_object_get(wind, "features");
    cr_assert_str_eq(json_string_value(json_object_get(wind, "schema")), schema);
    cr_assert_eq(json_array_size(list), FEATURE_COUNT);
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        const json_t *v = json_array_get(list, f);
        cr_assert(f == 2 ? json_is_null(v) : json_real_value(v) == (double)f / 4, "%zu", f);
    }
    cr_assert_not_null(json_object_get(wind, "score"), "the rest of it is there, too");
}

Test(flow_feed, a_flow_without_features_is_still_one)
{
    use(FLOW_FEED_ALL, 1);
    put(7, false, false, 0, 0);
    const json_t *wind = json_object_get(got.value, "wind");
    cr_assert_eq(json_array_size(json_object_get(wind, "features")), 0);
}

Test(flow_feed, alerted_flows_alone_or_with_one_in_so_many_of_the_others)
{
    use(FLOW_FEED_NONE, 1);
    put(1, true, false, 1, 0);
    cr_assert_eq(got.n, 0);
    use(FLOW_FEED_ALERTED, 1);
    put(1, false, false, 1, 0);
    cr_assert_eq(got.n, 0);
    put(1, true, false, 1, 0);
    cr_assert_eq(got.n, 1);

    use(FLOW_FEED_SAMPLED, 10);
    for (uint32_t i = 1; i <= 2000; i++)
        put(i, false, false, 1, 0);
    cr_assert(got.n > 150 && got.n < 250, "%zu", got.n);
    const size_t before = got.n;
    for (uint32_t i = 1; i <= 100; i++)
        put(i, true, false, 1, 0);
    cr_assert_eq(got.n, before + 100);
    flow_feed_init(&feed, FLOW_FEED_ALL, 0, NULL, &books); /* no sink: nobody is asked */
    put(1, true, false, 1, 0);
    cr_assert_eq(got.n, before + 100);
}
