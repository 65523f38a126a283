#include "collector/search_dsl.h"

#include <stdio.h>

#include "common/crypto.h"
#include "common/ip.h"

#define WORDS_FIELD "wind.text"

/* {name: {field: value}}; takes the value. */
static json_t *clause(const char *name, const char *field, json_t *value)
{
    return json_pack("{s:{s:o}}", name, field, value);
}

/* ---------------------------------------------------------------- values */

static json_t *number_of(const struct filter_key *k, const struct filter_value *v)
{
    return k->kind == FILTER_REAL ? json_real(v->real) : json_integer(v->i);
}

static json_t *net_clause(const char *field, const struct filter_value *v)
{
    char first[IP_TEXT], last[IP_TEXT];

    (void)ip_format(v->first, first);
    (void)ip_format(v->last, last);
    return clause("range", field, json_pack("{s:s, s:s}", "gte", first, "lte", last));
}

static json_t *value_clause(const struct filter_key *k, const struct filter_value *v)
{
    static const char *const ops[] = {
        [FILTER_LT] = "lt", [FILTER_LE] = "lte", [FILTER_GT] = "gt", [FILTER_GE] = "gte"};
    char uid[UUID_TEXT];

    if (v->op == FILTER_UNSET)
        return json_pack("{s:{s:{s:{s:s}}}}", "bool", "must_not", "exists", "field", k->field);
    switch (k->kind) {
    case FILTER_NET:
        return net_clause(k->field, v);
    case FILTER_UID:
        uuid_format(v->first, uid);
        return clause("term", k->field, json_string(uid));
    case FILTER_SEVERITY:
    case FILTER_INT:
    case FILTER_REAL:
    case FILTER_TIME:
        if (v->op == FILTER_EQ)
            return clause("term", k->field, number_of(k, v));
        return clause("range", k->field, json_pack("{s:o}", ops[v->op], number_of(k, v)));
    case FILTER_WORD:
    case FILTER_TEXT:
    case FILTER_LOWER:
    default:
        return clause("term", k->field, json_string(v->text));
    }
}

/* ---------------------------------------------------------------- words */

/* One token: itself, or all that begin with it. */
static json_t *token_clause(const char *token, size_t len, bool is_prefix, bool is_span)
{
    json_t *text = json_stringn(token, len);

    if (!is_prefix)
        return clause(is_span ? "span_term" : "term", WORDS_FIELD, text);
    json_t *prefix = clause("prefix", WORDS_FIELD, json_pack("{s:o}", "value", text));
    return is_span ? json_pack("{s:{s:o}}", "span_multi", "match", prefix) : prefix;
}

static json_t *words_clause(const char *tokens, bool is_prefix)
{
    const bool is_span = strchr(tokens, ' ') != NULL;
    json_t *list = json_array();

    while (*tokens != '\0') {
        const size_t len = strcspn(tokens, " ");
        const bool is_last = tokens[len] == '\0';
        json_t *one = token_clause(tokens, len, is_prefix && is_last, is_span);
        if (!is_span) {
            json_decref(list);
            return one;
        }
        (void)json_array_append_new(list, one);
        tokens += len + !is_last;
    }
    return json_pack("{s:{s:o, s:i, s:b}}", "span_near", "clauses", list, "slop", 0, "in_order", 1);
}

/* ---------------------------------------------------------------- the query */

static json_t *term_clause(const struct filter *f, const struct filter_term *t)
{
    json_t *list;

    if (t->key == NULL)
        return words_clause(f->values[t->first].text, t->is_prefix);
    if (t->n == 1)
        return value_clause(t->key, &f->values[t->first]);
    list = json_array();
    for (size_t i = 0; i < t->n; i++)
        (void)json_array_append_new(list, value_clause(t->key, &f->values[t->first + i]));
    return json_pack("{s:{s:o, s:i}}", "bool", "should", list, "minimum_should_match", 1);
}

/* Field first, then id; what is unset counts as in the database: score -1. */
static json_t *order(const struct filter *f)
{
    const char *way = f->is_descending ? "desc" : "asc";
    json_t *first = json_pack("{s:s}", "order", way);

    if (f->sort->is_real)
        (void)json_object_set_new(first, "missing", json_integer(-1));
    json_t *list = json_array();
    (void)json_array_append_new(list, json_pack("{s:o}", f->sort->field, first));
    (void)json_array_append_new(list, json_pack("{s:{s:s}}", "wind.id", "order", way));
    return list;
}

json_t *search_dsl(const struct filter *f)
{
    json_t *must = json_array(), *must_not = json_array();

    for (size_t i = 0; i < f->n_terms; i++)
        (void)json_array_append_new(f->terms[i].is_negated ? must_not : must,
                                    term_clause(f, &f->terms[i]));
    json_t *body = json_pack("{s:{s:{s:o, s:o}}, s:o, s:I, s:b, s:b}", "query", "bool", "filter",
                             must, "must_not", must_not, "sort", order(f), "size",
                             (json_int_t)f->limit + 1, "_source", 0, "track_total_hits", 0);
    if (body != NULL && f->has_cursor) {
        json_t *value = f->sort->is_real ? json_real(f->cursor_real) : json_integer(f->cursor_int);
        (void)json_object_set_new(body, "search_after",
                                  json_pack("[o, I]", value, (json_int_t)f->cursor_id));
    }
    return body;
}
