#include "collector/cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)64 * 1024)

static struct cache *make(void)
{
    struct cache *c = NULL;
    struct err e = {0};
    const struct cache_conf conf = {.memory = MEMORY};
    cr_assert_eq(cache_new(&c, &conf, &e), 0, "%s", e.text);
    return c;
}

static bool holds(struct cache *c, const char *key, const char *value)
{
    struct buf b;
    buf_init(&b, MEMORY);
    const int r = cache_get(c, key, &b);
    const bool is_same = r == 0 && strcmp(buf_text(&b), value) == 0;
    buf_done(&b);
    return is_same;
}

static bool is_absent(struct cache *c, const char *key)
{
    struct buf b;
    buf_init(&b, MEMORY);
    const int r = cache_get(c, key, &b);
    buf_done(&b);
    return r == CACHE_ABSENT;
}

Test(cache, a_value_is_there_until_it_is_replaced)
{
    struct cache *c = make();

    cr_assert(is_absent(c, "a"));
    cache_put(c, "a", "1", 1, 60);
    cr_assert(holds(c, "a", "1"));
    cache_put(c, "a", "22", 2, 60);
    cr_assert(holds(c, "a", "22"));
    cache_put(c, "empty", "", 0, 60);
    cr_assert(holds(c, "empty", ""));
    cache_free(c);
}

Test(cache, a_value_ends_with_its_time)
{
    struct cache *c = make();

    cache_put(c, "a", "1", 1, 0);
    cr_assert(is_absent(c, "a"));
    cache_free(c);
}

Test(cache, a_value_too_large_is_not_kept_and_the_old_one_is_gone)
{
    struct cache *c = make();
    char *large = calloc(1, MEMORY);

    cache_put(c, "a", "1", 1, 60);
    cache_put(c, "a", large, MEMORY / 4, 60);
    cr_assert(is_absent(c, "a"));
    free(large);
    cache_free(c);
}

Test(cache, the_value_unused_longest_gives_way)
{
    struct cache *c = make();
    char key[16], value[1024];
    int kept = 0;

    memset(value, 'x', sizeof(value));
    cache_put(c, "used", "1", 1, 60);
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        cache_put(c, key, value, sizeof(value), 60);
        cr_assert(holds(c, "used", "1"), "after %d values", i);
    }
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        kept += !is_absent(c, key);
    }
    cr_assert_geq(kept, 40, "%d", kept);
    cr_assert_leq(kept, 63, "%d values of 1 kB in 64 kB", kept);
    cache_free(c);
}

Test(cache, a_value_that_does_not_fit_the_callers_buffer_is_absent)
{
    struct cache *c = make();
    struct buf b;

    buf_init(&b, 4);
    buf_puts(&b, "ab");
    cache_put(c, "a", "123", 3, 60);
    cr_assert_eq(cache_get(c, "a", &b), CACHE_ABSENT);
    cr_assert_str_eq(buf_text(&b), "ab");
    buf_done(&b);
    cache_free(c);
}

static void note(void *arg, const char *text)
{
    (void)snprintf(arg, 64, "%s", text != NULL ? text : "(missed)");
}

Test(cache, a_topic_reaches_its_own_listener_at_once)
{
    struct cache *c = make();
    char heard[64] = "";

    cache_publish(c, CACHE_CREDENTIALS, "user 6"); /* nobody listens: fine */
    cache_listen(c, CACHE_CREDENTIALS, note, heard);
    cache_publish(c, CACHE_COMMITTED, "");
    cr_assert_str_eq(heard, "");
    cache_publish(c, CACHE_CREDENTIALS, "user 7");
    cr_assert_str_eq(heard, "user 7");
    cr_assert(cache_is_current(c, CACHE_CREDENTIALS));
    cache_free(c);
}
