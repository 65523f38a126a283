#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "sensor/capture_format.h"

/*
 * pcapng. Blocks, each: type u32, total length u32, body, total length again; all multiples of 4.
 *      section    8 byte-order magic   12 major u16, minor u16   16 length u64   24 options
 *      interface  8 link type u16   12 snaplen   16 options
 *      enhanced   8 interface u32   12 time high   16 time low   20 captured   24 wire   28 data
 *      simple     8 wire   12 data (captured = wire, cut at the first interface's snaplen)
 *      old        8 interface u16, drops u16   12 time high ... as enhanced
 * A section starts a new list of interfaces, maybe in the other byte order. Any other block is
 * skipped, however long it is.
 */
#define BLOCK_SECTION   0x0a0d0d0aU /* reads the same in both byte orders */
#define BLOCK_INTERFACE 1U
#define BLOCK_OLD       2U
#define BLOCK_SIMPLE    3U
#define BLOCK_ENHANCED  6U
#define ORDER_MAGIC     0x1a2b3c4dU

#define BLOCK_MIN         12
#define SECTION_MIN       PCAPNG_HEADER_LEN
#define INTERFACE_MIN     20
#define ENHANCED_MIN      32
#define SIMPLE_MIN        16
#define OPTION_RESOLUTION 9
#define OPTION_OFFSET     14
#define NS_PER_S          1000000000

bool pcapng_format_is(const uint8_t magic[4])
{
    return load_32(magic, false) == BLOCK_SECTION;
}

static enum format_stop WIND_PRINTF(2, 3) damaged(struct pcapng_format *f, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(f->format.problem, sizeof(f->format.problem), fmt, args);
    va_end(args);
    return FORMAT_DAMAGED;
}

static uint64_t next_packet(const struct pcapng_format *f)
{
    return f->format.packets + 1;
}

/* ---------------------------------------------------------------- sections and interfaces */

static enum format_stop read_section(struct pcapng_format *f, const uint8_t *b, uint32_t total)
{
    if (total < SECTION_MIN)
        return damaged(f, "the section before packet %" PRIu64 " has a header of %" PRIu32 " bytes",
                       next_packet(f), total);
    const unsigned major = load_16(b + 12, f->swapped);
    if (major != 1) {
        (void)damaged(f, "it is pcapng version %u.%u, and we read version 1", major,
                      (unsigned)load_16(b + 14, f->swapped));
        return f->format.is_started ? FORMAT_DAMAGED : FORMAT_REFUSED;
    }
    f->format.is_started = true;
    f->n_interfaces = 0;
    return FORMAT_FULL;
}

/* A power of ten, or with the top bit of two. 0 = finer than we can count. */
static uint64_t units_per_s(uint8_t resolution)
{
    const unsigned power = resolution & 0x7f;
    uint64_t units = 1;

    if ((resolution & 0x80) != 0)
        return power < 64 ? (uint64_t)1 << power : 0;
    if (power > 19)
        return 0;
    for (unsigned i = 0; i < power; i++)
        units *= 10;
    return units;
}

static void read_options(struct pcapng_interface *i, struct span options, bool swapped)
{
    for (;;) {
        const uint8_t *const head = span_take(&options, 4);
        if (head == NULL)
            return;
        const unsigned code = load_16(head, swapped), len = load_16(head + 2, swapped);
        const uint8_t *const value = span_take(&options, (len + 3U) & ~3U);
        if (code == 0 || value == NULL)
            return; /* a bad length ends the list: what came before stands */
        if (code == OPTION_RESOLUTION && len == 1)
            i->units_per_s = units_per_s(value[0]);
        if (code == OPTION_OFFSET && len == 8)
            i->offset_s = (int64_t)load_64(value, swapped);
    }
}

static enum format_stop read_interface(struct pcapng_format *f, const uint8_t *b, uint32_t total)
{
    if (total < INTERFACE_MIN)
        return damaged(f, "interface %" PRIu32 " is described in %" PRIu32 " bytes",
                       f->n_interfaces, total);
    if (f->n_interfaces == PCAPNG_INTERFACES_MAX)
        return damaged(f, "a section has more than %d interfaces", PCAPNG_INTERFACES_MAX);

