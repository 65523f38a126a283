#include <criterion/criterion.h>
#include <errno.h>

#include "sensor/dns.h"
#include "sensor/eve_facts.h"
#include "support/dns_builder.h"
#include "support/hearing.h"
#include "support/oom.h"
#include "support/tls_builder.h"

#define JA4 "t13d1516h2_8daaf6152771_e5627efa2ab1"

static struct bytes b;

static void set_up(void)
{
    ear_open(1 << 16, 4);
    b.len = 0;
}

static void tear_down(void)
{
    listener_forget(ear.l, &ear.heard);
    cr_assert_eq(counters_get(ear.counters, COUNTER_facts_bytes), 0);
    ear_close();
    bytes_done(&b);
}

TestSuite(listener, .init = set_up, .fini = tear_down);

static uint64_t get(enum counter c)
{
    return counters_get(ear.counters, c);
}

/* ---------------------------------------------------------------- TLS */

static bool has_hello(void)
{
    return ear_has(FACT_TLS_JA4, JA4, 36) && ear_has(FACT_TLS_NAME, "www.wind-lab.example", 20) &&
           ear_has(FACT_TLS_ALPN, "\2h2\10http/1.1", 12) &&
           ear_has(FACT_TLS_VERSIONS, (const uint16_t[]){0x0304, 0x0303}, 4);
}

static const char server_hello[] = "\x16\x03\x03\0\x32\2\0\0\x2e\x03\x03"
                                   "0123456789abcdef0123456789abcdef\0\x13\x01\0\0\x06"
                                   "\0\x2b\0\2\x03\x04";

Test(listener, both_hellos_in_a_segment_each)
{
    ear_flow(IPPROTO_TCP, 443);
    put_hello_record(&b, hello_of_chrome());
    ear_says(0, b.data, b.len);
    cr_assert(has_hello());
    cr_assert_eq(ear.bits, HEARD_TO_SERVER);
    ear_says(1, server_hello, sizeof(server_hello) - 1);
    cr_assert(ear_has(FACT_TLS_CHOICE, (const uint16_t[]){0x0304, 0x1301}, 4));
    cr_assert_eq(ear.bits, HEARD_ALL);
    cr_assert_null(ear.heard.stream);
    cr_assert_eq(get(COUNTER_facts_tls_hellos), 1);
    cr_assert(eve_facts_check(ear.facts, ear.len));
}

/* In two or three segments, wherever they are cut, whichever comes twice. */
Test(listener, a_hello_across_segments)
{
    put_hello_record(&b, hello_of_chrome());
    for (size_t cut = 3; cut < b.len; cut++) {
        const size_t second = cut + (b.len - cut + 1) / 2;

        ear_flow(IPPROTO_TCP, 443);
        ear_says(0, b.data, cut);
        cr_assert_not_null(ear.heard.stream);
        ear.seq[0] -= (uint32_t)cut; /* again */
        ear_says(0, b.data, cut);
        ear_says(0, b.data + cut, second - cut);
        ear.seq[0] -= 2; /* the last two bytes again, and the rest */
        ear_says(0, b.data + second - 2, b.len - second + 2);
        cr_assert(has_hello(), "%zu", cut);
        cr_assert(ear.bits == HEARD_TO_SERVER && ear.heard.stream == NULL);
    }
    cr_assert_eq(get(COUNTER_facts_bad_tls), 0);
    cr_assert_eq(get(COUNTER_facts_out_of_order), 0);
}

Test(listener, a_missing_segment_ends_it_and_is_counted)
{
    put_hello_record(&b, hello_of_chrome());
    ear_flow(IPPROTO_TCP, 443);
    ear_says(0, b.data, 100);
    ear.seq[0] += 50;
    ear_says(0, b.data + 150, b.len - 150);
    cr_assert_eq(ear_count(FACT_TLS_JA4), 0);
    cr_assert_eq(get(COUNTER_facts_out_of_order), 1);
    cr_assert(ear.bits == HEARD_TO_SERVER && ear.heard.stream == NULL);
}

/* What the capture has cut never comes: nobody waits for it. */
Test(listener, a_hello_that_the_capture_cut)
{
    put_hello_record(&b, hello_of_chrome());
    ear_flow(IPPROTO_TCP, 443);
    ear_packet(ear_view(0, b.data, 100, b.len), 0);
    cr_assert(ear.bits == HEARD_TO_SERVER && ear.heard.stream == NULL);
    cr_assert_eq(get(COUNTER_facts_bad_tls), 0);
}

