#include "sensor/sink.h"

#include "sensor/sink_http.h"
#include "sensor/sink_kafka.h"

int sink_new(struct sink **ret_sink, const struct sink_conf *conf, struct sink_books *books,
             struct err *e)
{
    if (conf->kafka != NULL)
        return sink_kafka_new(ret_sink, conf, books, e);
    return sink_http_new(ret_sink, conf, e);
}

struct sink *sink_free(struct sink *s)
{
    if (s != NULL)
        s->ops->free(s);
    return NULL;
}
