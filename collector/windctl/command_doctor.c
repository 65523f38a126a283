/*
 * windctl doctor: what is wrong, and how to mend it. One row a check; a check that cannot be made
 * because an earlier one failed is skipped.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/windctl/capture_report.h"
#include "collector/windctl/command.h"
#include "collector/windctl/delivery_report.h"
#include "collector/windctl/text.h"
#include "common/time.h"

#define SKEW_WARN_S 5
#define SKEW_FAIL_S 60
#define QUIET_S     86400

struct finding {
    const char *state;          /* ok, warn, fail, skip */
    char text[1024], fix[1024]; /* shown: a quarter of it, so that no character is cut */
};

struct patient {
    struct ctl *ctl;
    struct finding *now; /* of the check that runs */
    bool has_client, answers, is_in;
    char version[32];
    char bus[16];    /* as /readyz says; "" when there is none, or nobody said */
    json_t *sensors; /* the answer of /api/sensors/, or NULL */
};

static void WIND_PRINTF(3, 4) say(struct patient *p, const char *state, const char *fmt, ...)
{
    va_list ap;

    p->now->state = state;
    va_start(ap, fmt);
    (void)vsnprintf(p->now->text, sizeof(p->now->text), fmt, ap);
    va_end(ap);
}

static void WIND_PRINTF(2, 3) fix(struct patient *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(p->now->fix, sizeof(p->now->fix), fmt, ap);
    va_end(ap);
}

/* Sentences may quote a stranger, and may have been cut within a character. */
static void clean(char *text, size_t size)
{
    struct buf safe;

    buf_init(&safe, 8 * size);
    text_safe(&safe, text, strlen(text));
    (void)snprintf(text, size, "%.*s", (int)text_fit(safe.data, safe.len, size / 4), safe.data);
    buf_done(&safe);
}

static void check_settings(struct patient *p)
{
    struct ctl *c = p->ctl;
    struct err e = {0};

    if (profile_load(&c->profile, &e) < 0) {
        say(p, "fail", "%s", e.text);
        fix(p, "rm '%.200s' && windctl login", c->profile.path);
    } else if (c->profile.mode == 0) {
        say(p, "ok", "no login is stored, %.200s is not there", c->profile.path);
    } else if ((c->profile.mode & 077) != 0) {
        say(p, "fail", "%.200s is open to others (mode %04o)", c->profile.path, c->profile.mode);
        fix(p, "chmod 600 '%.200s'", c->profile.path);
    } else {
        say(p, "ok", "%.200s is readable by its owner alone", c->profile.path);
    }
}

static void check_address(struct patient *p)
{
    struct err e = {0};

    p->has_client = client_new(&p->ctl->client, &p->ctl->options, &p->ctl->profile, &e) == 0;
    if (p->has_client) {
        say(p, "ok", "%s", client_url(p->ctl->client));
    } else {
        say(p, "fail", "%s", e.text);
        fix(p, "give the right --url, --ca-file or --key-file");
    }
}

static void check_health(struct patient *p)
{
    struct reply reply = {.status = 0};
    struct err e = {0};

    if (client_ask(p->ctl->client, "/healthz", NULL, &reply, &e) < 0) {
        say(p, "fail", "%s", e.text);
        fix(p, "systemctl status wind-collector, or start it: wind-collector -c "
               "/etc/wind/collector.yaml");
        return;
    }
    const char *version = json_string_value(json_object_get(reply.body, "version"));
    p->answers = reply.status == 200 && version != NULL;
    (void)snprintf(p->version, sizeof(p->version), "%s", version != NULL ? version : "");
    if (p->answers)
        say(p, "ok", "answers in %.0f ms", reply.seconds * 1e3);
    else
        say(p, "fail", "something answers %ld, but it is no collector", reply.status);
    if (!p->answers)
        fix(p, "look at the address and its port");
    reply_done(&reply);
}

static void check_ready(struct patient *p)
{
    struct reply reply = {.status = 0};
    struct err e = {0};

    if (client_ask(p->ctl->client, "/readyz", NULL, &reply, &e) == 0 && reply.status == 200) {
        const char *bus = json_string_value(json_object_get(reply.body, "bus"));
        (void)snprintf(p->bus, sizeof(p->bus), "%s", bus != NULL ? bus : "");
        say(p, "ok", "the database answers");
        reply_done(&reply);
        return;
    }
    say(p, "fail", "the collector's database does not answer");
    fix(p, "its log says why: journalctl -u wind-collector; is the disk full?");
    if (e.text[0] == '\0')
        reply_done(&reply);
}

