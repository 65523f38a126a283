#include "support/dns_builder.h"
#include "support/oom.h"
#include "support/worker_run.h"

TestSuite(worker, .init = set_up, .fini = tear_down);

Test(worker, a_connection_becomes_an_opened_and_an_ended_record)
{
    connection(0, 5000);
    run_to_the_end();
    cr_assert(t.n == 2 && fake.releases == 1);
    const struct flow_record *r = &t.record[1];
    cr_assert(t.record[0].header.kind == RECORD_FLOW_OPENED && r->header.kind == RECORD_FLOW_ENDED);
    cr_assert_eq(t.record[0].header.time_ns, FAKE_T0 + 1000000);
    cr_assert_eq(t.record[0].opening, OPENING_ANSWERED);
    cr_assert(r->flow_id == 1 && r->pkts[0] == 3 && r->pkts[1] == 2 && r->bytes[0] == 120);
    cr_assert(r->start_ns == FAKE_T0 && r->end_ns == FAKE_T0 + 4000000);
    cr_assert(r->state == FLOW_CLOSED && r->end == FLOW_END_CLOSED && r->score == 0 &&
              r->p_value == 1 && r->alerted == 0 && r->analysis_level == ANALYSIS_FULL);
    cr_assert_eq(r->tcp_flags[0], TCP_SYN | TCP_ACK | TCP_FIN);
    cr_assert_eq(t.duration[1], 4); /* ms: its features are in the slot */
}

Test(worker, every_packet_has_one_verdict)
{
    connection(0, 5000);
    frame_eth(&fake.frames, 0x0806); /* ARP */
    put(&fake.frames, "\0\1\x08\0\6\4\0\1", 8);
    fake_offer(5000000);
    fake_tcp(6000000, 1, 5001, 2, 80, TCP_SYN);
    fake.packet[fake.n - 1].cut = 30; /* truncated */
    frame_eth(&fake.frames, 0x0800);
    put(&fake.frames, "\x4f\0\0\x10", 4); /* malformed: shorter than its own header */
    for (int i = 0; i < 60; i++)
        put8(&fake.frames, 0);
    fake_offer(7000000);
    run_to_the_end();
    cr_assert_eq(get(COUNTER_capture_packets), 8);
    cr_assert_eq(get(COUNTER_decoder_OK), 5);
    cr_assert_eq(get(COUNTER_decoder_ARP), 1);
    cr_assert_eq(get(COUNTER_decoder_TRUNCATED), 1);
    cr_assert_eq(get(COUNTER_decoder_MALFORMED), 1);
    cr_assert_eq(get(COUNTER_layer_ethernet), 8);
    cr_assert_eq(get(COUNTER_layer_arp), 1);
    cr_assert_eq(get(COUNTER_layer_ipv4), 7);
    cr_assert_eq(get(COUNTER_layer_udp), 0);
    cr_assert_eq(get(COUNTER_capture_bytes), fake.frames.len);
    cr_assert_eq(get(COUNTER_flow_made), 1);
}

/* A fragment of 16 bytes of a UDP packet to port 53. */
static void fragment(uint64_t at, unsigned id, bool is_last)
{
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 17, 1, 2, 16);
    fake.frames.data[fake.frames.len - 16 + 1] = (uint8_t)id;
    fake.frames.data[fake.frames.len - 14] = is_last ? 0 : 0x20;
    fake.frames.data[fake.frames.len - 13] = is_last ? 2 : 0;
    if (is_last)
        put(&fake.frames, "the rest of it..", 16);
    else
        put(&fake.frames, "\x03\xe8\0\x35\0\x20\0\0the one ", 16);
    fake_offer(at);
}

Test(worker, fragments_are_one_packet_of_the_flow)
{
    t.conf.defrag = (struct defrag_conf){.max = 64, .memory = 1 << 20, .timeout_ns = 30 * S};
    fake.batch = 1; /* fragments outlive the batch that they came in */
    for (unsigned i = 0; i < 100; i++)
        fragment(UINT64_C(1000) * i, i, false);
    for (unsigned i = 36; i < 100; i++)
        fragment(S + UINT64_C(1000) * i, i, true);
    run_to_the_end();
    cr_assert_eq(get(COUNTER_decoder_FRAGMENT), 100);
    cr_assert_eq(get(COUNTER_decoder_OK), 64);
    cr_assert_eq(get(COUNTER_defrag_completed), 64);
    cr_assert_eq(get(COUNTER_defrag_evicted), 36);
    cr_assert_eq(get(COUNTER_flow_made), 1);
    cr_assert(t.record[1].key.dport == 53 && t.record[1].pkts[0] == 64);
    cr_assert_eq(t.record[1].bytes[0], UINT64_C(64) * (20 + 32));
}

/* A TCP header that does not fit, from 10.0.0.1. */
static void malformed(uint64_t at)
{
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 6, 1, 2, 4);
    put(&fake.frames, "abcd", 4);
    fake_offer(at);
}

