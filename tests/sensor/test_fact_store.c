#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "sensor/fact_store.h"
#include "support/oom.h"

static struct fact_store *store;
static struct counters *counters;
#define PIECE 256 /* bytes that a flow with anything to remember takes, at least */

static struct facts *flow;
static uint8_t bytes[RECORD_FACTS_MAX];

static void set_up(void)
{
    cr_assert_eq(counters_new(&counters, NULL), 0);
    cr_assert_eq(fact_store_new(&store, 128 * PIECE, counters, NULL), 0);
}

static void tear_down(void)
{
    flow = fact_drop(store, flow);
    cr_assert_eq(counters_get(counters, COUNTER_facts_bytes), 0);
    store = fact_store_free(store);
    counters = counters_free(counters);
}

TestSuite(fact_store, .init = set_up, .fini = tear_down);

/* Facts of every length up to the limit, which end wherever a piece ends. */
Test(fact_store, what_is_added_is_copied)
{
    uint8_t fact[300], expected[RECORD_FACTS_MAX];

    for (size_t i = 0; i < sizeof(fact); i++)
        fact[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len < sizeof(fact); len++) {
        size_t n = 0;

        for (unsigned i = 0; i < 7; i++) {
            const struct record_fact head = {.type = FACT_NAME, .len = (uint16_t)len};
            cr_assert(fact_add(store, &flow, FACT_NAME, fact, len));
            memcpy(expected + n, &head, sizeof(head));
            memcpy(expected + n + sizeof(head), fact, len);
            n += sizeof(head) + len;
            cr_assert_eq(fact_len(flow), n);
        }
        cr_assert_eq(fact_copy(flow, bytes), n);
        cr_assert_arr_eq(bytes, expected, n);
        flow = fact_drop(store, flow);
    }
}

Test(fact_store, at_a_records_limit_it_is_cut_and_nothing_follows)
{
    struct record_fact last = {.type = FACT_NONE};
    unsigned n = 0;

    while (fact_add(store, &flow, FACT_NAME, (const uint8_t[100]){1}, 100))
        n++;
    cr_assert_eq(n, (RECORD_FACTS_MAX - 4) / 104);
    cr_assert_eq(counters_get(counters, COUNTER_facts_cut), 1);
    cr_assert(fact_is_full(flow));
    cr_assert_not(fact_add(store, &flow, FACT_NAME, "x", 1), "not even what would fit");
    const size_t len = fact_copy(flow, bytes);
    for (size_t at = 0; fact_next(bytes, len, &at, &last) != NULL;)
        ;
    cr_assert(last.type == FACT_CUT && last.len == 0);
    cr_assert_eq(counters_get(counters, COUNTER_facts_cut), 1);
}

Test(fact_store, memory_is_shared_and_comes_back)
{
    struct facts *flows[200] = {NULL};

    for (int round = 0; round < 3; round++) {
        size_t made = 0;
        for (size_t i = 0; i < 200; i++)
            made += fact_add(store, &flows[i], FACT_NAME, (const uint8_t[80]){2}, 80);
        cr_assert_eq(made, 128);
        cr_assert_eq(counters_get(counters, COUNTER_facts_bytes), 128 * PIECE);
        cr_assert_eq(counters_get(counters, COUNTER_facts_no_memory), (round + 1) * (200 - made));
        for (size_t i = 0; i < 200; i++)
            flows[i] = fact_drop(store, flows[i]);
    }
}

/* All pieces of a fact, or none of them. */
Test(fact_store, a_fact_that_does_not_fit_leaves_nothing_behind)
{
    struct facts *others[127] = {NULL};

    cr_assert(fact_add(store, &flow, FACT_NAME, "abc", 3));
    for (size_t i = 0; i < 126; i++)
        cr_assert(fact_add(store, &others[i], FACT_NAME, "x", 1));
    cr_assert_not(fact_add(store, &flow, FACT_NAME, (const uint8_t[500]){3}, 500));
    cr_assert_eq(counters_get(counters, COUNTER_facts_bytes), 127 * PIECE);
    cr_assert_eq(fact_copy(flow, bytes), 7);
    cr_assert(fact_add(store, &flow, FACT_NAME, (const uint8_t[100]){3}, 100));
    for (size_t i = 0; i < 126; i++)
        others[i] = fact_drop(store, others[i]);
}

Test(fact_store, a_fact_is_withdrawn_wherever_it_lies)
{
    struct record_fact f;

    for (unsigned i = 0; i < 30; i++)
        cr_assert(fact_add(store, &flow, FACT_NAME, (const uint8_t[50]){4}, 41));
    for (unsigned i = 0; i < 30; i++)
        fact_withdraw(flow, i * 45);
    const size_t len = fact_copy(flow, bytes);
    for (size_t at = 0; fact_next(bytes, len, &at, &f) != NULL;)
        cr_assert(f.type == FACT_NONE && f.len == 41);
}

Test(fact_store, the_best_name_is_the_servers)
{
    static const struct fact_dns dns = {.n_items = 1};
    static const struct fact_dns_item item = {.name_len = 5};
    uint8_t message[sizeof(dns) + sizeof(item) + 5];
    char name[RECORD_NAME_MAX];

    memcpy(message, &dns, sizeof(dns));
    memcpy(message + sizeof(dns), &item, sizeof(item));
    memcpy(message + sizeof(dns) + sizeof(item), "Dns.X", 5);
    fact_server_name(bytes, 0, name);
    cr_assert_str_eq(name, "");
    cr_assert(fact_add(store, &flow, FACT_DNS, message, sizeof(message)));
    fact_server_name(bytes, fact_copy(flow, bytes), name);
    cr_assert_str_eq(name, "dns.x");
    cr_assert(fact_add(store, &flow, FACT_TLS_NAME, "WWW.X\1", 6));
    fact_server_name(bytes, fact_copy(flow, bytes), name);
    cr_assert_str_eq(name, "www.x?");
    cr_assert(fact_add(store, &flow, FACT_NAME, "ndpi.x", 6));
    fact_server_name(bytes, fact_copy(flow, bytes), name);
    cr_assert_str_eq(name, "ndpi.x");
}

static int attempt(void)
{
    WIND_AUTO(fact_store) struct fact_store *s = NULL;
    struct err e = {0};
    const int r = fact_store_new(&s, 4096, counters, &e);

    cr_assert(r == 0 || (r == -ENOMEM && s == NULL && e.text[0] != '\0'));
    return r;
}

Test(fact_store, without_memory_it_is_not_made)
{
    cr_assert_gt(oom_each(attempt), 1);
}
