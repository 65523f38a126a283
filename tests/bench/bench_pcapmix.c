/*
 * bench.pcapmix SECONDS COPIES OUT IN...: Ethernet pcaps laid over each other, all within SECONDS.
 *
 * Each copy of each input starts at its own place in the window (longer ones are squeezed into it)
 * and has addresses of its own: two middle bytes of every unicast IPv4 or IPv6 address are XORed
 * with a number that no other copy has. IP lengths are clipped to what was captured, since some
 * tools throw cut packets away and then look fast. IPv4 header checksums are made anew, TCP's and
 * UDP's are stale. The same bytes every time.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAP       1514u
#define COPIES_MAX 65536u

struct packet {
    uint64_t us;
    const uint8_t *data;
    uint32_t len, copy;
};

struct mix {
    struct packet *packet;
    size_t n, room;
    uint64_t window_us;
    uint32_t copies;
};

static uint32_t scramble(uint32_t x)
{
    x = (x ^ x >> 16) * UINT32_C(0x7feb352d);
    x = (x ^ x >> 15) * UINT32_C(0x846ca68b);
    return x ^ x >> 16;
}

static void add(struct mix *m, const struct packet *p)
{
    if (m->n == m->room) {
        m->room = m->room > 0 ? m->room * 2 : 1 << 20;
        m->packet = realloc(m->packet, m->room * sizeof(*m->packet));
        if (m->packet == NULL)
            abort();
    }
    m->packet[m->n++] = *p;
}

static int by_time(const void *a, const void *b)
{
    const struct packet *x = a, *y = b;

    if (x->us != y->us)
        return x->us < y->us ? -1 : 1;
    if (x->copy != y->copy)
        return x->copy < y->copy ? -1 : 1;
    return x->data < y->data ? -1 : x->data > y->data;
}

/* The packets from `from` on are one input: put it, and its copies, into the window. */
static void place(struct mix *m, size_t from, uint32_t input)
{
    const size_t end = m->n;
    uint64_t first = UINT64_MAX, last = 0;

    for (size_t i = from; i < end; i++) {
        first = m->packet[i].us < first ? m->packet[i].us : first;
        last = m->packet[i].us > last ? m->packet[i].us : last;
    }
    const uint64_t length = last - first, fit = length < m->window_us ? length : m->window_us;
    for (uint32_t c = m->copies; c-- > 0;) { /* the first one last: the others are made from it */
        const uint32_t copy = input * m->copies + c;
        const uint64_t start = (m->window_us - fit) * (scramble(copy + 1) >> 8) >> 24;
        for (size_t i = from; i < end; i++) {
            struct packet p = m->packet[i];
            const uint64_t at = p.us - first;
            p.us =
                start + (length > fit ? (uint64_t)((double)at * (double)fit / (double)length) : at);
            p.copy = copy;
            if (c > 0)
                add(m, &p);
            else
                m->packet[i] = p;
        }
    }
}

static bool header(const uint8_t *base, bool *ret_swapped, bool *ret_nano)
{
    uint32_t magic = 0, link = 0;

    memcpy(&magic, base, 4);
    memcpy(&link, base + 20, 4);
    *ret_swapped = magic == 0xD4C3B2A1u || magic == 0x4D3CB2A1u;
    magic = *ret_swapped ? __builtin_bswap32(magic) : magic;
    link = *ret_swapped ? __builtin_bswap32(link) : link;
    *ret_nano = magic == 0xA1B23C4Du;
    return (*ret_nano || magic == 0xA1B2C3D4u) && link == 1;
}

/* The mapping stays: packets point into it. */
static bool load(struct mix *m, const char *path, uint32_t input)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const size_t from = m->n;
    struct stat st;
    bool is_swapped = false, is_nano = false;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 24)
        return false;
    const uint8_t *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (base == MAP_FAILED || !header(base, &is_swapped, &is_nano))
        return false;
    const uint8_t *const end = base + st.st_size;
    for (const uint8_t *p = base + 24; end - p >= 16;) {
        uint32_t word[4];
        memcpy(word, p, sizeof(word));
        for (int i = 0; is_swapped && i < 4; i++)
            word[i] = __builtin_bswap32(word[i]);
        if ((size_t)(end - p) < 16 + (size_t)word[2])
            break;
        const struct packet one = {.us = word[0] * UINT64_C(1000000) +
                                         (is_nano ? word[1] / 1000 : word[1]),
                                   .data = p + 16,
                                   .len = word[2] < SNAP ? word[2] : SNAP};
        add(m, &one);
        p += 16 + word[2];
    }
    if (m->n > from)
        place(m, from, input);
    return true;
}

