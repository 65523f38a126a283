#include "sensor/flow_feed.h"

#include "common/hash.h"
#include "common/ip.h"

#define LINE_MAX ((size_t)2 * EVE_LINE_MAX)

void flow_feed_init(struct flow_feed *f, int which, uint64_t sample, struct sink *sink,
                    struct sink_books *books)
{
    *f = (struct flow_feed){.which = sink != NULL ? which : FLOW_FEED_NONE,
                            .sample = sample > 0 ? sample : 1,
                            .sink = sink,
                            .books = books};
    buf_init(&f->line, LINE_MAX);
}

void flow_feed_done(struct flow_feed *f)
{
    buf_done(&f->line);
}

static bool is_wanted(const struct flow_feed *f, const struct flow_record *flow)
{
    switch (f->which) {
    case FLOW_FEED_ALL:
        return true;
    case FLOW_FEED_SAMPLED:
        return flow->alerted != 0 ||
               hash64(&flow->flow_id, sizeof(flow->flow_id), 0) % f->sample == 0;
    case FLOW_FEED_ALERTED:
        return flow->alerted != 0;
    default:
        return false;
    }
}

/* Both addresses, the lower one first: flows of two hosts stay in the order they came in. */
static size_t put_key(const struct flow_key *k, char key[2 * IP_TEXT])
{
    const bool is_swapped = memcmp(k->src, k->dst, sizeof(k->src)) > 0;
    size_t n = ip_format(is_swapped ? k->dst : k->src, key);

    key[n++] = ' ';
    return n + ip_format(is_swapped ? k->src : k->dst, key + n);
}

void flow_feed_put(struct flow_feed *f, const struct eve_record *r, const char *line, size_t len)
{
    char key[2 * IP_TEXT];

    if (!is_wanted(f, &r->flow))
        return;
    eve_add_features(&f->line, line, len, r);
    if (f->line.failed) {
        f->books->flows++;
        f->books->flows_dropped++;
        return;
    }
    sink_flow(f->sink, key, put_key(&r->flow.key, key), f->line.data, f->line.len);
}
