#include "collector/exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "collector/cache.h"
#include "collector/collector.h"
#include "collector/db.h"
#include "collector/form.h"
#include "collector/metrics.h"
#include "collector/replay.h"
#include "collector/route.h"
#include "collector/session.h"
#include "collector/users.h"
#include "common/log.h"
#include "common/time.h"

#define SKIP_MAX                                                                                   \
    ((size_t)HTTP_BODY_MAX * 4) /* read and thrown away, so that the answer arrives                \
                                 */

void exchange_init(struct exchange *x, struct gate *g, void *connection)
{
    *x = (struct exchange){.gate = g, .began_ns = time_mono_ns()};
    x->rq.connection = connection;
    x->rq.app = g->app;
    x->rq.db = g->app->db;
    x->rq.errors = json_array();
}

void exchange_done(struct exchange *x)
{
    atomic_fetch_sub_explicit(&x->gate->bodies, x->held, memory_order_relaxed);
    buf_done(&x->body);
    json_decref(x->rq.body);
    json_decref(x->rq.errors);
    response_done(&x->rs);
}

/* ---------------------------------------------------------------- before the body */

/* All refusals below return true, so that `||` puts them in order. */
static bool refused(struct exchange *x)
{
    x->is_refused = true;
    return true;
}

static bool no_route(struct exchange *x)
{
    struct route_match m;
    const int found = route_find(x->gate->tables, x->rq.method, x->rq.path, &m);
    const bool is_get = strcmp(x->rq.method, "GET") == 0 || strcmp(x->rq.method, "HEAD") == 0;

    x->rq.route = m.route;
    memcpy(x->rq.params, m.params, sizeof(m.params));
    x->rq.n_params = m.n_params;
    switch (found) {
    case 0:
        return false;
    case ROUTE_BAD_PARAM: {
        const struct path_param *p = &m.params[m.n_params - 1];
        char name[64];
        (void)snprintf(name, sizeof(name), "%.*s", (int)p->name_len, p->name);
        request_fault(&x->rq, "path", name, "must be a positive integer");
        (void)respond_invalid(&x->rq, &x->rs);
        return refused(x);
    }
    case ROUTE_NO_METHOD:
        (void)respond_problem(&x->rs, 405, "method_not_allowed", "this path knows: %s", m.allow);
        respond_header(&x->rs, "Allow", "%s", m.allow);
        return refused(x);
    default:
        break;
    }
    const bool is_api = strcmp(x->rq.path, "/api") == 0 || strncmp(x->rq.path, "/api/", 5) == 0;
    x->file = is_get && !is_api ? static_files_find(x->gate->files, x->rq.path) : NULL;
    if (x->file == NULL)
        (void)respond_problem(&x->rs, 404, "not_found", "there is nothing at this path");
    return refused(x);
}

/* 0, an AUTH outcome, or < 0. */
static int authenticate(struct exchange *x)
{
    struct auth *a = x->gate->app->auth;
    const char *key = request_header(&x->rq, "X-API-Key");
    const char *bearer = request_header(&x->rq, "Authorization");

    if (key != NULL)
        return auth_key(a, key, &x->rq.principal, &x->rq.err);
    if (bearer == NULL)
        return AUTH_MISSING;
    if (strncasecmp(bearer, "Bearer ", 7) != 0)
        return AUTH_INVALID;
    return auth_token(a, bearer + 7 + strspn(bearer + 7, " "), &x->rq.principal, &x->rq.err);
}

static bool over_rate(struct exchange *x, struct cache_limit *l, const char *key)
{
    const struct ratelimit_verdict v = cache_limit_take(l, key);

    if (v.is_over) {
        (void)respond_problem(&x->rs, 429, "rate_limited",
                              "too many requests; try again in %" PRId64 " s", v.wait_s);
        respond_header(&x->rs, "Retry-After", "%" PRId64, v.wait_s);
        metrics_add(x->gate->app->metrics, METRICS_RATE_LIMITED, 1);
    }
    respond_header(&x->rs, "RateLimit-Limit", "%" PRId64, v.limit);
    respond_header(&x->rs, "RateLimit-Remaining", "%" PRId64, v.remaining);
    respond_header(&x->rs, "RateLimit-Reset", "%" PRId64, v.wait_s);
    return v.is_over;
}

