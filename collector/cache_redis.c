#include "collector/cache_redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/time.h"

#define ROUND_S      "86400" /* life of the newest message's number; cache_redis_rounds renews it */
#define KEY_NAME_MAX 128     /* of a key without its prefix: a kind and a digest */

/*
 * The time at which the key is forgiven all (GCRA, as ratelimit.c), in microseconds of the
 * server's clock, so that the collectors' clocks need not agree.
 */
static const char take_script[] =
    "local t = redis.call('TIME') "
    "local r, q = redis.call('GET', KEYS[2]) or '0', redis.call('GET', KEYS[3]) or '0' "
    "local now, step, room = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2]) "
    "local clear = tonumber(redis.call('GET', KEYS[1]) or 0) "
    "if clear < now then clear = now end "
    "clear = clear + step "
    "local used = clear - now "
    "if used > room then return {1, string.format('%.0f', used - room), r, q} end "
    "redis.call('SET', KEYS[1], string.format('%.3f', clear), 'PX', math.ceil(used / 1000) + 1) "
    "return {0, string.format('%.0f', used), r, q}";

static const char give_back_script[] =
    "local clear, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) "
    "if clear and left > 0 then redis.call('SET', KEYS[1], "
    "string.format('%.3f', clear - ARGV[1]), 'PX', left) end "
    "return 1";

/* Messages are numbered: who takes from a limit sees if one is on its way. */
static const char tell_script[] =
    "local round = redis.call('INCR', KEYS[1]) "
    "redis.call('EXPIRE', KEYS[1], ARGV[4]) "
    "redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. round .. ' ' .. ARGV[3]) "
    "return 1";

static const char rounds_script[] =
    "local rounds = {} "
    "for i, key in ipairs(KEYS) do rounds[i] = redis.call('GET', key) or '0' "
    "redis.call('EXPIRE', key, ARGV[1]) end "
    "return rounds";

struct script {
    const char *text;
    char digest[41];
};

static const char *const cache_channels[CACHE_TOPICS] = {
    [CACHE_COMMITTED] = "committed",
    [CACHE_CREDENTIALS] = "credentials",
};

struct cache_redis {
    struct redis *redis;
    char prefix[CACHE_PREFIX_MAX + 1];
    char me[UUID_TEXT];
    char round_keys[CACHE_TOPICS][CACHE_PREFIX_MAX + KEY_NAME_MAX];
    struct script take, give_back, tell, rounds;
};

/* ---------------------------------------------------------------- names */

static void script_init(struct script *s, const char *text)
{
    uint8_t digest[SHA1_BYTES];

    s->text = text;
    crypto_sha1(text, strlen(text), digest);
    (void)hex_encode(digest, sizeof(digest), s->digest);
}

struct key {
    char text[CACHE_PREFIX_MAX + KEY_NAME_MAX];
    size_t n;
};

/* People's names and addresses do not go to Redis, and a key has a known length. */
static struct redis_word key_make(const struct cache_redis *s, struct key *k, const char *kind,
                                  const char *name)
{
    uint8_t digest[SHA256_BYTES];
    char hex[HEX_TEXT(16)];

    crypto_sha256(name, strlen(name), digest);
    (void)hex_encode(digest, 16, hex);
    k->n = (size_t)snprintf(k->text, sizeof(k->text), "%s%s:%s", s->prefix, kind, hex);
    return (struct redis_word){k->text, k->n};
}

/* ---------------------------------------------------------------- life */

int cache_redis_new(struct cache_redis **ret, const struct cache_conf *conf, struct err *e)
{
    WIND_AUTO(cache_redis) struct cache_redis *s = calloc(1, sizeof(*s));
    const struct redis_conf redis = {.url = conf->url,
                                     .password_file = conf->password_file,
                                     .prefix = conf->prefix,
                                     .is_insecure = conf->is_insecure,
                                     .timeout_ns = conf->timeout_ns,
                                     .connections = conf->connections};
    uint8_t random[10], uuid[16];

    if (s == NULL)
        return err_set(e, -ENOMEM, "cache: out of memory");
    (void)snprintf(s->prefix, sizeof(s->prefix), "%s", conf->prefix);
    for (int t = 0; t < CACHE_TOPICS; t++)
        (void)snprintf(s->round_keys[t], sizeof(s->round_keys[t]), "%sround:%s", conf->prefix,
                       cache_channels[t]);
    script_init(&s->take, take_script);
    script_init(&s->give_back, give_back_script);
    script_init(&s->tell, tell_script);
    script_init(&s->rounds, rounds_script);
    crypto_random(random, sizeof(random));
    uuid_v7(time_wall_ns() / WIND_NS_PER_MS, random, uuid);
    uuid_format(uuid, s->me);
    const int r = redis_new(&s->redis, &redis, e);
    if (r != 0)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return r;
    *ret = WIND_STEAL(s);
    return 0;
}

