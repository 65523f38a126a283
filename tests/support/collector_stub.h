/*
 * collector_stub.h - a real HTTP server on loopback that takes batches as the collector does, and
 * misbehaves on demand. It remembers every alert by uid, so that tests see what arrived and how
 * often.
 *
 * Owns     A process of its own: the test, which forks, stays free of the server's threads. What
 *          the test tells it and what it saw is in shared memory.
 * Bounds   COLLECTOR_ALERTS different alerts.
 */
#pragma once

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/child.h"

#define COLLECTOR_ALERTS 4096u

enum collector_mood { COLLECTOR_FINE, COLLECTOR_SILENT, COLLECTOR_LOSES_ANSWER, COLLECTOR_ODD };

struct collector_stub { /* shared between test and server */
    pid_t pid;
    uint16_t port;
    int place; /* bound and silent: nobody else gets the port while the server is away */
    char url[64];
    const char *tls_key, *tls_cert; /* PEM; both set before the start: https */
    _Atomic int mood, status;       /* status: answer with this one, not 200 */
    _Atomic unsigned posts, left_bad, max_alerts, largest;
    _Atomic unsigned heartbeats; /* with stats */
    char reject[32];             /* signatures with this are rejected for good */
    _Atomic unsigned n_seen;
    struct collector_seen {
        char uid[40];
        unsigned times;
    } seen[COLLECTOR_ALERTS];
};

struct collector_upload {
    char *data;
    size_t len;
};

/* How often it came before; it came once more now. Only the server's one thread writes here. */
static inline unsigned collector_remember(struct collector_stub *c, const char *uid)
{
    for (unsigned i = 0; i < c->n_seen; i++)
        if (strcmp(c->seen[i].uid, uid) == 0)
            return c->seen[i].times++;
    if (c->n_seen == COLLECTOR_ALERTS)
        abort(); /* the test needs a larger table */
    struct collector_seen *s = &c->seen[c->n_seen];
    (void)snprintf(s->uid, sizeof(s->uid), "%s", uid);
    s->times = 1;
    c->n_seen++;
    return 0;
}

static inline json_t *collector_store(struct collector_stub *c, const json_t *alerts)
{
    json_int_t accepted = 0, unchanged = 0;
    json_t *rejected = json_array(), *alert;
    size_t i;

    json_array_foreach(alerts, i, alert)
    {
        json_t *wind = json_object_get(alert, "wind");
        const char *uid = json_string_value(json_object_get(wind, "uid"));
        const char *text =
            json_string_value(json_object_get(json_object_get(alert, "alert"), "signature"));

        if (c->reject[0] != '\0' && strstr(text, c->reject) != NULL) {
            (void)json_array_append_new(rejected, json_pack("{s:I,s:s,s:s}", "index", (json_int_t)i,
                                                            "uid", uid, "detail", "not that one"));
            continue;
        }
        const bool is_known = collector_remember(c, uid) > 0;
        accepted += !is_known;
        unchanged += is_known;
    }
    return json_pack("{s:I,s:i,s:I,s:o}", "accepted", accepted, "updated", 0, "unchanged",
                     unchanged, "rejected", rejected);
}

static inline enum MHD_Result collector_reply(struct MHD_Connection *connection, unsigned status,
                                              json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

    json_decref(body);
    if (status == 429 || status == 503)
        (void)MHD_add_response_header(response, "Retry-After", "1");
    const enum MHD_Result r = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return r;
}

