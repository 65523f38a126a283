/*
 * client.h - the collector's API, asked by windctl.
 *
 * Why      Commands see JSON and sentences, never HTTP, tokens or their renewal.
 * Owns     The connection. The profile is borrowed, and changed when tokens are renewed.
 * Threads  One.
 * Bounds   An answer CLIENT_ANSWER_MAX bytes and CLIENT_TIMEOUT_S seconds.
 *
 * A token or password goes only to the address it was made for, and in plain http only to this
 * machine (unless is_insecure). Redirects are not followed.
 */
#pragma once

#include <jansson.h>

#include "collector/windctl/options.h"
#include "collector/windctl/profile.h"
#include "common/buf.h"

#define CLIENT_ANSWER_MAX (UINT64_C(64) * 1024 * 1024)
#define CLIENT_TIMEOUT_S  30L
#define CLIENT_DEFAULT    "http://127.0.0.1:8080"

struct client;

/* Any HTTP answer. */
struct reply {
    long status;
    json_t *body;   /* NULL: none, or no JSON */
    int64_t date_s; /* the collector's clock; 0 = it did not say */
    double seconds; /* the request took */
    char retry[16]; /* Retry-After, or "" */
};

/* OPTIONS_CONFIG: the address, the key or the certificates are no good. */
WIND_MUST_USE int client_new(struct client **ret_client, const struct options *o, struct profile *p,
                             struct err *e);
struct client *client_free(struct client *c);
WIND_DEFINE_FREE(client)

const char *client_url(const struct client *c);
bool client_has_key(const struct client *c);

/* GET, or POST when `form` is not NULL; without credentials. Fails only without any answer. */
WIND_MUST_USE int client_ask(struct client *c, const char *path, const char *form,
                             struct reply *ret_reply, struct err *e);
void reply_done(struct reply *r);

/*
 * GET with credentials; a token that has run out is renewed. OPTIONS_CONFIG: not logged in.
 * -ENOENT: 404. *ret_body is a new reference, and ret_reply (may be NULL) has the rest.
 */
WIND_MUST_USE int client_get(struct client *c, const char *path, json_t **ret_body,
                             struct reply *ret_reply, struct err *e);

/* POST with credentials and without a body. */
WIND_MUST_USE int client_post(struct client *c, const char *path, struct err *e);

/* Password -> tokens in the profile, which is not saved yet. */
WIND_MUST_USE int client_login(struct client *c, const char *username, const char *password,
                               struct err *e);

/* Append `s`, percent-encoded. */
void client_escape(struct buf *to, const char *s);