Test(listener, a_hello_too_long_is_given_up)
{
    static const uint8_t start[] = {22, 3, 1, 0x40, 0, 1, 0, 0x1f, 0xfc, 3, 3}; /* 8192 bytes */

    ear_flow(IPPROTO_TCP, 443);
    ear_says(0, start, sizeof(start));
    for (unsigned i = 0; i < 7; i++)
        ear_says(0, (const uint8_t[1400]){0}, 1400);
    cr_assert_eq(get(COUNTER_facts_too_long) + get(COUNTER_facts_bad_tls), 1);
    cr_assert_null(ear.heard.stream);
    const uint64_t before = get(COUNTER_facts_too_long);
    ear_flow(IPPROTO_TCP, 443);
    ear_says(0, start, 3);
    for (unsigned i = 3; i < 200; i++) /* byte by byte */
        ear_says(0, i < sizeof(start) ? &start[i] : (const uint8_t[1]){0}, 1);
    cr_assert_null(ear.heard.stream);
    cr_assert_eq(ear.bits, HEARD_TO_SERVER);
    cr_assert_eq(get(COUNTER_facts_too_long), before + 1);
}

Test(listener, beginnings_beyond_the_limit_are_given_up)
{
    struct heard others[4] = {{NULL, NULL}};
    uint8_t bits = 0;

    put_hello_record(&b, hello_of_chrome());
    ear_flow(IPPROTO_TCP, 443);
    for (unsigned i = 0; i < 4; i++) {
        const struct packet_view v = ear_view(0, b.data, 50, 50);
        bits = 0;
        listener_packet(ear.l, &others[i], &bits, &v, 0);
        cr_assert_not_null(others[i].stream);
    }
    ear_says(0, b.data, 50);
    cr_assert(ear.heard.stream == NULL && ear.bits == HEARD_TO_SERVER);
    cr_assert_eq(get(COUNTER_facts_no_stream), 1);
    for (unsigned i = 0; i < 4; i++)
        listener_forget(ear.l, &others[i]);
}

Test(listener, other_protocols_are_left_alone_after_their_first_word)
{
    ear_flow(IPPROTO_TCP, 25);
    ear_says(1, "220 mail.example ESMTP\r\n", 24);
    cr_assert_eq(ear.bits, HEARD_ALL);
    ear_flow(IPPROTO_UDP, 4711);
    ear_says(0, "x", 1);
    cr_assert_eq(ear.bits, HEARD_ALL);
    ear_flow(IPPROTO_ICMP, 0);
    ear_says(0, "x", 1);
    cr_assert_eq(ear.bits, HEARD_ALL);
    cr_assert_eq(ear_count(FACT_NONE), 0);
    cr_assert_eq(get(COUNTER_facts_bytes), 0);
}

/* ---------------------------------------------------------------- DNS */

static void ask(unsigned id, const char *name, unsigned type)
{
    b.len = 0;
    dns_head(&b, id, 0x0100, "1000");
    dns_question(&b, name, type);
    ear_says(0, b.data, b.len);
}

Test(listener, a_question_is_kept_until_it_is_answered)
{
    size_t len = 0;
    struct fact_dns head;

    ear_flow(IPPROTO_UDP, 53);
    ask(7, "www.example.org", DNS_TYPE_A);
    ask(8, "www.example.org", DNS_TYPE_AAAA);
    cr_assert_eq(ear_count(FACT_DNS), 2);
    cr_assert_eq(ear.n_told, 0);
    b.len = 0;
    dns_addresses(&b, 7, "www.example.org", 3);
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear_count(FACT_DNS), 2, "the answer, and the other question");
    memcpy(&head, ear_fact(FACT_DNS, 0, &len), sizeof(head));
    cr_assert(head.id == 8 && head.n_items == 1);
    memcpy(&head, ear_fact(FACT_DNS, 1, &len), sizeof(head));
    cr_assert(head.id == 7 && head.flags == 0x8180 && head.n_items == 4 && !head.is_cut);
    cr_assert_eq(len, sizeof(head) + 4 * sizeof(struct fact_dns_item) + 15 + 3 * 16);
    b.len = 0;
    dns_head(&b, 9, 0x8183, "1000"); /* another question's */
    dns_question(&b, "www.example.org", DNS_TYPE_AAAA);
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear_count(FACT_DNS), 3);
    cr_assert(eve_facts_check(ear.facts, ear.len));
    cr_assert_eq(ear.bits, HEARD_DNS);
}

