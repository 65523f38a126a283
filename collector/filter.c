#include "collector/filter.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "collector/filter_keys.h"
#include "collector/schema.h"
#include "collector/store.h"
#include "common/buf.h"
#include "common/crypto.h"
#include "common/ip.h"
#include "common/time.h"

#define WHERE_MAX  ((size_t)64 * 1024)
#define VALUE_MAX  256
#define LIMIT_DFLT 50
#define TEXTS_MAX  40000 /* all values of a search; beyond: too long */

struct filter {
    const struct filter_keys *table;
    struct buf where;
    struct db_value args[FILTER_ARGS];
    size_t n_args;
    char text[TEXTS_MAX]; /* args point into it */
    size_t text_len;
    size_t n_terms;
    const struct filter_order *sort;
    bool is_descending;
    int64_t limit;
};

/* What one term says, after unquoting. */
struct term {
    bool is_negated, has_key, is_quoted;
    char key[16];
    char value[VALUE_MAX];
};

int filter_new(struct filter **ret_filter, enum filter_table t, struct err *e)
{
    struct filter *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    f->table = &filter_keys[t];
    f->sort = &f->table->sorts[0];
    f->is_descending = true;
    f->limit = LIMIT_DFLT;
    buf_init(&f->where, WHERE_MAX);
    *ret_filter = f;
    return 0;
}

struct filter *filter_free(struct filter *f)
{
    if (f != NULL)
        buf_done(&f->where);
    free(f);
    return NULL;
}

void filter_limit(struct filter *f, int64_t rows)
{
    f->limit = rows < 1 ? 1 : rows > FILTER_PAGE_MAX ? FILTER_PAGE_MAX : rows;
}

/* ---------------------------------------------------------------- parameters and SQL */

/* Copies texts and bytes; false when there are too many. */
static bool add_arg(struct filter *f, struct db_value v)
{
    if (f->n_args == FILTER_ARGS)
        return false;
    if (v.type == DB_TYPE_TEXT || v.type == DB_TYPE_BLOB) {
        if (v.len > sizeof(f->text) - f->text_len)
            return false;
        memcpy(f->text + f->text_len, v.p, v.len);
        v.p = f->text + f->text_len;
        f->text_len += v.len;
    }
    f->args[f->n_args++] = v;
    return true;
}

/* A template with `?` numbered from the parameter that comes next, and `#` replaced. */
static void put_sql(struct filter *f, const char *sql, const char *op)
{
    size_t next = f->n_args + 1;

    for (const char *p = sql; *p != '\0'; p++) {
        if (*p == '?')
            buf_printf(&f->where, "$%zu", next++);
        else if (*p == '#')
            buf_puts(&f->where, op);
        else
            buf_putc(&f->where, *p);
    }
}

static int too_many(struct err *e)
{
    return err_set(e, -EINVAL, "too long: at most %d terms and %d values", FILTER_TERMS,
                   FILTER_ARGS);
}

/* ---------------------------------------------------------------- values */

static const char *take_op(const char **value)
{
    static const char *const ops[] = {">=", "<=", ">", "<", "="};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(ops); i++) {
        const size_t len = strlen(ops[i]);
        if (strncmp(*value, ops[i], len) == 0) {
            *value += len;
            return ops[i];
        }
    }
    return "=";
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
        [FILTER_SEVERITY] = "not low, medium, high or critical",
        [FILTER_INT] = "not a whole number",
        [FILTER_REAL] = "not a number",
        [FILTER_TIME] = "not a time like 2026-01-31 or 2026-01-31T12:00:00Z",
        [FILTER_UID] = "not a UUID",
        [FILTER_NET] = "not an address or a network",
    };
    return err_set(e, -EINVAL, "%s: '%s' is %s", k->name, value, wants[k->kind]);
}

/* First and last address of a network, as two parameters. */
static bool add_net(struct filter *f, const struct cidr *net)
{
    uint8_t last[16];

    for (unsigned i = 0; i < 16; i++) {
        const unsigned from = i * 8; /* first bit of this byte */
        const unsigned fixed = net->bits <= from ? 0 : net->bits - from;
        last[i] = (uint8_t)(net->net[i] | (fixed >= 8 ? 0 : 0xff >> fixed));
    }
    return add_arg(f, db_bytes(net->net, 16)) && add_arg(f, db_bytes(last, 16));
}

