/*
 * bench.ring: what a record costs in the staged ring, in ns, a line a case.
 *
 * A record has the size of a flow's with its features. `one thread`: the producer and both stages
 * take turns, as in replay. `two processes`: producer and stage 0 here, stage 1 in a child, as
 * analyser and uplink; wall and CPU time of both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ring.h"
#include "common/time.h"
#include "features/feature.h"

#define RECORDS 2000000u
#define TRIES   5
#define BATCH   64u
#define BYTES   ((size_t)16 << 20) /* as ring.flows */
#define LENGTH  (sizeof(struct flow_record) + FEATURE_COUNT * sizeof(float))

static struct ring *ring;

static void produce(bool is_filled)
{
    struct flow_record *r = NULL;

    while ((r = ring_reserve(ring, LENGTH)) == NULL)
        ring_wait_room(ring, 10);
    r->header.kind = RECORD_FLOW_ENDED;
    if (is_filled)
        memset((char *)r + sizeof(r->header), 0, LENGTH - sizeof(r->header));
    ring_commit(ring);
}

static size_t consume(unsigned stage)
{
    size_t n = 0;

    while (ring_peek(ring, stage, NULL) != NULL)
        n++;
    ring_release(ring, stage);
    return n;
}

/* ns a record of each part, the best of some tries. */
static void one_thread(bool is_filled)
{
    double best[3] = {1e18, 1e18, 1e18};

    for (int try = 0; try < TRIES; try++) {
        uint64_t ns[3] = {0};
        for (size_t i = 0; i < RECORDS; i += BATCH) {
            const uint64_t start = time_mono_ns();
            for (size_t k = 0; k < BATCH; k++)
                produce(is_filled);
            const uint64_t made = time_mono_ns();
            (void)consume(0);
            const uint64_t seen = time_mono_ns();
            (void)consume(1);
            const uint64_t end = time_mono_ns();
            ns[0] += made - start;
            ns[1] += seen - made;
            ns[2] += end - seen;
        }
        for (int i = 0; i < 3; i++)
            best[i] = (double)ns[i] / RECORDS < best[i] ? (double)ns[i] / RECORDS : best[i];
    }
    printf("{\"bench\": \"ring\", \"case\": \"one thread, %u at a time%s\", \"bytes\": %zu, "
           "\"produce_ns\": %.1f, \"stage_0_ns\": %.1f, \"stage_1_ns\": %.1f}\n",
           BATCH, is_filled ? ", written" : "", LENGTH, best[0], best[1], best[2]);
}

static double cpu_ns(int who)
{
    struct rusage u;

    (void)getrusage(who, &u);
    return ((double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec) * 1e9 +
           ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) * 1e3;
}

static _Noreturn void be_last_stage(void)
{
    size_t n = 0;

    ring_rewind(ring, 1); /* go on where the child before us stood */
    while (n < RECORDS) {
        const size_t more = consume(1);
        if (more == 0)
            ring_wait_data(ring, 1, 20);
        n += more;
    }
    _exit(0);
}

static void two_processes(bool is_each_released)
{
    const double self = cpu_ns(RUSAGE_SELF), children = cpu_ns(RUSAGE_CHILDREN);
    const uint64_t start = time_mono_ns();
    const pid_t child = fork();

    if (child < 0)
        abort();
    if (child == 0)
        be_last_stage();
    for (size_t i = 0; i < RECORDS; i++) {
        produce(true);
        if (is_each_released || i % BATCH == BATCH - 1)
            (void)consume(0);
    }
    (void)consume(0);
    (void)waitpid(child, NULL, 0);
    const double wall = (double)(time_mono_ns() - start) / RECORDS;
    const double cpu = (cpu_ns(RUSAGE_SELF) - self + cpu_ns(RUSAGE_CHILDREN) - children) / RECORDS;
    printf("{\"bench\": \"ring\", \"case\": \"two processes, stage 0 releases %s\", "
           "\"bytes\": %zu, \"wall_ns\": %.1f, \"cpu_ns\": %.1f}\n",
           is_each_released ? "each record" : "64 at a time", LENGTH, wall, cpu);
}

int main(void)
{
    if (ring_new(&ring, BYTES, 2, NULL) < 0) {
        fprintf(stderr, "ring: out of memory\n");
        return 1;
    }
    one_thread(false);
    one_thread(true);
    two_processes(false);
    two_processes(true);
    ring_free(ring);
    return 0;
}