struct cache_redis *cache_redis_free(struct cache_redis *s)
{
    if (s == NULL)
        return NULL;
    redis_free(s->redis);
    free(s);
    return NULL;
}

struct redis *cache_redis_server(struct cache_redis *s)
{
    return s->redis;
}

/* ---------------------------------------------------------------- values and limits */

int cache_redis_get(struct cache_redis *s, const char *key, struct buf *into)
{
    const size_t len = into->len;
    struct key k;
    const struct redis_word words[] = {redis_text("GET"), key_make(s, &k, "value", key)};
    redisReply *reply;

    if (redis_do(s->redis, words, 2, &reply) != 0)
        return REDIS_AWAY;
    const bool is_there = reply->type == REDIS_REPLY_STRING;
    if (is_there)
        buf_put(into, reply->str, reply->len);
    freeReplyObject(reply);
    if (!into->failed)
        return is_there ? 0 : CACHE_ABSENT;
    buf_truncate(into, len);
    return CACHE_ABSENT;
}

int cache_redis_put(struct cache_redis *s, const char *key, const struct redis_word *data,
                    int64_t ttl_s)
{
    char ttl[24];
    struct key k;
    redisReply *reply;

    (void)snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_s);
    const struct redis_word words[] = {redis_text("SET"), key_make(s, &k, "value", key), *data,
                                       redis_text("EX"), redis_text(ttl)};
    if (redis_do(s->redis, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    freeReplyObject(reply);
    return 0;
}

/* words[0] and [1] are for the script; the number of keys, keys and arguments follow. */
static int run_script(struct cache_redis *s, const struct script *script, struct redis_word *words,
                      size_t n, redisReply **ret)
{
    words[0] = redis_text("EVALSHA");
    words[1] = redis_text(script->digest);
    int r = redis_do(s->redis, words, n, ret);
    if (r == REDIS_NO_SCRIPT) { /* it has been started anew */
        words[0] = redis_text("EVAL");
        words[1] = redis_text(script->text);
        r = redis_do(s->redis, words, n, ret);
    }
    return r == 0 ? 0 : REDIS_AWAY;
}

static bool read_verdict(const redisReply *reply, const struct cache_rate *rate,
                         struct ratelimit_verdict *ret)
{
    const double room_us = rate->step_us * (double)rate->burst;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 + CACHE_TOPICS ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    const double us = strtod(reply->element[1]->str, NULL);
    const bool is_over = reply->element[0]->integer != 0;
    *ret = (struct ratelimit_verdict){
        .is_over = is_over,
        .limit = rate->burst,
        .remaining = is_over ? 0 : (int64_t)((room_us - us) / rate->step_us + 1e-6),
        .wait_s = (int64_t)((us + 999999) / 1e6),
    };
    return true;
}

/* The last CACHE_TOPICS elements. */
static bool read_rounds(const redisReply *reply, uint64_t ret[CACHE_TOPICS])
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < CACHE_TOPICS)
        return false;
    for (size_t t = 0; t < CACHE_TOPICS; t++) {
        const redisReply *round = reply->element[reply->elements - CACHE_TOPICS + t];
        if (round->type != REDIS_REPLY_STRING)
            return false;
        ret[t] = strtoull(round->str, NULL, 10);
    }
    return true;
}

int cache_redis_take(struct cache_redis *s, const struct cache_rate *rate, const char *key,
                     struct ratelimit_verdict *ret, uint64_t ret_rounds[CACHE_TOPICS])
{
    char step[32], room[32];
    struct key k;
    redisReply *reply;

