/*
 * Records of both formats out of a heap block of exactly that size: reading past its end is an
 * error under ASan. A window that grows byte by byte yields the same packets as a whole one.
 */
#include <string.h>

#include "sensor/capture_format.h"
#include "support/fuzz.h"

#define PACKETS_MAX 512

struct found {
    size_t n;
    enum format_stop stop;
    uint64_t time_ns[PACKETS_MAX];
    uint32_t len[PACKETS_MAX];
    const uint8_t *data[PACKETS_MAX];
};

union any_format {
    struct pcap_format pcap;
    struct pcapng_format pcapng;
};

static void read_window(union any_format *f, bool is_pcapng, struct span *window,
                        struct found *found)
{
    do {
        struct packet p[8];
        const size_t room = PACKETS_MAX - found->n;
        const size_t max = room < 8 ? room : 8;
        const size_t n = is_pcapng ? pcapng_format_read(&f->pcapng, window, p, max, &found->stop)
                                   : pcap_format_read(&f->pcap, window, p, max, &found->stop);

        FUZZ_CHECK(n <= max);
        for (size_t i = 0; i < n; i++, found->n++) {
            FUZZ_CHECK(p[i].len <= p[i].wire_len && p[i].wire_len <= CAPTURE_PACKET_MAX);
            FUZZ_CHECK(p[i].time_ns <= CAPTURE_TIME_MAX);
            found->time_ns[found->n] = p[i].time_ns;
            found->len[found->n] = p[i].len;
            found->data[found->n] = p[i].data;
        }
    } while (found->stop == FORMAT_FULL && found->n < PACKETS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union any_format whole_format, grown_format;
    static struct found whole, grown;

    if (size < 5 || size > 4096)
        return 0;
    const size_t step = 1 + data[0] % 64; /* the first byte says how the window grows */
    uint8_t *const copy = malloc(size - 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    const bool is_pcapng = pcapng_format_is(copy);
    if (is_pcapng || pcap_format_is(copy)) {
        struct span w = {copy, size - 1}, g = {copy, 0};

        memset(&whole_format, 0, sizeof(whole_format));
        memset(&grown_format, 0, sizeof(grown_format));
        whole.n = grown.n = 0;
        read_window(&whole_format, is_pcapng, &w, &whole);
        for (size_t given = 0; given < size - 1;) {
            const size_t more = size - 1 - given < step ? size - 1 - given : step;
            given += more;
            g.left += more;
            read_window(&grown_format, is_pcapng, &g, &grown);
            if (grown.stop != FORMAT_MORE)
                break;
        }
        FUZZ_CHECK(whole.n == grown.n && whole.stop == grown.stop);
        FUZZ_CHECK(memcmp(whole.time_ns, grown.time_ns, whole.n * sizeof(whole.time_ns[0])) == 0);
        FUZZ_CHECK(memcmp(whole.len, grown.len, whole.n * sizeof(whole.len[0])) == 0);
        FUZZ_CHECK(memcmp(whole.data, grown.data, whole.n * sizeof(whole.data[0])) == 0);
    }
    free(copy);
    return 0;
}
