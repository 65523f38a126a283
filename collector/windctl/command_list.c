/* windctl NOUN list, NOUN show ID: any list of the API, by its columns. */
#include <errno.h>
#include <string.h>

#include "collector/windctl/command.h"
#include "common/buf.h"

#define PAGE_MAX 200 /* rows the collector gives at once */

static int get_page(struct ctl *c, size_t have, const char *cursor, json_t **ret_page,
                    struct err *e)
{
    const size_t left = (size_t)c->options.limit - have;
    struct buf path;

    buf_init(&path, 8192);
    buf_printf(&path, "%s?limit=%zu", c->noun->path, left < PAGE_MAX ? left : PAGE_MAX);
    if (c->options.query != NULL) {
        buf_puts(&path, "&q=");
        client_escape(&path, c->options.query);
    }
    if (cursor != NULL) {
        buf_puts(&path, "&cursor=");
        client_escape(&path, cursor);
    }
    const char *text = buf_text(&path);
    int r = path.failed ? err_set(e, CLI_USAGE, "-q: the query is too long")
                        : client_get(c->client, text, ret_page, NULL, e);
    buf_done(&path);
    if (r == 0 && !json_is_array(json_object_get(*ret_page, "data"))) {
        json_decref(*ret_page);
        r = err_set(e, -EPROTO, "%s answered, but not as a collector does", client_url(c->client));
    }
    return r;
}

/* Up to options.limit rows; *ret_more: there are others. */
static int get_rows(struct ctl *c, json_t *rows, bool *ret_more, struct err *e)
{
    json_t *page = NULL, *last;
    const char *cursor = NULL;
    int r;

    do {
        last = page;
        r = get_page(c, json_array_size(rows), cursor, &page, e);
        json_decref(last); /* only now: the cursor was in it */
        if (r < 0)
            return r;
        if (json_array_extend(rows, json_object_get(page, "data")) != 0)
            r = err_set(e, -ENOMEM, "out of memory");
        cursor = json_string_value(json_object_get(page, "next_cursor"));
    } while (r == 0 && cursor != NULL && json_array_size(rows) < (size_t)c->options.limit);
    *ret_more = cursor != NULL;
    json_decref(page);
    return r;
}

int command_list(struct ctl *c, struct err *e)
{
    json_t *rows = json_array();
    bool has_more = false;

    int r = rows != NULL ? get_rows(c, rows, &has_more, e) : err_set(e, -ENOMEM, "out of memory");
    if (r == 0 && json_array_size(rows) == 0 && c->screen.format == SCREEN_TABLE)
        (void)fprintf(stderr, "no %ss%s\n", c->noun->one,
                      c->options.query != NULL ? " that the query finds" : " yet");
    else if (r == 0)
        r = screen_rows(&c->screen, c->noun->columns, rows, e);
    if (r == 0 && has_more && c->screen.format == SCREEN_TABLE)
        (void)fprintf(stderr, "these are %zu; --limit N shows more\n", json_array_size(rows));
    json_decref(rows);
    return r;
}

int command_show(struct ctl *c, struct err *e)
{
    char path[128];
    json_t *object = NULL;
    const size_t digits = strspn(c->arg, "0123456789");

    if (digits == 0 || digits > 18 || c->arg[digits] != '\0')
        return err_set(e, CLI_USAGE,
                       "'%s' is not the number of an %s; windctl %s list shows "
                       "them",
                       c->arg, c->noun->one, c->noun->name);
    (void)snprintf(path, sizeof(path), "%s%s", c->noun->path, c->arg);
    int r = client_get(c->client, path, &object, NULL, e);
    if (r == -ENOENT)
        return err_set(e, r, "there is no %s %s", c->noun->one, c->arg);
    if (r < 0)
        return r;
    if (c->screen.format == SCREEN_TABLE)
        r = c->noun->page(c, object, e);
    else
        r = screen_object(&c->screen, c->noun->columns, object, e);
    json_decref(object);
    return r;
}
