#include "collector/session_cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct cache *cache;
static struct session_cache *c;

static void init(void)
{
    const struct cache_conf conf = {.memory = 65536};

    cr_assert_eq(cache_new(&cache, &conf, NULL), 0);
    cr_assert_eq(session_cache_new(&c, cache, NULL), 0);
}

static void fini(void)
{
    c = session_cache_free(c);
    cache = cache_free(cache);
}

TestSuite(session_cache, .init = init, .fini = fini);

static void put(const char *token, int64_t id, const char *sid)
{
    struct principal p = {.kind = PRINCIPAL_USER, .id = id};

    (void)snprintf(p.sid, sizeof(p.sid), "%s", sid);
    session_cache_put(c, session_cache_heard(c), token, &p);
}

/* Whose token it is; 0: not known. */
static int64_t owner(const char *token)
{
    struct principal p;

    return session_cache_get(c, token, &p) ? p.id : 0;
}

Test(session_cache, a_token_is_known_by_its_whole_text)
{
    put("head.body.mac", 7, "s");
    cr_assert_eq(owner("head.body.mac"), 7);
    cr_assert_eq(owner("head.body.maC"), 0);
    cr_assert_eq(owner("head.body.ma"), 0);
    cr_assert_eq(owner(""), 0);
    put("head.body.mac", 8, "s");
    cr_assert_eq(owner("head.body.mac"), 8);
}

Test(session_cache, news_are_about_a_user_a_session_or_all)
{
    put("a", 1, "x");
    put("b", 1, "y");
    put("c", 2, "z");
    cache_publish(cache, CACHE_CREDENTIALS, "session y");
    cr_assert(owner("a") == 1 && owner("b") == 0 && owner("c") == 2);
    cache_publish(cache, CACHE_CREDENTIALS, "user 2");
    cr_assert(owner("a") == 1 && owner("c") == 0);
    cache_publish(cache, CACHE_CREDENTIALS, NULL);
    cr_assert_eq(owner("a"), 0);
}

/* What the database said may be older than the news that came meanwhile. */
Test(session_cache, what_was_read_before_news_came_is_not_kept)
{
    const struct principal p = {.id = 1};
    const uint64_t heard = session_cache_heard(c);
    char text[8] = "";
    struct buf b = BUF_FIXED(text);

    cache_publish(cache, CACHE_CREDENTIALS, "user 1");
    session_cache_put(c, heard, "a", &p);
    session_cache_put_answer(c, heard, 1, "{}", 2);
    cr_assert_eq(owner("a"), 0);
    cr_assert_not(session_cache_answer(c, 1, &b));
}

Test(session_cache, an_answer_is_this_users_until_news_of_him)
{
    char text[8] = "";
    struct buf b = BUF_FIXED(text);

    session_cache_put_answer(c, session_cache_heard(c), 1, "{1}", 3);
    cr_assert_not(session_cache_answer(c, 2, &b));
    cr_assert_not(session_cache_answer(c, 1 + SESSION_CACHE_USERS, &b));
    cr_assert(session_cache_answer(c, 1, &b));
    cr_assert(b.len == 3 && memcmp(text, "{1}", 3) == 0);
    cache_publish(cache, CACHE_CREDENTIALS, "user 2");
    cr_assert(session_cache_answer(c, 1, &b));
    cache_publish(cache, CACHE_CREDENTIALS, "user 1");
    cr_assert_not(session_cache_answer(c, 1, &b));
}

Test(session_cache, the_newest_of_very_many_are_known)
{
    size_t known = 0;
    char token[24];

    for (int i = 1; i <= 10 * SESSION_CACHE_TOKENS; i++) {
        (void)snprintf(token, sizeof(token), "token %d", i);
        put(token, i, "s");
        cr_assert_eq(owner(token), i);
    }
    for (int i = 1; i <= 10 * SESSION_CACHE_TOKENS; i++) {
        (void)snprintf(token, sizeof(token), "token %d", i);
        known += owner(token) != 0;
    }
    cr_assert_eq(known, SESSION_CACHE_TOKENS);
}
