#include "collector/session_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/jwt.h"
#include "collector/metrics.h"
#include "common/crypto.h"
#include "common/hash.h"
#include "common/time.h"

#define WAYS    4 /* places a token may be in */
#define SETS    (SESSION_CACHE_TOKENS / WAYS)
#define KEPT_NS (CACHE_KEPT_S * WIND_NS_PER_S)

struct token {
    uint64_t hash;
    uint64_t until_ns; /* monotonic; 0: free */
    size_t len;
    struct principal principal;
    char text[JWT_MAX];
};

struct answer {
    int64_t user_id;
    uint64_t until_ns;
    size_t n;
    char text[SESSION_CACHE_ANSWER];
};

struct session_cache {
    struct cache *cache;           /* borrowed */
    uint64_t seed;                 /* nobody can choose tokens that meet in one set */
    _Atomic uint64_t hits, misses; /* relaxed */
    pthread_mutex_t lock;          /* guards what follows */
    struct token *tokens;
    struct answer *answers;
};

static void forget_all(struct session_cache *c)
{
    for (size_t i = 0; i < SESSION_CACHE_TOKENS; i++)
        c->tokens[i].until_ns = 0;
    for (size_t i = 0; i < SESSION_CACHE_USERS; i++)
        c->answers[i].until_ns = 0;
}

static void forget_user(struct session_cache *c, int64_t id)
{
    for (size_t i = 0; i < SESSION_CACHE_TOKENS; i++)
        if (c->tokens[i].until_ns != 0 && c->tokens[i].principal.id == id)
            c->tokens[i].until_ns = 0;
    for (size_t i = 0; i < SESSION_CACHE_USERS; i++)
        if (c->answers[i].user_id == id)
            c->answers[i].until_ns = 0;
}

static void forget_session(struct session_cache *c, const char *sid)
{
    for (size_t i = 0; i < SESSION_CACHE_TOKENS; i++)
        if (c->tokens[i].until_ns != 0 && strcmp(c->tokens[i].principal.sid, sid) == 0)
            c->tokens[i].until_ns = 0;
}

/* What this does not understand may be about anything: all is forgotten. */
static void heard(void *arg, const char *text)
{
    static const char user[] = "user ", session[] = "session ", key[] = "key ";
    struct session_cache *c = arg;

    (void)pthread_mutex_lock(&c->lock);
    if (text != NULL && strncmp(text, user, sizeof(user) - 1) == 0)
        forget_user(c, strtoll(text + sizeof(user) - 1, NULL, 10));
    else if (text != NULL && strncmp(text, session, sizeof(session) - 1) == 0)
        forget_session(c, text + sizeof(session) - 1);
    else if (text == NULL || strncmp(text, key, sizeof(key) - 1) != 0)
        forget_all(c);
    (void)pthread_mutex_unlock(&c->lock);
}

int session_cache_new(struct session_cache **ret, struct cache *cache, struct err *e)
{
    WIND_AUTO(session_cache) struct session_cache *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "sessions: out of memory");
    (void)pthread_mutex_init(&c->lock, NULL);
    c->cache = cache;
    crypto_random(&c->seed, sizeof(c->seed));
    c->tokens = calloc(SESSION_CACHE_TOKENS, sizeof(*c->tokens));
    c->answers = calloc(SESSION_CACHE_USERS, sizeof(*c->answers));
    if (c->tokens == NULL || c->answers == NULL)
        return err_set(e, -ENOMEM, "sessions: out of memory");
    cache_listen(cache, CACHE_CREDENTIALS, heard, c);
    *ret = WIND_STEAL(c);
    return 0;
}

struct session_cache *session_cache_free(struct session_cache *c)
{
    if (c == NULL)
        return NULL;
    (void)pthread_mutex_destroy(&c->lock);
    free(c->tokens);
    free(c->answers);
    free(c);
    return NULL;
}

uint64_t session_cache_heard(const struct session_cache *c)
{
    return cache_heard(c->cache, CACHE_CREDENTIALS);
}

