/* cache.h on a real Redis: what two collectors share, and what they do while it is away. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cache.h"
#include "common/time.h"
#include "support/redis_server.h"

#define MEMORY     ((size_t)64 * 1024)
#define TIMEOUT_MS 1000 /* a machine that tests may be busy */
#define SHORT_MS   100  /* where the wait is what is tested */
#define MS         WIND_NS_PER_MS

static struct redis_server server;

static void start(void)
{
    redis_server_start(&server);
}

static void end(void)
{
    redis_server_kill(&server);
}

TestSuite(cache_redis, .init = start, .fini = end, .timeout = 60);

static struct cache_conf conf_of(const char *url)
{
    return (struct cache_conf){.url = url,
                               .password_file = "",
                               .prefix = "wind:",
                               .timeout_ns = TIMEOUT_MS * (int64_t)MS,
                               .connections = 4,
                               .memory = MEMORY};
}

static struct cache *make_with(const struct cache_conf *conf)
{
    struct cache *c = NULL;
    struct err e = {0};
    cr_assert_eq(cache_new(&c, conf, &e), 0, "%s", e.text);
    return c;
}

static bool becomes(struct cache *c, bool current)
{
    for (int i = 0; i < 500; i++) {
        if (cache_is_current(c, CACHE_CREDENTIALS) == current)
            return true;
        (void)usleep(10000);
    }
    return false;
}

static void run(struct cache *c)
{
    struct err e = {0};
    cr_assert_eq(cache_start(c, &e), 0, "%s", e.text);
    cr_assert(becomes(c, true), "it does not connect");
}

static struct cache *make(void)
{
    const struct cache_conf conf = conf_of(server.url);
    struct cache *c = make_with(&conf);
    run(c);
    return c;
}

static struct cache_limit *limit(struct cache *c, int64_t per_minute, int64_t burst)
{
    struct cache_limit *l = NULL;
    struct err e = {0};
    const struct ratelimit_conf conf = {per_minute, burst, 64};
    cr_assert_eq(cache_limit_new(&l, c, "logins", &conf, &e), 0, "%s", e.text);
    return l;
}

struct heard {
    _Atomic int n, nulls;
    char text[64];
};

static void note(void *arg, const char *text)
{
    struct heard *h = arg;

    if (text == NULL) {
        atomic_fetch_add(&h->nulls, 1);
        return;
    }
    (void)snprintf(h->text, sizeof(h->text), "%s", text);
    atomic_fetch_add(&h->n, 1); /* pairs with hears: the text is there first */
}

static bool hears(_Atomic int *n, int at_least)
{
    for (int i = 0; i < 500; i++) {
        if (atomic_load(n) >= at_least)
            return true;
        (void)usleep(10000);
    }
    return false;
}

/* ---------------------------------------------------------------- shared */

Test(cache_redis, two_collectors_share_one_limit)
{
    struct cache *a = make(), *b = make();
    struct cache_limit *la = limit(a, 60, 6), *lb = limit(b, 60, 6); /* one a second */
    int taken = 0;

    for (int i = 0; i < 6; i++) {
        const struct ratelimit_verdict v = cache_limit_take(i % 2 == 0 ? la : lb, "k");
        cr_assert_not(v.is_over);
        cr_assert_eq(v.remaining, 5 - i, "%d: %" PRId64, i, v.remaining);
        cr_assert_eq(v.limit, 6);
    }
    const struct ratelimit_verdict va = cache_limit_take(la, "k"), vb = cache_limit_take(lb, "k");
    cr_assert(va.is_over && vb.is_over);
    cr_assert_eq(va.wait_s, 1);
    cr_assert_not(cache_limit_take(la, "another").is_over, "keys do not share");
    (void)usleep(1100000);
    for (int i = 0; i < 6; i++)
        taken += !cache_limit_take(i % 2 == 0 ? la : lb, "k").is_over;
    cr_assert_eq(taken, 1, "%d within a second, and asking too often costs nothing", taken);
    cache_limit_free(la);
    cache_limit_free(lb);
    cache_free(a);
    cache_free(b);
}