Test(worker, odd_packets_are_told_at_a_capped_rate)
{
    t.conf.anomalies = 3;
    for (unsigned i = 0; i < 50; i++)
        malformed(i * S / 25);
    run_to_the_end();
    cr_assert_eq(t.anomalies, 6, "three in each of two seconds");
    cr_assert_eq(get(COUNTER_anomaly_capped), 44);
    cr_assert_str_eq(t.anomaly.type, "decode");
    cr_assert_str_eq(t.anomaly.event, "tcp_malformed");
    cr_assert(t.anomaly.key.ip_version == 4 && t.anomaly.key.src[15] == 1);
    cr_assert_eq(t.anomaly.header.time_ns, FAKE_T0 + 27 * S / 25);
    cr_assert_eq(get(COUNTER_decoder_MALFORMED), 50);
}

Test(worker, a_file_among_several_that_ends_badly_is_told_once)
{
    fake_tcp(5 * S, 1, 40000, 2, 80, 2);
    fake.fault = CAPTURE_TRUNCATED;
    memset(fake.fault_error.text, 'x', sizeof(fake.fault_error.text) - 1); /* too long: cut */
    begin();
    cr_assert_eq(worker_step(t.worker, 0), 1);
    cr_assert_eq(t.anomalies, 0, "after what was read of it");
    cr_assert_eq(worker_step(t.worker, 0), 0);
    cr_assert_eq(worker_step(t.worker, 0), 0);
    drain();
    cr_assert_eq(t.anomalies, 1);
    cr_assert_str_eq(t.anomaly.type, "capture");
    cr_assert_str_eq(t.anomaly.event, "file_truncated");
    cr_assert_eq(strlen(t.anomaly.text), sizeof(t.anomaly.text) - 1);
    cr_assert_eq(t.anomaly.header.time_ns, FAKE_T0 + 5 * S);
    cr_assert_eq(t.anomaly.key.ip_version, 0);
    cr_assert_eq(get(COUNTER_capture_damaged_files), 1);

    fake.fault = CAPTURE_CORRUPT;
    cr_assert_eq(worker_step(t.worker, 0), 0);
    drain();
    cr_assert_str_eq(t.anomaly.event, "file_corrupt");
    cr_assert_eq(get(COUNTER_capture_damaged_files), 2);
}

Test(worker, an_overlap_is_told_whatever_becomes_of_the_packet)
{
    t.conf.anomalies = 3;
    t.conf.defrag = (struct defrag_conf){.max = 64, .memory = 1 << 20, .timeout_ns = 30 * S};
    fragment(0, 1, false);
    fragment(1, 1, false);
    cr_assert_eq(t.anomalies, 0);
    fragment(2, 1, false);
    fake.frames.data[fake.frames.len - 1] ^= 1;
    fragment(3, 1, true);
    run_to_the_end();
    cr_assert_eq(t.anomalies, 1);
    cr_assert_str_eq(t.anomaly.event, "fragment_overlap");
    cr_assert_eq(get(COUNTER_defrag_overlaps), 1);
    cr_assert_eq(get(COUNTER_decoder_OK), 1);
}

/* What came out, with batches cut after so many packets. */
static void records_with_batches_of(size_t batch, struct flow_record *out, size_t *ret_n)
{
    set_up();
    fake.batch = batch;
    for (unsigned i = 0; i < 300; i++) {
        fake_udp(i * S / 3, 1 + i % 7, 5000 + i % 20, 2, 53, i % 50);
        if (i % 3 == 0)
            connection(i * S / 3, 6000 + i);
    }
    run_to_the_end();
    memcpy(out, t.record, t.n * sizeof(t.record[0]));
    *ret_n = t.n;
}

Test(worker, records_do_not_depend_on_where_batches_are_cut)
{
    static struct flow_record whole[8192], cut[8192];
    size_t n = 0, m = 0;

    records_with_batches_of(0, whole, &n);
    cr_assert_gt(n, 400);
    for (size_t batch = 1; batch < 70; batch += 13) {
        records_with_batches_of(batch, cut, &m);
        cr_assert(m == n && memcmp(whole, cut, n * sizeof(whole[0])) == 0, "batches of %zu", batch);
    }
}

Test(worker, replay_waits_for_room_and_loses_nothing)
{
    for (unsigned i = 0; i < 1000; i++)
        fake_udp(i * UINT64_C(1000), 1, 1000 + i, 2, 53, 10);
    run_to_the_end();
    cr_assert_gt(t.relieved, 5); /* the ring holds some hundred records */
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1000);
    cr_assert_eq(get(COUNTER_flow_lost_ring) + get(COUNTER_flow_events_lost), 0);
    cr_assert_eq(get(COUNTER_flow_ended_flushed), 1000);
}

