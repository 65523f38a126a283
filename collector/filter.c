#include "collector/filter.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "collector/filter_tree.h"
#include "collector/schema.h"
#include "collector/search_token.h"
#include "collector/store.h"
#include "common/buf.h"
#include "common/crypto.h"
#include "common/ip.h"

#define VALUE_MAX  256
#define LIMIT_DFLT 50

/* What one term says, after unquoting. */
struct text_term {
    bool is_negated, has_key, is_quoted;
    char key[16];
    char value[VALUE_MAX];
};

int filter_new(struct filter **ret_filter, enum filter_table t, struct err *e)
{
    struct filter *f =
        malloc(sizeof(*f)); /* terms, values and text are written before they count */

    if (f == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    f->what = t;
    f->table = &filter_keys[t];
    f->n_terms = f->n_values = f->text_len = 0;
    f->sort = &f->table->sorts[0];
    f->is_descending = true;
    f->has_cursor = f->is_picked = f->is_sorted = false;
    f->limit = LIMIT_DFLT;
    *ret_filter = f;
    return 0;
}

struct filter *filter_free(struct filter *f)
{
    free(f);
    return NULL;
}

void filter_limit(struct filter *f, int64_t rows)
{
    f->limit = rows < 1 ? 1 : rows > FILTER_PAGE_MAX ? FILTER_PAGE_MAX : rows;
}

bool filter_has_words(const struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++)
        if (f->terms[i].key == NULL)
            return true;
    return false;
}

static int too_many(struct err *e)
{
    return err_set(e, -EINVAL, "too long: at most %d terms and %d values", FILTER_TERMS,
                   FILTER_ARGS);
}

/* ---------------------------------------------------------------- values */

static enum filter_op take_op(const char **value)
{
    static const struct {
        const char *sign;
        enum filter_op op;
    } ops[] = {
        {">=", FILTER_GE}, {"<=", FILTER_LE}, {">", FILTER_GT}, {"<", FILTER_LT}, {"=", FILTER_EQ}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(ops); i++) {
        const size_t len = strlen(ops[i].sign);
        if (strncmp(*value, ops[i].sign, len) == 0) {
            *value += len;
            return ops[i].op;
        }
    }
    return FILTER_EQ;
}

static int parse_time(const char *s, int64_t *ret_ns)
{
    char whole[64];

    const bool is_day = strlen(s) == 10;
    if (snprintf(whole, sizeof(whole), "%s%s", s, is_day ? "T00:00:00Z" : "") >= (int)sizeof(whole))
        return -EINVAL;
    return schema_time(whole, ret_ns);
}

static bool parse_int(const char *s, int64_t *ret_i)
{
    char *end;

    errno = 0;
    const long long i = strtoll(s, &end, 10);
    if (end == s || *end != '\0' || errno != 0)
        return false;
    *ret_i = i;
    return true;
}

static bool parse_real(const char *s, double *ret_f)
{
    char *end;
    const double f = strtod(s, &end);

    if (end == s || *end != '\0' || !isfinite(f))
        return false;
    *ret_f = f;
    return true;
}

static int bad_value(const struct filter_key *k, const char *value, struct err *e)
{
    static const char *const wants[] = {
        [FILTER_WORD] = "not one of its words",
        [FILTER_TEXT] = "not a text",
        [FILTER_LOWER] = "not a text",
        [FILTER_SEVERITY] = "not low, medium, high or critical",
        [FILTER_INT] = "not a whole number",
        [FILTER_REAL] = "not a number",
        [FILTER_TIME] = "not a time like 2026-01-31 or 2026-01-31T12:00:00Z",
        [FILTER_UID] = "not a UUID",
        [FILTER_NET] = "not an address or a network",
    };
    return err_set(e, -EINVAL, "%s: '%s' is %s", k->name, value, wants[k->kind]);
}

static void take_net(struct filter_value *v, const struct cidr *net)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned from = i * 8; /* first bit of this byte */
        const unsigned fixed = net->bits <= from ? 0 : net->bits - from;
        v->first[i] = net->net[i];
        v->last[i] = (uint8_t)(net->net[i] | (fixed >= 8 ? 0 : 0xff >> fixed));
    }
}

