/*
 * shown.h - alerts and incidents as the API shows them, read back for a test to look at.
 */
#pragma once

#include <criterion/criterion.h>

#include "collector/alerts.h"
#include "collector/incidents.h"

static inline json_t *shown_json(struct buf *text, int r, const struct err *e)
{
    json_error_t why;

    cr_assert_eq(r, 0, "%s", e->text);
    cr_assert_not(text->failed);
    json_t *o = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &why);
    cr_assert_not_null(o, "%s: %s", why.text, buf_text(text));
    buf_done(text);
    return o;
}

static inline json_t *shown_alert(struct db_tx *tx, int64_t id)
{
    struct err e = {0};
    struct jsonw j;
    struct buf text;

    buf_init(&text, STORE_JSON_MAX);
    jsonw_begin(&j, &text);
    const int r = alert_show(tx, id, &j, &e);
    return shown_json(&text, r, &e);
}

static inline json_t *shown_incident(struct db_tx *tx, int64_t id)
{
    struct err e = {0};
    struct jsonw j;
    struct buf text;

    buf_init(&text, STORE_JSON_MAX);
    jsonw_begin(&j, &text);
    const int r = incident_show(tx, id, false, &j, &e);
    return shown_json(&text, r, &e);
}

typedef int shown_list_fn(struct db_tx *tx, struct filter *f, struct jsonw *j,
                          char ret_cursor[FILTER_CURSOR], struct err *e);

static inline json_t *shown_list(shown_list_fn *list, struct db_tx *tx, struct filter *f,
                                 char ret_cursor[FILTER_CURSOR])
{
    struct err e = {0};
    struct jsonw j;
    struct buf text;

    buf_init(&text, STORE_JSON_MAX);
    jsonw_begin(&j, &text);
    jsonw_array(&j, NULL);
    const int r = list(tx, f, &j, ret_cursor, &e);
    jsonw_end(&j);
    return shown_json(&text, r, &e);
}
