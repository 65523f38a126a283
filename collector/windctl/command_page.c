/* One alert or incident for people: its fields, why, and what belongs to it. */
#include <math.h>
#include <string.h>

#include "collector/windctl/command.h"

#define BAR 24 /* columns of the longest bar */

static const char *text_at(const json_t *o, const char *path)
{
    const char *s = json_string_value(screen_at(o, path));

    return s != NULL ? s : "";
}

static void head(const struct screen *s, const char *one, const json_t *o, const char *title)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%s %lld  ", one,
                   (long long)json_integer_value(json_object_get(o, "id")));
    screen_head(s, text);
    screen_word(s, text_at(o, "severity"));
    (void)fputs("\n", s->out);
    screen_head(s, title);
    (void)fputs("\n\n", s->out);
}

static double number_at(const json_t *o, const char *key)
{
    const double v = json_number_value(json_object_get(o, key));

    return isfinite(v) ? v : 0;
}

static void put_bar(const struct screen *s, double share)
{
    const int n = share > 0 && share <= 1 ? (int)lround(share * BAR) : 0;

    for (int i = 0; i < n; i++)
        (void)fputs("\xe2\x96\x88", s->out); /* a full block */
    (void)fprintf(s->out, "%s%.0f %%\n", n > 0 ? " " : "", share * 100);
}

static void put_reason(const struct screen *s, const json_t *reason)
{
    (void)fputs("  - ", s->out);
    screen_text(s, text_at(reason, "text"));
    (void)fputs("\n    ", s->out);
    screen_text(s, text_at(reason, "name"));
    (void)fprintf(s->out, " = %.6g", number_at(reason, "value"));
    if (json_is_number(json_object_get(reason, "normal")))
        (void)fprintf(s->out, ", normal here %.6g", number_at(reason, "normal"));
    if (json_is_number(json_object_get(reason, "normal_sd")))
        (void)fprintf(s->out, " +- %.3g", number_at(reason, "normal_sd"));
    if (json_is_number(json_object_get(reason, "contribution"))) {
        (void)fputs(", weight ", s->out);
        put_bar(s, number_at(reason, "contribution"));
    } else {
        (void)fputs("\n", s->out);
    }
}

int page_alert(struct ctl *c, const json_t *alert, struct err *e)
{
    const json_t *reasons = screen_at(alert, "metadata.explain");
    const json_t *reason;
    size_t i;

    head(&c->screen, "Alert", alert, text_at(alert, "description"));
    const int r = screen_object(&c->screen, alert_columns, alert, e);
    if (r < 0)
        return r;
    if (json_array_size(reasons) > 0) {
        (void)fputs("\n", c->screen.out);
        screen_head(&c->screen, "Why");
        (void)fputs("\n", c->screen.out);
    }
    json_array_foreach(reasons, i, reason) put_reason(&c->screen, reason);
    return screen_flush(&c->screen, e);
}

static int put_alerts(struct ctl *c, const json_t *ids, struct err *e)
{
    json_t *rows = json_array();
    const json_t *id;
    size_t i;
    int r = 0;

    json_array_foreach(ids, i, id)
    {
        char path[64];
        json_t *alert = NULL;
        (void)snprintf(path, sizeof(path), "/api/alerts/%lld", (long long)json_integer_value(id));
        if (i < (size_t)c->options.limit)
            r = client_get(c->client, path, &alert, NULL, e);
        if (r < 0)
            break;
        if (alert != NULL)
            (void)json_array_append_new(rows, alert);
    }
    if (r == 0)
        r = screen_rows(&c->screen, alert_columns, rows, e);
    json_decref(rows);
    return r;
}

static void put_comments(const struct screen *s, const json_t *comments)
{
    const json_t *comment;
    size_t i;

    json_array_foreach(comments, i, comment)
    {
        (void)fputs(i == 0 ? "\nComments\n" : "", s->out);
        (void)fputs("  ", s->out);
        screen_text(s, text_at(comment, "created_at"));
        (void)fputs("  ", s->out);
        screen_text(s, text_at(comment, "author"));
        (void)fputs(": ", s->out);
        screen_text(s, text_at(comment, "text"));
        (void)fputs("\n", s->out);
    }
}

int page_incident(struct ctl *c, const json_t *incident, struct err *e)
{
    const json_t *ids = json_object_get(incident, "related_alerts");

    head(&c->screen, "Incident", incident, text_at(incident, "title"));
    int r = screen_object(&c->screen, incident_columns, incident, e);
    if (r == 0 && json_array_size(ids) > 0) {
        (void)fputs("\n", c->screen.out);
        r = put_alerts(c, ids, e);
    }
    if (r < 0)
        return r;
    put_comments(&c->screen, json_object_get(incident, "comments"));
    return screen_flush(&c->screen, e);
}
