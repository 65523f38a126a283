/* How time goes on for a worker, live and in replay, and what ends it. */
#include "support/worker_run.h"

TestSuite(worker_time, .init = set_up, .fini = tear_down);

Test(worker_time, live_time_goes_on_without_packets)
{
    fake.is_live = true;
    fake.now_ns = FAKE_T0;
    fake_udp(0, 1, 5000, 2, 53, 10);
    begin();
    run();
    for (unsigned s = 1; s <= 33; s++) {
        fake.now_ns = FAKE_T0 + s * S;
        (void)worker_step(t.worker, 0);
    }
    drain();
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    cr_assert_eq(get(COUNTER_flow_ended_idle), 1);
    cr_assert_eq(worker_clock(t.worker), FAKE_T0 + 33 * S);
    cr_assert_eq(atomic_load(&t.counters->clock_ns), FAKE_T0 + 33 * S);
}

Test(worker_time, live_time_goes_on_when_the_wall_clock_is_set_back)
{
    fake.is_live = true;
    begin();
    fake.now_ns = FAKE_T0 + 3600 * S;
    (void)worker_step(t.worker, 0);
    const uint64_t before = worker_clock(t.worker);
    const struct timespec moment = {.tv_nsec = 20000000};

    fake.now_ns = FAKE_T0;
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    (void)worker_step(t.worker, 0);
    cr_assert_geq(worker_clock(t.worker), before + 20000000);
    cr_assert_lt(worker_clock(t.worker), before + 20 * S);
}

Test(worker_time, the_kernel_is_asked_once_a_second_and_its_counts_outlive_a_restart)
{
    fake.is_live = true;
    fake.now_ns = FAKE_T0;
    begin();
    fake.stats = (struct capture_stats){.received = 90, .kernel_seen = 105, .kernel_dropped = 10};
    for (unsigned i = 0; i < 1000; i++) { /* 10 s in steps of 10 ms */
        fake.now_ns += S / 100;
        (void)worker_step(t.worker, 0);
    }
    cr_assert(fake.stats_calls >= 10 && fake.stats_calls <= 11, "%u", fake.stats_calls);
    cr_assert_eq(get(COUNTER_capture_kernel_packets), 105);
    cr_assert_eq(get(COUNTER_capture_kernel_drops), 10);
    cr_assert_eq(get(COUNTER_capture_kernel_left), 5);
    t.worker = worker_free(t.worker); /* killed; the next one has a new handle */
    begin();
    fake.stats = (struct capture_stats){.received = 5, .kernel_seen = 7, .kernel_dropped = 2};
    worker_flush(t.worker);
    cr_assert_eq(get(COUNTER_capture_kernel_packets), 112);
    cr_assert_eq(get(COUNTER_capture_kernel_drops), 12);
}

Test(worker_time, time_that_runs_backwards_is_counted_and_the_clock_stands)
{
    fake_udp(100 * S, 1, 5000, 2, 53, 10);
    fake_udp(99 * S, 1, 5001, 2, 53, 10); /* ordinary disorder */
    fake_udp(98 * S, 1, 5002, 2, 53, 10);
    fake_udp(10 * S, 1, 5003, 2, 53, 10);
    run_to_the_end();
    cr_assert_eq(get(COUNTER_capture_time_backwards), 2);
    cr_assert_eq(worker_clock(t.worker), FAKE_T0 + 100 * S);
    for (size_t i = 0; i < t.n; i++)
        cr_assert_eq(t.record[i].header.time_ns, FAKE_T0 + 100 * S);
}

Test(worker_time, another_worker_goes_on_with_clock_and_ids)
{
    fake_udp(100 * S, 1, 5000, 2, 53, 10);
    begin();
    run();
    cr_assert_eq(atomic_load(&t.counters->flow_sequence), 2);
    t.worker = worker_free(t.worker); /* with a flow in its table: nobody is told */
    drain();
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 0);
    begin();
    cr_assert_eq(worker_clock(t.worker), FAKE_T0 + 100 * S);
}

Test(worker_time, counters_alone_make_no_records_and_balance)
{
    t.conf.level = ANALYSIS_COUNTERS;
    for (unsigned i = 0; i < 100; i++)
        connection(i * S, 5000 + i);
    run_to_the_end();
    cr_assert(t.n == 0 && get(COUNTER_flow_made) == 100 && get(COUNTER_flow_ended_closed) == 100);
}

Test(worker_time, replay_at_a_speed_takes_its_time)
{
    for (unsigned i = 0; i < 20; i++)
        fake_udp(i * S, 1, 1000 + i, 2, 53, 10);
    t.conf.speed = 50; /* 19 s in 380 ms */
    const uint64_t start = time_mono_ns();
    run_to_the_end();
    const uint64_t took = time_mono_ns() - start;
    cr_assert(took >= 380 * WIND_NS_PER_MS, "%lu ms", took / WIND_NS_PER_MS);
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 20);
}

Test(worker_time, the_later_stages_go_on_while_a_replay_waits, .timeout = 60)
{
    fake_tcp(0, 1, 5000, 2, 80, TCP_SYN);
    fake_tcp(0, 2, 80, 1, 5000, TCP_SYN | TCP_ACK);
    fake_udp(3600 * S, 1, 1001, 2, 53, 10);
    t.conf.speed = 1; /* an hour: only the tenth call ends it */
    t.enough = 10;
    begin();
    for (unsigned i = 0; i < 2; i++)
        (void)worker_step(t.worker, 0);
    cr_assert(t.relieved == 0 && t.n == 0);
    (void)worker_step(t.worker, 0);
    cr_assert_eq(t.relieved, 10);
    cr_assert(t.n == 1 && how_many(RECORD_FLOW_OPENED) == 1); /* before the third was taken */
    check_books();
}

Test(worker_time, a_stop_ends_the_wait_for_the_next_packet, .timeout = 10)
{
    fake_udp(0, 1, 1000, 2, 53, 10);
    fake_udp(3600 * S, 1, 1001, 2, 53, 10);
    t.conf.speed = 1;
    begin();
    (void)worker_step(t.worker, 0);
    atomic_store(&t.counters->stop, 1);
    (void)worker_step(t.worker, 0);
    check_books();
    cr_assert_eq(get(COUNTER_capture_packets), 2);
}
