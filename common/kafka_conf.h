/*
 * kafka_conf.h - from the settings kafka.* to a configuration of librdkafka.
 *
 * Why      Sensor and collector name brokers, TLS and SASL in the same words, and a wrong one is
 *          a sentence when the configuration is tested, not silence when it runs.
 * Owns     Nothing; the result is the caller's until rd_kafka_new takes it.
 * Threads  Any: there is no state.
 * Bounds   A password of KAFKA_PASSWORD_MAX bytes. What librdkafka logs by itself is shown at
 *          level debug: it repeats itself; who uses it says what changed.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

#include "common/conf.h"
#include "common/err.h"

#define KAFKA_PASSWORD_MAX 1024

struct kafka_conf {
    const char *brokers;             /* host:port, with commas */
    const char *password_file;       /* "" = none */
    const struct conf_list *options; /* property=value, for librdkafka */
};

/* What the program itself wants. */
struct kafka_setting {
    const char *name, *value; /* value NULL: only may not be given */
    bool is_fixed;            /* the operator's options can't change it */
};

/*
 * All of it, the options last. `own` ends with a row whose name is NULL. The password is that of
 * SASL when security.protocol says so, else that of the private key. -EINVAL names the setting:
 * unknown to librdkafka, not its value, fixed, or a secret that belongs into a file. Without a
 * security.protocol brokers must be on this machine.
 */
WIND_MUST_USE int kafka_conf_new(rd_kafka_conf_t **ret_conf, const struct kafka_conf *conf,
                                 const struct kafka_setting *own, struct err *e);

/*
 * Takes conf and makes a client of it, for nothing but to see whether it can: what contradicts
 * itself, or names a file that isn't there, shows only then. It knows no broker, and talks to none.
 */
WIND_MUST_USE int kafka_conf_try(rd_kafka_conf_t *conf, rd_kafka_type_t type, struct err *e);
