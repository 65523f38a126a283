/*
 * What a hostile analyser leaves in a ring: the first byte says which ring, the rest is a slot.
 * Whatever eve_take accepts must become one line of valid JSON below the limit, and a flow's line
 * another one with its features.
 */
#include <jansson.h>
#include <string.h>

#include "sensor/eve.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct eve_source source = {.sensor = "edge", .pcap = "x.pcap", .coverage = 1};
    static char text[EVE_LINE_MAX], more[2 * EVE_LINE_MAX];
    struct buf out = BUF_FIXED(text), flow = BUF_FIXED(more);
    struct eve_record record;
    json_error_t error;

    if (size < 1)
        return 0;
    const size_t room = size - 1;
    uint8_t *slot = malloc(room > 0 ? room : 1); /* exactly as long: a byte too far is seen */
    memcpy(slot, data + 1, room);
    const int r = eve_take(slot, room, data[0] & 1 ? EVE_RING_ALERTS : EVE_RING_FLOWS, &record);
    free(slot);
    if (r != 0)
        return 0;

    eve_line(&out, &source, &record);
    FUZZ_CHECK(!out.failed && out.len > 2 && out.data[out.len - 1] == '\n');
    FUZZ_CHECK(memchr(out.data, '\n', out.len - 1) == NULL);
    json_t *root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    FUZZ_CHECK(root != NULL);
    json_decref(root);
    if (record.header.kind != RECORD_FLOW_ENDED)
        return 0;
    eve_add_features(&flow, out.data, out.len - 1, &record);
    root = json_loadb(flow.data, flow.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    FUZZ_CHECK(!flow.failed && root != NULL);
    json_decref(root);
    return 0;
}