/* The parameter of one value; -E2BIG when there is no room. */
static int add_value(struct filter *f, const struct filter_key *k, const char *value)
{
    struct cidr net;
    uint8_t uid[16];
    int64_t i = 0;
    double real = 0;
    bool ok = false, fits = true;

    switch (k->kind) {
    case FILTER_WORD:
        ok = store_word(k->words, value) >= 0;
        fits = !ok || add_arg(f, db_str(value));
        break;
    case FILTER_TEXT:
        ok = true;
        fits = add_arg(f, db_str(value));
        break;
    case FILTER_SEVERITY:
        i = store_severity(value);
        ok = i > 0;
        fits = !ok || add_arg(f, db_int(i));
        break;
    case FILTER_INT:
        ok = parse_int(value, &i);
        fits = !ok || add_arg(f, db_int(i));
        break;
    case FILTER_REAL:
        ok = parse_real(value, &real);
        fits = !ok || add_arg(f, db_f64(real));
        break;
    case FILTER_TIME:
        ok = parse_time(value, &i) == 0;
        fits = !ok || add_arg(f, db_int(i));
        break;
    case FILTER_UID:
        ok = uuid_parse(value, uid) == 0;
        fits = !ok || add_arg(f, db_bytes(uid, 16));
        break;
    case FILTER_NET:
        ok = cidr_parse(value, &net, NULL) == 0;
        fits = !ok || add_net(f, &net);
        break;
    default:
        break;
    }
    return !ok ? -EINVAL : fits ? 0 : -E2BIG;
}

static int put_value(struct filter *f, const struct filter_key *k, const char *value, struct err *e)
{
    const char *bare = value;
    const char *op = "=";

    if (k->none != NULL && strcmp(value, "none") == 0) {
        buf_puts(&f->where, k->none);
        return 0;
    }
    if (strchr(k->sql, '#') != NULL)
        op = take_op(&bare);
    put_sql(f, k->sql, op);
    const int r = add_value(f, k, bare);
    if (r == 0)
        return 0;
    return r == -EINVAL ? bad_value(k, bare, e) : too_many(e);
}

/* value,value,... joined by OR; a quoted value has no commas of that meaning. */
static int put_values(struct filter *f, const struct filter_key *k, struct term *t, struct err *e)
{
    char *rest = t->value;

    for (bool is_first = true; rest != NULL; is_first = false) {
        char *value = rest;
        rest = t->is_quoted ? NULL : strchr(value, ',');
        if (rest != NULL)
            *rest++ = '\0';
        if (!is_first)
            buf_puts(&f->where, " OR ");
        const int r = put_value(f, k, value, e);
        if (r != 0)
            return r;
    }
    return 0;
}

/* A word anywhere in the texts: %word%, in lower case, with LIKE's own signs escaped. */
static int put_word(struct filter *f, const char *word, struct err *e)
{
    char pattern[2 * VALUE_MAX + 3];
    size_t n = 0;

    pattern[n++] = '%';
    for (const char *p = word; *p != '\0'; p++) {
        if (*p == '%' || *p == '_' || *p == '\\')
            pattern[n++] = '\\';
        pattern[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    }
    pattern[n++] = '%';
    pattern[n] = '\0';
    put_sql(f, f->table->words, "=");
    for (const char *p = f->table->words; (p = strchr(p, '?')) != NULL; p++)
        if (!add_arg(f, db_str(pattern)))
            return too_many(e);
    return 0;
}

static int put_bare(struct filter *f, const struct term *t, struct err *e)
{
    struct cidr net;

    if (t->is_quoted || strpbrk(t->value, ".:") == NULL || cidr_parse(t->value, &net, NULL) != 0)
        return put_word(f, t->value, e);
    put_sql(f, f->table->host, "=");
    return add_net(f, &net) ? 0 : too_many(e);
}

/* ---------------------------------------------------------------- terms */

static int unknown_key(const struct filter *f, const char *key, struct err *e)
{
    char names[160] = "";
    struct buf b = BUF_FIXED(names);

    for (const struct filter_key *k = f->table->keys; k->name != NULL; k++)
        buf_printf(&b, "%s%s", k == f->table->keys ? "" : " ", k->name);
    return err_set(e, -EINVAL, "unknown key '%s'; known: %s sort", key, buf_text(&b));
}

static int put_term(struct filter *f, struct term *t, struct err *e)
{
    const struct filter_key *k = f->table->keys;

    if (t->has_key && strcmp(t->key, "sort") == 0)
        return filter_sort(f, t->value, e);
    if (f->n_terms++ == FILTER_TERMS)
        return too_many(e);
    while (t->has_key && k->name != NULL && strcmp(k->name, t->key) != 0)
        k++;
    if (k->name == NULL)
        return unknown_key(f, t->key, e);

    /* NOT of an unset value is true here: "-verdict:duplicate" also finds those without one. */
    buf_puts(&f->where, t->is_negated ? " AND NOT coalesce((" : " AND (");
    const int r = t->has_key ? put_values(f, k, t, e) : put_bare(f, t, e);
    buf_puts(&f->where, t->is_negated ? "), FALSE)" : ")");
    if (r == 0 && f->where.failed)
        return too_many(e);
    return r;
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

    while (n < sizeof(((struct term *)0)->key) - 1 && (p[n] == '_' || (p[n] >= 'a' && p[n] <= 'z')))
        n++;
    if (n == 0 || p[n] != ':')
        return 0;
    while (p[len] != '\0' && !is_space(p[len]) && len < sizeof(word) - 1)
        len++;
    memcpy(word, p, len);
    word[len] = '\0';
    return cidr_parse(word, &net, NULL) == 0 ? 0 : n;
}

static int parse_value(const char **text, struct term *t, struct err *e)
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

static int parse_term(const char **text, struct term *t, struct err *e)
{
    const char *p = *text;

    *t = (struct term){.is_negated = *p == '-'};
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

int filter_search(struct filter *f, const char *text, struct err *e)
{
    struct term t;

    if (text == NULL)
        return 0;
    if (strlen(text) > FILTER_TEXT_MAX)
        return err_set(e, -EINVAL, "longer than %d bytes", FILTER_TEXT_MAX);
    for (;;) {
        while (is_space(*text))
            text++;
        if (*text == '\0')
            return 0;
        int r = parse_term(&text, &t, e);
        if (r == 0)
            r = put_term(f, &t, e);
        if (r != 0)
            return r;
    }
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
            return 0;
        }
    }
    return err_set(e, -EINVAL, "cannot sort by '%.40s'", name);
}

