/*
 * Producer, two stages, one small ring: run under the tsan preset, and in every other build too.
 * Records of uneven sizes carry a sequence; stage 0 stamps each, stage 1 checks order and stamp.
 * A plain program, because Criterion cannot start under ThreadSanitizer (its arena and
 * TSan's shadow memory want the same addresses).
 */
#include <pthread.h>
#include <stdio.h>

#include "common/ring.h"

#define COUNT 200000

struct message {
    struct record_header header;
    uint64_t sequence, stamp;
    uint8_t filler[500];
};

static void *produce(void *arg)
{
    struct ring *r = arg;

    for (uint64_t i = 1; i <= COUNT;) {
        struct message *m = ring_reserve(r, sizeof(*m) - (size_t)(i * 37 % 500));
        if (m == NULL) {
            ring_wait_room(r, 10);
            continue;
        }
        m->header.kind = RECORD_FLOW_ENDED;
        m->sequence = i++;
        m->stamp = 0;
        ring_commit(r);
    }
    return NULL;
}

static void *stamp(void *arg)
{
    struct ring *r = arg;

    for (uint64_t i = 1; i <= COUNT;) {
        struct message *m;
        while ((m = ring_peek(r, 0, NULL)) != NULL)
            m->stamp = ~i++;
        ring_release(r, 0);
        ring_wait_data(r, 0, 10);
    }
    return NULL;
}

int main(void)
{
    WIND_AUTO(ring) struct ring *r = NULL;
    pthread_t producer, stage;
    bool bad = false;

    if (ring_new(&r, 65536, 2, NULL) < 0 || pthread_create(&producer, NULL, produce, r) != 0 ||
        pthread_create(&stage, NULL, stamp, r) != 0)
        return 2;
    for (uint64_t i = 1; i <= COUNT;) {
        const struct message *m = ring_peek(r, 1, &bad);
        if (m == NULL) {
            ring_release(r, 1);
            ring_wait_data(r, 1, 10);
            continue;
        }
        if (bad || m->sequence != i || m->stamp != ~i) {
            fprintf(stderr, "record %zu: sequence %zu\n", (size_t)i, (size_t)m->sequence);
            return 1;
        }
        i++;
        if (i % 7 == 0)
            ring_release(r, 1);
    }
    pthread_join(producer, NULL);
    pthread_join(stage, NULL);
    return 0;
}