Test(listener, an_answer_is_told_at_once_to_whom_it_was_given)
{
    uint8_t client[16], address[16];

    ear_flow(IPPROTO_UDP, 53);
    dns_addresses(&b, 7, "WWW.Example.ORG", 2);
    ear_says(0, b.data, b.len);
    cr_assert_eq(ear.n_told, 0, "nobody had asked the one who is told");
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear.n_told, 1);
    cr_assert_str_eq(ear.told[0].name, "www.example.org");
    view_address(1, client);
    cr_assert_arr_eq(ear.told[0].client, client, 16);
    cr_assert_eq(ear.told[0].n, 2);
    ip_from_v4((const uint8_t[]){192, 0, 2, 2}, address);
    cr_assert_arr_eq(ear.told[0].address[1].address, address, 16);
    cr_assert_eq(ear.told[0].address[1].ttl, 300);
}

/* An alias: the name that was asked for is what people know. */
Test(listener, a_chain_of_aliases_is_told_by_what_was_asked)
{
    ear_flow(IPPROTO_UDP, 53);
    dns_head(&b, 1, 0x8180, "1200");
    dns_question(&b, "www.example.org", DNS_TYPE_A);
    dns_answer(&b, DNS_TYPE_CNAME, 60, "\3cdn\3net\0", 9);
    dns_name(&b, "cdn.net");
    dns_record(&b, DNS_TYPE_A, 30, 4);
    put(&b, "\xc0\0\2\1", 4);
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear.n_told, 1);
    cr_assert_str_eq(ear.told[0].name, "www.example.org");
}

Test(listener, a_name_that_does_not_exist_is_no_news)
{
    ear_flow(IPPROTO_UDP, 53);
    dns_addresses(&b, 7, "www.example.org", 1);
    b.data[3] = 0x83;
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear.n_told, 0);
    cr_assert_eq(ear_count(FACT_DNS), 1);
}

/* mDNS: nobody asks, everybody is told, of several names. */
Test(listener, mdns_tells_everybody)
{
    static const uint8_t nobody[16];

    ear_flow(IPPROTO_UDP, 5353);
    ear.key.sport = 5353;
    ip_from_v4((const uint8_t[]){224, 0, 0, 251}, ear.key.dst);
    dns_head(&b, 0, 0x8400, "0201");
    for (unsigned i = 0; i < 3; i++) {
        dns_name(&b, i == 0 ? "a.local" : "b.local");
        dns_record(&b, DNS_TYPE_A, 120, 4);
        put(&b, (const uint8_t[]){10, 0, 0, (uint8_t)i}, 4);
    }
    ear_says(0, b.data, b.len);
    cr_assert_eq(ear.n_told, 2);
    cr_assert_arr_eq(ear.told[0].client, nobody, 16);
    cr_assert_str_eq(ear.told[0].name, "a.local");
    cr_assert_str_eq(ear.told[1].name, "b.local");
    cr_assert_eq(ear.told[1].n, 2);
}

/* More answers than a piece of news holds: several. */
Test(listener, many_addresses_are_told_in_parts)
{
    ear_flow(IPPROTO_UDP, 53);
    dns_head(&b, 1, 0x8180, "1000");
    b.data[7] = 70;
    dns_question(&b, "many.example", DNS_TYPE_A);
    for (unsigned i = 0; i < 70; i++)
        dns_answer(&b, DNS_TYPE_A, 1, (const uint8_t[]){192, 0, 2, (uint8_t)i}, 4);
    ear_says(1, b.data, b.len);
    cr_assert_eq(ear.n_told, 3);
    cr_assert_eq(ear.told[0].n + ear.told[1].n + ear.told[2].n, 70);
    cr_assert_eq(ear_count(FACT_DNS), 1);
    size_t len = 0;
    struct fact_dns head;
    memcpy(&head, ear_fact(FACT_DNS, 0, &len), sizeof(head));
    cr_assert(head.is_cut && head.n_items < 71);
    cr_assert(eve_facts_check(ear.facts, ear.len));
}

Test(listener, a_flow_of_many_answers_keeps_the_first_and_tells_all)
{
    ear_flow(IPPROTO_UDP, 53);
    for (unsigned i = 0; i < 60; i++) {
        b.len = 0;
        dns_addresses(&b, i, "www.example.org", 4);
        ear_says(1, b.data, b.len);
    }
    cr_assert_eq(ear.n_told, 60);
    cr_assert_eq(ear_count(FACT_CUT), 1);
    cr_assert_gt(ear_count(FACT_DNS), 10);
    cr_assert_leq(ear.len, RECORD_FACTS_MAX);
    cr_assert_eq(get(COUNTER_facts_cut), 1);
    cr_assert(eve_facts_check(ear.facts, ear.len));
}