/* ---------------------------------------------------------------- addresses */

static void clip16(uint8_t *p, uint32_t most)
{
    if (((uint32_t)p[0] << 8 | p[1]) > most) {
        p[0] = (uint8_t)(most >> 8);
        p[1] = (uint8_t)most;
    }
}

static void rewrite4(uint8_t *ip, uint32_t n, uint32_t key)
{
    const uint32_t len = n < 20 ? 0 : (ip[0] & 15) * 4u;
    uint32_t sum = 0;

    if (len < 20 || len > n)
        return;
    for (uint8_t *a = ip + 12; a <= ip + 16; a += 4) {
        if (a[0] != 0 && a[0] < 224) {
            a[1] ^= (uint8_t)(key >> 8);
            a[2] ^= (uint8_t)key;
        }
    }
    clip16(ip + 2, n);
    if (ip[9] == 17 && len + 8 <= n && (ip[6] & 0x1f) == 0 && ip[7] == 0)
        clip16(ip + len + 4, n - len);
    ip[10] = ip[11] = 0;
    for (uint32_t i = 0; i < len; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = (uint8_t)(~sum >> 8);
    ip[11] = (uint8_t)~sum;
}

static void rewrite6(uint8_t *ip, uint32_t n, uint32_t key)
{
    if (n < 40)
        return;
    for (uint8_t *a = ip + 8; a <= ip + 24; a += 16) {
        if (a[0] != 0xff) {
            a[12] ^= (uint8_t)(key >> 8);
            a[13] ^= (uint8_t)key;
        }
    }
    clip16(ip + 4, n - 40);
    if (ip[6] == 17 && n >= 48)
        clip16(ip + 44, n - 40);
}

static void rewrite(uint8_t *frame, uint32_t len, uint32_t copy)
{
    const uint32_t key = (copy * 40503u ^ 0x5749u) & 0xffffu; /* odd factor: no two are the same */
    uint32_t at = 12;

    while (at + 6 <= len && frame[at] == 0x81 && frame[at + 1] == 0)
        at += 4;
    if (at + 2 > len)
        return;
    const uint32_t type = (uint32_t)frame[at] << 8 | frame[at + 1];
    if (type == 0x0800)
        rewrite4(frame + at + 2, len - at - 2, key);
    if (type == 0x86DD)
        rewrite6(frame + at + 2, len - at - 2, key);
}

static int write_all(const struct mix *m, FILE *out)
{
    const uint32_t head[6] = {0xA1B2C3D4u, 2 | 4 << 16, 0, 0, 65535, 1};

    (void)fwrite(head, sizeof(head), 1, out);
    for (size_t i = 0; i < m->n; i++) {
        const struct packet *const p = &m->packet[i];
        uint8_t frame[SNAP];
        memcpy(frame, p->data, p->len);
        rewrite(frame, p->len, p->copy);
        const uint32_t record[4] = {1700000000u + (uint32_t)(p->us / 1000000),
                                    (uint32_t)(p->us % 1000000), p->len, p->len};
        (void)fwrite(record, sizeof(record), 1, out);
        (void)fwrite(frame, p->len, 1, out);
    }
    return ferror(out) != 0;
}

int main(int argc, char **argv)
{
    struct mix m = {0};
    FILE *out = NULL;

    if (argc >= 5) {
        m.window_us = strtoull(argv[1], NULL, 10) * 1000000;
        m.copies = (uint32_t)strtoul(argv[2], NULL, 10);
        out = fopen(argv[3], "wb");
    }
    if (out == NULL || m.window_us == 0 || m.copies == 0 || m.copies > COPIES_MAX ||
        (uint32_t)(argc - 4) > COPIES_MAX / m.copies) {
        fprintf(stderr, "usage: bench.pcapmix SECONDS COPIES OUT IN...\n");
        return 2;
    }
    for (int i = 4; i < argc; i++)
        if (!load(&m, argv[i], (uint32_t)i - 4))
            fprintf(stderr, "pcapmix: '%s' is no Ethernet pcap, left out\n", argv[i]);
    qsort(m.packet, m.n, sizeof(*m.packet), by_time);
    const int failed = m.n == 0 || write_all(&m, out);
    printf("{\"packets\": %zu}\n", m.n);
    free(m.packet);
    return fclose(out) != 0 || failed;
}