static bool is_over_limit(struct exchange *x)
{
    const struct principal *p = &x->rq.principal;
    char key[80];

    if (x->gate->requests == NULL)
        return false;
    if (p->kind == PRINCIPAL_NONE)
        (void)snprintf(key, sizeof(key), "ip %s", x->rq.client_ip);
    else
        (void)snprintf(key, sizeof(key), "%d %" PRId64, (int)p->kind, p->id);
    return over_rate(x, x->gate->requests, key) && refused(x);
}

static bool failed(struct exchange *x, int r)
{
    const bool is_busy = r == -EBUSY || r == -EAGAIN || r == -ENOMEM;

    log_error("%s %s: %s", x->rq.method, x->rq.path,
              x->rq.err.text[0] != '\0' ? x->rq.err.text : strerror(-r));
    if (r == -ENOSPC || r == -EROFS) {
        (void)respond_problem(&x->rs, 503, "storage",
                              "nothing can be stored now; see the server's log");
        respond_header(&x->rs, "Retry-After", "30");
    } else if (is_busy) {
        (void)respond_problem(&x->rs, 503, "busy", "the server is busy; try again");
        respond_header(&x->rs, "Retry-After", "1");
    } else {
        (void)respond_problem(&x->rs, 500, "internal_error", "the server failed; see its log");
    }
    return refused(x);
}

static bool may_not(struct exchange *x, int outcome)
{
    const enum permission need = x->rq.route->need;
    static const char *const details[] = {
        [AUTH_MISSING] = "this needs a token or an API key",
        [AUTH_EXPIRED] = "the token or key has expired",
        [AUTH_REVOKED] = "the token or key was revoked",
        [AUTH_INVALID] = "the token or key is not valid",
    };

    if (need == PERMISSION_NONE)
        return false;
    if (outcome != 0) {
        (void)respond_problem(&x->rs, 401, auth_outcome_code(outcome), "%s", details[outcome]);
        if (outcome != AUTH_MISSING)
            metrics_add(x->gate->app->metrics, METRICS_AUTH_FAILED, 1);
        return refused(x);
    }
    if (principal_may(&x->rq.principal, need))
        return false;
    (void)respond_problem(&x->rs, 403, "permission_missing", "this needs the permission '%s'",
                          permission_name(need));
    return refused(x);
}

static size_t body_max(const struct exchange *x)
{
    return x->rq.route != NULL && x->rq.route->body_max > 0 ? x->rq.route->body_max : HTTP_BODY_MAX;
}

static bool too_large(struct exchange *x)
{
    (void)respond_problem(&x->rs, 413, "body_too_large", "the body may have at most %zu bytes",
                          body_max(x));
    return refused(x);
}

void exchange_admit(struct exchange *x, int64_t body_len)
{
    if (no_route(x))
        return;
    struct cache *cache = x->gate->app->cache;
    const bool was_current = cache_is_current(cache, CACHE_CREDENTIALS);
    const uint64_t heard = cache_heard(cache, CACHE_CREDENTIALS);
    int outcome = authenticate(x);
    if (outcome >= 0 && is_over_limit(x))
        return;
    if (outcome == 0 && was_current &&
        (!cache_is_current(cache, CACHE_CREDENTIALS) ||
         cache_heard(cache, CACHE_CREDENTIALS) != heard))
        outcome = authenticate(x); /* there is news about somebody: look again */
    if (outcome < 0)
        (void)failed(x, outcome);
    if (outcome < 0 || may_not(x, outcome))
        return;
    if (body_len > (int64_t)body_max(x))
        (void)too_large(x);
    buf_init(&x->body, body_max(x));
}

