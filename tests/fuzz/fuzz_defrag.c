/*
 * Fragments of a few packets, in any order, against a model: the bytes that came first stay, and
 * the packet is whole exactly when every byte up to its end is there.
 */
#include <string.h>

#include "sensor/counter.h"
#include "sensor/defrag.h"
#include "support/fuzz.h"

#define UNIT   8
#define UNITS  64
#define IDS    4
#define HEADER 20

static struct model {
    uint8_t byte[UNITS * UNIT], is_there[UNITS * UNIT];
    uint32_t end, top;
    bool has_first;
} model[IDS];

static void model_add(struct model *m, const struct defrag_fragment *f, bool *ret_overlap)
{
    const uint32_t end = f->at + (uint32_t)f->data.left;

    *ret_overlap = (m->end != 0 && (f->has_more ? end > m->end : end != m->end)) ||
                   (!f->has_more && m->top > end);
    if (*ret_overlap)
        return;
    for (uint32_t i = f->at; i < end; i++) {
        const uint8_t byte = f->data.at[i - f->at];

        *ret_overlap = *ret_overlap || (m->is_there[i] && m->byte[i] != byte);
        m->byte[i] = m->is_there[i] ? m->byte[i] : byte;
        m->is_there[i] = 1;
    }
    m->top = end > m->top ? end : m->top;
    m->end = f->has_more ? m->end : end;
}

static bool is_whole(const struct model *m)
{
    return m->end != 0 && memchr(m->is_there, 0, m->end) == NULL;
}

/* Four bytes: at, length and whether more follow, id, what the data is. */
static void step(struct defrag *d, const uint8_t *in, uint32_t first_id, uint64_t time_ns)
{
    uint8_t header[HEADER] = {0x45}, data[UNITS * UNIT];
    struct model *const m = &model[in[2] % IDS];
    const uint32_t at = in[0] % UNITS, n = 1 + in[1] % 64 % (UNITS - at);
    struct defrag_fragment f = {.key = {.id = first_id + in[2] % IDS, .ip_version = 4},
                                .header = {header, sizeof(header)},
                                .data = {data, (size_t)n * UNIT},
                                .at = at * UNIT,
                                .has_more = in[1] < 192};
    struct span whole = {0};
    bool overlap = false, expected = false;

    f.data.left -= f.has_more ? 0 : in[3] % UNIT;
    memset(data, in[3] / 64, sizeof(data));
    data[in[3] % sizeof(data)] ^= 1;
    model_add(m, &f, &expected);
    const enum defrag_result result = defrag_add(d, &f, time_ns, &whole, &overlap);

    FUZZ_CHECK(overlap == expected);
    FUZZ_CHECK((result == DEFRAG_WHOLE) == is_whole(m) && result != DEFRAG_BAD);
    if (result != DEFRAG_WHOLE)
        return;
    FUZZ_CHECK(whole.left == HEADER + (size_t)m->end);
    FUZZ_CHECK(load_be16(whole.at + 2) == whole.left);
    FUZZ_CHECK(memcmp(whole.at + HEADER, m->byte, m->end) == 0);
    memset(m, 0, sizeof(*m));
    defrag_release(d);
}

/*
 * One table for all inputs, because it is large. Each has ids of its own, and there is room for
 * those of one: what an earlier input has left gives way, being older.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct counters *counters;
    static struct defrag *d;
    static uint32_t first_id;
    static uint64_t time_ns;

    if (counters == NULL)
        FUZZ_CHECK(counters_new(&counters, NULL) == 0);
    const struct defrag_conf conf = {
        .max = IDS, .memory = 1 << 20, .timeout_ns = UINT64_MAX / 4, .counters = counters};
    if (d == NULL)
        FUZZ_CHECK(defrag_new(&d, &conf, NULL) == 0);
    memset(model, 0, sizeof(model));
    first_id += IDS;
    for (size_t i = 0; i + 4 <= size && i < 1024; i += 4)
        step(d, data + i, first_id, time_ns++);
    return 0;
}
