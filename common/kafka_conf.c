#include "common/kafka_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/file.h"
#include "common/log.h"

#define NAME_MAX_ 64 /* the longest property of librdkafka has 44 */

/* These would show in --print-config and in the process list. */
static const char *const secrets[] = {
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
};

static void show_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    log_debug("kafka: %s: %s", facility, text);
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *e)
{
    char why[200] = "";

    switch (rd_kafka_conf_set(conf, name, value, why, sizeof(why))) {
    case RD_KAFKA_CONF_OK:
        return 0;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_set(e, -EINVAL, "kafka.options: '%s' is no property of librdkafka", name);
    case RD_KAFKA_CONF_INVALID:
    default:
        return err_set(e, -EINVAL, "kafka.options: '%s': %s", name, why);
    }
}

static int check_name(const char *name, const struct kafka_setting *own, struct err *e)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(secrets); i++)
        if (strcmp(name, secrets[i]) == 0)
            return err_set(e, -EINVAL, "kafka.options: '%s' is a secret: see kafka.password_file",
                           name);
    if (strcmp(name, "bootstrap.servers") == 0 || strcmp(name, "metadata.broker.list") == 0)
        return err_set(e, -EINVAL, "kafka.options: '%s' is kafka.brokers", name);
    for (; own->name != NULL; own++)
        if (own->is_fixed && strcmp(name, own->name) == 0)
            return err_set(e, -EINVAL, "kafka.options: '%s' can't be changed: delivery rests on it",
                           name);
    return 0;
}

static int set_option(rd_kafka_conf_t *conf, const char *option, const struct kafka_setting *own,
                      struct err *e)
{
    const char *is = strchr(option, '=');
    char name[NAME_MAX_];

    if (is == NULL || is == option || (size_t)(is - option) >= sizeof(name))
        return err_set(e, -EINVAL, "kafka.options: '%s' is not property=value", option);
    (void)snprintf(name, sizeof(name), "%.*s", (int)(is - option), option);
    const int r = check_name(name, own, e);
    return r == 0 ? set(conf, name, is + 1, e) : r;
}

static int set_password(rd_kafka_conf_t *conf, const char *path, struct err *e)
{
    char protocol[32] = "", password[KAFKA_PASSWORD_MAX + 1];
    size_t size = sizeof(protocol);

    const int r = file_read_secret(path, password, sizeof(password), e);
    if (r < 0)
        return err_wrap(e, r, "kafka.password_file");
    if (r == FILE_EXPOSED)
        log_warn("kafka.password_file '%s' can be read by everybody", path);
    (void)rd_kafka_conf_get(conf, "security.protocol", protocol, &size);
    const char *name = strncmp(protocol, "sasl", 4) == 0 ? "sasl.password" : "ssl.key.password";
    const int set_r = set(conf, name, password, e);
    crypto_wipe(password, sizeof(password));
    return set_r;
}

static int set_brokers(rd_kafka_conf_t *conf, const char *brokers, struct err *e)
{
    for (const char *p = brokers;; p++) {
        const size_t n = strcspn(p, ",");
        if (n == 0 || p[0] == ':' || strcspn(p, " \t\r\n") < n)
            return err_set(e, -EINVAL, "kafka.brokers: '%s' is not host:port,host:port,...",
                           brokers);
        p += n;
        if (*p == '\0')
            break;
    }
    return set(conf, "bootstrap.servers", brokers, e);
}

static bool is_loopback(const char *broker, size_t n)
{
    const char *const colon = memrchr(broker, ':', n);
    const bool is_bare = colon == NULL || memchr(colon, ']', n - (size_t)(colon - broker)) != NULL;
    char host[64];
    struct in_addr v4;

    (void)snprintf(host, sizeof(host), "%.*s", (int)(is_bare ? n : (size_t)(colon - broker)),
                   broker);
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

/* What goes over a network in the clear was asked for by name. */
static int check_protocol(const struct kafka_conf *c, struct err *e)
{
    static const char name[] = "security.protocol=";

    for (size_t i = 0; i < c->options->n; i++)
        if (strncmp(c->options->item[i], name, sizeof(name) - 1) == 0)
            return 0;
    for (const char *p = c->brokers; *p != '\0'; p += *p == ',') {
        const size_t n = strcspn(p, ",");
        if (!is_loopback(p, n))
            return err_set(e, -EINVAL,
                           "kafka.brokers: all would go to '%.*s' in the clear; set "
                           "security.protocol in kafka.options (ssl, sasl_ssl; or plaintext, where "
                           "you trust the network)",
                           (int)n, p);
        p += n;
    }
    return 0;
}

static int set_all(rd_kafka_conf_t *conf, const struct kafka_conf *c,
                   const struct kafka_setting *own, struct err *e)
{
    int r = set_brokers(conf, c->brokers, e);

    for (size_t i = 0; r == 0 && own[i].name != NULL; i++)
        if (own[i].value != NULL)
            r = set(conf, own[i].name, own[i].value, e);
    for (size_t i = 0; r == 0 && i < c->options->n; i++)
        r = set_option(conf, c->options->item[i], own, e);
    if (r == 0)
        r = check_protocol(c, e);
    if (r == 0 && c->password_file[0] != '\0')
        r = set_password(conf, c->password_file, e);
    return r;
}

int kafka_conf_new(rd_kafka_conf_t **ret_conf, const struct kafka_conf *c,
                   const struct kafka_setting *own, struct err *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const int r = set_all(conf, c, own, e);

    if (r != 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    rd_kafka_conf_set_log_cb(conf, show_log);
    *ret_conf = conf;
    return 0;
}

int kafka_conf_try(rd_kafka_conf_t *conf, rd_kafka_type_t type, struct err *e)
{
    char why[200] = "";

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", NULL, NULL, 0);
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof(why));
    if (client == NULL) { /* it has not taken conf */
        rd_kafka_conf_destroy(conf);
        return err_set(e, -EINVAL, "kafka.options: %s", why);
    }
    rd_kafka_destroy(client);
    return 0;
}
