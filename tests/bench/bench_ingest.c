/*
 * bench.ingest EVE_JSON [ALERTS [BATCH [REPEATS]]]: what an alert costs on its way into the store,
 * in ns of this process's CPU, a line a step; WIND_BENCH_DB names another database than a new
 * SQLite file.
 *
 * The alerts of EVE_JSON (as wind-sensor wrote it) are the patterns: each is sent with a new uid,
 * by one of 200 attackers that are busy until each has sent 20, against one of 2,000 hosts. REPEATS
 * of 100 come as a second revision of an alert that is known.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/ingest.h"
#include "collector/ingest_read.h"
#include "common/buf.h"
#include "common/json_scan.h"
#include "common/time.h"

#define PATTERNS 64
#define VICTIMS  2000
#define BUSY     200

static struct pattern {
    char *text;
    char uid[40], src[48], dst[48];
} patterns[PATTERNS];
static size_t n_patterns;

static void fail(const char *what)
{
    (void)fprintf(stderr, "bench.ingest: %s\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void print(const char *name, uint64_t ns, size_t n)
{
    (void)printf("{\"name\":\"%s\",\"ns\":%.0f}\n", name, (double)ns / (double)n);
    (void)fflush(stdout);
}

static void copy_text(const struct json_span *v, char *to, size_t size)
{
    if (v->len >= size)
        fail("a text is too long");
    (void)json_span_text(v, to);
}

static void read_patterns(const char *path)
{
    static const char *const paths[] = {"event_type", "wind.uid", "src_ip", "dest_ip"};
    WIND_AUTO(json_scan) struct json_scan *scan = NULL;
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    if (f == NULL || json_scan_new(&scan, paths, WIND_ARRAY_SIZE(paths), NULL) != 0)
        fail("cannot read EVE_JSON");
    while (n_patterns < PATTERNS && (n = getline(&line, &cap, f)) > 0) {
        struct json_span v[WIND_ARRAY_SIZE(paths)];
        struct pattern *p = &patterns[n_patterns];
        if (json_scan(scan, line, (size_t)n, v, NULL) != 0 || !json_span_is(&v[0], "alert") ||
            v[3].kind != SPAN_STRING)
            continue;
        p->text = strndup(line, strcspn(line, "\n"));
        copy_text(&v[1], p->uid, sizeof(p->uid));
        copy_text(&v[2], p->src, sizeof(p->src));
        copy_text(&v[3], p->dst, sizeof(p->dst));
        n_patterns++;
    }
    free(line);
    (void)fclose(f);
    if (n_patterns == 0)
        fail("EVE_JSON has no alerts");
}

/* `text` with every `from` as `to`; takes text. */
static char *replaced(char *text, const char *from, const char *to)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    const char *p = text;
    for (const char *at; (at = strstr(p, from)) != NULL; p = at + strlen(from)) {
        buf_put(&b, p, (size_t)(at - p));
        buf_puts(&b, to);
    }
    buf_puts(&b, p);
    char *result = strdup(buf_text(&b));
    buf_done(&b);
    free(text);
    return result;
}

static char *make_alert(size_t i, int rev)
{
    const struct pattern *p = &patterns[i % n_patterns];
    const size_t who = i / ((size_t)BUSY * 20) * BUSY + i % BUSY, whom = i * 40503u % VICTIMS;
    char uid[40], src[48], dst[48], text_rev[24];

    (void)snprintf(uid, sizeof(uid), "01a20734-c757-7e8a-88f0-%012zx", i);
    (void)snprintf(src, sizeof(src), "10.%zu.%zu.%zu", 32 + who / 62500, who / 250 % 250,
                   1 + who % 250);
    (void)snprintf(dst, sizeof(dst), "10.20.%zu.%zu", whom / 250, 1 + whom % 250);
    (void)snprintf(text_rev, sizeof(text_rev), ",\"rev\":%d,\"detector\"", rev);
    char *text = strdup(p->text);
    text = replaced(text, p->uid, uid);
    text = replaced(text, p->src, "SRC");
    text = replaced(text, p->dst, dst);
    text = replaced(text, "SRC", src);
    for (int old = 1; old < 20; old++) {
        char from[24];
        (void)snprintf(from, sizeof(from), ",\"rev\":%d,\"detector\"", old);
        if (strstr(text, from) != NULL)
            return replaced(text, from, text_rev);
    }
    return text;
}

