/*
 * search_http.h - calls to an Elasticsearch or OpenSearch server: REST and JSON over HTTP.
 *
 * Why      The one place that knows addresses, passwords and connections; what is said is
 *          search_rest.c's.
 * Owns     Idle connections. Each call takes one, or makes one.
 * Threads  Any.
 * Bounds   An answer has at most SEARCH_ANSWER_MAX bytes, SEARCH_CALL_S seconds; SEARCH_IDLE
 *          connections are kept. There is no retry here, but each address is tried once.
 */
#pragma once

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

#define SEARCH_ANSWER_MAX ((size_t)32 << 20)
#define SEARCH_CALL_S     30
#define SEARCH_CONNECT_S  5
#define SEARCH_IDLE       16
#define SEARCH_ADDRESSES  8

struct search_http;

struct search_http_conf {
    const char *urls; /* of one server or several, with commas between them */
    const char *user, *password_file, *ca_file; /* "" = none */
    bool is_gzip;                               /* large bodies are compressed */
};

/* -EINVAL: an address or the password does not do. */
WIND_MUST_USE int search_http_new(struct search_http **ret_http,
                                  const struct search_http_conf *conf, struct err *e);
struct search_http *search_http_free(struct search_http *h);
WIND_DEFINE_FREE(search_http)

struct search_call {
    const char *method, *path; /* "/_bulk?..." */
    const char *body;          /* NULL: none */
    size_t len;
    bool is_lines; /* of JSON, else one */
};

/*
 * The answer's HTTP status; *ret_answer (may be NULL) is its JSON, or NULL when it is none.
 * -EAGAIN: nobody answers, with a sentence that names the remedy.
 */
WIND_MUST_USE int search_http_call(struct search_http *h, const struct search_call *call,
                                   json_t **ret_answer, struct err *e);

/*
 * A call with a JSON body (may be NULL; taken) whose answer has to be a success; *ret_answer (may
 * be NULL) is the caller's then. -EAGAIN: nobody answers, or it refuses, with a sentence.
 */
WIND_MUST_USE int search_http_do(struct search_http *h, const char *method, const char *path,
                                 json_t *body, json_t **ret_answer, struct err *e);

/* What a status that is no success means, and what to do about it. Returns -EAGAIN. */
int search_http_refused(const struct search_http *h, const char *doing, int status,
                        const json_t *answer, struct err *e);