/* "-score|0x1.8p-1|55": order, the last row's value and id. */
int filter_cursor(struct filter *f, const char *text, struct err *e)
{
    char plain[FILTER_CURSOR], order[24];
    int64_t id = 0, value = 0;
    double real = 0;

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
    const bool is_good =
        f->sort->is_real ? parse_real(first + 1, &real) : parse_int(first + 1, &value);
    if (!is_good || !parse_int(second + 1, &id))
        return err_set(e, -EINVAL, "not a cursor that a list gave");

    buf_printf(&f->where, " AND (%s, %s) %s ($%zu, $%zu)", f->sort->sql, f->table->id,
               f->is_descending ? "<" : ">", f->n_args + 1, f->n_args + 2);
    if (!add_arg(f, f->sort->is_real ? db_f64(real) : db_int(value)) || !add_arg(f, db_int(id)))
        return too_many(e);
    return 0;
}

static void cursor_of_row(const struct filter *f, struct db_stmt *s, int column,
                          char ret_cursor[FILTER_CURSOR])
{
    char plain[90], value[40];

    if (f->sort->is_real)
        (void)snprintf(value, sizeof(value), "%a", db_real(s, column));
    else
        (void)snprintf(value, sizeof(value), "%lld", (long long)db_i64(s, column));
    const int n = snprintf(plain, sizeof(plain), "%s%s|%s|%lld", f->is_descending ? "-" : "",
                           f->sort->name, value, (long long)db_i64(s, column + 1));
    _Static_assert(BASE64_TEXT(sizeof(plain)) <= FILTER_CURSOR, "a cursor fits");
    (void)base64url_encode(plain, (size_t)n, ret_cursor);
}

int filter_page(struct filter *f, struct db_tx *tx, const struct filter_rows *rows, struct jsonw *j,
                char ret_cursor[FILTER_CURSOR], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    struct buf sql;

    buf_init(&sql, WHERE_MAX + 4096);
    const char *way = f->is_descending ? "DESC" : "ASC";
    buf_printf(&sql, "SELECT %s, %s, %s FROM %s WHERE 1 = 1%s ORDER BY %s %s, %s %s LIMIT %lld",
               rows->columns, f->sort->sql, f->table->id, f->table->from, buf_text(&f->where),
               f->sort->sql, way, f->table->id, way, (long long)f->limit + 1);
    int r = sql.failed || f->where.failed ? err_set(e, -ENOMEM, "out of memory")
                                          : db_query(tx, buf_text(&sql), f->args, f->n_args, &s, e);
    buf_done(&sql);
    if (r != 0)
        return r;

    int64_t n = 0;
    char last[FILTER_CURSOR] = "";
    ret_cursor[0] = '\0';
    while ((r = db_step(s, e)) == DB_ROW) {
        if (n++ == f->limit) {
            memcpy(ret_cursor, last, sizeof(last));
            return 0;
        }
        if (n == f->limit)
            cursor_of_row(f, s, rows->n_columns, last);
        r = rows->row(tx, s, j, rows->arg, e);
        if (r != 0)
            return r;
    }
    return r;
}
