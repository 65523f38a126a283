/* What the uplink sends to a collector, and what it makes of the answers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "sensor/sink_http.h"
#include "support/uplink_run.h"

TestSuite(uplink, .init = set_up, .fini = tear_down, .timeout = 120);

Test(uplink, an_answer_that_got_lost_stores_no_alert_twice_and_counts_it_once)
{
    use_collector();
    t.collector->mood = COLLECTOR_LOSES_ANSWER;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(100);
    cr_assert_gt(counted(COUNTER_uplink_failures), 0);
}

Test(uplink, a_busy_collector_is_asked_again_when_it_said)
{
    use_collector();
    t.collector->status = 503; /* Retry-After: 1 */
    t.collector->left_bad = 2;
    const uint64_t from = time_mono_ns();
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(100);
    cr_assert_gt(time_mono_ns() - from, 2 * WIND_NS_PER_S - WIND_NS_PER_MS);
    cr_assert_eq(counted(COUNTER_uplink_failures), 2);
}

Test(uplink, batches_that_are_too_large_are_halved)
{
    use_collector();
    t.collector->max_alerts = 10;
    start_uplink();
    push_run(3000);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(3000);
    cr_assert_leq(t.collector->largest, SINK_HTTP_BATCH_ALERTS);
}

Test(uplink, what_is_rejected_for_good_is_counted_and_dropped)
{
    use_collector();
    (void)snprintf(t.collector->reject, sizeof(t.collector->reject), "(14)");
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 14);
    cr_assert_eq(counted(COUNTER_alert_rejected), 1);
    cr_assert_eq(counted(COUNTER_alert_delivered), 14);
    cr_assert_eq(counted(COUNTER_alert_spooled), 0);
}

Test(uplink, a_wrong_key_keeps_the_alerts_and_the_next_run_sends_them_first)
{
    use_collector();
    (void)snprintf(t.conf.sink.key, sizeof(t.conf.sink.key), "wind_1_wrong");
    const uint64_t from = time_mono_ns();
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_lt(time_mono_ns() - from, t.conf.drain_ns); /* no use in waiting */
    cr_assert_eq(counted(COUNTER_alert_spooled), 15);
    cr_assert_eq(counted(COUNTER_alert_delivered), 0);
    cr_assert_eq(t.collector->n_seen, 0);

    (void)snprintf(t.conf.sink.key, sizeof(t.conf.sink.key), "wind_1_secret");
    new_run();
    start_uplink();
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 15);
    cr_assert_eq(counted(COUNTER_alert_delivered), 0); /* none of this run's */
    cr_assert_eq(t.collector->heartbeats > 0, 1);
}

Test(uplink, an_answer_that_is_no_collectors_confirms_nothing)
{
    use_collector();
    t.collector->mood = COLLECTOR_ODD;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_eq(counted(COUNTER_alert_spooled), 15);
}

Test(uplink, a_certificate_is_believed_only_from_the_authority_that_is_set)
{
    char command[512], path[1024];
    size_t len;

    (void)snprintf(command, sizeof(command),
                   "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                   "-subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout '%s/key.pem' "
                   "-out '%s/cert.pem' 2>/dev/null",
                   t.dir, t.dir);
    cr_assert_eq(system(command), 0);
    (void)snprintf(path, sizeof(path), "%s/key.pem", t.dir);
    char *key = read_file(path, &len);
    (void)snprintf(path, sizeof(path), "%s/cert.pem", t.dir);
    char *cert = read_file(path, &len);
    t.collector->tls_key = key;
    t.collector->tls_cert = cert;
    use_collector();

    t.conf.drain_ns = WIND_NS_PER_S;
    start_uplink();
    push_run(100);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_eq(t.collector->posts, 0); /* nobody saw the key */

    (void)snprintf(t.conf.sink.ca_file, sizeof(t.conf.sink.ca_file), "%s", path);
    t.conf.drain_ns = 60 * WIND_NS_PER_S;
    new_run();
    start_uplink();
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    cr_assert_eq(t.collector->n_seen, 15);
    collector_stop(t.collector);
    free(key);
    free(cert);
}

/* Far more than the rings hold: if the writer waited for the answer, nothing would come through. */
Test(uplink, a_collector_that_does_not_answer_holds_up_no_line)
{
    use_collector();
    t.collector->mood = COLLECTOR_SILENT;
    start_uplink();
    for (uint32_t i = 0; i < 5000; i++) {
        push_flow(i, RECORD_FLOW_ENDED);
        if (i % EVERY == 0)
            push_alert(i);
        analyse();
    }
    wait_until_lines(5000 + (5000 + EVERY - 1) / EVERY);
    while (t.collector->posts == 0) /* or the test's time ends */
        (void)usleep(10000);
    cr_assert_eq(t.collector->n_seen, 0);
    t.collector->mood = COLLECTOR_FINE;
    push_all_done();
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(5000);
}

Test(uplink, a_collector_that_comes_back_gets_everything)
{
    use_collector();
    collector_stop(t.collector);
    start_uplink();
    push_run(1000);
    (void)usleep(500000);
    collector_start(t.collector);
    cr_assert_eq(end_uplink(), 0);
    expect_delivered(1000);
}

Test(uplink, what_the_spools_limit_drops_is_counted_as_lost)
{
    use_collector();
    collector_stop(t.collector);
    t.conf.spool.max_bytes = 200000;
    t.conf.drain_ns = WIND_NS_PER_S / 2;
    start_uplink();
    push_run(7000);
    cr_assert_eq(end_uplink(), UPLINK_UNDELIVERED);
    cr_assert_gt(counted(COUNTER_alert_lost_spool), 0);
    cr_assert_eq(counted(COUNTER_alert_lost_spool) + counted(COUNTER_alert_spooled), 1000);
    cr_assert_leq(counted(COUNTER_spool_bytes), 200000);
}

/* ---------------------------------------------------------------- settings */

static const char *why_not(const char *url, const char *key, bool insecure)
{
    static struct err e;
    struct sink_conf conf = {.insecure = insecure};

    e = (struct err){0};
    (void)snprintf(conf.url, sizeof(conf.url), "%s", url);
    (void)snprintf(conf.key, sizeof(conf.key), "%s", key);
    cr_assert_eq(sink_conf_check(&conf, &e), e.code);
    return e.text;
}

Test(uplink, a_key_never_goes_out_in_the_clear_by_accident)
{
    cr_assert_str_eq(why_not("http://127.0.0.1:8080", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://[::1]:8080", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://localhost", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("https://siem.example:8443/", "wind_1_x", false), "");
    cr_assert_str_eq(why_not("http://siem.example:8080", "wind_1_x", true), "");
    cr_assert(strstr(why_not("http://siem.example:8080", "wind_1_x", false), "uplink.insecure"));
    cr_assert(strstr(why_not("http://127.0.0.1.evil.example", "wind_1_x", false), "plain http"));
    cr_assert(strstr(why_not("ftp://127.0.0.1", "wind_1_x", false), "neither https nor http"));
    cr_assert(strstr(why_not("https://me:pw@siem.example", "wind_1_x", false), "no user"));
    cr_assert(strstr(why_not("https://siem.example/x", "wind_1_x", false), "only scheme"));
    cr_assert(strstr(why_not("https://", "wind_1_x", false), "not a URL"));
    cr_assert(strstr(why_not("https://siem.example", "", false), "uplink.key_file"));
    cr_assert(strstr(why_not("https://siem.example", "wind_1_x\r\nA: b", false), "letters"));
}
