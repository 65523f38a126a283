#include "collector/windctl/screen.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "collector/windctl/cell.h"
#include "collector/windctl/text.h"

#define COLUMNS_MAX   24
#define BOLD          "1"
#define LAST_AT_LEAST 40 /* the last column is not cut below this: it says what happened */

static const struct {
    const char *word, *code;
} colours[] = {
    {"critical", "1;31"}, {"high", "31"}, {"medium", "33"}, {"low", "36"},     {"ok", "32"},
    {"warn", "33"},       {"fail", "31"}, {"online", "32"}, {"offline", "31"}, {"late", "33"},
    {"new", BOLD},        {"open", BOLD}, {"skip", "2"},    {"closed", "2"},   {"resolved", "2"},
};

static size_t terminal_width(FILE *out)
{
    struct winsize size = {0};

    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void screen_init(struct screen *s, FILE *out, enum screen_format format)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

    *s = (struct screen){.out = out, .format = format, .is_terminal = isatty(fileno(out)) == 1};
    s->has_colour = s->is_terminal && (no_colour == NULL || no_colour[0] == '\0') &&
                    (term == NULL || strcmp(term, "dumb") != 0);
    s->width = s->is_terminal ? terminal_width(out) : 0;
}

const json_t *screen_at(const json_t *object, const char *path)
{
    const json_t *v = object;

    while (v != NULL && path[0] != '\0') {
        const size_t n = strcspn(path, ".");
        v = json_object_getn(v, path, n);
        path += path[n] == '.' ? n + 1 : n;
    }
    return v;
}

int screen_flush(const struct screen *s, struct err *e)
{
    if (fflush(s->out) == 0 && ferror(s->out) == 0)
        return 0;
    return err_set(e, -EIO, "the output could not be written: %s", strerror(errno));
}

/* ---------------------------------------------------------------- words and colours */

static const char *colour_of(const char *word)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(colours); i++)
        if (strcmp(colours[i].word, word) == 0)
            return colours[i].code;
    return NULL;
}

static void put(const struct screen *s, const char *code, const char *text, size_t n)
{
    if (code != NULL && s->has_colour)
        (void)fprintf(s->out, "\033[%sm%.*s\033[0m", code, (int)n, text);
    else
        (void)fprintf(s->out, "%.*s", (int)n, text);
}

static void put_safe(const struct screen *s, const char *code, const char *text)
{
    struct buf safe;

    buf_init(&safe, SCREEN_CELL_MAX);
    text_safe(&safe, text, strlen(text));
    put(s, code, buf_text(&safe), safe.len);
    buf_done(&safe);
}

void screen_text(const struct screen *s, const char *text)
{
    put_safe(s, NULL, text);
}

void screen_word(const struct screen *s, const char *word)
{
    put_safe(s, colour_of(word), word);
}

void screen_head(const struct screen *s, const char *text)
{
    put_safe(s, BOLD, text);
}

/* ---------------------------------------------------------------- table */

static void shorten_time(struct buf *b)
{
    if (b->len < 20 || b->data[10] != 'T')
        return;
    b->data[10] = ' ';
    buf_truncate(b, 19);
}

/* The text of a cell, safe for a terminal, into `to` (emptied first). */
static void render(struct buf *to, const struct column *c, const json_t *row)
{
    struct buf raw;

    buf_init(&raw, SCREEN_CELL_MAX);
    cell_put(&raw, c, row);
    if (c->cell == CELL_TIME)
        shorten_time(&raw);
    buf_reset(to);
    text_safe(to, raw.data, raw.len);
    if (to->len == 0)
        buf_putc(to, '-');
    buf_done(&raw);
}

static size_t pick(const struct column *columns, unsigned in,
                   const struct column *ret_picked[COLUMNS_MAX])
{
    size_t n = 0;

    for (; columns->title != NULL && n < COLUMNS_MAX; columns++)
        if ((columns->in & in) != 0)
            ret_picked[n++] = columns;
    return n;
}

static void measure(const struct column *const *columns, size_t n, const json_t *rows,
                    size_t *ret_widths)
{
    struct buf cell;
    size_t k;
    const json_t *row;

    buf_init(&cell, 6 * SCREEN_CELL_MAX);
    for (size_t i = 0; i < n; i++)
        ret_widths[i] = strlen(columns[i]->title);
    json_array_foreach(rows, k, row) for (size_t i = 0; i < n; i++)
    {
        render(&cell, columns[i], row);
        const size_t width = text_width(buf_text(&cell), cell.len);
        ret_widths[i] = width > ret_widths[i] ? width : ret_widths[i];
    }
    buf_done(&cell);
}

static void put_padded(const struct screen *s, const struct column *c, const char *text, size_t n,
                       size_t width, bool is_last)
{
    const size_t used = text_width(text, n);
    const int pad = (int)(width > used ? width - used : 0);
    char word[32];

    (void)snprintf(word, sizeof(word), "%.*s", (int)n, text);
    if (c->cell == CELL_NUMBER)
        (void)fprintf(s->out, "%*s", pad, "");
    put(s, c->cell == CELL_WORD ? colour_of(word) : NULL, text, n);
    if (c->cell != CELL_NUMBER && !is_last)
        (void)fprintf(s->out, "%*s", pad, "");
    (void)fputs(is_last ? "\n" : "  ", s->out);
}