static inline enum MHD_Result collector_answer(struct collector_stub *c,
                                               struct MHD_Connection *connection,
                                               const struct collector_upload *up)
{
    const char *key = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-API-Key");
    json_t *root = json_loadb(up->data, up->len, JSON_REJECT_DUPLICATES, NULL);
    json_t *alerts = json_object_get(root, "alerts");
    const unsigned n = (unsigned)json_array_size(alerts);
    unsigned status = (unsigned)c->status;
    json_t *body;

    c->posts++;
    if (n > c->largest)
        c->largest = n;
    while (c->mood == COLLECTOR_SILENT)
        (void)usleep(1000);
    if (key == NULL || strcmp(key, "wind_1_secret") != 0)
        status = 401;
    else if (!json_is_array(alerts))
        status = 422;
    else if (c->left_bad > 0)
        c->left_bad--;
    else if (c->max_alerts > 0 && n > c->max_alerts)
        status = 413;
    else
        status = 200;
    if (status == 200 && c->mood == COLLECTOR_ODD)
        body = json_pack("{s:s}", "welcome", "to the hotel's network");
    else if (status == 200)
        body = collector_store(c, alerts);
    else
        body = json_pack("{s:s}", "detail", "as the test wants");
    if (status == 200 && json_is_object(json_object_get(root, "stats")))
        c->heartbeats++;
    json_decref(root);
    if (c->mood == COLLECTOR_LOSES_ANSWER) { /* stored, but the answer never arrives */
        c->mood = COLLECTOR_FINE;
        json_decref(body);
        return MHD_NO;
    }
    return collector_reply(connection, status, body);
}

static inline enum MHD_Result collector_handle(void *arg, struct MHD_Connection *connection,
                                               const char *url, const char *method,
                                               const char *version, const char *data, size_t *size,
                                               void **state)
{
    struct collector_upload *up = *state;

    (void)version;
    if (up == NULL) {
        *state = calloc(1, sizeof(*up));
        return MHD_YES;
    }
    if (*size > 0) {
        up->data = realloc(up->data, up->len + *size);
        memcpy(up->data + up->len, data, *size);
        up->len += *size;
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/api/ingest") != 0 || strcmp(method, "POST") != 0)
        return collector_reply(connection, 404, json_object());
    return collector_answer(arg, connection, up);
}

static inline void collector_done(void *arg, struct MHD_Connection *connection, void **state,
                                  enum MHD_RequestTerminationCode code)
{
    struct collector_upload *up = *state;

    (void)arg;
    (void)connection;
    (void)code;
    if (up != NULL)
        free(up->data);
    free(up);
    *state = NULL;
}

static inline struct collector_stub *collector_new(void)
{
    struct collector_stub *c =
        mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    cr_assert(c != MAP_FAILED);
    return c;
}

static inline void collector_serve(struct collector_stub *c, int listener)
{
    const bool is_tls = c->tls_key != NULL;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)c->tls_key},
                                   {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)c->tls_cert},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};

    if (MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | (is_tls ? MHD_USE_TLS : 0u), 0, NULL,
                         NULL, collector_handle, c, MHD_OPTION_LISTEN_SOCKET, listener,
                         MHD_OPTION_NOTIFY_COMPLETED, collector_done, NULL, MHD_OPTION_ARRAY,
                         is_tls ? tls : plain, MHD_OPTION_END) == NULL)
        _exit(1);
    for (;;)
        (void)pause();
}

/* On this port; 0 is any, and then the one that it is. */
static inline int collector_bind(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* On the port that it had; the first time on any. It listens when this returns. */
static inline void collector_start(struct collector_stub *c)
{
    if (c->port == 0)
        c->place = collector_bind(&c->port);
    const int listener = collector_bind(&c->port);
    cr_assert_eq(listen(listener, 64), 0);
    (void)snprintf(c->url, sizeof(c->url), "http%s://127.0.0.1:%u", c->tls_key != NULL ? "s" : "",
                   c->port);
    c->pid = child_fork();
    if (c->pid == 0)
        collector_serve(c, listener);
    (void)close(listener);
}

static inline void collector_stop(struct collector_stub *c)
{
    if (c->pid > 0) {
        cr_assert_eq(kill(c->pid, SIGKILL), 0);
        cr_assert_eq(child_end(c->pid), -SIGKILL, "the server ended by itself");
    }
    c->pid = 0;
}

static inline struct collector_stub *collector_free(struct collector_stub *c)
{
    if (c != NULL) {
        collector_stop(c);
        if (c->port != 0)
            (void)close(c->place);
        (void)munmap(c, sizeof(*c));
    }
    return NULL;
}
