/*
 * capture_drain.h - files in memory, and everything that a capture makes of them, for tests.
 */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sensor/capture.h"
#include "support/pcap_builder.h"

#define US 0xa1b2c3d4U
#define NS 0xa1b23c4dU

/* What came out of a capture: the packets are copied, so that all can be compared at the end. */
struct outcome {
    size_t n;
    struct packet packet[400];
    uint8_t first[400]; /* first byte of each */
    enum capture_state state;
    char text[240];
    struct capture_stats stats;
};

static inline int file_of(const struct bytes *b)
{
    const int fd = memfd_create("capture", 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, b->data, b->len), (ssize_t)b->len);
    return fd; /* its offset is at the end: readers of regular files must not care */
}

static inline void drain(struct capture *c, struct outcome *o)
{
    const struct err *e;

    *o = (struct outcome){0};
    for (int idle = 0; !capture_ended(c) && idle < 100000; idle++) {
        struct packet packets[CAPTURE_BATCH];
        const size_t n = capture_recv(c, packets, CAPTURE_BATCH, 1000);

        for (size_t i = 0; i < n && o->n < 400; i++) {
            o->first[o->n] = packets[i].len > 0 ? packets[i].data[0] : 0;
            o->packet[o->n++] = packets[i];
        }
        capture_release(c);
    }
    cr_assert(capture_ended(c));
    o->state = capture_error(c, &e);
    memcpy(o->text, e->text, sizeof(o->text));
    cr_assert_eq(o->state == CAPTURE_OK, o->text[0] == '\0');
    capture_stats(c, &o->stats);
}

static inline void read_fd(int fd, uint64_t skip, struct outcome *o)
{
    struct capture *c = NULL;
    struct err e = {0};

    cr_assert_eq(capture_file_new(&c, fd, "x.pcap", skip, &e), 0, "%s", e.text);
    drain(c, o);
    c = capture_free(c);
}

/* The same, and what is compressed is decompressed in a thread of its own. */
static inline void read_threaded(const struct bytes *b, uint64_t skip, struct outcome *o)
{
    struct capture *c = NULL;
    struct err e = {0};

    cr_assert_eq(capture_file_new(&c, file_of(b), "x.pcap", skip, &e), 0, "%s", e.text);
    cr_assert_eq(capture_start_thread(c, &e), 0, "%s", e.text);
    drain(c, o);
    c = capture_free(c);
}

static inline void read_bytes(const struct bytes *b, struct outcome *o)
{
    read_fd(file_of(b), 0, o);
}

static inline void three_packets(struct bytes *b, uint32_t magic)
{
    file_pcap(b, magic, 1);
    file_record(b, 100, 5, "abc", 3);
    file_record(b, 4294967295U, 4294967295U, "", 0);
    file_record(b, 99, 999999, "def", 3);
}
