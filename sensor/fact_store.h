/*
 * fact_store.h - what was said on each flow, in pieces of one size from a common store.
 *
 * Why      Most flows say nothing that we can read, some say a lot: memory goes where it is needed.
 * Owns     The facts of every flow, until fact_drop.
 * Threads  One.
 * Bounds   `memory` bytes in all, then a fact is refused and counted (facts.no_memory). At most
 *          RECORD_FACTS_MAX bytes a flow, as in a record; then FACT_CUT is the last (facts.cut).
 *          Memory that was never needed is never touched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base.h"
#include "common/err.h"
#include "common/record.h"
#include "sensor/counter.h"

struct fact_store;
struct facts; /* of one flow; NULL: none */

WIND_MUST_USE int fact_store_new(struct fact_store **ret_store, size_t memory,
                                 struct counters *counters, struct err *e);
struct fact_store *fact_store_free(struct fact_store *s); /* no flow may have facts any more */
WIND_DEFINE_FREE(fact_store)

/* Append a fact; *f is made when it is the first. False: no room, and counted. */
bool fact_add(struct fact_store *s, struct facts **f, enum record_fact_type type, const void *p,
              size_t len);

/* FACT_CUT was added: nothing more will be. */
bool fact_is_full(const struct facts *f);

/* How many bytes fact_copy writes. */
size_t fact_len(const struct facts *f);

/* All facts, as they lie in a record. Returns fact_len. */
size_t fact_copy(const struct facts *f, uint8_t *ret_bytes);

/*
 * The newest fact: its header and first bytes, at most `max`. Returns how many, 0 when there is
 * none; *ret_at is where it begins in what fact_copy writes.
 */
size_t fact_newest(const struct facts *f, uint8_t *ret_bytes, size_t max, size_t *ret_at);

/* A number for whoever adds facts that may be withdrawn: how many of them are left. */
uint16_t *fact_open(struct facts *f);

/* Withdraw the fact whose header lies `at` bytes into what fact_copy wrote: it is FACT_NONE now. */
void fact_withdraw(struct facts *f, size_t at);

/* Forget them; NULL is fine. Always returns NULL. */
struct facts *fact_drop(struct fact_store *s, struct facts *f);

/* ---------------------------------------------------------------- what fact_copy wrote */

/* Step through `len` bytes from *at on. NULL: no more, or what is there makes no sense. */
static inline const uint8_t *fact_next(const uint8_t *bytes, size_t len, size_t *at,
                                       struct record_fact *ret_fact)
{
    if (len - *at < sizeof(*ret_fact))
        return NULL;
    memcpy(ret_fact, bytes + *at, sizeof(*ret_fact));
    if (ret_fact->len > len - *at - sizeof(*ret_fact))
        return NULL;
    const uint8_t *const p = bytes + *at + sizeof(*ret_fact);
    *at += sizeof(*ret_fact) + ret_fact->len;
    return p;
}

/* The server's name: nDPI's, else SNI, else what the first DNS message is about. Lower case. */
void fact_server_name(const uint8_t *bytes, size_t len, char ret_name[RECORD_NAME_MAX]);
