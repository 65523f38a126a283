/*
 * What comes from the bus beside the value: headers of any name and bytes, and numbers in any
 * order, whose state survives being written and read.
 */
#include "collector/bus_message.h"
#include "collector/bus_sequence.h"
#include "common/utf8.h"
#include "support/fuzz.h"

static const char *const names[] = {"schema", "sensor", "run", "seq", "other"};

/* name, length, bytes; as librdkafka has it, a NUL behind. Returns what is left. */
static const uint8_t *read_headers(const uint8_t *p, const uint8_t *end, struct bus_message *m,
                                   char values[4][256])
{
    for (int i = 0; i < 4 && end - p >= 2; i++) {
        const size_t len = p[1] < end - p - 2 ? p[1] : (size_t)(end - p - 2);
        memcpy(values[i], p + 2, len);
        values[i][len] = '\0';
        bus_message_header(m, names[p[0] % WIND_ARRAY_SIZE(names)], values[i], len);
        p += 2 + len;
    }
    bus_message_check(m);
    return p;
}

static void check_message(const struct bus_message *m)
{
    if (m->sensor != NULL)
        FUZZ_CHECK(strlen(m->sensor) <= SOURCE_MAX && utf8_is_line(m->sensor, strlen(m->sensor)));
    if (m->run != NULL)
        FUZZ_CHECK(m->seq >= 0 && m->seq <= BUS_SEQ_MAX && strlen(m->run) <= BUS_RUN_MAX);
    if (m->reason == NULL)
        FUZZ_CHECK(m->sensor != NULL && m->has_schema && m->len > 0);
    else
        FUZZ_CHECK(utf8_valid(m->reason, strlen(m->reason)));
}

static void check_sequence(const uint8_t *p, const uint8_t *end)
{
    struct sequence s = {0};
    struct sequence_events ev = {0};
    struct sequence_range lost[SEQUENCE_TOLD];
    int64_t at = 0, now = 1, heard = 0;

    for (; end - p >= 2; p += 2) {
        const int64_t step = (int64_t)p[1] - (p[1] < 128 ? 0 : 256);
        at += p[0] % 4 == 0 ? step * INT64_C(1000003) : step; /* near, and far */
        at = at < 0 ? 0 : at > BUS_SEQ_MAX ? BUS_SEQ_MAX : at;
        heard += sequence_take(&s, at, &ev);
        FUZZ_CHECK(s.n <= SEQUENCE_BLOCKS);
        if (p[0] % 8 == 1)
            FUZZ_CHECK(sequence_settle(&s, now += 7, 10, &ev, lost) <= SEQUENCE_TOLD);
    }
    (void)sequence_settle(&s, now + 1000, 10, &ev, lost);
    (void)sequence_settle(&s, now + 2000, 10, &ev, lost);
    FUZZ_CHECK(s.next == 0 || s.next - s.first >= heard);
    FUZZ_CHECK(s.next == 0 || s.next - s.first == heard + ev.missing);
    FUZZ_CHECK(ev.gaps >= 0 && ev.missing >= 0 && ev.found >= 0);
    uint8_t *bytes = malloc(s.n * SEQUENCE_BLOCK_BYTES + 1);
    struct sequence again;
    sequence_write(&s, bytes);
    if (s.next != 0) {
        FUZZ_CHECK(sequence_read(&again, s.first, s.next, bytes, s.n * SEQUENCE_BLOCK_BYTES) == 0);
        FUZZ_CHECK(again.n == s.n && sequence_due(&again, 10) == sequence_due(&s, 10));
        sequence_done(&again);
    }
    free(bytes);
    sequence_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char values[4][256];
    const uint8_t *p = data, *end = data + size;
    struct bus_message m = {.seq = -1, .value = "{}", .len = size % 3};
    struct sequence s;

    if (size == 0)
        return 0;
    p = read_headers(p, end, &m, values);
    check_message(&m);
    free(m.reason);
    check_sequence(p, end);
    if (sequence_read(&s, 0, 1 << 20, p, (size_t)(end - p)) == 0)
        sequence_done(&s);
    return 0;
}
