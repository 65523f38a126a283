#include "sensor/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/time.h"
#include "sensor/lru.h"

#define SLACK_NS WIND_NS_PER_S /* packets come out of order */

struct names_key {
    uint8_t client[16]; /* who was told; all zero: anybody */
    uint8_t address[16];
};

struct known {
    uint64_t since_ns, until_ns;
    char name[RECORD_NAME_MAX];
};

struct names {
    struct names_conf conf;
    struct counters *counters;
    struct lru *known;
};

int names_new(struct names **ret_names, const struct names_conf *conf, struct counters *counters,
              struct err *e)
{
    WIND_AUTO(names) struct names *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    n->conf = *conf;
    n->counters = counters;
    const int r = lru_new(&n->known, conf->max, sizeof(struct names_key), sizeof(struct known), e);
    if (r < 0)
        return err_wrap(e, r, "dns.names_max");
    *ret_names = WIND_STEAL(n);
    return 0;
}

struct names *names_free(struct names *n)
{
    if (n != NULL) {
        n->known = lru_free(n->known);
        free(n);
    }
    return NULL;
}

/* ---------------------------------------------------------------- learning */

static uint64_t lifetime(const struct names *n, uint32_t ttl)
{
    const uint64_t ns = ttl * WIND_NS_PER_S;

    if (ns < n->conf.ttl_min_ns)
        return n->conf.ttl_min_ns;
    return ns < n->conf.ttl_max_ns ? ns : n->conf.ttl_max_ns;
}

static void learn(struct names *n, const struct names_key *key, const char *name, uint64_t now_ns,
                  uint64_t until_ns)
{
    struct known *const k = lru_touch(n->known, key, NULL);

    if (k->until_ns < now_ns || strcmp(k->name, name) != 0) {
        k->since_ns = now_ns;
        k->until_ns = 0;
        memcpy(k->name, name, sizeof(k->name));
    }
    k->until_ns = until_ns > k->until_ns ? until_ns : k->until_ns;
}

static void prefetch_both(const struct names *n, const uint8_t client[16],
                          const uint8_t address[16])
{
    struct names_key key = {.client = {0}};

    memcpy(key.address, address, sizeof(key.address));
    lru_prefetch(n->known, &key);
    memcpy(key.client, client, sizeof(key.client));
    lru_prefetch(n->known, &key);
}

void names_learn(struct names *n, const struct named_record *r)
{
    static const uint8_t anybody[16];
    char name[RECORD_NAME_MAX] = "";
    struct names_key key;

    memcpy(name, r->name, strnlen(r->name, sizeof(name) - 1));
    for (uint32_t i = 0; i < r->n_addresses; i++)
        prefetch_both(n, r->client, r->address[i].address);
    for (uint32_t i = 0; i < r->n_addresses; i++) {
        const uint64_t until_ns = r->header.time_ns + lifetime(n, r->address[i].ttl);

        memset(key.client, 0, sizeof(key.client));
        memcpy(key.address, r->address[i].address, sizeof(key.address));
        learn(n, &key, name, r->header.time_ns, until_ns);
        if (memcmp(r->client, anybody, sizeof(anybody)) == 0)
            continue;
        memcpy(key.client, r->client, sizeof(key.client));
        learn(n, &key, name, r->header.time_ns, until_ns);
    }
    counters_set(n->counters, COUNTER_names_live, lru_live(n->known));
    counters_set(n->counters, COUNTER_names_evicted, lru_evicted(n->known));
}

/* ---------------------------------------------------------------- asking */

static bool held_then(const struct known *k, uint64_t start_ns)
{
    return k->since_ns <= start_ns + SLACK_NS && start_ns <= k->until_ns;
}

static bool name_of(struct names *n, const uint8_t address[16], const uint8_t other[16],
                    uint64_t start_ns, char ret_name[RECORD_NAME_MAX])
{
    struct names_key key = {.client = {0}};

    memcpy(key.address, address, sizeof(key.address));
    const struct known *const anybody = lru_find(n->known, &key);
    if (anybody == NULL) /* of what is told to one, anybody is told */
        return false;
    memcpy(key.client, other, sizeof(key.client));
    const struct known *k = lru_find(n->known, &key);
    if (k == NULL || !held_then(k, start_ns))
        k = anybody;
    if (!held_then(k, start_ns))
        return false;
    memcpy(ret_name, k->name, RECORD_NAME_MAX);
    return true;
}

void names_prefetch(const struct names *n, const struct flow_record *r)
{
    struct names_key key = {.client = {0}};

    memcpy(key.address, r->key.dst, sizeof(key.address));
    lru_prefetch(n->known, &key);
    memcpy(key.address, r->key.src, sizeof(key.address));
    lru_prefetch(n->known, &key);
}

void names_fill(struct names *n, struct flow_record *r)
{
    r->names = 0;
    if (lru_live(n->known) == 0)
        return;
    if (name_of(n, r->key.dst, r->key.src, r->start_ns, r->dst_name))
        r->names |= FLOW_NAME_DST;
    if (name_of(n, r->key.src, r->key.dst, r->start_ns, r->src_name))
        r->names |= FLOW_NAME_SRC;
    if (r->names != 0 && r->header.kind == RECORD_FLOW_ENDED)
        counters_add(n->counters, COUNTER_names_used, 1);
}