Test(cache_redis, the_verdicts_are_those_of_the_process)
{
    struct cache *shared = make();
    const struct cache_conf conf = conf_of("");
    struct cache *alone = make_with(&conf);
    struct cache_limit *ls = limit(shared, 1, 7), *la = limit(alone, 1, 7);
    struct cache_limit *other = limit(shared, 1, 7); /* another process's table */
    unsigned seed = 1;

    for (int i = 0; i < 2000; i++) {
        struct cache_limit *l = rand_r(&seed) % 2 != 0 ? ls : other;
        const struct ratelimit_verdict a = cache_limit_take(la, "k"), s = cache_limit_take(l, "k");
        cr_assert_eq(a.is_over, s.is_over, "%d", i);
        cr_assert_eq(a.remaining, s.remaining, "%d: %" PRId64 " %" PRId64, i, a.remaining,
                     s.remaining);
        cr_assert_leq(labs((long)(a.wait_s - s.wait_s)), 1,
                      "%d: %d %" PRId64 " %" PRId64 ", left %" PRId64, i, a.is_over, a.wait_s,
                      s.wait_s, a.remaining);
        if (!a.is_over && rand_r(&seed) % 8 != 0) { /* who took gives back */
            cache_limit_give_back(l, "k");
            cache_limit_give_back(la, "k");
        }
    }
    cache_limit_free(ls);
    cache_limit_free(la);
    cache_limit_free(other);
    cache_free(shared);
    cache_free(alone);
}

Test(cache_redis, a_value_of_one_is_found_by_the_other)
{
    struct cache *a = make(), *b = make();
    struct buf value;

    buf_init(&value, 16);
    cr_assert_eq(cache_get(b, "stats 7", &value), CACHE_ABSENT);
    cache_put(a, "stats 7", "\0\n1", 3, 60);
    cr_assert_eq(cache_get(b, "stats 7", &value), 0);
    cr_assert_eq(value.len, 3);
    cr_assert_arr_eq(value.data, "\0\n1", 3);
    cache_put(a, "stats 8", "12345678901234567", 17, 60);
    cr_assert_eq(cache_get(b, "stats 8", &value), CACHE_ABSENT, "does not fit");
    cr_assert_eq(value.len, 3);
    cache_put(a, "short", "1", 1, 1);
    (void)usleep(1100000);
    cr_assert_eq(cache_get(a, "short", &value), CACHE_ABSENT);
    buf_done(&value);
    cache_free(a);
    cache_free(b);
}

struct talker {
    struct cache *cache;
    _Atomic bool is_over;
};

static void *talk(void *arg)
{
    struct talker *t = arg;

    while (!atomic_load(&t->is_over)) {
        cache_publish(t->cache, CACHE_COMMITTED, "9");
        cache_publish(t->cache, CACHE_CREDENTIALS, "user 7");
    }
    return NULL;
}

/* A subscription that begins late loses what is said until then, and is never current again. */
Test(cache_redis, who_begins_among_messages_hears_all_of_them)
{
    struct talker t = {.cache = make()};
    const struct cache_conf conf = conf_of(server.url);
    struct err e = {0};

    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        struct cache *b = make_with(&conf);
        atomic_store(&t.is_over, false);
        cr_assert_eq(pthread_create(&thread, NULL, talk, &t), 0);
        cr_assert_eq(cache_start(b, &e), 0, "%s", e.text);
        (void)usleep(50000);
        atomic_store(&t.is_over, true);
        (void)pthread_join(thread, NULL);
        (void)usleep(150000); /* a sign of life later it knows what there was to hear */
        cr_assert(becomes(b, true), "%d", i);
        cache_free(b);
    }
    cache_free(t.cache);
}

Test(cache_redis, a_message_reaches_the_own_listener_at_once_and_the_others_soon)
{
    struct heard at_a = {0}, at_b = {0}, news = {0};
    const struct cache_conf conf = conf_of(server.url);
    struct cache *a = make_with(&conf), *b = make_with(&conf);

    cache_listen(a, CACHE_CREDENTIALS, note, &at_a);
    cache_listen(b, CACHE_CREDENTIALS, note, &at_b);
    cache_listen(b, CACHE_COMMITTED, note, &news);
    run(a);
    run(b);
    cr_assert_geq(at_b.nulls, 1, "what was kept before the subscription is forgotten");
    const uint64_t heard = cache_heard(b, CACHE_CREDENTIALS);

    cache_publish(a, CACHE_CREDENTIALS, "user 7");
    cr_assert_str_eq(at_a.text, "user 7");
    cr_assert(hears(&at_b.n, 1));
    cr_assert_str_eq(at_b.text, "user 7");
    cr_assert_neq(cache_heard(b, CACHE_CREDENTIALS), heard);
    cr_assert_eq(at_a.n, 1, "its own message does not come back");

    for (int i = 0; i < 1000; i++)
        cache_publish(a, CACHE_COMMITTED, "");
    cr_assert(hears(&news.n, 1));
    cache_free(a);
    cache_free(b);
}

