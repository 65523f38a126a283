/*
 * bench.produce BROKERS < LINES: puts messages on the bus as sensors do, for tests and benchmarks.
 *
 * A line is TOPIC, KEY, SENSOR, RUN, SEQ and the value, with tabs between. Ends with 0 when the
 * broker has confirmed every one of them, and prints how many.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 6

static size_t failed, confirmed;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque)
{
    (void)rk;
    (void)opaque;
    confirmed += msg->err == 0;
    failed += msg->err != 0;
}

static rd_kafka_t *connect_to(const char *brokers)
{
    static const char *const settings[][2] = {{"acks", "all"},
                                              {"enable.idempotence", "true"},
                                              {"linger.ms", "5"},
                                              {"message.max.bytes", "10000000"},
                                              {"queue.buffering.max.messages", "200000"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[200] = "";

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why));
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        (void)rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why));
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    return rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
}

static void produce(rd_kafka_t *rk, char *const field[FIELDS], size_t len)
{
    rd_kafka_resp_err_t code;

    do {
        code = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(field[0]), RD_KAFKA_V_KEY(field[1], strlen(field[1])),
            RD_KAFKA_V_HEADER("schema", "1", 1), RD_KAFKA_V_HEADER("sensor", field[2], -1),
            RD_KAFKA_V_HEADER("run", field[3], -1), RD_KAFKA_V_HEADER("seq", field[4], -1),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(field[5], len),
            RD_KAFKA_V_END);
        (void)rd_kafka_poll(rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    failed += code != RD_KAFKA_RESP_ERR_NO_ERROR;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    rd_kafka_t *rk = argc == 2 ? connect_to(argv[1]) : NULL;

    if (rk == NULL) {
        (void)fprintf(stderr, "usage: %s BROKERS < LINES\n", argv[0]);
        return 2;
    }
    while ((len = getline(&line, &room, stdin)) > 0) {
        char *field[FIELDS], *at = line;
        size_t n = 0;
        if (line[len - 1] == '\n')
            line[--len] = '\0';
        while (n < FIELDS && at != NULL) {
            field[n++] = at;
            at = n < FIELDS ? strchr(at, '\t') : NULL;
            if (at != NULL)
                *at++ = '\0';
        }
        if (n == FIELDS)
            produce(rk, field, (size_t)(line + len - field[FIELDS - 1]));
        else
            failed++;
    }
    while (rd_kafka_outq_len(rk) > 0)
        (void)rd_kafka_flush(rk, 1000);
    rd_kafka_destroy(rk);
    free(line);
    (void)printf("%zu\n", confirmed);
    return failed == 0 ? 0 : 1;
}