static void bench_read(const struct ingest_item *items, size_t n)
{
    WIND_AUTO(ingest_reader) struct ingest_reader *rd = NULL;
    WIND_AUTO(arena) struct arena *arena = NULL;
    struct ingest_alert a;

    if (ingest_reader_new(&rd, NULL) != 0 || arena_new(&arena, 1 << 20, NULL) != 0)
        fail("out of memory");
    const uint64_t start = cpu_ns();
    for (size_t i = 0; i < n; i++) {
        if (ingest_read(rd, &items[i], "bench", arena, &a, NULL) != 0)
            fail("an alert cannot be read");
        arena_reset(arena);
    }
    print("read", cpu_ns() - start, n);

    const uint64_t tree = cpu_ns();
    for (size_t i = 0; i < n; i += 10)
        json_decref(json_loadb(items[i].json, items[i].len, JSON_REJECT_DUPLICATES, NULL));
    print("jansson's tree alone", cpu_ns() - tree, (n + 9) / 10);
}

static void bench_store(struct db *db, const struct ingest_item *items, size_t n, size_t step)
{
    const struct ingest_conf conf = {
        .db = db, .correlate = {.window_ns = INT64_C(1800000000000), .alerts_max = 1000}};
    WIND_AUTO(ingest) struct ingest *in = NULL;
    struct err e = {0};

    if (ingest_new(&in, &conf, &e) != 0)
        fail(e.text);
    const uint64_t start = cpu_ns(), wall = time_mono_ns();
    for (size_t i = 0; i < n; i += step) {
        const struct ingest_batch b = {.sensor = "bench",
                                       .version = "1",
                                       .items = items + i,
                                       .n_items = n - i < step ? n - i : step};
        struct ingest_result res;
        if (ingest_batch(in, &b, &res, &e) != 0)
            fail(e.text);
        if (res.n[INGEST_REJECTED] > 0)
            fail("an alert was rejected");
        ingest_result_done(&res);
    }
    print("store", cpu_ns() - start, n);
    print("store, wall clock", time_mono_ns() - wall, n);
}

int main(int argc, char **argv)
{
    const size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
    const size_t step = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
    const size_t repeats = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    const char *url = getenv("WIND_BENCH_DB");
    char path[] = "/tmp/wind-bench-XXXXXX", file[64];
    struct db *db = NULL;
    struct err e = {0};

    if (argc < 2 || n == 0 || step == 0 || step > INGEST_ITEMS)
        fail("usage: bench.ingest EVE_JSON [ALERTS [BATCH [REPEATS]]]");
    read_patterns(argv[1]);
    struct ingest_item *items = calloc(n, sizeof(*items));
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const bool again = i > step && i % 100 < repeats;
        char *text = make_alert(again ? i - step : i, again ? 2 : 1);
        items[i] = (struct ingest_item){.json = text, .len = strlen(text)};
        bytes += items[i].len;
    }
    (void)printf("{\"name\":\"bytes\",\"mean\":%zu}\n", bytes / n);
    bench_read(items, n);

    if (mkdtemp(path) == NULL)
        fail("no folder");
    (void)snprintf(file, sizeof(file), "%s/wind.db", path);
    const struct db_conf conf = {.path = url == NULL ? file : NULL, .url = url};
    if (db_open(&db, &conf, &e) != 0)
        fail(e.text);
    bench_store(db, items, n, step);
    db_free(db);
    (void)unlink(file);
    (void)rmdir(path);
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)items[i].json);
    free(items);
    return 0;
}
