/*
 * Packets of one flow, each "bits and jump, length (2 bytes), payload": whatever they say, the
 * facts hold together and make a line, what is told is bounded, and nothing is left when the flow
 * is forgotten. The first byte chooses protocol and port.
 */
#include <string.h>

#include "sensor/eve_facts.h"
#include "support/fuzz.h"
#include "support/hearing.h"

static void check_told(void)
{
    for (size_t i = 0; i < ear.n_told; i++) {
        FUZZ_CHECK(ear.told[i].n > 0 && ear.told[i].n <= NAMED_ADDRESSES_MAX);
        FUZZ_CHECK(memchr(ear.told[i].name, 0, sizeof(ear.told[i].name)) != NULL);
    }
    ear.n_told = 0;
}

static void check_facts(void)
{
    static const struct flow_record flow = {.key = {.proto = IPPROTO_TCP}};
    static char text[64 << 10];
    struct buf out = BUF_FIXED(text);
    struct jsonw j;

    ear.len = fact_copy(ear.heard.facts, ear.facts);
    FUZZ_CHECK(ear.len == fact_len(ear.heard.facts) && ear.len <= RECORD_FACTS_MAX);
    FUZZ_CHECK(eve_facts_check(ear.facts, ear.len));
    jsonw_begin(&j, &out);
    jsonw_object(&j, NULL);
    eve_facts_put(&j, &flow, ear.facts, ear.len);
    jsonw_end(&j);
    FUZZ_CHECK(!out.failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        unsigned proto, port;
    } flows[] = {{IPPROTO_TCP, 443}, {IPPROTO_TCP, 53}, {IPPROTO_UDP, 53}, {IPPROTO_UDP, 5353}};

    if (size < 1)
        return 0;
    ear_open(8192, 1);
    ear_flow(flows[data[0] % 4].proto, flows[data[0] % 4].port);
    if (flows[data[0] % 4].port == 5353)
        ear.key.sport = 5353;
    for (size_t at = 1; at + 3 <= size;) {
        const uint8_t bits = data[at];
        const size_t want = (size_t)data[at + 1] | (size_t)(data[at + 2] & 15) << 8;
        const size_t n = want < size - at - 3 ? want : size - at - 3;
        const unsigned dir = bits & 1;
        uint8_t *const copy = malloc(n + 1); /* ASan knows its end */

        FUZZ_CHECK(copy != NULL);
        memcpy(copy, data + at + 3, n);
        ear.seq[dir] += (uint32_t)((bits >> 1 & 7) - 3) * (uint32_t)(bits >> 4 == 15);
        ear_packet(ear_view(dir, copy, n, n + (bits >> 4 == 14)), dir);
        ear.seq[dir] += (uint32_t)n;
        free(copy);
        check_told();
        at += 3 + n;
    }
    check_facts();
    listener_forget(ear.l, &ear.heard);
    FUZZ_CHECK(counters_get(ear.counters, COUNTER_facts_bytes) == 0);
    ear_close();
    return 0;
}