/* ---------------------------------------------------------------- the body */

static bool hold(struct exchange *x, size_t n)
{
    struct gate *g = x->gate;

    x->held += n;
    return atomic_fetch_add_explicit(&g->bodies, n, memory_order_relaxed) + n <= g->body_memory;
}

bool exchange_take_body(struct exchange *x, const char *p, size_t n)
{
    if (x->is_refused) {
        x->skipped += n;
        return x->skipped <= SKIP_MAX;
    }
    if (x->body.len + n > body_max(x))
        return too_large(x);
    if (!hold(x, n))
        return failed(x, err_set(&x->rq.err, -EBUSY, "too many large bodies at once"));
    buf_put(&x->body, p, n);
    return !x->body.failed || failed(x, err_set(&x->rq.err, -ENOMEM, "no memory for a body"));
}

/* NOLINTNEXTLINE(misc-no-recursion): jansson refuses what is deeper than 2048 before */
static bool is_too_deep(json_t *v, int depth)
{
    const char *key;
    json_t *item;
    size_t i;

    if (depth > HTTP_JSON_DEPTH)
        return true;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item) if (is_too_deep(item, depth + 1)) return true;
    } else if (json_is_object(v)) {
        json_object_foreach(v, key, item) if (is_too_deep(item, depth + 1)) return true;
    }
    return false;
}

