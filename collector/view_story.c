#include "collector/view_story.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

enum side { SIDE_WHO, SIDE_WHOM, SIDES }; /* at the first place of an alert's entities, or behind */

struct chapter_view {
    uint16_t type;
    int64_t first_ns;
    int64_t n[SIDES];
    char only[SIDES][STORY_PEOPLE]; /* while n is 1 */
};

struct view_story {
    int64_t severity;
    unsigned stages;
    char *alone; /* the description of the one alert; NULL when there are more */
    struct chapter_view *chapters;
    size_t n_chapters;
    struct id_map people; /* (entity, chapter, side) */
};

static int no_memory(struct err *e)
{
    (void)err_set(e, -ENOMEM, "correlation: out of memory");
    return -ENOMEM;
}

void view_story_free(struct view_story *st)
{
    if (st == NULL)
        return;
    free(st->alone);
    free(st->chapters);
    id_map_done(&st->people);
    free(st);
}

static struct view_story *story_new(struct view *v)
{
    v->bytes += (int64_t)sizeof(struct view_story);
    return calloc(1, sizeof(struct view_story));
}

/* The chapter of a type; NULL: no memory. */
static struct chapter_view *chapter_of(struct view *v, struct view_story *st, uint16_t type,
                                       int64_t first_ns)
{
    for (size_t i = 0; i < st->n_chapters; i++) {
        struct chapter_view *ch = &st->chapters[i];
        if (ch->type != type)
            continue;
        if (first_ns < ch->first_ns)
            ch->first_ns = first_ns;
        return ch;
    }
    void *more = realloc(st->chapters, (st->n_chapters + 1) * sizeof(*st->chapters));
    if (more == NULL)
        return NULL;
    st->chapters = more;
    v->bytes += (int64_t)sizeof(*st->chapters);
    st->chapters[st->n_chapters] = (struct chapter_view){.type = type, .first_ns = first_ns};
    return &st->chapters[st->n_chapters++];
}

static int person_add(struct view *v, struct view_story *st, struct chapter_view *ch,
                      enum side side, const struct view_entity *en)
{
    const size_t before = id_map_bytes(&st->people);
    const int r =
        id_map_add(&st->people, (uint64_t)en->id << 17 | (uint64_t)ch->type << 1 | (uint64_t)side);

    v->bytes += (int64_t)(id_map_bytes(&st->people) - before);
    if (r == 1 && ++ch->n[side] == 1)
        (void)snprintf(ch->only[side], STORY_PEOPLE, "%s", en->value);
    return r < 0 ? r : 0;
}

int view_story_add(struct view *v, struct view_incident *in, const struct view_alert *a,
                   bool is_new, struct err *e)
{
    const struct alert *al = a->alert;
    struct view_story *st = in->story;

    if (st == NULL)
        st = in->story = story_new(v);
    struct chapter_view *ch = st == NULL ? NULL : chapter_of(v, st, a->type, al->first_ns);
    if (ch == NULL)
        return no_memory(e);
    const bool is_first = in->alerts == 0;
    in->alerts += is_new;
    if (is_first || al->first_ns < in->first_ns)
        in->first_ns = al->first_ns;
    if (is_first || al->last_ns > in->last_ns)
        in->last_ns = al->last_ns;
    if (a->severity > st->severity)
        st->severity = a->severity;
    if (al->tactic != NULL)
        st->stages |= story_stage(al->tactic);
    free(st->alone);
    st->alone = in->alerts == 1 ? strndup(al->description, TITLE_MAX) : NULL;
    if (in->alerts == 1 && st->alone == NULL)
        return no_memory(e);
    for (size_t i = 0; i < al->n_entities; i++)
        if (person_add(v, st, ch, i == 0 ? SIDE_WHO : SIDE_WHOM, a->entities[i]) != 0)
            return no_memory(e);
    return 0;
}

/* ---------------------------------------------------------------- from the database */

