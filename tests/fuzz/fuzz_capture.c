/*
 * A whole file, of any format and compression: every packet is within bounds, every end is told.
 * The same file, growing while it is followed, gives the same packets.
 */
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sensor/capture.h"
#include "support/fuzz.h"

#define TURNS_MAX 100000 /* a window may pass without a packet; an input may not last for ever */

static uint64_t read_all(const uint8_t *data, size_t size, uint64_t skip,
                         enum capture_state *ret_state)
{
    const int fd = memfd_create("fuzz", 0);
    struct capture *c = NULL;
    const struct err *e;
    uint64_t n = 0;
    int turns = 0;

    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    FUZZ_CHECK(capture_file_new(&c, fd, "fuzz", skip, NULL) == 0);
    while (!capture_ended(c) && turns++ < TURNS_MAX) {
        struct packet packets[CAPTURE_BATCH];
        const size_t got = capture_recv(c, packets, CAPTURE_BATCH, 0);
        volatile uint8_t sum = 0;

        for (size_t i = 0; i < got; i++) {
            const struct packet *p = &packets[i];
            FUZZ_CHECK(p->len <= p->wire_len && p->wire_len <= CAPTURE_PACKET_MAX);
            FUZZ_CHECK(p->time_ns <= CAPTURE_TIME_MAX);
            for (uint32_t j = 0; j < p->len; j++)
                sum = (uint8_t)(sum + p->data[j]);
        }
        n += got;
        capture_release(c);
    }
    *ret_state = capture_ended(c) ? capture_error(c, &e) : CAPTURE_UNUSABLE;
    FUZZ_CHECK((capture_error(c, &e) == CAPTURE_OK) == (e->text[0] == '\0'));
    FUZZ_CHECK(capture_error(c, NULL) != CAPTURE_UNUSABLE || n == 0);
    FUZZ_CHECK(capture_ended(c) || turns > TURNS_MAX);
    c = capture_free(c);
    return n;
}

/* What there is now. */
static uint64_t read_on(struct capture *c)
{
    uint64_t n = 0;

    for (int idle = 0, turns = 0; idle < 3 && turns < TURNS_MAX && !capture_ended(c); turns++) {
        struct packet packets[CAPTURE_BATCH];
        const size_t got = capture_recv(c, packets, CAPTURE_BATCH, 0);

        for (size_t i = 0; i < got; i++)
            FUZZ_CHECK(packets[i].len <= packets[i].wire_len);
        n += got;
        idle = got > 0 ? 0 : idle + 1;
        capture_release(c);
    }
    return n;
}

static uint64_t follow(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("fuzz", 0);
    const size_t step = size / 3 + 1;
    struct capture *c = NULL;
    uint64_t n = 0;

    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(capture_followed_new(&c, dup(fd), "fuzz", 0, NULL) == 0);
    for (size_t at = 0; at < size; at += step) {
        const size_t len = size - at < step ? size - at : step;
        FUZZ_CHECK(write(fd, data + at, len) == (ssize_t)len);
        n += read_on(c);
    }
    FUZZ_CHECK(capture_ended(c) || capture_error(c, NULL) == CAPTURE_OK);
    c = capture_free(c);
    (void)close(fd);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum capture_state how = CAPTURE_OK;
    const uint64_t n = read_all(data, size, 0, &how);
    const uint64_t followed = follow(data, size);

    FUZZ_CHECK(how != CAPTURE_OK || followed == n);
    if (n > 1)
        FUZZ_CHECK(read_all(data, size, n - 1, &how) == 1);
    return 0;
}