/* A copy that lives as long as the filter; NULL: no room. */
static const char *keep(struct filter *f, const char *text, bool is_lower)
{
    const size_t len = strlen(text) + 1;
    char *at = f->text + f->text_len;

    if (len > sizeof(f->text) - f->text_len)
        return NULL;
    memcpy(at, text, len);
    for (char *p = at; is_lower && *p != '\0'; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    f->text_len += len;
    return at;
}

/* -EINVAL: not a value of this key. -E2BIG: no room. */
static int take_value(struct filter *f, const struct filter_key *k, const char *text,
                      struct filter_value *v)
{
    struct cidr net;
    bool ok = false;

    switch (k->kind) {
    case FILTER_WORD:
        if (store_word(k->words, text) < 0)
            return -EINVAL;
        __attribute__((fallthrough));
    case FILTER_TEXT:
    case FILTER_LOWER:
        v->text = keep(f, text, k->kind == FILTER_LOWER);
        return v->text != NULL ? 0 : -E2BIG;
    case FILTER_SEVERITY:
        v->i = store_severity(text);
        ok = v->i > 0;
        break;
    case FILTER_INT:
        ok = parse_int(text, &v->i);
        break;
    case FILTER_REAL:
        ok = parse_real(text, &v->real);
        break;
    case FILTER_TIME:
        ok = parse_time(text, &v->i) == 0;
        break;
    case FILTER_UID:
        ok = uuid_parse(text, v->first) == 0;
        break;
    case FILTER_NET:
        ok = cidr_parse(text, &net, NULL) == 0;
        if (ok)
            take_net(v, &net);
        break;
    default:
        break;
    }
    return ok ? 0 : -EINVAL;
}

static struct filter_value *new_value(struct filter *f, struct filter_term *t)
{
    if (f->n_values == FILTER_ARGS)
        return NULL;
    t->n++;
    f->values[f->n_values] = (struct filter_value){.op = FILTER_EQ};
    return &f->values[f->n_values++];
}

static int add_value(struct filter *f, struct filter_term *t, const char *text, struct err *e)
{
    const struct filter_key *k = t->key;
    struct filter_value *v = new_value(f, t);

    if (v == NULL)
        return too_many(e);
    if (k->none != NULL && strcmp(text, "none") == 0) {
        v->op = FILTER_UNSET;
        return 0;
    }
    if (strchr(k->sql, '#') != NULL)
        v->op = take_op(&text);
    const int r = take_value(f, k, text, v);
    if (r == 0)
        return 0;
    return r == -EINVAL ? bad_value(k, text, e) : too_many(e);
}

/* value,value,... joined by OR; a quoted value has no commas of that meaning. */
static int add_values(struct filter *f, struct filter_term *t, struct text_term *said,
                      struct err *e)
{
    char *rest = said->value;
    int r = 0;

    while (r == 0 && rest != NULL) {
        char *value = rest;
        rest = said->is_quoted ? NULL : strchr(value, ',');
        if (rest != NULL)
            *rest++ = '\0';
        r = add_value(f, t, value, e);
    }
    return r;
}

/* Words for the text index: their tokens, one behind the other. */
static int add_words(struct filter *f, struct filter_term *t, const struct text_term *said,
                     struct err *e)
{
    char tokens[3 * VALUE_MAX + 1];
    struct buf b = BUF_FIXED(tokens);
    struct filter_value *v = new_value(f, t);

    if (v == NULL)
        return too_many(e);
    if (search_tokens(&b, said->value) == 0)
        return err_set(e, -EINVAL, "'%s' has no letter or digit that could be searched for",
                       said->value);
    t->is_prefix = !said->is_quoted && search_is_prefix(said->value);
    v->text = keep(f, buf_text(&b), false);
    return v->text != NULL ? 0 : too_many(e);
}

static bool is_address(const struct text_term *said)
{
    struct cidr net;

    return !said->is_quoted && strpbrk(said->value, ".:") != NULL &&
           cidr_parse(said->value, &net, NULL) == 0;
}

/* ---------------------------------------------------------------- terms */

static const struct filter_key *find_key(const struct filter *f, const char *name)
{
    for (const struct filter_key *k = f->table->keys; k->name != NULL; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

static int unknown_key(const struct filter *f, const char *key, struct err *e)
{
    char names[160] = "";
    struct buf b = BUF_FIXED(names);

    for (const struct filter_key *k = f->table->keys; k->name != NULL; k++)
        buf_printf(&b, "%s%s", k == f->table->keys ? "" : " ", k->name);
    return err_set(e, -EINVAL, "unknown key '%s'; known: %s sort", key, buf_text(&b));
}

static int add_term(struct filter *f, struct text_term *said, struct err *e)
{
    struct filter_term *t = &f->terms[f->n_terms];

    if (said->has_key && strcmp(said->key, "sort") == 0)
        return filter_sort(f, said->value, e);
    if (f->n_terms == FILTER_TERMS)
        return too_many(e);
    *t = (struct filter_term){.is_negated = said->is_negated, .first = f->n_values};
    if (said->has_key)
        t->key = find_key(f, said->key);
    else if (is_address(said))
        t->key = find_key(f, "host");
    if (said->has_key && t->key == NULL)
        return unknown_key(f, said->key, e);
    f->n_terms++;
    return t->key != NULL ? add_values(f, t, said, e) : add_words(f, t, said, e);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Letters and then a colon, unless the whole word is an address such as fd::1. */
static size_t key_length(const char *p)
{
    char word[IP_TEXT + 5];
    struct cidr net;
    size_t n = 0, len = 0;

    while (n < sizeof(((struct text_term *)0)->key) - 1 &&
           (p[n] == '_' || (p[n] >= 'a' && p[n] <= 'z')))
        n++;
    if (n == 0 || p[n] != ':')
        return 0;
    while (p[len] != '\0' && !is_space(p[len]) && len < sizeof(word) - 1)
        len++;
    memcpy(word, p, len);
    word[len] = '\0';
    return cidr_parse(word, &net, NULL) == 0 ? 0 : n;
}

static int parse_value(const char **text, struct text_term *t, struct err *e)
{
    const char *p = *text;
    size_t n = 0;

    t->is_quoted = *p == '"';
    if (t->is_quoted)
        p++;
    while (*p != '\0' && (t->is_quoted ? *p != '"' : !is_space(*p))) {
        if (n == sizeof(t->value) - 1)
            return err_set(e, -EINVAL, "a word is longer than %zu bytes", sizeof(t->value) - 1);
        t->value[n++] = *p++;
    }
    t->value[n] = '\0';
    if (t->is_quoted && *p++ != '"')
        return err_set(e, -EINVAL, "a quotation mark is not closed");
    if (n == 0)
        return t->has_key ? err_set(e, -EINVAL, "%s: nothing behind the colon", t->key)
                          : err_set(e, -EINVAL, "there is nothing to search for");
    *text = p;
    return 0;
}

static int parse_term(const char **text, struct text_term *t, struct err *e)
{
    const char *p = *text;

    *t = (struct text_term){.is_negated = *p == '-'};
    if (t->is_negated)
        p++;
    const size_t n = key_length(p);
    t->has_key = n > 0;
    if (t->has_key) {
        memcpy(t->key, p, n);
        p += n + 1;
    }
    const int r = parse_value(&p, t, e);
    if (r == 0)
        *text = p;
    return r;
}

/*
 * Who asks for a time is shown that time's end first. In the order of ids all that came since would
 * be read over, by any database: what came late is anywhere. Not by a time that changes: a row
 * would go from a later page to an earlier one.
 */
static void sort_by_asked_time(struct filter *f)
{
    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_key *k = f->terms[i].key;
        if (k == NULL || k->kind != FILTER_TIME || f->terms[i].is_negated)
            continue;
        for (const struct filter_order *s = f->table->sorts; s->name != NULL; s++)
            if (strcmp(s->name, k->name) == 0 && s->is_lasting) {
                f->sort = s;
                return;
            }
    }
}

int filter_search(struct filter *f, const char *text, struct err *e)
{
    struct text_term t;

    if (text == NULL)
        return 0;
    if (strlen(text) > FILTER_TEXT_MAX)
        return err_set(e, -EINVAL, "longer than %d bytes", FILTER_TEXT_MAX);
    for (;;) {
        while (is_space(*text))
            text++;
        if (*text == '\0')
            break;
        int r = parse_term(&text, &t, e);
        if (r == 0)
            r = add_term(f, &t, e);
        if (r != 0)
            return r;
    }
    if (!f->is_sorted)
        sort_by_asked_time(f);
    return 0;
}

/* ---------------------------------------------------------------- order and pages */

int filter_sort(struct filter *f, const char *text, struct err *e)
{
    if (text == NULL)
        return 0;
    const bool is_descending = *text == '-';
    const char *name = text + is_descending;

    for (const struct filter_order *s = f->table->sorts; s->name != NULL; s++) {
        if (strcmp(s->name, name) == 0) {
            f->sort = s;
            f->is_descending = is_descending;
            f->is_sorted = true;
            return 0;
        }
    }
    return err_set(e, -EINVAL, "cannot sort by '%.40s'", name);
}

/* "-score|0x1.8p-1|55": order, the last row's value and id. */
int filter_cursor(struct filter *f, const char *text, struct err *e)
{
    char plain[FILTER_CURSOR], order[24];

    if (text == NULL)
        return 0;
    const ssize_t n = base64url_decode(text, strlen(text), plain, sizeof(plain) - 1);
    plain[n < 0 ? 0 : n] = '\0';
    char *first = strchr(plain, '|');
    char *second = first == NULL ? NULL : strchr(first + 1, '|');
    if (second == NULL)
        return err_set(e, -EINVAL, "not a cursor that a list gave");
    *first = *second = '\0';
    (void)snprintf(order, sizeof(order), "%s%s", f->is_descending ? "-" : "", f->sort->name);
    if (strcmp(plain, order) != 0)
        return err_set(e, -EINVAL, "the cursor belongs to another order");
    const bool is_good = f->sort->is_real ? parse_real(first + 1, &f->cursor_real)
                                          : parse_int(first + 1, &f->cursor_int);
    if (!is_good || !parse_int(second + 1, &f->cursor_id))
        return err_set(e, -EINVAL, "not a cursor that a list gave");
    f->has_cursor = true;
    return 0;
}

void filter_cursor_of(const struct filter *f, int64_t value, double real, int64_t id,
                      char ret_cursor[FILTER_CURSOR])
{
    char plain[90], text[40];

    if (f->sort->is_real)
        (void)snprintf(text, sizeof(text), "%a", real);
    else
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    const int n = snprintf(plain, sizeof(plain), "%s%s|%s|%lld", f->is_descending ? "-" : "",
                           f->sort->name, text, (long long)id);
    _Static_assert(BASE64_TEXT(sizeof(plain)) <= FILTER_CURSOR, "a cursor fits");
    (void)base64url_encode(plain, (size_t)n, ret_cursor);
}
