#include "collector/bus_message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/utf8.h"

const char *const bus_topic_words[] = {"alerts", "health", "flows", NULL};

void bus_message_reject(struct bus_message *m, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    if (m->reason != NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    utf8_cut(text);
    m->reason = strdup(text);
    WIND_CHECK(m->reason != NULL);
}

/* A name that can be shown and stored; NULL and the reason if it is none. */
static const char *take_name(struct bus_message *m, const char *header, const char *value,
                             size_t len, size_t max)
{
    if (value != NULL && len > 0 && len <= max && utf8_is_line(value, len))
        return value;
    bus_message_reject(m, "header %s: not a text of 1 to %zu bytes", header, max);
    return NULL;
}

static void take_seq(struct bus_message *m, const char *value, size_t len)
{
    int64_t n = 0;
    bool is_number = value != NULL && len > 0 && len <= 16;

    for (size_t i = 0; is_number && i < len; i++) {
        is_number = value[i] >= '0' && value[i] <= '9';
        n = 10 * n + (value[i] - '0');
    }
    if (is_number && n <= BUS_SEQ_MAX)
        m->seq = n;
    else
        bus_message_reject(m, "header seq: not a whole number up to %lld", (long long)BUS_SEQ_MAX);
}

void bus_message_header(struct bus_message *m, const char *name, const char *value, size_t len)
{
    if (strcmp(name, "sensor") == 0)
        m->sensor = take_name(m, name, value, len, SOURCE_MAX);
    else if (strcmp(name, "run") == 0)
        m->run = take_name(m, name, value, len, BUS_RUN_MAX);
    else if (strcmp(name, "seq") == 0)
        take_seq(m, value, len);
    else if (strcmp(name, "schema") == 0)
        m->has_schema = len == strlen(BUS_SCHEMA) && memcmp(value, BUS_SCHEMA, len) == 0;
}

void bus_message_check(struct bus_message *m)
{
    if (m->sensor == NULL)
        bus_message_reject(m, "header sensor is missing");
    if (!m->has_schema)
        bus_message_reject(m, "header schema is not " BUS_SCHEMA);
    if (m->run == NULL && m->seq >= 0)
        bus_message_reject(m, "header run is missing");
    if (m->seq < 0)
        m->run = NULL;
    if (m->len == 0)
        bus_message_reject(m, "it is empty");
    if (m->len > BUS_VALUE_MAX)
        bus_message_reject(m, "it has %zu bytes, more than %zu", m->len, BUS_VALUE_MAX);
}