Test(listener, what_is_no_dns_on_its_port_is_left_alone)
{
    ear_flow(IPPROTO_UDP, 53);
    ear_says(0, "not a message of DNS, but long enough", 37);
    cr_assert_eq(ear.bits, HEARD_ALL | HEARD_DNS);
    cr_assert_eq(get(COUNTER_facts_bad_dns), 1);
    cr_assert_eq(ear_count(FACT_DNS), 0);
}

/* A message that the capture cut: what is there, and the mark. */
Test(listener, a_message_that_the_capture_cut)
{
    size_t len = 0;
    struct fact_dns head;

    ear_flow(IPPROTO_UDP, 53);
    dns_addresses(&b, 7, "www.example.org", 9);
    ear_packet(ear_view(1, b.data, b.len - 40, b.len), 1);
    cr_assert_eq(ear_count(FACT_DNS), 1);
    memcpy(&head, ear_fact(FACT_DNS, 0, &len), sizeof(head));
    cr_assert(head.is_cut && head.n_items == 1 + 6);
    cr_assert_eq(ear.told[0].n, 6);
    cr_assert_eq(get(COUNTER_facts_bad_dns), 0);
    cr_assert_eq(ear.bits, HEARD_DNS);
}

Test(listener, dns_over_tcp_however_it_is_cut)
{
    struct bytes stream = {.data = NULL};

    for (unsigned i = 0; i < 3; i++) {
        b.len = 0;
        dns_addresses(&b, i, "www.example.org", 1 + i);
        put_number(&stream, b.len, 2, true);
        put(&stream, b.data, b.len);
    }
    for (size_t piece = 1; piece <= stream.len; piece++) {
        ear_flow(IPPROTO_TCP, 53);
        ear.n_told = 0;
        for (size_t at = 0; at < stream.len; at += piece)
            ear_says(1, stream.data + at, stream.len - at < piece ? stream.len - at : piece);
        if (piece > 2) /* too many segments otherwise */
            cr_assert(ear_count(FACT_DNS) == 3 && ear.n_told == 3, "%zu", piece);
        cr_assert(piece <= 2 || ear.heard.stream == NULL);
    }
    bytes_done(&stream);
}

/* A zone transfer: its beginning has to do. */
Test(listener, a_message_longer_than_we_read_is_cut)
{
    struct fact_dns head;
    size_t len = 0;

    put_number(&b, 60000, 2, true);
    dns_head(&b, 1, 0x8180, "1000");
    b.data[2 + 6] = 2; /* 512 answers */
    dns_question(&b, "zone.example", DNS_TYPE_A);
    for (unsigned i = 0; i < 600; i++)
        dns_answer(&b, DNS_TYPE_A, 1, (const uint8_t[]){192, 0, 2, (uint8_t)i}, 4);
    ear_flow(IPPROTO_TCP, 53);
    for (size_t at = 0; at < b.len; at += 1400)
        ear_says(1, b.data + at, b.len - at < 1400 ? b.len - at : 1400);
    cr_assert_eq(ear_count(FACT_DNS), 1);
    memcpy(&head, ear_fact(FACT_DNS, 0, &len), sizeof(head));
    cr_assert(head.is_cut && head.n_items > 10);
    cr_assert_eq(get(COUNTER_facts_too_long), 1);
    cr_assert(ear.bits == (HEARD_ALL | HEARD_DNS) && ear.heard.stream == NULL);
}

Test(listener, without_memory_a_flow_goes_without_and_is_counted)
{
    ear_open(256, 1); /* two pieces */
    ear_flow(IPPROTO_UDP, 53);
    for (unsigned i = 0; i < 10; i++)
        ask(i, "a-name-of-some-length.example.org", DNS_TYPE_A);
    cr_assert_gt(get(COUNTER_facts_no_memory), 0);
    cr_assert(ear_count(FACT_DNS) > 0 && ear_count(FACT_DNS) < 10);
    cr_assert_leq(get(COUNTER_facts_bytes), 256);
    cr_assert(eve_facts_check(ear.facts, ear.len));
    ear_flow(IPPROTO_UDP, 53);
    ask(1, "again.example", DNS_TYPE_A);
    cr_assert_eq(ear_count(FACT_DNS), 1, "what was forgotten is free");
}

static int attempt(void)
{
    WIND_AUTO(listener) struct listener *l = NULL;
    struct err e = {0};
    const int r = listener_new(&l, &ear.conf, &e);

    cr_assert(r == 0 || (r == -ENOMEM && l == NULL && e.text[0] != '\0'));
    return r;
}

Test(listener, without_memory_it_is_not_made)
{
    cr_assert_gt(oom_each(attempt), 3);
}
