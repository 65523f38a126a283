#include <inttypes.h>
#include <stdio.h>

#include "sensor/capture_format.h"

/*
 * Classic pcap. File header (24 bytes), in the byte order of whoever wrote it:
 *      0 magic   4 major u16, minor u16   8 zone   12 accuracy   16 snaplen   20 link type
 * Record header (16 bytes), then `captured` bytes:
 *      0 seconds   4 microseconds or nanoseconds   8 captured   12 on the wire
 */
#define MAGIC_US      0xa1b2c3d4U
#define MAGIC_NS      0xa1b23c4dU
#define RECORD_HEADER 16

bool pcap_format_is(const uint8_t magic[4])
{
    const uint32_t here = load_32(magic, false), swapped = load_32(magic, true);

    return here == MAGIC_US || here == MAGIC_NS || swapped == MAGIC_US || swapped == MAGIC_NS;
}

static enum format_stop start(struct pcap_format *f, struct span *window)
{
    f->format.need = PCAP_HEADER_LEN;
    f->format.record = "its header";
    const uint8_t *h = span_take(window, PCAP_HEADER_LEN);
    if (h == NULL)
        return FORMAT_MORE;

    f->swapped = load_32(h, false) != MAGIC_US && load_32(h, false) != MAGIC_NS;
    f->fraction_ns = load_32(h, f->swapped) == MAGIC_NS ? 1 : 1000;
    f->linktype = load_16(h + 20 + (f->swapped ? 2 : 0), f->swapped); /* above: FCS length */
    const unsigned major = load_16(h + 4, f->swapped);
    if (major != 2) {
        (void)snprintf(f->format.problem, sizeof(f->format.problem),
                       "it is pcap version %u.%u, and we read version 2", major,
                       (unsigned)load_16(h + 6, f->swapped));
        return FORMAT_REFUSED;
    }
    f->format.is_started = true;
    return FORMAT_FULL;
}

static enum format_stop damaged(struct pcap_format *f, uint32_t len)
{
    (void)snprintf(f->format.problem, sizeof(f->format.problem),
                   "packet %" PRIu64 " claims %" PRIu32 " bytes, more than the %d we accept",
                   f->format.packets + 1, len, CAPTURE_PACKET_MAX);
    return FORMAT_DAMAGED;
}

#define AHEAD 1536 /* bytes: the card's own prefetcher stops at the end of a page */

size_t pcap_format_read(struct pcap_format *f, struct span *window, struct packet *ret_packets,
                        size_t max, enum format_stop *ret_stop)
{
    size_t n = 0;

    *ret_stop = f->format.is_started ? FORMAT_FULL : start(f, window);
    if (*ret_stop != FORMAT_FULL)
        return 0;
    const bool swapped = f->swapped;

    while (n < max) {
        const uint8_t *const h = window->at;
        if (window->left > AHEAD)
            __builtin_prefetch(h + AHEAD);
        f->format.record = "the header of packet";
        f->format.need = RECORD_HEADER;
        if (window->left < RECORD_HEADER) {
            *ret_stop = FORMAT_MORE;
            break;
        }
        const uint32_t len = load_32(h + 8, swapped);
        if (len > CAPTURE_PACKET_MAX) {
            *ret_stop = damaged(f, len);
            break;
        }
        if (window->left - RECORD_HEADER < len) {
            f->format.record = "packet";
            f->format.need = RECORD_HEADER + len;
            *ret_stop = FORMAT_MORE;
            break;
        }
        (void)span_take(window, RECORD_HEADER + len);
        ret_packets[n++] = (struct packet){
            .data = h + RECORD_HEADER,
            .len = len,
            .wire_len = format_wire_len(load_32(h + 12, swapped), len),
            /* at most 2^32 * 10^9 + 2^32 * 1000: below CAPTURE_TIME_MAX */
            .time_ns = (uint64_t)load_32(h, swapped) * 1000000000 +
                       (uint64_t)load_32(h + 4, swapped) * f->fraction_ns,
            .linktype = f->linktype,
        };
        f->format.packets++;
    }
    return n;
}