Test(cache_redis, what_was_said_before_a_take_is_heard_or_known_to_be_missing)
{
    struct heard heard = {0};
    const struct cache_conf conf = conf_of(server.url);
    struct cache *a = make(), *b = make_with(&conf);
    cache_listen(b, CACHE_CREDENTIALS, note, &heard);
    run(b);
    struct cache_limit *l = limit(b, 6000000, 100000);
    int current = 0;

    for (int i = 1; i <= 2000; i++) {
        cache_publish(a, CACHE_CREDENTIALS, "user 7");
        (void)cache_limit_take(l, "k");
        const bool is_current = cache_is_current(b, CACHE_CREDENTIALS);
        cr_assert(!is_current || heard.n == i, "it believed what it had after %d, %d heard", i,
                  heard.n);
        current += is_current;
        if (i % 50 == 0)
            cr_assert(becomes(b, true));
    }
    cr_assert_gt(current, 0);
    cache_limit_free(l);
    cache_free(a);
    cache_free(b);
}

Test(cache_redis, emptied_by_somebody_it_begins_anew)
{
    struct heard heard = {0};
    const struct cache_conf conf = conf_of(server.url);
    struct cache *a = make(), *b = make_with(&conf);
    cache_listen(b, CACHE_CREDENTIALS, note, &heard);
    run(b);

    for (int i = 0; i < 5; i++)
        cache_publish(a, CACHE_CREDENTIALS, "user 7");
    cr_assert(hears(&heard.n, 5));
    const int nulls = heard.nulls;
    redis_server_run(&server, "FLUSHALL");
    cr_assert(hears(&heard.nulls, nulls + 1));
    cr_assert(becomes(b, true));
    cache_publish(a, CACHE_CREDENTIALS, "user 8");
    cr_assert(hears(&heard.n, 6));
    cr_assert_str_eq(heard.text, "user 8");
    cr_assert(becomes(b, true));
    cache_free(a);
    cache_free(b);
}

/* ---------------------------------------------------------------- away */

static uint64_t longest_take(struct cache_limit *l, int n)
{
    uint64_t longest = 0;

    for (int i = 0; i < n; i++) {
        const uint64_t began = time_mono_ns();
        (void)cache_limit_take(l, "some");
        const uint64_t took = time_mono_ns() - began;
        longest = took > longest ? took : longest;
    }
    return longest;
}

Test(cache_redis, killed_and_brought_back)
{
    struct heard heard = {0};
    const struct cache_conf conf = conf_of(server.url);
    struct cache *a = make_with(&conf), *b = make();
    cache_listen(a, CACHE_CREDENTIALS, note, &heard);
    run(a);
    struct cache_limit *la = limit(a, 1, 4), *lb = limit(b, 1, 4);

    for (int i = 0; i < 4; i++)
        cr_assert_not(cache_limit_take(la, "guesser").is_over);
    redis_server_kill(&server);
    cr_assert(cache_limit_take(la, "guesser").is_over, "nobody is forgiven");
    cr_assert_not(cache_limit_take(la, "somebody").is_over, "work goes on");
    cr_assert_not(cache_is_current(a, CACHE_CREDENTIALS));
    cr_assert_lt(longest_take(la, 1000), UINT64_C(3) * TIMEOUT_MS * MS);
    cache_put(a, "kept", "1", 1, 60);
    struct buf value;
    buf_init(&value, 16);
    cr_assert_eq(cache_get(a, "kept", &value), 0, "in the process meanwhile");
    buf_done(&value);

    const int nulls = heard.nulls;
    redis_server_again(&server);
    cr_assert(becomes(a, true) && becomes(b, true), "it comes back alone");
    cr_assert_gt(heard.nulls, nulls, "messages may have been missed");
    for (int i = 0; i < 4; i++)
        cr_assert_not(cache_limit_take(i % 2 == 0 ? la : lb, "third").is_over);
    cr_assert(cache_limit_take(la, "third").is_over && cache_limit_take(lb, "third").is_over);
    cache_limit_free(la);
    cache_limit_free(lb);
    cache_free(a);
    cache_free(b);
}

