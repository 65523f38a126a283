/*
 * bus_dlq.h - the dead letter topic <prefix>dlq: what can't be stored, as it came, and why.
 *
 * Why      One bad message must not stop the topic, and must not vanish either.
 * Owns     A producer (threads of its own).
 * Threads  One, which waits for the answers: when send returns nothing is under way any more.
 * Bounds   DLQ_TIMEOUT_MS for a batch. A message that the broker calls too large is sent again
 *          with its first DLQ_CUT bytes and a header `cut`. A process that is killed between the
 *          answer and the commit of the offset sends it once more: twice is possible, never is not.
 *
 * The value and headers are those of the message, beside them reason, topic, partition, offset
 * and sensor ("" when nobody knows). The key is its key.
 */
#pragma once

#include <stdint.h>

#include "collector/bus_message.h"
#include "common/conf.h"

#define DLQ_TIMEOUT_MS 10000
#define DLQ_CUT        ((size_t)16 * 1024)

struct bus_dlq;

struct bus_dlq_conf {
    const char *brokers, *prefix, *password_file;
    const struct conf_list *options;
};

WIND_MUST_USE int bus_dlq_check(const struct bus_dlq_conf *conf, struct err *e);
WIND_MUST_USE int bus_dlq_new(struct bus_dlq **ret_dlq, const struct bus_dlq_conf *conf,
                              struct err *e);
struct bus_dlq *bus_dlq_free(struct bus_dlq *d);
WIND_DEFINE_FREE(bus_dlq)

/*
 * Send all of `m` that are stored, have a reason and are not done; those that the broker has are
 * done afterwards. < 0: some are not.
 */
WIND_MUST_USE int bus_dlq_send(struct bus_dlq *d, struct bus_message *m, size_t n, struct err *e);
