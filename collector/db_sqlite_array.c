#include "collector/db_sqlite_array.h"

#include <stdlib.h>

#include "common/buf.h"

#define POINTER_TYPE "wind-array"
#define SQL_MAX      ((size_t)256 * 1024)

/* ---------------------------------------------------------------- the parameter */

struct array {
    size_t n;
    struct db_value items[];
};

static struct db_value item_of(const struct db_value *v, size_t i)
{
    return v->type == DB_TYPE_INTS ? db_int(((const int64_t *)v->p)[i])
                                   : ((const struct db_value *)v->p)[i];
}

static bool has_bytes(const struct db_value *item)
{
    return item->type == DB_TYPE_TEXT || item->type == DB_TYPE_BLOB;
}

/* One block: the items, then their bytes. */
static struct array *array_copy(const struct db_value *v)
{
    size_t bytes = 0;

    for (size_t i = 0; i < v->len; i++) {
        const struct db_value item = item_of(v, i);
        bytes += has_bytes(&item) ? item.len : 0;
    }
    struct array *a = malloc(sizeof(*a) + v->len * sizeof(a->items[0]) + bytes);
    if (a == NULL)
        return NULL;
    char *at = (char *)&a->items[v->len];
    a->n = v->len;
    for (size_t i = 0; i < v->len; i++) {
        a->items[i] = item_of(v, i);
        if (!has_bytes(&a->items[i]))
            continue;
        memcpy(at, a->items[i].p, a->items[i].len);
        a->items[i].p = at;
        at += a->items[i].len;
    }
    return a;
}

int db_sqlite_array_bind(sqlite3_stmt *stmt, int at, const struct db_value *v)
{
    struct array *a = array_copy(v);

    return a == NULL ? SQLITE_NOMEM : sqlite3_bind_pointer(stmt, at, a, POINTER_TYPE, free);
}

/* ---------------------------------------------------------------- the table function */

/* Columns 0..DB_UNNEST-1 are c1, c2, ...; behind them as many hidden ones: the arguments. */

struct cursor {
    sqlite3_vtab_cursor base;
    struct array *arrays[DB_UNNEST];
    size_t row, rows;
};

static int open_table(sqlite3 *conn, void *aux, int argc, const char *const *argv,
                      sqlite3_vtab **ret_vtab, char **ret_error)
{
    char text[DB_UNNEST * 24];
    struct buf sql = BUF_FIXED(text);

    (void)aux, (void)argc, (void)argv, (void)ret_error;
    buf_puts(&sql, "CREATE TABLE x(c1");
    for (int i = 2; i <= DB_UNNEST; i++)
        buf_printf(&sql, ", c%d", i);
    for (int i = 1; i <= DB_UNNEST; i++)
        buf_printf(&sql, ", p%d HIDDEN", i);
    buf_putc(&sql, ')');
    const int rc = sqlite3_declare_vtab(conn, buf_text(&sql));
    if (rc != SQLITE_OK)
        return rc;
    *ret_vtab = sqlite3_malloc(sizeof(**ret_vtab));
    if (*ret_vtab == NULL)
        return SQLITE_NOMEM;
    memset(*ret_vtab, 0, sizeof(**ret_vtab));
    return SQLITE_OK;
}