Test(cache_redis, paused_it_costs_one_short_wait)
{
    struct cache_conf conf = conf_of(server.url);
    conf.timeout_ns = SHORT_MS * (int64_t)MS;
    struct cache *c = make_with(&conf);
    run(c);
    struct cache_limit *l = limit(c, 6000000, 100000);

    (void)kill(server.pid, SIGSTOP);
    const uint64_t first = longest_take(l, 1);
    cr_assert_geq(first, SHORT_MS * MS / 2, "is it paused?");
    cr_assert_lt(first, UINT64_C(10) * SHORT_MS * MS, "%" PRIu64 " ms", first / MS);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    const uint64_t began = time_mono_ns();
    (void)longest_take(l, 10000);
    cr_assert_lt(time_mono_ns() - began, SHORT_MS * MS, "10000 more together");
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    (void)kill(server.pid, SIGCONT);
    cr_assert(becomes(c, true));
    cache_limit_free(l);
    cache_free(c);
}

Test(cache_redis, paused_and_not_asked_it_is_noticed_within_a_second)
{
    struct cache *c = make();

    (void)kill(server.pid, SIGSTOP);
    (void)usleep(1100000);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    (void)kill(server.pid, SIGCONT);
    cr_assert(becomes(c, true));
    cache_free(c);
}

Test(cache_redis, what_could_not_be_said_is_said_later_for_all)
{
    struct heard heard = {0};
    struct cache_conf conf = conf_of(server.url);
    conf.timeout_ns = SHORT_MS * (int64_t)MS;
    struct cache *a = make_with(&conf), *b = make_with(&conf);
    cache_listen(b, CACHE_CREDENTIALS, note, &heard);
    run(a);
    run(b);
    const int nulls = heard.nulls;

    redis_server_run(&server, "CLIENT PAUSE 600 WRITE"); /* b's sign of life goes on */
    cache_publish(a, CACHE_CREDENTIALS, "user 7");
    cr_assert(hears(&heard.nulls, nulls + 1));
    cr_assert(becomes(a, true));
    cache_free(a);
    cache_free(b);
}

Test(cache_redis, a_server_that_cannot_be_written_is_none)
{
    struct cache *c = make();
    struct cache_limit *l = limit(c, 1, 2);

    redis_server_run(&server, "CONFIG SET maxmemory 1");
    cr_assert_not(cache_limit_take(l, "k").is_over);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    cr_assert_not(cache_limit_take(l, "k").is_over);
    cr_assert(cache_limit_take(l, "k").is_over);
    (void)usleep(600000);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS), "it does not flap");
    redis_server_run(&server, "CONFIG SET maxmemory 0");
    cr_assert(becomes(c, true));

    redis_server_run(&server, "REPLICAOF 127.0.0.1 1");
    cr_assert_not(cache_limit_take(l, "other").is_over);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    redis_server_run(&server, "REPLICAOF NO ONE");
    cr_assert(becomes(c, true));
    cache_limit_free(l);
    cache_free(c);
}

Test(cache_redis, forgotten_scripts_are_sent_again)
{
    struct cache *c = make();
    struct cache_limit *l = limit(c, 1, 3);

    cr_assert_eq(cache_limit_take(l, "k").remaining, 2);
    redis_server_run(&server, "SCRIPT FLUSH");
    cr_assert_eq(cache_limit_take(l, "k").remaining, 1);
    redis_server_run(&server, "SCRIPT FLUSH");
    cache_limit_give_back(l, "k");
    cr_assert_eq(cache_limit_take(l, "k").remaining, 1);
    cr_assert(cache_is_current(c, CACHE_CREDENTIALS));
    cache_limit_free(l);
    cache_free(c);
}

/* ---------------------------------------------------------------- bounds */

Test(cache_redis, every_key_has_the_prefix_and_an_end_and_no_name_in_it)
{
    struct cache *c = make();
    struct cache_limit *l = limit(c, 60, 5);

    for (int i = 0; i < 10; i++)
        (void)cache_limit_take(l, "192.0.2.1 admin");
    cache_limit_give_back(l, "192.0.2.1 admin");
    cache_limit_give_back(l, "nobody");
    cache_put(c, "stats 7", "1", 1, 60);
    cache_publish(c, CACHE_CREDENTIALS, "user 7");
    cache_publish(c, CACHE_COMMITTED, "");

    redisReply *keys = redis_server_do(&server, "KEYS *");
    cr_assert_geq(keys->elements, 4, "%zu", keys->elements);
    for (size_t i = 0; i < keys->elements; i++) {
        const char *key = keys->element[i]->str;
        const long long most = strncmp(key, "wind:round:", 11) == 0 ? 86400 : 61;
        redisReply *ttl = redis_server_do(&server, "TTL %s", key);
        cr_assert(ttl->integer >= 0 && ttl->integer <= most, "%s: %lld", key, ttl->integer);
        cr_assert_eq(strncmp(key, "wind:", 5), 0, "%s", key);
        cr_assert(strstr(key, "admin") == NULL && strstr(key, "192") == NULL, "%s", key);
        freeReplyObject(ttl);
    }
    freeReplyObject(keys);
    cache_limit_free(l);
    cache_free(c);
}

