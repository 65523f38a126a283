#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "common/ip.h"
#include "common/time.h"
#include "sensor/names.h"
#include "support/oom.h"
#include "support/views.h"

#define S WIND_NS_PER_S

static struct names *names;
static struct names_conf conf = {.max = 64, .ttl_min_ns = 60 * S, .ttl_max_ns = 3600 * S};
static struct counters *counters;
static struct flow_record flow;

static void set_up(void)
{
    cr_assert_eq(counters_new(&counters, NULL), 0);
    cr_assert_eq(names_new(&names, &conf, counters, NULL), 0);
}

static void tear_down(void)
{
    names = names_free(names);
    counters = counters_free(counters);
}

TestSuite(names, .init = set_up, .fini = tear_down);

/* `host` was told (0: nobody in particular) that `name` is at the address of `server`. */
static void learn(uint64_t at_ns, unsigned host, const char *name, unsigned server, uint32_t ttl)
{
    static union {
        struct named_record r;
        char room[sizeof(struct named_record) + sizeof(struct named_address)];
    } u;

    memset(&u, 0, sizeof(u));
    u.r.header.time_ns = VIEW_T0 + at_ns;
    if (host != 0)
        view_address(host, u.r.client);
    (void)snprintf(u.r.name, sizeof(u.r.name), "%s", name);
    u.r.n_addresses = 1;
    view_address(server, u.r.address[0].address);
    u.r.address[0].ttl = ttl;
    names_learn(names, &u.r);
}

/* A flow of host to server that began then: the server's name, or "". */
static const char *ask(uint64_t at_ns, unsigned host, unsigned server)
{
    memset(&flow, 0, sizeof(flow));
    flow.header.kind = RECORD_FLOW_ENDED;
    flow.header.time_ns = VIEW_T0 + at_ns + 100 * S;
    flow.start_ns = VIEW_T0 + at_ns;
    flow.key = view_key(IPPROTO_TCP, host, 40000, server, 443);
    names_fill(names, &flow);
    return (flow.names & FLOW_NAME_DST) != 0 ? flow.dst_name : "";
}

Test(names, the_name_that_was_asked_for)
{
    cr_assert_str_eq(ask(0, 1, 900), "");
    learn(S, 1, "www.example.org", 900, 300);
    cr_assert_str_eq(ask(2 * S, 1, 900), "www.example.org");
    cr_assert_eq(flow.names, FLOW_NAME_DST);
    cr_assert_str_eq(ask(2 * S, 1, 901), "");
    cr_assert_eq(counters_get(counters, COUNTER_names_used), 1);
    cr_assert_eq(counters_get(counters, COUNTER_names_live), 2);
}

/* Many names share an address: each host knows which of them it wanted. */
Test(names, what_a_host_was_told_itself_comes_first)
{
    learn(0, 1, "one.example", 900, 300);
    learn(S, 2, "two.example", 900, 300);
    cr_assert_str_eq(ask(3 * S, 1, 900), "one.example");
    cr_assert_str_eq(ask(3 * S, 2, 900), "two.example");
    cr_assert_str_eq(ask(3 * S, 3, 900), "two.example", "what anybody was told last");
}

Test(names, the_source_has_one_too)
{
    learn(0, 0, "laptop.local", 5, 120);
    (void)ask(S, 5, 900);
    cr_assert_eq(flow.names, FLOW_NAME_SRC);
    cr_assert_str_eq(flow.src_name, "laptop.local");
}

/* By when the flow began, not by when its record comes. */
Test(names, an_answer_holds_for_its_time)
{
    learn(10 * S, 1, "short.example", 900, 1);
    learn(10 * S, 1, "middle.example", 901, 600);
    learn(10 * S, 1, "long.example", 902, UINT32_MAX);
    cr_assert_str_eq(ask(5 * S, 1, 900), "", "before it was known");
    cr_assert_str_eq(ask(69 * S, 1, 900), "short.example", "at least so long");
    cr_assert_str_eq(ask(71 * S, 1, 900), "");
    cr_assert_str_eq(ask(609 * S, 1, 901), "middle.example");
    cr_assert_str_eq(ask(611 * S, 1, 901), "");
    cr_assert_str_eq(ask(3609 * S, 1, 902), "long.example");
    cr_assert_str_eq(ask(3611 * S, 1, 902), "", "at most so long");
}

Test(names, another_name_does_not_rename_what_was_there_before)
{
    learn(0, 1, "old.example", 900, 300);
    learn(50 * S, 1, "old.example", 900, 300);
    cr_assert_str_eq(ask(20 * S, 1, 900), "old.example", "the same again changes nothing");
    learn(100 * S, 1, "new.example", 900, 300);
    cr_assert_str_eq(ask(20 * S, 1, 900), "");
    cr_assert_str_eq(ask(101 * S, 1, 900), "new.example");
    learn(1000 * S, 1, "new.example", 900, 300);
    cr_assert_str_eq(ask(700 * S, 1, 900), "", "in between nobody knew");
}

Test(names, the_least_recent_is_forgotten)
{
    for (unsigned i = 0; i < 100; i++) {
        learn(i, 1, "www.example.org", 900 + i, 300);
        cr_assert_str_eq(ask(S, 1, 900), "www.example.org");
    }
    cr_assert_eq(counters_get(counters, COUNTER_names_live), 64);
    cr_assert_eq(counters_get(counters, COUNTER_names_evicted), 200 - 64);
    cr_assert_str_eq(ask(S, 1, 999), "www.example.org");
    cr_assert_str_eq(ask(S, 1, 950), "", "900 was asked for all the time, 950 was not");
}

static int attempt(void)
{
    WIND_AUTO(names) struct names *n = NULL;
    struct err e = {0};
    const int r = names_new(&n, &conf, counters, &e);

    cr_assert(r == 0 || (r == -ENOMEM && n == NULL && e.text[0] != '\0'));
    return r;
}

Test(names, without_memory_it_is_not_made)
{
    cr_assert_gt(oom_each(attempt), 2);
}