static void put_row(const struct screen *s, const struct column *const *columns, size_t n,
                    const size_t *widths, const json_t *row)
{
    struct buf cell;
    size_t at = 0;

    buf_init(&cell, 6 * SCREEN_CELL_MAX);
    for (size_t i = 0; i < n; i++) {
        render(&cell, columns[i], row);
        if (i + 1 == n && !s->has_reasons && s->width > at + LAST_AT_LEAST &&
            text_width(buf_text(&cell), cell.len) > s->width - at) {
            buf_truncate(&cell, text_fit(cell.data, cell.len, s->width - at - 1));
            buf_puts(&cell, "\xe2\x80\xa6"); /* an ellipsis */
        }
        put_padded(s, columns[i], cell.data, cell.len, widths[i], i + 1 == n);
        at += widths[i] + 2;
    }
    buf_done(&cell);
}

static void put_row_reasons(const struct screen *s, const json_t *row)
{
    size_t i;
    const json_t *v;

    json_array_foreach(screen_at(row, "metadata.explain"), i, v)
    {
        const char *text = json_string_value(json_object_get(v, "text"));
        (void)fputs("      because ", s->out);
        screen_text(s, text != NULL ? text : "-");
        (void)fputc('\n', s->out);
    }
}

static void put_table(const struct screen *s, const struct column *columns, const json_t *rows)
{
    const struct column *picked[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX], k;
    const json_t *row;
    const size_t n = pick(columns, IN_TABLE, picked);

    measure(picked, n, rows, widths);
    for (size_t i = 0; i < n; i++)
        put_padded(s, picked[i], picked[i]->title, strlen(picked[i]->title), widths[i], i + 1 == n);
    json_array_foreach(rows, k, row)
    {
        put_row(s, picked, n, widths, row);
        if (s->has_reasons)
            put_row_reasons(s, row);
    }
}

/* ---------------------------------------------------------------- CSV, JSON, one object */

static const char *csv_name(const struct column *c)
{
    const char *dot = strrchr(c->path, '.');

    if (c->csv != NULL)
        return c->csv;
    return dot != NULL ? dot + 1 : c->path;
}

static void put_csv_row(const struct screen *s, const struct column *const *columns, size_t n,
                        const json_t *row)
{
    struct buf raw, cell;

    buf_init(&raw, SCREEN_CELL_MAX);
    buf_init(&cell, 3 * SCREEN_CELL_MAX);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&raw);
        buf_reset(&cell);
        if (row != NULL)
            cell_put(&raw, columns[i], row);
        else
            buf_puts(&raw, csv_name(columns[i]));
        if (row != NULL && json_is_number(screen_at(row, columns[i]->path)))
            buf_put(&cell, raw.data, raw.len); /* a number is no formula: -1 stays -1 */
        else
            text_csv(&cell, raw.data, raw.len);
        (void)fprintf(s->out, "%s%s", buf_text(&cell), i + 1 == n ? "\n" : ",");
    }
    buf_done(&cell);
    buf_done(&raw);
}

static void put_csv(const struct screen *s, const struct column *columns, const json_t *rows)
{
    const struct column *picked[COLUMNS_MAX];
    const size_t n = pick(columns, IN_CSV, picked);
    size_t k;
    const json_t *row;

    put_csv_row(s, picked, n, NULL);
    json_array_foreach(rows, k, row) put_csv_row(s, picked, n, row);
}

static int put_json(const struct screen *s, const json_t *v, struct err *e)
{
    /* On a terminal only ASCII: JSON leaves C1 controls and direction marks as they are. */
    const size_t flags =
        JSON_INDENT(2) | JSON_ENCODE_ANY | (s->is_terminal ? JSON_ENSURE_ASCII : 0);

    if (json_dumpf(v, s->out, flags) != 0 || fputc('\n', s->out) == EOF)
        return err_set(e, -EIO, "the output could not be written: %s", strerror(errno));
    return screen_flush(s, e);
}

int screen_rows(const struct screen *s, const struct column *columns, const json_t *rows,
                struct err *e)
{
    if (s->format == SCREEN_JSON)
        return put_json(s, rows, e);
    if (s->format == SCREEN_CSV)
        put_csv(s, columns, rows);
    else
        put_table(s, columns, rows);
    return screen_flush(s, e);
}

static const char *lower(const char *title, char ret_label[16])
{
    size_t n = 0;

    for (; n < 15 && title[n] != '\0'; n++)
        ret_label[n] = (char)tolower((unsigned char)title[n]);
    ret_label[n] = '\0';
    return ret_label;
}

static void put_fields(const struct screen *s, const struct column *columns, const json_t *object)
{
    const struct column *picked[COLUMNS_MAX];
    const size_t n = pick(columns, IN_SHOW, picked);
    struct buf cell;
    char word[32], label[16];

    buf_init(&cell, 6 * SCREEN_CELL_MAX);
    for (size_t i = 0; i < n; i++) {
        render(&cell, picked[i], object);
        (void)snprintf(word, sizeof(word), "%.*s", (int)cell.len, cell.data);
        (void)fprintf(s->out, "  %-14s", lower(picked[i]->title, label));
        put(s, picked[i]->cell == CELL_WORD ? colour_of(word) : NULL, buf_text(&cell), cell.len);
        (void)fputc('\n', s->out);
    }
    buf_done(&cell);
}

int screen_object(const struct screen *s, const struct column *columns, const json_t *object,
                  struct err *e)
{
    const struct column *picked[COLUMNS_MAX];

    if (s->format == SCREEN_JSON)
        return put_json(s, object, e);
    if (s->format == SCREEN_CSV) {
        const size_t n = pick(columns, IN_CSV, picked);
        put_csv_row(s, picked, n, NULL);
        put_csv_row(s, picked, n, object);
    } else {
        put_fields(s, columns, object);
    }
    return screen_flush(s, e);
}
