#include "common/kafka_conf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct kafka_setting own[] = {
    {"enable.auto.commit", "false", true},
    {"session.timeout.ms", "6000", false},
    {"group.id", NULL, true},
    {NULL, NULL, false},
};

struct sample {
    const char *brokers, *option, *said; /* said NULL: it is right */
};

static int build(const char *brokers, const char *password_file, const char *const options[],
                 rd_kafka_conf_t **ret_conf, struct err *e)
{
    static struct conf_list list;
    const struct kafka_conf conf = {brokers, password_file, &list};

    list.n = 0;
    for (; options[list.n] != NULL; list.n++)
        (void)snprintf(list.item[list.n], CONF_ITEM_MAX, "%s", options[list.n]);
    return kafka_conf_new(ret_conf, &conf, own, e);
}

static const char *value_of(rd_kafka_conf_t *conf, const char *name)
{
    static char value[256];
    size_t size = sizeof(value);

    cr_assert_eq(rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
    return value;
}

Test(kafka_conf, each_wrong_setting_is_named)
{
    static const struct sample samples[] = {
        {"a:1", "nonsense=1", "'nonsense' is no property"},
        {"a:1", "acks", "'acks' is not property=value"},
        {"a:1", "=1", "not property=value"},
        {"a:1", "session.timeout.ms=soon", "session.timeout.ms"},
        {"a:1", "enable.auto.commit=true", "'enable.auto.commit' can't be changed"},
        {"a:1", "group.id=x", "'group.id' can't be changed"},
        {"a:1", "bootstrap.servers=b:1", "is kafka.brokers"},
        {"a:1", "sasl.password=secret", "is a secret"},
        {"a:1", "ssl.key.password=secret", "is a secret"},
        {"", "acks=all", "kafka.brokers"},
        {"a:1,", "acks=all", "kafka.brokers"},
        {"a:1, b:1", "acks=all", "kafka.brokers"},
        {":9092", "acks=all", "kafka.brokers"},
        {"a:1,b:2", "security.protocol=plaintext", NULL},
        {"a", "security.protocol=SSL", NULL},
        {"127.0.0.1:9092,localhost,[::1]:1", "acks=all", NULL},
        {"127.0.0.1:9092,a:1", "acks=all", "'a:1' in the clear"},
        {"127.evil.example:9092", "acks=all", "in the clear"},
        {"localhost.example:9092", "acks=all", "in the clear"},
        {"[::1].example", "acks=all", "in the clear"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(samples); i++) {
        const char *const options[] = {samples[i].option, NULL};
        rd_kafka_conf_t *conf = NULL;
        struct err e = {0};
        const int r = build(samples[i].brokers, "", options, &conf, &e);
        cr_assert_eq(r, samples[i].said == NULL ? 0 : -EINVAL, "%zu: %s", i, e.text);
        if (samples[i].said != NULL)
            cr_assert_not_null(strstr(e.text, samples[i].said), "%zu: %s", i, e.text);
        cr_assert_null(strstr(e.text, "secret=") ? e.text : NULL);
        if (conf != NULL)
            rd_kafka_conf_destroy(conf);
    }
}

Test(kafka_conf, options_come_last)
{
    const char *const options[] = {"session.timeout.ms=9000", NULL};
    rd_kafka_conf_t *conf = NULL;
    struct err e = {0};

    cr_assert_eq(build("localhost:1", "", options, &conf, &e), 0, "%s", e.text);
    cr_assert_str_eq(value_of(conf, "session.timeout.ms"), "9000");
    cr_assert_str_eq(value_of(conf, "enable.auto.commit"), "false");
    cr_assert_str_eq(value_of(conf, "bootstrap.servers"), "localhost:1");
    rd_kafka_conf_destroy(conf);
}

Test(kafka_conf, the_password_comes_from_a_file)
{
    const char *const sasl[] = {"security.protocol=sasl_ssl", "sasl.username=wind", NULL};
    const char *const tls[] = {"security.protocol=ssl", NULL};
    char path[] = "/tmp/wind-kafka-XXXXXX";
    rd_kafka_conf_t *conf = NULL;
    struct err e = {0};

    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "pass word\n", 10), 10);
    (void)close(fd);
    cr_assert_eq(build("a:1", path, sasl, &conf, &e), 0, "%s", e.text);
    cr_assert_str_eq(value_of(conf, "sasl.password"), "pass word");
    rd_kafka_conf_destroy(conf);
    cr_assert_eq(build("a:1", path, tls, &conf, &e), 0, "%s", e.text);
    cr_assert_str_eq(value_of(conf, "ssl.key.password"), "pass word");
    rd_kafka_conf_destroy(conf);
    (void)unlink(path);
    cr_assert_lt(build("a:1", path, tls, &conf, &e), 0);
    cr_assert_not_null(strstr(e.text, "kafka.password_file"), "%s", e.text);
}
