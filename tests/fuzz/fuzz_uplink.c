/*
 * The whole uplink over rings that a hostile analyser wrote: five cursors (8 bytes each: flow
 * ring's producer, stage 0, stage 1; alert ring's producer, stage 0), then what lies at the start
 * of the alert ring, and of the flow rings, half each: what is in the second flow ring begins
 * OTHER bytes later. It must end, harm nothing, and leave whole lines.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor/uplink.h"
#include "support/fuzz.h"

#define RING_BYTES 65536
#define CURSORS    4096 /* in front of the data: see common/ring.c */
#define CURSOR     64
#define OTHER      64 /* a record may lie in either */

static char dir[] = "/tmp/wind-fuzz-uplink-XXXXXX";

static void remove_dir(void)
{
    char command[64];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void)!system(command);
}

static void spoil(struct ring *r, const uint8_t *cursors, size_t n, const uint8_t *p, size_t len)
{
    uint8_t *data = ring_reserve(r, 64); /* nothing was produced: the start of the ring */

    for (size_t i = 0; i < n; i++)
        memcpy(data - CURSORS + i * CURSOR, cursors + i * 8, 8);
    memcpy(data, p, len < RING_BYTES ? len : RING_BYTES);
}

static void expect_whole_lines(const char *path)
{
    struct stat st;
    char last = '?';
    const int fd = open(path, O_RDONLY);

    FUZZ_CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 2);
    FUZZ_CHECK(pread(fd, &last, 1, st.st_size - 1) == 1 && last == '\n');
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_made;
    struct uplink_conf conf = {.source = {.sensor = "edge"}, .is_replay = true};
    WIND_AUTO(uplink_state) struct uplink_state *state = NULL;
    WIND_AUTO(counters) struct counters *counters = NULL;
    WIND_AUTO(rings) struct rings *flows = NULL;
    WIND_AUTO(ring) struct ring *alerts = NULL;

    if (size < 40)
        return 0;
    if (!is_made) {
        FUZZ_CHECK(mkdtemp(dir) != NULL && atexit(remove_dir) == 0);
        is_made = true;
    }
    (void)snprintf(conf.eve_path, sizeof(conf.eve_path), "%s/eve.json", dir);
    FUZZ_CHECK(uplink_state_new(&state, NULL) == 0 && counters_new(&counters, NULL) == 0);
    FUZZ_CHECK(rings_new(&flows, 2, RING_BYTES, 2, NULL) == 0);
    FUZZ_CHECK(ring_new(&alerts, RING_BYTES, 1, NULL) == 0);
    const size_t half = (size - 40) / 2;
    const uint8_t *const records = data + 40 + half;
    const size_t len = size - 40 - half, other = len < OTHER ? len : OTHER;
    spoil(flows->ring[0], data, 3, records, len);
    spoil(flows->ring[1], data, 3, records + other, len - other);
    spoil(alerts, data + 24, 2, data + 40, half);
    atomic_store(&counters->producer_done, 1);
    FUZZ_CHECK(uplink_run(&conf, state, flows, alerts, counters, NULL) == 0);
    expect_whole_lines(conf.eve_path);
    return 0;
}
