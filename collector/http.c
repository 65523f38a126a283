#include "collector/http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/http_server.h"
#include "common/utf8.h"

/* ---------------------------------------------------------------- requests */

static const struct path_param *find_param(const struct request *rq, const char *name)
{
    for (size_t i = 0; i < rq->n_params; i++)
        if (rq->params[i].name_len == strlen(name) &&
            memcmp(rq->params[i].name, name, rq->params[i].name_len) == 0)
            return &rq->params[i];
    abort(); /* the handler names a parameter that its pattern hasn't */
}

int64_t request_id(const struct request *rq, const char *name)
{
    return find_param(rq, name)->id;
}

int64_t request_query_int(const struct request *rq, const char *name, int64_t absent)
{
    const char *s = request_query(rq, name);
    return s != NULL ? strtoll(s, NULL, 10) : absent;
}

const char *body_text(const struct request *rq, const char *field, const char *absent)
{
    const char *s = json_string_value(json_object_get(rq->body, field));
    return s != NULL ? s : absent;
}

bool body_has(const struct request *rq, const char *field)
{
    return json_object_get(rq->body, field) != NULL;
}

void request_fault(struct request *rq, const char *where, const char *field, const char *fmt, ...)
{
    char msg[200];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    schema_fault(rq->errors, where, field, "%s", msg);
}

/* ---------------------------------------------------------------- responses */

void response_done(struct response *rs)
{
    if (!rs->is_static)
        free(rs->bytes);
    *rs = (struct response){.status = 0};
}

static int fill(struct response *rs, int status, const char *type, char *takes, size_t n)
{
    if (!rs->is_static)
        free(rs->bytes);
    rs->is_static = false;
    rs->status = status;
    rs->type = type;
    rs->bytes = takes;
    rs->n = n;
    return 0;
}

/* For the case that there is no memory to say anything else with. */
static int out_of_memory(struct response *rs)
{
    static char text[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"code\":\"out_of_memory\",\"detail\":\"out of memory\"}";
    (void)fill(rs, 503, "application/problem+json", text, sizeof(text) - 1);
    rs->is_static = true;
    return 0;
}

static int respond_typed(struct response *rs, int status, const char *type, json_t *takes)
{
    char *text = takes != NULL ? json_dumps(takes, JSON_COMPACT) : NULL;

    json_decref(takes);
    return text != NULL ? fill(rs, status, type, text, strlen(text)) : out_of_memory(rs);
}

int respond_json(struct response *rs, int status, json_t *takes)
{
    return respond_typed(rs, status, "application/json", takes);
}

int respond_buf(struct response *rs, int status, struct buf *takes)
{
    if (takes->failed) {
        buf_done(takes);
        return out_of_memory(rs);
    }
    const int r = fill(rs, status, "application/json", takes->data, takes->len);
    *takes = (struct buf){.max = takes->max};
    return r;
}

int respond_empty(struct response *rs, int status)
{
    return fill(rs, status, NULL, NULL, 0);
}

int respond_bytes(struct response *rs, int status, const char *type, const void *p, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL)
        return out_of_memory(rs);
    memcpy(copy, p, n);
    return fill(rs, status, type, copy, n);
}

static const char *title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < WIND_ARRAY_SIZE(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

static int respond_fault(struct response *rs, int status, const char *code, const char *detail,
                         json_t *takes_errors)
{
    json_t *o = json_pack("{s:s,s:s,s:i,s:s,s:s}", "type", "about:blank", "title", title(status),
                          "status", status, "code", code, "detail", detail);
    if (takes_errors != NULL)
        json_object_set_new(o, "errors", takes_errors);
    return respond_typed(rs, status, "application/problem+json", o);
}

int respond_problem(struct response *rs, int status, const char *code, const char *fmt, ...)
{
    char detail[300];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    utf8_cut(detail);
    return respond_fault(rs, status, code, detail, NULL);
}

int respond_invalid(struct request *rq, struct response *rs)
{
    json_t *first = json_array_get(rq->errors, 0), *loc = json_object_get(first, "loc");
    json_t *name = json_array_get(loc, json_array_size(loc) - 1);
    char detail[300];

    (void)snprintf(detail, sizeof(detail), "%s%s%s",
                   json_is_string(name) ? json_string_value(name) : "", name != NULL ? " " : "",
                   first != NULL ? json_string_value(json_object_get(first, "msg")) : "invalid");
    utf8_cut(detail);
    return respond_fault(rs, 422, "validation_failed", detail, json_incref(rq->errors));
}

int respond_list(struct response *rs, json_t *takes, const char *next_cursor)
{
    return respond_json(rs, 200,
                        json_pack("{s:o,s:s?}", "data", takes, "next_cursor", next_cursor));
}

void respond_header(struct response *rs, const char *name, const char *fmt, ...)
{
    if (rs->n_headers >= RESPONSE_HEADERS_MAX)
        return;
    struct response_header *h = &rs->headers[rs->n_headers++];
    va_list ap;

    h->name = name;
    va_start(ap, fmt);
    (void)vsnprintf(h->value, sizeof(h->value), fmt, ap);
    va_end(ap);
}

static void etag_text(char text[48], int64_t id, int64_t version)
{
    (void)snprintf(text, 48, "\"%" PRId64 "-%" PRId64 "\"", id, version);
}

void respond_etag(struct response *rs, int64_t id, int64_t version)
{
    char tag[48];

    etag_text(tag, id, version);
    respond_header(rs, "ETag", "%s", tag);
}

bool request_if_match(struct request *rq, struct response *rs, int64_t id, int64_t version)
{
    const char *wanted = request_header(rq, "If-Match");
    char tag[48];

    etag_text(tag, id, version);
    if (wanted == NULL || strcmp(wanted, "*") == 0 || strstr(wanted, tag) != NULL)
        return true;
    (void)respond_problem(rs, 412, "version_mismatch",
                          "it was changed since you read it; read it again");
    respond_header(rs, "ETag", "%s", tag);
    return false;
}
