/*
 * bus.h - alerts and heartbeats from Kafka into the database, each once, nothing lost.
 *
 * Why      Where sensors are many, a broker stands between them and the collectors; these share
 *          the partitions as one consumer group, and another takes over when one dies.
 * Owns     A thread, its place in the group, the batch in hand, the producer for wind.dlq.
 * Threads  new, start, stop, free: main. The rest: any.
 * Bounds   A batch of kafka.batch messages and kafka.batch_bytes, complete after kafka.batch_wait,
 *          and smaller while the database takes longer than a second for one;
 *          kafka.queue bytes fetched ahead. At the limit nothing more is fetched: Kafka keeps it.
 *
 *     poll -> batch -> one transaction -> wind.dlq takes what was rejected -> offsets
 *
 * An offset is committed when everything before it is in the database or in wind.dlq. Whatever
 * is killed on the way, the messages come again, and (uid, rev) makes twice once. While the
 * database or wind.dlq is away nothing is taken: the partitions are paused, and the thread tries
 * again after 0.1 s doubling to 5 s, without losing its place in the group.
 *
 *     fetched = stored + updated + known + dead letters + returned to the broker + in hand
 */
#pragma once

#include "common/buf.h"
#include "common/conf.h"

struct bus;
struct db;
struct ingest;

struct bus_conf {
    char brokers[1024], prefix[200], group[128], password_file[256]; /* brokers "" = no bus */
    struct conf_list options;
    int64_t batch, batch_bytes, batch_wait_ns, queue_bytes, gap_wait_ns;
};

/* Whether librdkafka takes these settings; the one it doesn't is named. Connects to nothing. */
WIND_MUST_USE int bus_check(const struct bus_conf *conf, struct err *e);

/* `conf` is copied, the rest borrowed. */
WIND_MUST_USE int bus_new(struct bus **ret_bus, const struct bus_conf *conf, struct db *db,
                          struct ingest *ingest, struct err *e);
WIND_MUST_USE int bus_start(struct bus *b, struct err *e);
/* Ends after the batch in hand, or without it when it can't be stored; leaves the group. */
void bus_stop(struct bus *b);
struct bus *bus_free(struct bus *b);
WIND_DEFINE_FREE(bus)

enum bus_state {
    BUS_OK,
    BUS_AWAY,     /* no broker answers */
    BUS_JOINING,  /* the group has not given us our share yet */
    BUS_DATABASE, /* the database does not take what is in hand */
    BUS_DLQ,      /* wind.dlq doesn't */
    BUS_STATES
};
extern const char *const bus_state_words[]; /* "ok", ... NULL */

enum bus_state bus_state_now(struct bus *b);

/* Its counters and gauges as Prometheus text. */
void bus_print(struct bus *b, struct buf *out);