static void check_bus(struct patient *p)
{
    static const struct {
        const char *word, *state, *text, *fix;
    } states[] = {
        {"", "ok", "there is none: sensors post to the collector", ""},
        {"ok", "ok", "Kafka gives, and the collector takes", ""},
        {"away", "fail", "no broker answers; what sensors send waits",
         "are the brokers up? kafka.brokers, and the log: journalctl -u wind-collector"},
        {"joining", "warn", "the consumer group has not given this collector its share yet",
         "may it read the topics? its log says: journalctl -u wind-collector"},
        {"database", "fail", "the database does not take what comes; it waits in Kafka",
         "its log says why: journalctl -u wind-collector; is the disk full?"},
        {"dlq", "fail", "the topic for what can't be stored does not take it; all waits in Kafka",
         "is there a topic wind.dlq, and may the collector write to it?"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(states); i++) {
        if (strcmp(p->bus, states[i].word) != 0)
            continue;
        say(p, states[i].state, "%s", states[i].text);
        fix(p, "%s", states[i].fix);
        return;
    }
    say(p, "warn", "the collector says '%s', which this windctl does not know", p->bus);
}

static void check_version(struct patient *p)
{
    if (strcmp(p->version, WIND_VERSION) == 0) {
        say(p, "ok", "collector and windctl are %s", WIND_VERSION);
        return;
    }
    say(p, "warn", "the collector is %s, windctl is %s", p->version, WIND_VERSION);
    fix(p, "install the same version on both");
}

static void check_clock(struct patient *p)
{
    struct reply reply = {.status = 0};
    struct err e = {0};

    if (client_ask(p->ctl->client, "/healthz", NULL, &reply, &e) < 0) {
        say(p, "fail", "%s", e.text);
        return;
    }
    const long long skew = reply.date_s > 0 ? (long long)time(NULL) - reply.date_s : 0;
    const char *state = llabs(skew) > SKEW_FAIL_S ? "fail" : "warn";
    if (llabs(skew) <= SKEW_WARN_S)
        say(p, "ok", "this machine and the collector agree");
    else
        say(p, state, "this machine is %lld s %s the collector", llabs(skew),
            skew > 0 ? "ahead of" : "behind");
    if (llabs(skew) > SKEW_WARN_S)
        fix(p, "let both follow NTP: timedatectl set-ntp true");
    reply_done(&reply);
}

static void check_login(struct patient *p)
{
    struct ctl *c = p->ctl;
    struct err e = {0};
    json_t *body = NULL;
    const bool has_key = client_has_key(c->client);

    const int r =
        client_get(c->client, has_key ? "/api/alerts/?limit=1" : "/api/auth/me", &body, NULL, &e);
    p->is_in = r == 0;
    if (r < 0) {
        say(p, "fail", "%s", e.text);
        fix(p,
            has_key ? "wind-collector --create-key NAME --scope alerts:read --scope sensors:read"
                    : "windctl login %s",
            client_url(c->client));
    } else if (has_key) {
        say(p, "ok", "the key is good");
    } else {
        const char *role = json_string_value(json_object_get(body, "role"));
        say(p, "ok", "%s, %s", c->profile.username, role != NULL ? role : "-");
    }
    json_decref(body);
}

static void judge_sensors(struct patient *p, const json_t *list)
{
    const json_t *sensor, *lost = NULL;
    size_t i, online = 0;
    const char *away = NULL;

    json_array_foreach(list, i, sensor)
    {
        const char *state = json_string_value(json_object_get(sensor, "state"));
        if (state != NULL && strcmp(state, "online") == 0)
            online++;
        else
            away = json_string_value(json_object_get(sensor, "name"));
        if (json_integer_value(json_object_get(sensor, "missing")) > 0 &&
            json_is_string(json_object_get(sensor, "name")))
            lost = sensor;
    }
    if (json_array_size(list) == 0) {
        say(p, "warn", "no sensor has ever reported");
        fix(p,
            "wind-collector --create-key NAME --scope ingest > sensor.key; then wind-sensor "
            "--set uplink.url=%s --set uplink.key_file=sensor.key",
            client_url(p->ctl->client));
    } else if (online < json_array_size(list)) {
        say(p, online > 0 ? "warn" : "fail", "%zu of %zu sensors are online; '%s' is silent",
            online, json_array_size(list), away != NULL ? away : "-");
        fix(p, "on its machine: systemctl status 'wind-sensor@*'");
    } else if (lost != NULL) {
        say(p, "warn", "%zu of %zu sensors are online; %lld messages of '%s' never came", online,
            json_array_size(list), (long long)json_integer_value(json_object_get(lost, "missing")),
            json_string_value(json_object_get(lost, "name")));
        fix(p, "the log has their numbers: journalctl -u wind-collector | grep lost; did Kafka "
               "prune the topic before it was read, or its disk lose it?");
    } else {
        say(p, "ok", "%zu of %zu sensors are online", online, json_array_size(list));
    }
}

static void check_sensors(struct patient *p)
{
    struct err e = {0};
    json_t *body = NULL;

    if (client_get(p->ctl->client, "/api/sensors/", &body, NULL, &e) < 0) {
        say(p, "fail", "%s", e.text);
        fix(p, "a user or key with sensors:read may see them");
        return;
    }
    judge_sensors(p, json_object_get(body, "data"));
    p->sensors = body;
}

/* Is my SPAN right? The first sensor with a finding is named; those that are away say nothing. */
static void judge_captures(struct patient *p, const json_t *list)
{
    struct capture_report report;
    const json_t *sensor;
    const char *alone = NULL;
    size_t i, live = 0, wrong = 0;

    json_array_foreach(list, i, sensor)
    {
        const json_t *const stats = json_object_get(sensor, "stats");
        const char *const state = json_string_value(json_object_get(sensor, "state"));
        const char *const name = json_string_value(json_object_get(sensor, "name"));

        if (!json_is_object(stats) || state == NULL || strcmp(state, "offline") == 0)
            continue;
        live++;
        capture_report_make(stats, &report);
        if (report.is_alone && alone == NULL && name != NULL)
            alone = name;
        if (report.text[0] == '\0' || wrong++ > 0)
            continue;
        say(p, "warn", "'%.64s': %s", name != NULL ? name : "-", report.text);
        fix(p, "%s", report.fix);
    }
    if (live == 0)
        say(p, "skip", "no sensor tells what it sees");
    else if (wrong == 0 && alone != NULL)
        say(p, "ok",
            "'%.64s' sees its own machine's packets alone: should it watch others, then nothing "
            "is mirrored to it",
            alone);
    else if (wrong == 0)
        say(p, "ok", "what %zu of %zu sensors see looks like what is on the wire", live, live);
}

static void check_capture(struct patient *p)
{
    judge_captures(p, json_object_get(p->sensors, "data"));
}

/* The first sensor that loses something is named. */
static void check_delivery(struct patient *p)
{
    struct delivery_report report;
    const json_t *sensor;
    size_t i, told = 0, wrong = 0;

    json_array_foreach(json_object_get(p->sensors, "data"), i, sensor)
    {
        const json_t *const stats = json_object_get(sensor, "stats");
        const char *const name = json_string_value(json_object_get(sensor, "name"));

        told += json_is_object(stats);
        delivery_report_make(stats, &report);
        if (report.text[0] == '\0' || wrong++ > 0)
            continue;
        say(p, "warn", "'%.64s', since it started: %s", name != NULL ? name : "-", report.text);
        fix(p, "%s", report.fix);
    }
    if (told == 0)
        say(p, "skip", "no sensor tells what it sends");
    else if (wrong == 0)
        say(p, "ok", "nothing of %zu sensors was lost on its way", told);
}

static void judge_alert(struct patient *p, const json_t *alert)
{
    const char *created = json_string_value(json_object_get(alert, "created_at"));
    uint64_t ns;

    if (created == NULL || time_parse_rfc3339(created, &ns) != 0) {
        say(p, "warn", "there is no alert yet");
        fix(p, "try the whole path: wind-sensor -r tests/data/lab-demo/capture.pcap.gz, with "
               "uplink.url and uplink.key_file");
        return;
    }
    const long long age = (long long)time(NULL) - (long long)(ns / WIND_NS_PER_S);
    const char *state = age > QUIET_S ? "warn" : "ok";
    if (age < 120)
        say(p, state, "the last one arrived %lld s ago", age > 0 ? age : 0);
    else
        say(p, state, "the last one arrived %lld min ago", age / 60);
    if (age > QUIET_S)
        fix(p, "a day without any alert: do the sensors see traffic? windctl sensors list");
}

static void check_alerts(struct patient *p)
{
    struct err e = {0};
    json_t *body = NULL;

    if (client_get(p->ctl->client, "/api/alerts/?limit=1&sort=-created", &body, NULL, &e) < 0) {
        say(p, "fail", "%s", e.text);
        fix(p, "a user or key with alerts:read may see them");
        return;
    }
    judge_alert(p, json_array_get(json_object_get(body, "data"), 0));
    json_decref(body);
}

static void check_search(struct patient *p)
{
    struct err e = {0};
    json_t *body = NULL;

    if (client_get(p->ctl->client, "/api/search/status", &body, NULL, &e) < 0) {
        say(p, "fail", "%s", e.text);
        fix(p, "a user or key with sensors:read may see it");
        return;
    }
    const char *trouble = json_string_value(json_object_get(body, "trouble"));
    const long long behind = json_integer_value(json_object_get(body, "behind"));
    const long long refused = json_integer_value(json_object_get(body, "refused"));
    const json_t *rebuild = json_object_get(body, "rebuild");
    if (trouble != NULL) {
        say(p, "fail", "%lld changes are not in the text index: %s", behind, trouble);
        fix(p, "alerts go on, and it catches up alone; the collector's log has the rest: "
               "journalctl -u wind-collector");
    } else if (json_is_object(rebuild)) {
        say(p, "ok", "the text index is being filled: %lld of %lld",
            (long long)json_integer_value(json_object_get(rebuild, "done")),
            (long long)json_integer_value(json_object_get(rebuild, "of")));
    } else if (refused > 0) {
        say(p, "warn", "the search server refused %lld documents for good", refused);
        fix(p,
            "its reasons are in the collector's log: journalctl -u wind-collector | grep search");
    } else {
        say(p, "ok", "the text index knows all but %lld changes", behind);
    }
    json_decref(body);
}

enum need { NEED_NOTHING, NEED_CLIENT, NEED_ANSWER, NEED_LOGIN };

static const struct {
    const char *name;
    enum need need;
    void (*run)(struct patient *p);
} checks[] = {
    {"settings", NEED_NOTHING, check_settings},
    {"address", NEED_NOTHING, check_address},
    {"collector", NEED_CLIENT, check_health},
    {"database", NEED_ANSWER, check_ready},
    {"bus", NEED_ANSWER, check_bus},
    {"version", NEED_ANSWER, check_version},
    {"clock", NEED_ANSWER, check_clock},
    {"login", NEED_ANSWER, check_login},
    {"sensors", NEED_LOGIN, check_sensors},
    {"capture", NEED_LOGIN, check_capture},
    {"delivery", NEED_LOGIN, check_delivery},
    {"alerts", NEED_LOGIN, check_alerts},
    {"search", NEED_LOGIN, check_search},
};

static bool may_run(const struct patient *p, enum need need)
{
    return need == NEED_NOTHING || (need == NEED_CLIENT && p->has_client) ||
           (need == NEED_ANSWER && p->answers) || (need == NEED_LOGIN && p->is_in);
}

/* clang-format off */
static const struct column finding_columns[] = {
    {"STATE", "state", CELL_WORD, IN_TABLE | IN_CSV, NULL},
    {"CHECK", "check", CELL_TEXT, IN_TABLE | IN_CSV, NULL},
    {"WHAT",  "text",  CELL_TEXT, IN_TABLE | IN_CSV, NULL},
    {"FIX",   "fix",   CELL_TEXT, IN_TABLE | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};
/* clang-format on */

static void put_finding(const struct screen *s, const char *name, const struct finding *f)
{
    screen_word(s, f->state);
    (void)fprintf(s->out, "%*s%-10s ", (int)(6 - strlen(f->state)), "", name);
    screen_text(s, f->text);
    (void)fputs("\n", s->out);
    if (f->fix[0] == '\0')
        return;
    (void)fputs("                 fix: ", s->out);
    screen_text(s, f->fix);
    (void)fputs("\n", s->out);
}

int command_doctor(struct ctl *c, struct err *e)
{
    struct patient p = {.ctl = c};
    json_t *rows = json_array();
    int failed = 0;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(checks); i++) {
        struct finding f = {.state = "skip", .text = "not looked at: see above", .fix = ""};
        p.now = &f;
        if (may_run(&p, checks[i].need))
            checks[i].run(&p);
        clean(f.text, sizeof(f.text));
        clean(f.fix, sizeof(f.fix));
        failed += strcmp(f.state, "fail") == 0;
        if (c->screen.format == SCREEN_TABLE)
            put_finding(&c->screen, checks[i].name, &f);
        (void)json_array_append_new(rows,
                                    json_pack("{s:s,s:s,s:s,s:s}", "check", checks[i].name, "state",
                                              f.state, "text", f.text, "fix", f.fix));
    }
    json_decref(p.sensors);
    c->client = client_free(c->client);
    int r = c->screen.format == SCREEN_TABLE ? screen_flush(&c->screen, e)
                                             : screen_rows(&c->screen, finding_columns, rows, e);
    json_decref(rows);
    if (r == 0 && failed > 0)
        r = err_set(e, -EIO, "%d of %zu checks failed", failed, WIND_ARRAY_SIZE(checks));
    return r;
}