/* With the lock held: may what was read since `since` be kept? */
static bool is_news(const struct session_cache *c, uint64_t since)
{
    return cache_is_current(c->cache, CACHE_CREDENTIALS) && session_cache_heard(c) == since;
}

/* With the lock held. NULL, or its place. */
static struct token *find(struct session_cache *c, uint64_t hash, const char *text, size_t len)
{
    struct token *set = &c->tokens[(hash % SETS) * WAYS];

    for (size_t i = 0; i < WAYS; i++)
        if (set[i].until_ns != 0 && set[i].hash == hash && set[i].len == len &&
            crypto_equal(set[i].text, text, len))
            return &set[i];
    return NULL;
}

bool session_cache_get(struct session_cache *c, const char *token, struct principal *ret)
{
    const size_t len = strnlen(token, JWT_MAX);
    const uint64_t hash = hash64(token, len, c->seed), now_ns = time_mono_ns();

    if (len == JWT_MAX || !cache_is_current(c->cache, CACHE_CREDENTIALS))
        return false;
    (void)pthread_mutex_lock(&c->lock);
    const struct token *t = find(c, hash, token, len);
    const bool is_known = t != NULL && t->until_ns > now_ns;
    if (is_known)
        *ret = t->principal;
    (void)pthread_mutex_unlock(&c->lock);
    atomic_fetch_add_explicit(is_known ? &c->hits : &c->misses, 1, memory_order_relaxed);
    return is_known;
}

void session_cache_put(struct session_cache *c, uint64_t since, const char *token,
                       const struct principal *p)
{
    const size_t len = strnlen(token, JWT_MAX);
    const uint64_t hash = hash64(token, len, c->seed);

    if (len == JWT_MAX)
        return;
    (void)pthread_mutex_lock(&c->lock);
    if (is_news(c, since)) {
        struct token *t = find(c, hash, token, len), *set = &c->tokens[(hash % SETS) * WAYS];
        if (t == NULL) {
            t = set;
            for (size_t i = 1; i < WAYS; i++)
                if (set[i].until_ns < t->until_ns)
                    t = &set[i];
        }
        t->hash = hash;
        t->len = len;
        t->principal = *p;
        t->until_ns = time_mono_ns() + KEPT_NS;
        memcpy(t->text, token, len);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

void session_cache_print(const struct session_cache *c, struct buf *out)
{
    metrics_print_one(out, "wind_sessions_known_total", "counter",
                      "Access tokens that were good a moment ago.",
                      atomic_load_explicit(&c->hits, memory_order_relaxed));
    metrics_print_one(out, "wind_sessions_asked_total", "counter",
                      "Access tokens that the database was asked about.",
                      atomic_load_explicit(&c->misses, memory_order_relaxed));
}

static struct answer *place(struct session_cache *c, int64_t user_id)
{
    return &c->answers[(uint64_t)user_id % SESSION_CACHE_USERS];
}

bool session_cache_answer(struct session_cache *c, int64_t user_id, struct buf *into)
{
    const uint64_t now_ns = time_mono_ns();

    if (!cache_is_current(c->cache, CACHE_CREDENTIALS))
        return false;
    (void)pthread_mutex_lock(&c->lock);
    const struct answer *a = place(c, user_id);
    const bool is_known = a->until_ns > now_ns && a->user_id == user_id;
    if (is_known)
        buf_put(into, a->text, a->n);
    (void)pthread_mutex_unlock(&c->lock);
    return is_known;
}

void session_cache_put_answer(struct session_cache *c, uint64_t since, int64_t user_id,
                              const char *text, size_t n)
{
    if (n > SESSION_CACHE_ANSWER)
        return;
    (void)pthread_mutex_lock(&c->lock);
    if (is_news(c, since)) {
        struct answer *a = place(c, user_id);
        a->user_id = user_id;
        a->until_ns = time_mono_ns() + KEPT_NS;
        a->n = n;
        memcpy(a->text, text, n);
    }
    (void)pthread_mutex_unlock(&c->lock);
}