static int close_table(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

/* The arguments, in their order, are what `start` gets; nothing else is asked of it. */
static int plan(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    int n = 0;

    (void)vtab;
    for (int i = 0; i < info->nConstraint; i++) {
        const int arg = info->aConstraint[i].iColumn - DB_UNNEST;
        if (arg < 0)
            continue;
        if (!info->aConstraint[i].usable || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            return SQLITE_CONSTRAINT;
        info->aConstraintUsage[i].argvIndex = arg + 1;
        info->aConstraintUsage[i].omit = 1;
        n++;
    }
    info->estimatedCost = 10;
    info->estimatedRows = 20;
    return n > 0 ? SQLITE_OK : SQLITE_CONSTRAINT;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **ret_cursor)
{
    struct cursor *c = sqlite3_malloc(sizeof(*c));

    (void)vtab;
    if (c == NULL)
        return SQLITE_NOMEM;
    memset(c, 0, sizeof(*c));
    *ret_cursor = &c->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int start(sqlite3_vtab_cursor *cursor, int plan_number, const char *plan_text, int argc,
                 sqlite3_value **argv)
{
    struct cursor *c = (struct cursor *)cursor;

    (void)plan_number, (void)plan_text;
    c->row = c->rows = 0;
    for (int i = 0; i < argc; i++) {
        c->arrays[i] = sqlite3_value_pointer(argv[i], POINTER_TYPE);
        if (c->arrays[i] != NULL && c->arrays[i]->n > c->rows)
            c->rows = c->arrays[i]->n;
    }
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *cursor)
{
    ((struct cursor *)cursor)->row++;
    return SQLITE_OK;
}

static int is_over(sqlite3_vtab_cursor *cursor)
{
    const struct cursor *c = (struct cursor *)cursor;

    return c->row >= c->rows;
}

static int read_column(sqlite3_vtab_cursor *cursor, sqlite3_context *out, int col)
{
    const struct cursor *c = (struct cursor *)cursor;
    const struct array *a = col < DB_UNNEST ? c->arrays[col] : NULL;

    if (a == NULL || c->row >= a->n)
        return SQLITE_OK; /* NULL */
    const struct db_value *v = &a->items[c->row];
    switch (v->type) {
    case DB_TYPE_INT:
        sqlite3_result_int64(out, v->i);
        break;
    case DB_TYPE_F64:
        sqlite3_result_double(out, v->f);
        break;
    case DB_TYPE_TEXT:
        sqlite3_result_text64(out, v->p, v->len, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case DB_TYPE_BLOB:
        sqlite3_result_blob64(out, v->p, v->len, SQLITE_STATIC);
        break;
    default:
        break;
    }
    return SQLITE_OK;
}

static int row_number(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret_number)
{
    *ret_number = (sqlite3_int64)((struct cursor *)cursor)->row;
    return SQLITE_OK;
}

int db_sqlite_array_init(sqlite3 *conn)
{
    /* without xCreate it is a function only: nobody makes a table of it */
    static const sqlite3_module module = {
        .xConnect = open_table,
        .xBestIndex = plan,
        .xDisconnect = close_table,
        .xOpen = open_cursor,
        .xClose = close_cursor,
        .xFilter = start,
        .xNext = next,
        .xEof = is_over,
        .xColumn = read_column,
        .xRowid = row_number,
    };
    return sqlite3_create_module_v2(conn, "unnest", &module, NULL, NULL);
}

/* ---------------------------------------------------------------- the words */

/* `*text` is at "unnest(ARGS) AS t(a, b)": a subquery that names c1, c2, ... so. */
static void put_unnest(struct buf *out, const char **text)
{
    const char *args = *text, *open = strchr(args, ')');
    const char *alias = open == NULL ? NULL : strstr(open, " AS ");
    const char *names = alias == NULL ? NULL : strchr(alias, '(');
    const char *end = names == NULL ? NULL : strchr(names, ')');

    if (end == NULL || alias != open + 1) { /* not of ours: SQLite will say so */
        buf_puts(out, "unnest");
        *text += 6;
        return;
    }
    buf_puts(out, "(SELECT ");
    const char *name = names + 1;
    for (int i = 1; name < end; i++) {
        const size_t n = strcspn(name, ",)");
        buf_printf(out, "%sc%d AS %.*s", i == 1 ? "" : ", ", i, (int)n, name);
        name += n + 1;
    }
    buf_printf(out, " FROM %.*s)%.*s", (int)(open + 1 - args), args, (int)(names - alias), alias);
    *text = end + 1;
}

char *db_sqlite_array_sql(const char *sql)
{
    struct buf out;

    if (strstr(sql, "ANY($") == NULL && strstr(sql, "unnest($") == NULL)
        return NULL;
    buf_init(&out, SQL_MAX);
    while (*sql != '\0') {
        if (strncmp(sql, "unnest($", 8) == 0) {
            put_unnest(&out, &sql);
        } else if (strncmp(sql, "= ANY($", 7) == 0) {
            const size_t n = strcspn(sql + 6, ")");
            buf_printf(&out, "IN (SELECT c1 FROM unnest(%.*s)", (int)n, sql + 6);
            sql += 6 + n; /* its ) closes the subquery */
        } else {
            buf_putc(&out, *sql++);
        }
    }
    char *text = out.failed ? NULL : strdup(buf_text(&out));
    buf_done(&out);
    return text;
}
