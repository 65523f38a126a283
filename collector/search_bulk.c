#include "collector/search_bulk.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

/* What came back for one document: 0 taken, 1 refused for good, -EAGAIN. */
static int item_outcome(const json_t *item)
{
    const json_t *of = json_object_iter_value(json_object_iter((json_t *)(uintptr_t)item));
    const json_int_t status = json_integer_value(json_object_get(of, "status"));
    const char *type = json_string_value(json_object_get(json_object_get(of, "error"), "type"));

    if (status >= 200 && status < 300)
        return 0;
    if (status == 409) /* a newer one is there */
        return 0;
    if (status == 429 || status >= 500 || status < 200 ||
        (type != NULL && strcmp(type, "cluster_block_exception") == 0))
        return -EAGAIN;
    return 1;
}

static const char *item_reason(const json_t *item)
{
    const json_t *of = json_object_iter_value(json_object_iter((json_t *)(uintptr_t)item));
    const char *reason = json_string_value(json_object_get(json_object_get(of, "error"), "reason"));

    return reason != NULL ? reason : "no reason given";
}

static int read_items(const struct search_bulk *b, const json_t *answer, uint64_t *ret_refused,
                      struct err *e)
{
    const json_t *items = json_object_get(answer, "items"), *item;
    const char *why = NULL;
    size_t i;

    if (json_array_size(items) != b->n)
        return err_set(e, -EAGAIN, "search server: it answered %zu documents of %zu",
                       json_array_size(items), b->n);
    json_array_foreach((json_t *)(uintptr_t)items, i, item)
    {
        const int outcome = item_outcome(item);
        if (outcome < 0)
            return err_set(e, -EAGAIN, "search server: it takes no documents now: %.150s",
                           item_reason(item));
        if (outcome > 0 && why == NULL)
            why = item_reason(item);
        *ret_refused += (uint64_t)outcome;
    }
    if (why != NULL)
        log_warn("search: the server refused %llu of %zu documents for good, skipping them; the "
                 "first: %.200s",
                 (unsigned long long)*ret_refused, b->n, why);
    return 0;
}

int search_bulk_send(struct search_http *h, const struct search_bulk *b, uint64_t *ret_refused,
                     struct err *e)
{
    const struct search_call call = {
        .method = "POST",
        .path = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason",
        .body = b->body.data,
        .len = b->body.len,
        .is_lines = true};
    json_auto_t *answer = NULL;

    *ret_refused = 0;
    if (b->n == 0)
        return 0;
    const int status = search_http_call(h, &call, &answer, e);
    if (status < 0)
        return status;
    if (status == 413) {
        (void)search_http_refused(h, "documents", status, answer, e);
        return -EFBIG;
    }
    return status == 200 ? read_items(b, answer, ret_refused, e)
                         : search_http_refused(h, "documents", status, answer, e);
}