static int load_sums(struct db_tx *tx, struct view_incident *in, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *sums = NULL, *one = NULL, *tactics = NULL;

    int r = db_query(tx,
                     "SELECT count(*), min(first_seen), max(last_seen), max(severity) "
                     "FROM alerts WHERE incident_id = $1",
                     DB_ARGS(db_int(in->id)), &sums, e);
    if (r == 0)
        r = db_query(tx,
                     "SELECT DISTINCT tactic FROM alerts WHERE incident_id = $1 "
                     "AND tactic IS NOT NULL",
                     DB_ARGS(db_int(in->id)), &tactics, e);
    if (r == 0)
        r = db_step(sums, e);
    if (r != DB_ROW)
        return r;
    in->alerts = db_i64(sums, 0);
    in->story->severity = db_i64(sums, 3);
    if (in->alerts > 0) {
        in->first_ns = db_i64(sums, 1);
        in->last_ns = db_i64(sums, 2);
    }
    while ((r = db_step(tactics, e)) == DB_ROW)
        in->story->stages |= story_stage(db_text(tactics, 0));
    if (r != 0 || in->alerts != 1)
        return r;
    r = db_query_row(tx, "SELECT description FROM alerts WHERE incident_id = $1",
                     DB_ARGS(db_int(in->id)), &one, e);
    if (r != DB_ROW)
        return r;
    in->story->alone = strndup(db_text(one, 0), TITLE_MAX);
    return in->story->alone == NULL ? no_memory(e) : 0;
}

static int load_chapters(struct view *v, struct db_tx *tx, struct view_incident *in, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT type, min(first_seen) FROM alerts WHERE incident_id = $1 "
                     "GROUP BY type",
                     DB_ARGS(db_int(in->id)), &s, e);

    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        const int type = view_type(v, db_text(s, 0));
        r = type < 0 || chapter_of(v, in->story, (uint16_t)type, db_i64(s, 1)) == NULL
                ? no_memory(e)
                : 0;
    }
    return r;
}

static int load_people(struct view *v, struct db_tx *tx, struct view_incident *in, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_query(tx,
                     "SELECT DISTINCT a.type, CASE WHEN ae.pos = 0 THEN 0 ELSE 1 END, en.id, "
                     "en.value FROM alerts a JOIN alert_entities ae ON ae.alert_id = a.id "
                     "JOIN entities en ON en.id = ae.entity_id WHERE a.incident_id = $1",
                     DB_ARGS(db_int(in->id)), &s, e);

    while (r == 0 && (r = db_step(s, e)) == DB_ROW) {
        const int type = view_type(v, db_text(s, 0));
        const struct view_entity en = {.id = db_i64(s, 2), .value = db_text(s, 3)};
        struct chapter_view *ch =
            type < 0 ? NULL : chapter_of(v, in->story, (uint16_t)type, INT64_MAX);
        r = ch == NULL || person_add(v, in->story, ch, (enum side)db_i64(s, 1), &en) != 0
                ? no_memory(e)
                : 0;
    }
    return r;
}

int view_story_load(struct view *v, struct db_tx *tx, struct view_incident *in, struct err *e)
{
    if (in->story != NULL)
        return 0;
    in->story = story_new(v);
    if (in->story == NULL)
        return no_memory(e);
    int r = load_sums(tx, in, e);
    if (r == 0)
        r = load_chapters(v, tx, in, e);
    return r == 0 ? load_people(v, tx, in, e) : r;
}

/* ---------------------------------------------------------------- telling it */

/* Does `a` come before `b`? */
static bool is_earlier(const struct view *v, const struct chapter_view *a,
                       const struct chapter_view *b)
{
    return a->first_ns != b->first_ns ? a->first_ns < b->first_ns
                                      : strcmp(v->type_words[a->type], v->type_words[b->type]) < 0;
}

void view_story_tell(const struct view *v, const struct view_incident *in, struct story *ret_story,
                     char ret_title[TITLE_MAX + 1])
{
    const struct view_story *st = in->story;
    const struct chapter_view *last = NULL;

    *ret_story = (struct story){.alerts = in->alerts,
                                .first_ns = in->first_ns,
                                .last_ns = in->last_ns,
                                .severity = st->severity,
                                .stages = st->stages};
    while (ret_story->n_chapters < STORY_MAX) {
        const struct chapter_view *next = NULL;
        for (size_t i = 0; i < st->n_chapters; i++) {
            const struct chapter_view *ch = &st->chapters[i];
            if ((last == NULL || is_earlier(v, last, ch)) &&
                (next == NULL || is_earlier(v, ch, next)))
                next = ch;
        }
        if (next == NULL)
            break;
        struct chapter *to = &ret_story->chapters[ret_story->n_chapters++];
        (void)snprintf(to->type, sizeof(to->type), "%s", v->type_words[next->type]);
        story_people(next->n[SIDE_WHO], next->only[SIDE_WHO], to->who);
        story_people(next->n[SIDE_WHOM], next->only[SIDE_WHOM], to->whom);
        last = next;
    }
    if (st->alone != NULL) {
        (void)snprintf(ret_title, TITLE_MAX + 1, "%s", st->alone);
        utf8_cut(ret_title);
    } else {
        story_title(ret_story, ret_title);
    }
}