Test(worker, live_refuses_what_a_full_ring_has_no_room_for_and_counts_it)
{
    fake.is_live = true;
    fake.now_ns = FAKE_T0;
    for (unsigned i = 0; i < 1000; i++)
        fake_udp(i * UINT64_C(1000), 1, 1000 + i, 2, 53, 10);
    begin();
    run();
    fake.now_ns = FAKE_T0 + 60 * S; /* all idle out, and nobody reads */
    (void)worker_step(t.worker, 0);
    check_books();
    cr_assert_eq(get(COUNTER_flow_live), 0);
    cr_assert_gt(get(COUNTER_flow_lost_ring), 500);
    cr_assert_gt(get(COUNTER_flow_events_lost), 500);
    cr_assert_eq(t.relieved, 0); /* the other stage has a thread of its own */
    drain();
    cr_assert_eq(how_many(RECORD_FLOW_ENDED) + get(COUNTER_flow_lost_ring), 1000);
    cr_assert_eq(how_many(RECORD_FLOW_OPENED) + get(COUNTER_flow_events_lost), 1000);
}

Test(worker, stopped_live_waits_for_room_for_its_last_flows)
{
    fake.is_live = true;
    fake.now_ns = FAKE_T0 + S;
    for (unsigned i = 0; i < 1000; i++)
        fake_udp(i * UINT64_C(1000), 1, 1000 + i, 2, 53, 10);
    begin(); /* relieve stands for the other stages, which go on by themselves */
    run();
    worker_flush(t.worker);
    drain();
    check_books();
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1000);
    cr_assert_eq(get(COUNTER_flow_lost_ring), 0);
}

static struct dpi *small_dpi(void)
{
    const struct dpi_conf conf = {.flows_max = 2, .packets_max = 10};
    struct dpi *d = NULL;

    cr_assert_eq(dpi_new(&d, &conf, NULL), 0);
    return d;
}

static void question(uint64_t at, unsigned sport)
{
    static const char message[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\4wind\7example\0\0\1\0\1";

    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 17, 1, 2, 8 + sizeof(message) - 1);
    frame_udp(&fake.frames, sport, 53, sizeof(message) - 1);
    put(&fake.frames, message, sizeof(message) - 1);
    fake_offer(at);
}

Test(worker, the_application_is_in_the_record_and_flows_beyond_the_limit_go_without)
{
    t.conf.talk.dpi = small_dpi();
    for (unsigned i = 0; i < 5; i++)
        fake_tcp(i, 1, 6000 + i, 2, 80, TCP_SYN); /* nDPI waits for more of these */
    question(S, 5000);
    run_to_the_end();
    cr_assert_eq(get(COUNTER_flow_no_dpi), 4);
    set_up();
    t.conf.talk.dpi = small_dpi();
    question(S, 5000);
    run_to_the_end();
    cr_assert_eq(how_many(RECORD_FLOW_ENDED), 1);
    cr_assert_str_eq(t.record[t.n - 1].app, "dns");
    cr_assert_str_eq(t.record[t.n - 1].server_name, "wind.example");
}

/* Without nDPI: the answer is told before the connection that it is for, and kept in the record. */
Test(worker, what_dns_answers_is_told_at_once_and_kept)
{
    const struct flow_record *const r = &t.record[1];

    struct bytes answer = {.data = NULL};

    dns_addresses(&answer, 0x1234, "wind.example", 2);
    question(S, 5000);
    frame_eth(&fake.frames, 0x0800);
    frame_ipv4(&fake.frames, 17, 2, 1, 8 + answer.len);
    frame_udp(&fake.frames, 53, 5000, answer.len);
    put(&fake.frames, answer.data, answer.len);
    bytes_done(&answer);
    fake_offer(S + 1000);
    fake_tcp(2 * S, 1, 6000, 9, 80, TCP_SYN);
    run_to_the_end();
    cr_assert_eq(t.n_named, 1);
    cr_assert_str_eq(last.r.name, "wind.example");
    cr_assert(last.r.n_addresses == 2 && last.r.client[15] == 1);
    cr_assert(last.r.address[1].ttl == 300 && last.r.address[1].address[15] == 2);
    cr_assert(last.r.header.time_ns == FAKE_T0 + S + 1000 && t.n_when_named == 1);
    cr_assert_eq(get(COUNTER_names_told), 1);
    cr_assert_eq(r->header.kind, RECORD_FLOW_ENDED);
    cr_assert_str_eq(r->server_name, "wind.example");
    cr_assert_str_eq(r->app, "");
    cr_assert_gt(r->facts_len, 60);
    cr_assert_eq(get(COUNTER_facts_bytes), 0, "the flow is over");
}

Test(worker, freed_with_flows_in_hand_it_leaks_nothing)
{
    t.conf.talk.dpi = small_dpi();
    fake_tcp(0, 1, 6000, 2, 80, TCP_SYN);
    begin();
    run();
    cr_assert_eq(get(COUNTER_flow_live), 1);
}

static int attempt(void)
{
    WIND_AUTO(worker) struct worker *w = NULL;
    struct err e = {0};
    const int r = worker_new(&w, &t.conf, &e);

    cr_assert(r == 0 || (r == -ENOMEM && w == NULL && e.text[0] != '\0'));
    return r;
}

Test(worker, without_memory_it_is_not_made_and_takes_nothing)
{
    t.conf.talk.dpi = small_dpi(); /* still ours after each failure: else freed twice */
#ifdef WIND_SANITIZED
    cr_assert_eq(oom_each(attempt), 11); /* there, a pool's objects are made one by one */
#else
    cr_assert_eq(oom_each(attempt), 13);
#endif
}