    struct pcapng_interface i = {
        .units_per_s = 1000000,
        .linktype = load_16(b + 8, f->swapped),
        .snaplen = load_32(b + 12, f->swapped),
    };
    read_options(&i, (struct span){b + 16, total - INTERFACE_MIN}, f->swapped);
    if (i.units_per_s == 0)
        return damaged(f, "the clock of interface %" PRIu32 " is finer than we can count",
                       f->n_interfaces);
    f->interface[f->n_interfaces++] = i;
    return FORMAT_FULL;
}

/* ---------------------------------------------------------------- packets */

/* `rest` units, less than a second, in nanoseconds. */
static uint64_t fraction_ns(uint64_t rest, uint64_t units)
{
    if (units > NS_PER_S && units % NS_PER_S == 0) /* 10^-10 s and finer: whole units a ns */
        return rest / (units / NS_PER_S);
    while (units > (uint64_t)1 << 34) { /* 2^-35 s and finer: so that the product fits */
        units >>= 1;
        rest >>= 1;
    }
    return rest * NS_PER_S / units;
}

/* Nanoseconds since 1970, kept within 0 .. CAPTURE_TIME_MAX. */
static uint64_t time_of(const struct pcapng_interface *i, uint64_t units)
{
    const uint64_t whole_s = units / i->units_per_s, rest = units % i->units_per_s;
    int64_t s, ns;

    if (whole_s > INT64_MAX || __builtin_add_overflow((int64_t)whole_s, i->offset_s, &s))
        return i->offset_s < 0 ? 0 : CAPTURE_TIME_MAX;
    if (s < 0)
        return 0;
    if (__builtin_mul_overflow(s, (int64_t)NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)fraction_ns(rest, i->units_per_s), &ns))
        return CAPTURE_TIME_MAX;
    return (uint64_t)ns;
}

/* Enhanced and old packet blocks differ only in how they name the interface. */
static enum format_stop read_packet(struct pcapng_format *f, const uint8_t *b, uint32_t total,
                                    uint32_t interface, struct packet *ret_packet)
{
    if (total < ENHANCED_MIN)
        return damaged(f, "packet %" PRIu64 " is a block of %" PRIu32 " bytes", next_packet(f),
                       total);
    const uint32_t len = load_32(b + 20, f->swapped);
    if (interface >= f->n_interfaces)
        return damaged(f, "packet %" PRIu64 " names interface %" PRIu32 ", and there are %" PRIu32,
                       next_packet(f), interface, f->n_interfaces);
    if (len > CAPTURE_PACKET_MAX || len > total - ENHANCED_MIN)
        return damaged(f, "packet %" PRIu64 " claims %" PRIu32 " bytes in a block of %" PRIu32,
                       next_packet(f), len, total);

    const uint64_t units =
        (uint64_t)load_32(b + 12, f->swapped) << 32 | load_32(b + 16, f->swapped);
    *ret_packet = (struct packet){
        .data = b + 28,
        .len = len,
        .wire_len = format_wire_len(load_32(b + 24, f->swapped), len),
        .time_ns = time_of(&f->interface[interface], units),
        .linktype = f->interface[interface].linktype,
    };
    f->last_ns = ret_packet->time_ns;
    return FORMAT_FULL;
}

static enum format_stop read_simple(struct pcapng_format *f, const uint8_t *b, uint32_t total,
                                    struct packet *ret_packet)
{
    if (total < SIMPLE_MIN || f->n_interfaces == 0)
        return damaged(f, "packet %" PRIu64 " is a simple block of %" PRIu32 " bytes, %s",
                       next_packet(f), total,
                       f->n_interfaces == 0 ? "before any interface" : "too short");
    const uint32_t wire = load_32(b + 8, f->swapped), snaplen = f->interface[0].snaplen;
    const uint32_t len = snaplen != 0 && snaplen < wire ? snaplen : wire;
    if (len > CAPTURE_PACKET_MAX || len > total - SIMPLE_MIN)
        return damaged(f, "packet %" PRIu64 " claims %" PRIu32 " bytes in a block of %" PRIu32,
                       next_packet(f), len, total);

    *ret_packet = (struct packet){
        .data = b + 12,
        .len = len,
        .wire_len = format_wire_len(wire, len),
        .time_ns = f->last_ns, /* it has none of its own */
        .linktype = f->interface[0].linktype,
    };
    return FORMAT_FULL;
}

