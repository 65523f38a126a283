#include "collector/filter_words.h"

#include <stdio.h>
#include <string.h>

#define TERM_MAX 256

/* The token that may go on: the last one. */
static const char *last_token(const char *tokens)
{
    const char *space = strrchr(tokens, ' ');

    return space != NULL ? space + 1 : tokens;
}

/* A thousand numbers begin with one digit, and parts of addresses are most of all words. */
static bool is_short_number(const char *token)
{
    const size_t len = strlen(token);

    return len <= 3 && strspn(token, "0123456789") == len;
}

/* The first of the index that is not before `from`. 1: there is one, which begins with `token`. */
static int next_term(const struct filter *f, struct db_tx *tx, const char *token, const char *from,
                     char ret_term[TERM_MAX], struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    char sql[128];

    (void)snprintf(sql, sizeof(sql), "SELECT term FROM %s_terms WHERE term >= $1 LIMIT 1",
                   f->table->text);
    const int r = db_query_row(tx, sql, DB_ARGS(db_str(from)), &s, e);
    if (r != DB_ROW)
        return r;
    const char *term = db_text(s, 0);
    if (term == NULL || strncmp(term, token, strlen(token)) != 0)
        return 0;
    (void)snprintf(ret_term, TERM_MAX, "%s", term);
    return 1;
}

/* ("evil c2 com" OR "evil c2 community"). 0: too many begin so. */
static int put_grown(const struct filter *f, struct db_tx *tx, const char *tokens, struct buf *out,
                     struct err *e)
{
    const char *last = last_token(tokens);
    char from[TERM_MAX + 1], term[TERM_MAX];
    int r, n = 0;

    if (is_short_number(last) || strlen(last) >= TERM_MAX)
        return 0;
    (void)snprintf(from, sizeof(from), "%s", last);
    buf_putc(out, '(');
    while ((r = next_term(f, tx, last, from, term, e)) == 1 && n < FILTER_WORDS_MAX) {
        buf_printf(out, "%s\"%.*s%s\"", n++ > 0 ? " OR " : "", (int)(last - tokens), tokens, term);
        (void)snprintf(from, sizeof(from), "%s\1", term); /* no token has a letter before that */
    }
    if (r != 0)
        return r < 0 ? r : 0;
    if (n == 0)
        buf_printf(out, "\"%s\"", tokens); /* nothing has it */
    buf_putc(out, ')');
    return 1;
}

int filter_words_look(const struct filter *f, struct db_tx *tx, struct filter_words *ret_words,
                      struct err *e)
{
    struct buf *out = &ret_words->match;

    for (size_t i = 0; i < f->n_terms; i++) {
        const struct filter_term *t = &f->terms[i];
        const char *tokens = t->key == NULL ? f->values[t->first].text : NULL;
        const size_t before = out->len;
        ret_words->is_open[i] = false;
        if (tokens == NULL || t->is_negated)
            continue;
        if (before > 0)
            buf_puts(out, " AND ");
        int r = 1;
        if (t->is_prefix)
            r = put_grown(f, tx, tokens, out, e);
        else
            buf_printf(out, "\"%s\"", tokens);
        if (r < 0)
            return r;
        ret_words->is_open[i] = r == 0 || out->failed;
        if (ret_words->is_open[i]) {
            out->failed = false;
            out->len = before;
        }
    }
    return 0;
}