/* ---------------------------------------------------------------- passwords and addresses */

static void write_password(char *path, const char *password)
{
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, password, strlen(password)), (ssize_t)strlen(password));
    (void)close(fd);
}

Test(cache_redis, it_logs_in)
{
    char right[] = "/tmp/wind-cache-XXXXXX", wrong[] = "/tmp/wind-cache-XXXXXX", url[96] = "";
    struct cache_conf conf = conf_of(url);
    struct err e = {0};

    write_password(right, "s p\"ace\n");
    write_password(wrong, "other\n");
    freeReplyObject(
        redis_server_do(&server, "ACL SETUSER us~er on >%s ~wind:* &wind:* +@all", "s p\"ace"));
    redis_server_run(&server, "ACL SETUSER default off");
    (void)snprintf(url, sizeof(url), "redis://us%%7eer@localhost:%d/3", server.port);
    conf.password_file = wrong;
    struct cache *c = make_with(&conf);
    cr_assert_eq(cache_start(c, &e), 0);
    (void)usleep(400000);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    cache_free(c);

    conf.password_file = right;
    c = make_with(&conf);
    run(c);
    cache_put(c, "a", "1", 1, 60);
    cr_assert(cache_is_current(c, CACHE_CREDENTIALS));
    cache_free(c);
    (void)unlink(right);
    (void)unlink(wrong);
}

Test(cache_redis, an_address_that_is_none_is_an_error_at_the_start)
{
    static const char *const wrong[] = {
        "redis:",           "http://localhost",    "rediss://localhost",     "redis://",
        "localhost:6379",   "redis://localhost/x", "redis://localhost:0",    "redis://h/1?x=2",
        "redis://h:123456", "redis://h/-1",        "redis://:secret@h:6379", "redis://u:secret@h",
    };
    struct cache_conf conf = conf_of(NULL);

    for (size_t i = 0; i < WIND_ARRAY_SIZE(wrong); i++) {
        struct cache *c = NULL;
        struct err e = {0};
        conf.url = wrong[i];
        cr_assert_eq(cache_new(&c, &conf, &e), -EINVAL, "%s", wrong[i]);
        cr_assert(strstr(e.text, "cache.url") != NULL, "%s", e.text);
        cr_assert(strstr(e.text, "secret") == NULL, "%s", e.text);
    }
}

Test(cache_redis, another_machine_in_plain_text_has_to_be_asked_for)
{
    static const char *const far[] = {"redis://192.0.2.1", "redis://redis",
                                      "redis://[2001:db8::1]"};
    static const char *const here[] = {"redis://127.8.9.1", "redis://localhost", "redis://[::1]:1"};
    struct cache_conf conf = conf_of(NULL);

    for (size_t i = 0; i < WIND_ARRAY_SIZE(far); i++) {
        struct cache *c = NULL;
        struct err e = {0};
        conf.url = far[i];
        conf.is_insecure = false;
        cr_assert_eq(cache_new(&c, &conf, &e), -EINVAL, "%s", far[i]);
        cr_assert(strstr(e.text, "cache.insecure") != NULL, "%s", e.text);
        conf.is_insecure = true;
        cr_assert_eq(cache_new(&c, &conf, &e), 0);
        cache_free(c);
        conf.url = here[i];
        conf.is_insecure = false;
        cr_assert_eq(cache_new(&c, &conf, &e), 0, "%s", e.text);
        cache_free(c);
    }
}

Test(cache_redis, a_cache_that_cannot_connect_starts_anyway)
{
    const struct cache_conf conf = conf_of("redis://127.0.0.1:1");
    struct cache *c = make_with(&conf);
    struct cache_limit *l = limit(c, 60, 1);
    struct err e = {0};

    cr_assert_eq(cache_start(c, &e), 0);
    cr_assert_not(cache_limit_take(l, "k").is_over);
    cr_assert(cache_limit_take(l, "k").is_over);
    cr_assert_not(cache_is_current(c, CACHE_CREDENTIALS));
    cache_limit_free(l);
    cache_free(c);
}
