#include "sensor/summary.h"

#include <jansson.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sensor/eve.h"

#define ALERTS_MAX 4096 /* distinct ones looked at */

struct line {
    char uid[40], severity[12], detector[32], text[200], why[200];
    char when[32];
    int rank;
};

static const char *text_at(const json_t *object, const char *a, const char *b)
{
    const char *s = json_string_value(json_object_get(json_object_get(object, a), b));

    return s != NULL ? s : "";
}

static void copy(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

static void take(struct line *l, const json_t *alert)
{
    const json_t *why =
        json_array_get(json_object_get(json_object_get(alert, "wind"), "explain"), 0);
    const char *reason = json_string_value(json_object_get(why, "text"));
    const json_t *severity = json_object_get(json_object_get(alert, "alert"), "severity");

    copy(l->uid, sizeof(l->uid), text_at(alert, "wind", "uid"));
    copy(l->severity, sizeof(l->severity), text_at(alert, "wind", "severity"));
    copy(l->detector, sizeof(l->detector), text_at(alert, "wind", "detector"));
    copy(l->text, sizeof(l->text), text_at(alert, "alert", "signature"));
    copy(l->why, sizeof(l->why), reason != NULL ? reason : "");
    copy(l->when, 20, text_at(alert, "wind", "first_seen"));
    l->rank = (int)json_integer_value(severity);
}

static bool take_alert(struct line *lines, size_t *n, const char *text)
{
    json_t *alert = json_loads(text, 0, NULL);
    size_t i = 0;

    while (i < *n && strcmp(lines[i].uid, text_at(alert, "wind", "uid")) != 0)
        i++;
    if (alert != NULL && i < ALERTS_MAX) {
        take(&lines[i], alert);
        *n = i == *n ? i + 1 : *n;
    }
    json_decref(alert);
    return i < ALERTS_MAX;
}

/* The last revision of each alert. Where the first ones stand is known; the rest is looked for. */
static size_t read_alerts(const char *path, const struct counters *c, struct line *lines)
{
    const uint64_t all = atomic_load_explicit(&c->alert_lines, memory_order_acquire);
    FILE *f = fopen(path, "re");
    char *text = malloc(EVE_LINE_MAX);
    size_t n = 0;

    for (uint64_t i = 0; f != NULL && text != NULL && i < all;) {
        if (i < COUNTERS_ALERTS &&
            fseeko(f, (off_t)atomic_load_explicit(&c->alert_at[i], memory_order_relaxed),
                   SEEK_SET) != 0)
            break;
        if (fgets(text, EVE_LINE_MAX, f) == NULL)
            break;
        if (strstr(text, "\"event_type\":\"alert\"") == NULL) {
            i += i < COUNTERS_ALERTS; /* somebody else writes into that file */
            continue;
        }
        i++;
        if (!take_alert(lines, &n, text))
            break;
    }
    free(text);
    if (f != NULL)
        (void)fclose(f);
    return n;
}

static int worst_first(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank)
                              : strcmp(x->when, y->when);
}

static void print_alerts(FILE *to, const char *path, const struct counters *c)
{
    struct line *lines = calloc(ALERTS_MAX, sizeof(*lines));
    const size_t n = lines != NULL ? read_alerts(path, c, lines) : 0;

    if (n > 0)
        qsort(lines, n, sizeof(*lines), worst_first);
    for (size_t i = 0; i < n && i < SUMMARY_ALERTS; i++)
        fprintf(to, "%-19s  %-8s  %-11s  %s\n%*s%s\n", lines[i].when, lines[i].severity,
                lines[i].detector, lines[i].text, 44, "because ", lines[i].why);
    if (n > SUMMARY_ALERTS)
        fprintf(to, "... and %zu more\n", n - SUMMARY_ALERTS);
    fprintf(to, "%s%zu alert%s, ", n > 0 ? "\n" : "", n, n == 1 ? "" : "s");
    free(lines);
}

static unsigned long long value(const struct counters *c, enum counter which)
{
    return (unsigned long long)counters_sum(c, which);
}

void summary_print(FILE *to, const struct sensor_args *args, const struct counters *c)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/eve.json", args->dir);
    if (args->pcap != NULL)
        print_alerts(to, path, c);
    fprintf(to, "%llu packets, %llu flows, %llu host%s -> %s\n", value(c, COUNTER_capture_packets),
            value(c, COUNTER_flow_made), value(c, COUNTER_host_made),
            value(c, COUNTER_host_made) == 1 ? "" : "s", path);
    if (value(c, COUNTER_alert_delivered) + value(c, COUNTER_alert_spooled) > 0)
        fprintf(to,
                "%llu alerts and updates of them delivered, %llu refused, %llu still in the "
                "spool\n",
                value(c, COUNTER_alert_delivered), value(c, COUNTER_alert_rejected),
                value(c, COUNTER_alert_spooled));
    if (value(c, COUNTER_supervisor_analyser_restarts) > 0)
        fprintf(to, "the analyser was started again %llu times: %llu packets and %llu flows lost\n",
                value(c, COUNTER_supervisor_analyser_restarts), value(c, COUNTER_decoder_lost),
                value(c, COUNTER_flow_ended_crashed));
}