    (void)snprintf(step, sizeof(step), "%.6f", rate->step_us);
    (void)snprintf(room, sizeof(room), "%.6f", rate->step_us * (double)rate->burst);
    _Static_assert(CACHE_TOPICS == 2, "the rounds that the script reads");
    struct redis_word words[8] = {[2] = redis_text("3"),
                                  key_make(s, &k, rate->name, key),
                                  redis_text(s->round_keys[0]),
                                  redis_text(s->round_keys[1]),
                                  redis_text(step),
                                  redis_text(room)};
    if (run_script(s, &s->take, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    const bool good = read_verdict(reply, rate, ret) && read_rounds(reply, ret_rounds);
    freeReplyObject(reply);
    return good ? 0 : REDIS_AWAY;
}

void cache_redis_give_back(struct cache_redis *s, const struct cache_rate *rate, const char *key)
{
    char step[32];
    struct key k;
    redisReply *reply;

    (void)snprintf(step, sizeof(step), "%.6f", rate->step_us);
    struct redis_word words[5] = {
        [2] = redis_text("1"), key_make(s, &k, rate->name, key), redis_text(step)};
    if (run_script(s, &s->give_back, words, WIND_ARRAY_SIZE(words), &reply) == 0)
        freeReplyObject(reply);
}

/* ---------------------------------------------------------------- messages */

/* "<who says it> <round> <text>" */
int cache_redis_publish(struct cache_redis *s, enum cache_topic t, const char *text)
{
    char channel[CACHE_PREFIX_MAX + KEY_NAME_MAX];
    redisReply *reply;

    (void)snprintf(channel, sizeof(channel), "%s%s", s->prefix, cache_channels[t]);
    struct redis_word words[8] = {[2] = redis_text("1"), redis_text(s->round_keys[t]),
                                  redis_text(channel),   redis_text(s->me),
                                  redis_text(text),      redis_text(ROUND_S)};
    if (run_script(s, &s->tell, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    freeReplyObject(reply);
    return 0;
}

int cache_redis_rounds(struct cache_redis *s, uint64_t ret[CACHE_TOPICS])
{
    redisReply *reply;

    _Static_assert(CACHE_TOPICS == 2, "the keys below");
    struct redis_word words[6] = {[2] = redis_text("2"),
                                  redis_text(s->round_keys[0]),
                                  redis_text(s->round_keys[1]),
                                  redis_text(ROUND_S)};
    if (run_script(s, &s->rounds, words, WIND_ARRAY_SIZE(words), &reply) != 0)
        return REDIS_AWAY;
    const bool good = read_rounds(reply, ret);
    freeReplyObject(reply);
    return good ? 0 : REDIS_AWAY;
}

static bool is_subscribed(const redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
           reply->element[0]->str != NULL && strcmp(reply->element[0]->str, "subscribe") == 0;
}

/*
 * One command for all channels. With one each, a message of the first would be taken for the answer
 * to the second, which hiredis had not even sent by then: what is said until it is, is lost.
 */
int cache_redis_subscribe(struct cache_redis *s, struct redisContext **ret, struct err *e)
{
    redisContext *c = NULL;
    int r = redis_dial(s->redis, &c, e);

    _Static_assert(CACHE_TOPICS == 2, "the channels below");
    if (r == 0 && redisAppendCommand(c, "SUBSCRIBE %s%s %s%s", s->prefix, cache_channels[0],
                                     s->prefix, cache_channels[1]) != REDIS_OK)
        r = err_set(e, -EAGAIN, "cannot subscribe");
    for (int t = 0; r == 0 && t < CACHE_TOPICS; t++) {
        void *reply = NULL;
        if (redisGetReply(c, &reply) != REDIS_OK || !is_subscribed(reply))
            r = err_set(e, -EAGAIN, "cannot subscribe");
        freeReplyObject(reply);
    }
    if (r == 0)
        *ret = c;
    else if (c != NULL)
        redisFree(c);
    return r;
}

bool cache_redis_read(const struct cache_redis *s, const struct redisReply *reply,
                      struct cache_message *ret)
{
    const size_t me = strlen(s->me), prefix = strlen(s->prefix);

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[1]->str == NULL || reply->element[2]->str == NULL ||
        strcmp(reply->element[0]->str, "message") != 0 || reply->element[1]->len < prefix ||
        reply->element[2]->len < me)
        return false;
    const char *text = reply->element[2]->str;
    char *rest = reply->element[2]->str + me;
    const bool is_committed =
        strcmp(reply->element[1]->str + prefix, cache_channels[CACHE_COMMITTED]) == 0;
    *ret = (struct cache_message){.topic = is_committed ? CACHE_COMMITTED : CACHE_CREDENTIALS,
                                  .is_own = strncmp(text, s->me, me) == 0};
    ret->round = strtoull(rest, &rest, 10);
    ret->text = *rest == ' ' ? rest + 1 : rest;
    return true;
}
