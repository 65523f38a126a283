/*
 * bench.nullread mmap|flow|touch PCAP: what a capture costs when next to nothing is done with it.
 *
 * mmap   map the file, parse each packet's 5-tuple, forget it: the limit.
 * flow   look each 5-tuple up in a plain open-addressing table that counts packets and bytes,
 * without time-outs: the floor of whatever follows flows. Also says how many there are, both ways
 * one. touch  read the file, so that it is in the page cache.
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

struct tuple { /* the same both ways */
    uint8_t low[16], high[16];
    uint16_t low_port, high_port;
    uint32_t proto; /* never 0 */
};

struct entry {
    struct tuple key;
    uint64_t packets, bytes;
};

struct table {
    struct entry *entry;
    uint64_t room, used;
};

struct totals {
    uint64_t packets, sum;
};

static uint64_t hash(const struct tuple *t)
{
    uint64_t word[5], h = 0;

    memcpy(word, t, sizeof(word));
    for (int i = 0; i < 5; i++) {
        h = (h ^ word[i]) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h;
}

static bool parse(const uint8_t *frame, uint32_t len, struct tuple *t)
{
    const uint8_t *src = NULL, *dst = NULL;
    uint16_t port[2] = {0, 0};
    uint32_t at = 12, header = 0, size = 0;

    while (at + 6 <= len && frame[at] == 0x81 && frame[at + 1] == 0)
        at += 4;
    if (at + 22 > len)
        return false;
    const uint8_t *const ip = frame + at + 2;
    const uint32_t left = len - at - 2;
    if (frame[at] == 0x08 && frame[at + 1] == 0) {
        header = (ip[0] & 15) * 4u;
        size = 4;
        src = ip + 12;
        dst = ip + 16;
        t->proto = ip[9];
    } else if (frame[at] == 0x86 && frame[at + 1] == 0xDD && left >= 40) {
        header = 40;
        size = 16;
        src = ip + 8;
        dst = ip + 24;
        t->proto = ip[6];
    } else {
        return false;
    }
    if ((t->proto == 6 || t->proto == 17) && header + 4 <= left)
        memcpy(port, ip + header, 4);
    const int order = memcmp(src, dst, size);
    const bool is_swapped = order > 0 || (order == 0 && port[0] > port[1]);
    memset(t->low, 0, sizeof(t->low) + sizeof(t->high));
    memcpy(t->low, is_swapped ? dst : src, size);
    memcpy(t->high, is_swapped ? src : dst, size);
    t->low_port = port[is_swapped];
    t->high_port = port[!is_swapped];
    return t->proto != 0;
}

static struct entry *place(const struct table *t, const struct tuple *key)
{
    uint64_t at = hash(key) & (t->room - 1);

    while (t->entry[at].key.proto != 0 && memcmp(&t->entry[at].key, key, sizeof(*key)) != 0)
        at = (at + 1) & (t->room - 1);
    return &t->entry[at];
}

static void grow(struct table *t)
{
    const struct table old = *t;

    t->room = old.room > 0 ? old.room * 2 : 1 << 16;
    t->entry = calloc(t->room, sizeof(*t->entry));
    if (t->entry == NULL)
        abort();
    for (uint64_t i = 0; i < old.room; i++)
        if (old.entry[i].key.proto != 0)
            *place(t, &old.entry[i].key) = old.entry[i];
    free(old.entry);
}

static void track(struct table *t, const struct tuple *key, uint32_t bytes)
{
    if (t->used * 2 >= t->room)
        grow(t);
    struct entry *const e = place(t, key);
    if (e->key.proto == 0) {
        e->key = *key;
        t->used++;
    }
    e->packets++;
    e->bytes += bytes;
}

static void read_all(const uint8_t *base, size_t size, struct table *t, struct totals *ret)
{
    const uint8_t *p = base + 24, *const end = base + size;

    while (end - p >= 16) {
        struct tuple key;
        uint32_t record[4];
        memcpy(record, p, sizeof(record));
        if ((size_t)(end - p) < 16 + (size_t)record[2])
            break;
        ret->packets++;
        if (parse(p + 16, record[2], &key)) {
            if (t != NULL)
                track(t, &key, record[3]);
            else
                ret->sum += hash(&key);
        }
        p += 16 + record[2];
    }
}

static void touch(const uint8_t *base, size_t size, struct totals *ret)
{
    for (size_t at = 0; at < size; at += 4096)
        ret->sum += base[at];
}

int main(int argc, char **argv)
{
    const char *const how = argc == 3 ? argv[1] : "";
    struct table table = {0};
    struct totals totals = {0};
    struct stat st;

    if (strcmp(how, "mmap") != 0 && strcmp(how, "flow") != 0 && strcmp(how, "touch") != 0) {
        fprintf(stderr, "usage: bench.nullread mmap|flow|touch PCAP\n");
        return 2;
    }
    const int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 24) {
        fprintf(stderr, "nullread: cannot read '%s'\n", argv[2]);
        return 1;
    }
    const size_t size = (size_t)st.st_size;
    uint8_t *const base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED) {
        perror(argv[2]);
        return 1;
    }
    (void)madvise(base, size, MADV_SEQUENTIAL);
    if (how[0] == 't')
        touch(base, size, &totals);
    else
        read_all(base, size, how[0] == 'f' ? &table : NULL, &totals);
    printf("{\"packets\": %llu, \"flows\": %llu, \"sum\": %llu}\n",
           (unsigned long long)totals.packets, (unsigned long long)table.used,
           (unsigned long long)totals.sum);
    free(table.entry);
    (void)munmap(base, size);
    (void)close(fd);
    return 0;
}