static bool is_type(const struct exchange *x, const char *wanted)
{
    const char *type = request_header(&x->rq, "Content-Type");
    const size_t n = strlen(wanted);

    return type != NULL && strncasecmp(type, wanted, n) == 0 &&
           (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static bool bad_json(struct exchange *x)
{
    json_error_t why;

    if (x->body.len == 0) {
        (void)respond_problem(&x->rs, 400, "json_invalid", "the body is empty");
        return refused(x);
    }
    x->rq.body = json_loadb(x->body.data, x->body.len, JSON_REJECT_DUPLICATES, &why);
    if (x->rq.body == NULL)
        (void)respond_problem(&x->rs, 400, "json_invalid", "line %d: %s", why.line, why.text);
    else if (is_too_deep(x->rq.body, 1))
        (void)respond_problem(&x->rs, 400, "json_invalid", "nested deeper than %d levels",
                              HTTP_JSON_DEPTH);
    else
        return false;
    return refused(x);
}

static bool bad_form(struct exchange *x)
{
    const int r = form_parse(x->body.data, x->body.len, &x->rq.body, &x->rq.err);

    if (r == 0)
        return false;
    if (r == -ENOMEM)
        return failed(x, r);
    (void)respond_problem(&x->rs, 400, "form_invalid", "%s", x->rq.err.text);
    return refused(x);
}

static bool bad_body(struct exchange *x)
{
    const struct route *route = x->rq.route;
    const bool is_form = (route->flags & ROUTE_FORM) != 0;
    const char *type = is_form ? "application/x-www-form-urlencoded" : "application/json";

    if (route->body == NULL)
        return false;
    if (!is_type(x, type)) {
        (void)respond_problem(&x->rs, 415, "content_type", "the body must be %s", type);
        return refused(x);
    }
    if (route->read_body != NULL && route->read_body(&x->rq, x->body.data, x->body.len))
        return false;
    if (is_form ? bad_form(x) : bad_json(x))
        return true;
    (void)schema_check(route->body, x->rq.body, "body", x->rq.errors);
    return false;
}

static bool bad_query(struct exchange *x)
{
    for (const struct field *f = x->rq.route->query; f != NULL && f->name != NULL; f++) {
        const char *value = request_query(&x->rq, f->name);
        if (value != NULL)
            (void)schema_check_text(f, value, x->rq.errors);
        else if ((f->flags & FIELD_REQUIRED) != 0)
            request_fault(&x->rq, "query", f->name, "is required");
    }
    if (json_array_size(x->rq.errors) == 0)
        return false;
    (void)respond_invalid(&x->rq, &x->rs);
    return refused(x);
}

/* ---------------------------------------------------------------- the handler */

static void handle(struct exchange *x)
{
    const int r = x->rq.route->handler(&x->rq, &x->rs);
    if (r < 0)
        (void)failed(x, r);
}

/* Only failures count: who knows the password is never locked out by logging in often. */
static void handle_login(struct exchange *x)
{
    char key[160], name[USERNAME_MAX + 1];

    /* The account counts, not its spelling; names that no account can have count as one. */
    if (!username_normalise(body_text(&x->rq, "username", x->rq.principal.name), name))
        name[0] = '\0';
    (void)snprintf(key, sizeof(key), "%s %s", x->rq.client_ip, name);
    x->rs.n_headers = 0; /* the login's limit is told instead of the general one */
    if (over_rate(x, x->gate->addresses, x->rq.client_ip))
        return;
    x->rs.n_headers = 0;
    if (over_rate(x, x->gate->logins, key))
        return;
    handle(x);
    if (x->rs.status == 200 || x->rs.status == 422) {
        cache_limit_give_back(x->gate->logins, key);
        cache_limit_give_back(x->gate->addresses, x->rq.client_ip);
    } else if (x->rs.status == 401) {
        metrics_add(x->gate->app->metrics, METRICS_AUTH_FAILED, 1);
    }
}

static void handle_once(struct exchange *x, const char *key)
{
    struct request *rq = &x->rq;
    struct replay replay;

    replay_key(&replay, &rq->principal, rq, key, x->body.data != NULL ? x->body.data : "",
               x->body.len);
    int r = replay_begin(rq->db, &replay, &x->rs, &rq->err);
    if (r == REPLAY_FOUND)
        metrics_add(x->gate->app->metrics, METRICS_REPLAYED, 1);
    else if (r == REPLAY_MISMATCH)
        (void)respond_problem(&x->rs, 422, "idempotency_mismatch",
                              "this Idempotency-Key was used for another body");
    else if (r == REPLAY_RUNNING)
        (void)respond_problem(&x->rs, 409, "idempotency_running",
                              "the first request with this Idempotency-Key has not ended");
    if (r < 0)
        (void)failed(x, r);
    if (r != 0)
        return;
    handle(x);
    r = replay_end(rq->db, &replay, &x->rs, &rq->err);
    if (r < 0) /* the work is done, so the client hears that */
        log_warn("cannot keep the answer of %s %s: %s, going on", rq->method, rq->path,
                 rq->err.text);
}

bool exchange_check(struct exchange *x)
{
    if (!x->is_checked && !x->is_refused && !bad_body(x))
        (void)bad_query(x);
    x->is_checked = true;
    return !x->is_refused;
}

const char *exchange_key(const struct exchange *x)
{
    const struct route *route = x->rq.route;
    const bool is_kept = strcmp(route->method, "POST") == 0 &&
                         (route->flags & ROUTE_NO_REPLAY) == 0 &&
                         x->rq.principal.kind != PRINCIPAL_NONE;

    return is_kept ? request_header(&x->rq, "Idempotency-Key") : NULL;
}

void exchange_run(struct exchange *x)
{
    const char *key = exchange_key(x);

    if (!exchange_check(x))
        return;
    if (key != NULL && strlen(key) > 200)
        (void)respond_problem(&x->rs, 400, "idempotency_key", "longer than 200 characters");
    else if ((x->rq.route->flags & ROUTE_LOGIN) != 0)
        handle_login(x);
    else if (key != NULL)
        handle_once(x, key);
    else
        handle(x);
}

void exchange_settle(struct exchange *x, int result, const struct err *why)
{
    x->is_settled = true;
    if (result >= 0)
        return;
    x->rs.n_headers = x->n_headers; /* no Location of what does not exist */
    x->rq.err = *why;
    (void)failed(x, result);
}
