/*
 * race_cache: threads take, keep, find and publish through one cache, another one listens, while
 * their Redis is killed, paused and brought back. Made for ThreadSanitizer.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "collector/cache.h"
#include "common/time.h"
#include "support/redis_server.h"

#define THREADS 6
#define WAIT_NS (2 * WIND_NS_PER_S) /* no call takes longer, also on a busy machine */

struct shared {
    struct cache *cache;
    struct cache_limit *limit;
    _Atomic bool stop;
    _Atomic uint64_t calls, longest_ns, heard;
};

static void note(void *arg, const char *text)
{
    struct shared *s = arg;

    (void)text;
    atomic_fetch_add(&s->heard, 1);
}

static void *work(void *arg)
{
    struct shared *s = arg;
    char key[16];

    for (unsigned i = 0; !atomic_load(&s->stop); i++) {
        const uint64_t began = time_mono_ns();
        struct buf value;

        buf_init(&value, 64);
        (void)snprintf(key, sizeof(key), "key %u", i % 100);
        if (cache_is_current(s->cache, CACHE_CREDENTIALS))
            (void)cache_limit_take(s->limit, key);
        (void)cache_limit_take(s->limit, "one");
        cache_limit_give_back(s->limit, "one");
        cache_put(s->cache, key, key, sizeof(key), 10);
        (void)cache_get(s->cache, key, &value);
        cache_publish(s->cache, i % 8 == 0 ? CACHE_CREDENTIALS : CACHE_COMMITTED, "user 7");
        buf_done(&value);

        const uint64_t took = time_mono_ns() - began;
        uint64_t longest = atomic_load(&s->longest_ns);
        while (took > longest && !atomic_compare_exchange_weak(&s->longest_ns, &longest, took))
            ;
        atomic_fetch_add(&s->calls, 1);
    }
    return NULL;
}

static struct cache *make(const char *url, struct shared *listener)
{
    const struct cache_conf conf = {.url = url,
                                    .password_file = "",
                                    .prefix = "race:",
                                    .timeout_ns = 50 * (int64_t)WIND_NS_PER_MS,
                                    .connections = 3,
                                    .memory = (size_t)64 * 1024};
    struct cache *c = NULL;

    WIND_CHECK(cache_new(&c, &conf, NULL) == 0);
    cache_listen(c, CACHE_CREDENTIALS, note, listener);
    WIND_CHECK(cache_start(c, NULL) == 0);
    return c;
}

static void disturb(struct redis_server *server)
{
    (void)usleep(200000);
    for (int i = 0; i < 5; i++) {
        redis_server_kill(server);
        (void)usleep(100000);
        redis_server_again(server);
        (void)usleep(200000);
        (void)kill(server->pid, SIGSTOP);
        (void)usleep(150000);
        (void)kill(server->pid, SIGCONT);
        (void)usleep(200000);
    }
}

int main(void)
{
    static struct shared a, b;
    const struct ratelimit_conf conf = {6000000, 1000, 256};
    struct redis_server server;
    pthread_t threads[THREADS];

    redis_server_start(&server);
    a.cache = make(server.url, &a);
    b.cache = make(server.url, &b);
    WIND_CHECK(cache_limit_new(&a.limit, a.cache, "race", &conf, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        WIND_CHECK(pthread_create(&threads[i], NULL, work, &a) == 0);
    disturb(&server);
    atomic_store(&a.stop, true);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    for (int i = 0; i < 500 && !(cache_is_current(a.cache, CACHE_CREDENTIALS) &&
                                 cache_is_current(b.cache, CACHE_CREDENTIALS));
         i++)
        (void)usleep(10000);

    const bool good = cache_is_current(a.cache, CACHE_CREDENTIALS) &&
                      cache_is_current(b.cache, CACHE_CREDENTIALS) && b.heard > 0 &&
                      a.longest_ns < WAIT_NS;
    (void)printf("%" PRIu64 " rounds, %" PRIu64 " heard by the other, the longest %" PRIu64
                 " ms: %s\n",
                 a.calls, b.heard, a.longest_ns / WIND_NS_PER_MS, good ? "fine" : "WRONG");
    cache_limit_free(a.limit);
    cache_free(a.cache);
    cache_free(b.cache);
    redis_server_kill(&server);
    return good ? 0 : 1;
}