/* ---------------------------------------------------------------- blocks */

/* A whole block is there. Sets *ret_is_packet when it was one. */
static enum format_stop read_block(struct pcapng_format *f, const uint8_t *b, uint32_t type,
                                   struct packet *ret_packet, bool *ret_is_packet)
{
    const uint32_t total = load_32(b + 4, f->swapped);

    if (load_32(b + total - 4, f->swapped) != total)
        return damaged(f, "the two lengths of the block at packet %" PRIu64 " differ",
                       next_packet(f));
    *ret_is_packet = type != BLOCK_SECTION && type != BLOCK_INTERFACE;
    switch (type) {
    case BLOCK_SECTION:
        return read_section(f, b, total);
    case BLOCK_INTERFACE:
        return read_interface(f, b, total);
    case BLOCK_SIMPLE:
        return read_simple(f, b, total, ret_packet);
    case BLOCK_OLD:
        return read_packet(f, b, total, load_16(b + 8, f->swapped), ret_packet);
    default:
        return read_packet(f, b, total, load_32(b + 8, f->swapped), ret_packet);
    }
}

static bool is_read(uint32_t type)
{
    return type == BLOCK_ENHANCED || type == BLOCK_SECTION || type == BLOCK_INTERFACE ||
           type == BLOCK_SIMPLE || type == BLOCK_OLD;
}

/* Look at the head of the next block: is it sane, and is as much of it there as we want? */
static enum format_stop find_block(struct pcapng_format *f, const struct span *window,
                                   uint32_t *ret_type, uint32_t *ret_total)
{
    const uint8_t *const b = window->at;

    f->format.record = "the block at packet";
    f->format.need = f->format.is_started ? BLOCK_MIN : SECTION_MIN;
    if (window->left < BLOCK_MIN)
        return FORMAT_MORE;
    *ret_type = load_32(b, f->swapped);
    if (*ret_type == BLOCK_SECTION) {
        const uint32_t order = load_32(b + 8, false);
        f->swapped = order == __builtin_bswap32(ORDER_MAGIC);
        if (!f->swapped && order != ORDER_MAGIC)
            return damaged(f, "the section before packet %" PRIu64 " has no byte order",
                           next_packet(f));
    }
    const uint32_t total = load_32(b + 4, f->swapped);
    *ret_total = total;
    if (total < BLOCK_MIN || total % 4 != 0)
        return damaged(f, "the block at packet %" PRIu64 " claims a length of %" PRIu32,
                       next_packet(f), total);
    if (!is_read(*ret_type))
        return FORMAT_FULL;
    if (total > PCAPNG_BLOCK_MAX)
        return damaged(f, "the block at packet %" PRIu64 " has %" PRIu32 " bytes, more than %d",
                       next_packet(f), total, PCAPNG_BLOCK_MAX);
    f->format.need = total;
    return window->left < total ? FORMAT_MORE : FORMAT_FULL;
}

/* What is left of a block that we don't look into. */
static enum format_stop skip_block(struct pcapng_format *f, struct span *window)
{
    const size_t n = f->skip < window->left ? (size_t)f->skip : window->left;

    (void)span_take(window, n);
    f->skip -= n;
    f->format.record = "the block at packet";
    f->format.need = (size_t)f->skip;
    f->format.is_midway = f->skip > 0;
    return f->skip > 0 ? FORMAT_MORE : FORMAT_FULL;
}

size_t pcapng_format_read(struct pcapng_format *f, struct span *window, struct packet *ret_packets,
                          size_t max, enum format_stop *ret_stop)
{
    size_t n = 0;

    *ret_stop = FORMAT_FULL;
    while (n < max) {
        uint32_t type = 0, total = 0;
        bool is_packet = false;

        *ret_stop = skip_block(f, window);
        if (*ret_stop == FORMAT_FULL)
            *ret_stop = find_block(f, window, &type, &total);
        if (*ret_stop != FORMAT_FULL)
            break;
        if (!is_read(type)) {
            f->skip = total;
            continue;
        }
        *ret_stop = read_block(f, window->at, type, &ret_packets[n], &is_packet);
        if (*ret_stop != FORMAT_FULL)
            break;
        (void)span_take(window, total);
        n += is_packet;
        f->format.packets += is_packet;
    }
    return n;
}
