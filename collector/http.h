/*
 * http.h - what a handler of the API sees: one request in, one response out.
 *
 * Why      Handlers know nothing of sockets, tokens or libmicrohttpd. The router has matched the
 *          path, proved the permission, parsed the body and checked body and query against the
 *          route's tables before it calls them.
 * Owns     request and response belong to the router; everything in a request is borrowed
 *          until the handler returns.
 * Threads  One request is handled by one server thread. Handlers run in several at once.
 * Bounds   Body: route->body_max. Path parameters: HTTP_PARAMS_MAX. JSON depth: HTTP_JSON_DEPTH.
 */
#pragma once

#include <jansson.h>

#include "collector/auth.h"
#include "collector/schema.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/json_span.h"

#define HTTP_SPANS      4
#define HTTP_PARAMS_MAX 2
#define HTTP_BODY_MAX   ((size_t)64 * 1024)
#define HTTP_JSON_DEPTH 32

struct collector; /* collector.h */
struct db;        /* db.h */
struct request;
struct response;

/*
 * Returns 0 when the response is filled (also with a problem), or < 0 with a sentence in
 * rq->err: logged, and answered 500; -EBUSY and -EAGAIN: 503 with Retry-After.
 */
typedef int http_handler(struct request *rq, struct response *rs);

/*
 * Several requests of one route that share a transaction (ROUTE_GROUPED): answers those that it can
 * answer together, and sets is_done of these. The others are handled one by one.
 */
struct http_asked {
    struct request *rq;
    struct response *rs;
    bool is_done;
};
typedef void http_group_handler(struct http_asked *asked, size_t n);

enum route_flag {
    ROUTE_FORM = 1,      /* the body is application/x-www-form-urlencoded, not JSON */
    ROUTE_NO_REPLAY = 2, /* never keep the answer for Idempotency-Key: it holds a secret */
    ROUTE_LOGIN = 4,     /* counts against the login limit of user and address */
    ROUTE_HIDDEN = 8,    /* not in openapi.json */
    ROUTE_IF_MATCH = 16, /* its handler asks request_if_match */
    ROUTE_GROUPED = 32,  /* may share a commit with others: nothing but the database changes */
    ROUTE_INDEX = 64,    /* api_list: asks the text index whatever the search is */
};

struct api_object;

struct route {
    const char *method;  /* "GET"; HEAD is answered from GET */
    const char *pattern; /* "/api/alerts/{id}": a positive int64; "{name:text}": text */
    enum permission need;
    http_handler *handler;
    http_group_handler *group;       /* NULL: none */
    const struct api_object *object; /* that the handlers of api_common.h work on */
    const char *summary;
    const struct schema *body; /* checked; NULL: no body is expected */
    /*
     * Reads a large body where it stands, into rq->spans, instead of making rq->body of it. False:
     * something is wrong with it, and the usual way says what. NULL: always the usual way.
     */
    bool (*read_body)(struct request *rq, const char *text, size_t len);
    const struct schema *reply; /* of the 2xx answer, for the document */
    const struct field *query;  /* checked; others are ignored; ends with a NULL name */
    unsigned flags;             /* of enum route_flag */
    size_t body_max;            /* 0 = HTTP_BODY_MAX */
    int status;                 /* of success, for the document; 0 = 200 */
    bool list;                  /* the reply is {"data": [reply...], "next_cursor": text|null} */
};

struct path_param {
    const char *name;
    size_t name_len;
    int64_t id;
    char text[128];
};

struct request {
    const struct route *route;
    const char *method, *path; /* path as sent, without query */
    struct path_param params[HTTP_PARAMS_MAX];
    size_t n_params;
    json_t *body; /* JSON, or for ROUTE_FORM an object of texts; NULL without one */
    struct json_span spans[HTTP_SPANS]; /* of route->read_body, when body is NULL */
    struct principal principal;
    char client_ip[46];
    struct collector *app;
    struct db *db;
    struct err err;
    json_t *errors;   /* faults found so far; see request_fault */
    void *connection; /* private to the server */
};

/* The pattern's {name}; naming one that is not in the pattern is a bug and aborts. */
int64_t request_id(const struct request *rq, const char *name);

/* NULL when absent. Query values that are in route->query have been checked. */
const char *request_query(const struct request *rq, const char *name);
int64_t request_query_int(const struct request *rq, const char *name, int64_t absent);
const char *request_header(const struct request *rq, const char *name);

/* Body fields, already checked by the schema; `absent` when missing or null. */
const char *body_text(const struct request *rq, const char *field, const char *absent);
bool body_has(const struct request *rq, const char *field); /* also true for null */

/* Faults that a table cannot say. After them: return respond_invalid(rq, rs). */
void request_fault(struct request *rq, const char *where, const char *field, const char *fmt, ...)
    WIND_PRINTF(4, 5);

/* All of these return 0, so that a handler ends with `return respond_...;`. */
int respond_json(struct response *rs, int status, json_t *takes);
/* JSON as it was written; its bytes are the response's from now on. */
int respond_buf(struct response *rs, int status, struct buf *takes);
int respond_empty(struct response *rs, int status);
int respond_bytes(struct response *rs, int status, const char *type, const void *p, size_t n);
int respond_invalid(struct request *rq, struct response *rs);
int respond_problem(struct response *rs, int status, const char *code, const char *fmt, ...)
    WIND_PRINTF(4, 5);
/* {"data": takes, "next_cursor": cursor or null} */
int respond_list(struct response *rs, json_t *takes, const char *next_cursor);

/* `name` is static, `value` is copied; at most 8. */
void respond_header(struct response *rs, const char *name, const char *fmt, ...) WIND_PRINTF(3, 4);
void respond_etag(struct response *rs, int64_t id, int64_t version);

/* True if If-Match is absent or names this version; else the response is filled with 412. */
bool request_if_match(struct request *rq, struct response *rs, int64_t id, int64_t version);
