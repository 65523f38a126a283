#include "sensor/talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Beside a flow. */
struct talk_flow {
    struct dpi_answer dpi; /* once TALK_DPI_DONE */
    struct heard heard;
};

_Static_assert(sizeof(struct talk_flow) == 32, "what a flow costs here");

struct talk {
    struct talk_conf conf;
    struct talk_flow *flow;
    struct listener *listener;
    uint8_t facts[RECORD_FACTS_MAX];
};

/* ---------------------------------------------------------------- life */

static int make_parts(struct talk *t, const struct talk_conf *conf, struct err *e)
{
    t->flow = calloc(conf->flows_max, sizeof(*t->flow)); /* pages come as they are used */
    if (t->flow == NULL)
        return err_set(e, -ENOMEM, "flow.max: no memory for %zu flows", conf->flows_max);
    return conf->listener.memory > 0 ? listener_new(&t->listener, &conf->listener, e) : 0;
}

int talk_new(struct talk **ret_talk, const struct talk_conf *conf, struct err *e)
{
    WIND_AUTO(talk) struct talk *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    t->conf = *conf;
    t->conf.dpi = NULL;
    const int r = make_parts(t, conf, e);
    if (r < 0)
        return r;
    t->conf.dpi = conf->dpi;
    *ret_talk = WIND_STEAL(t);
    return 0;
}

struct talk *talk_free(struct talk *t)
{
    if (t != NULL) {
        t->listener = listener_free(t->listener);
        t->conf.dpi = dpi_free(t->conf.dpi);
        free(t->flow);
        free(t);
    }
    return NULL;
}

/* ---------------------------------------------------------------- packets */

/* What nDPI has found out and the listener not. */
struct saying {
    struct talk *t;
    struct heard *heard;
    uint32_t known;             /* bit i: a fact of type i */
    char name[RECORD_NAME_MAX]; /* the server's, without nDPI */
};

static void look_at_known(struct saying *s)
{
    const size_t n = fact_copy(s->heard->facts, s->t->facts);
    struct record_fact fact;

    for (size_t at = 0; fact_next(s->t->facts, n, &at, &fact) != NULL;)
        s->known |= UINT32_C(1) << fact.type;
    fact_server_name(s->t->facts, n, s->name);
}

static void say(void *arg, enum record_fact_type type, const void *p, size_t len)
{
    const struct saying *s = arg;

    if ((s->known >> type & 1) != 0)
        return;
    /* nDPI cuts names earlier than we do */
    if (type == FACT_NAME && s->name[0] != '\0' && strncmp(s->name, p, len) == 0)
        return;
    listener_add(s->t->listener, s->heard, type, p, len);
}

void talk_finish(struct talk *t, struct flow *f, size_t index)
{
    struct talk_flow *const tf = &t->flow[index];
    struct saying s = {.t = t, .heard = &tf->heard};

    if (f->dpi == NULL)
        return;
    if (t->listener != NULL)
        look_at_known(&s);
    dpi_finish(t->conf.dpi, f->dpi, &tf->dpi, t->listener != NULL ? say : NULL, &s);
    f->dpi = NULL;
    f->heard |= TALK_DPI_DONE;
}

void talk_begin(struct talk *t, struct flow *f)
{
    if (t->conf.dpi != NULL && (f->dpi = dpi_flow_new(t->conf.dpi)) == NULL)
        counters_add(t->conf.counters, COUNTER_flow_no_dpi, 1);
}

void talk_packet(struct talk *t, struct flow *f, size_t index, const struct packet_view *view,
                 uint64_t time_ns, unsigned dir)
{
    if (f->dpi != NULL && dpi_packet(t->conf.dpi, f->dpi, view, time_ns, dir == 0))
        talk_finish(t, f, index);
    if ((f->heard & HEARD_ALL) != HEARD_ALL && view->payload_len > 0 && t->listener != NULL)
        listener_packet(t->listener, &t->flow[index].heard, &f->heard, view, dir);
}

/* ---------------------------------------------------------------- records */

size_t talk_facts(const struct talk *t, size_t index)
{
    return fact_len(t->flow[index].heard.facts);
}

void talk_fill(struct talk *t, const struct flow *f, size_t index, struct flow_record *r,
               uint8_t *facts)
{
    const struct talk_flow *const tf = &t->flow[index];
    const size_t n = facts != NULL ? fact_copy(tf->heard.facts, facts) : 0;

    r->facts_len = (uint16_t)n;
    fact_server_name(facts, n, r->server_name);
    if ((f->heard & TALK_DPI_DONE) == 0) {
        r->app[0] = r->category[0] = '\0';
        r->dpi_risk = 0;
        r->dpi_guessed = r->dpi_confidence = 0;
        return;
    }
    dpi_names(t->conf.dpi, &tf->dpi, r->app, r->category);
    r->dpi_risk = tf->dpi.risk;
    r->dpi_guessed = tf->dpi.guessed;
    r->dpi_confidence = tf->dpi.confidence;
}

void talk_forget(struct talk *t, struct flow *f, size_t index)
{
    struct heard *const h = &t->flow[index].heard;

    if (f->dpi != NULL)
        dpi_flow_drop(t->conf.dpi, f->dpi);
    f->dpi = NULL;
    if (h->facts != NULL || h->stream != NULL)
        listener_forget(t->listener, h);
}
