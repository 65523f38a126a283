#include "sensor/dpi.h"

#include <errno.h>
#include <ndpi_api.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/pool.h"
#include "sensor/dpi_tell.h"

#define NS_PER_MS     1000000
#define IP_PACKET_MAX UINT16_MAX /* nDPI counts in 16 bits */

enum { DNS_HEADER = 12, DNS_PLAIN_MAX = 512, DNS_RECORDS_FEW = 16 };
enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28 };

struct dpi_flow {
    struct ndpi_flow_struct ndpi;
    uint32_t quarters; /* of packets */
    bool is_dns;
};

/* Names once asked for: few protocols make most of the flows. */
#define NAMES 256

struct names {
    uint32_t key; /* master and app; 0 = not in use */
    char app[RECORD_APP_MAX];
};

struct dpi {
    struct ndpi_detection_module_struct *ndpi;
    struct names names[NAMES];
    struct pool *flows;
    uint32_t packets_max;
    struct dpi_stats stats;
};

/* ---------------------------------------------------------------- start and end */

static struct ndpi_detection_module_struct *load_protocols(void)
{
    struct ndpi_detection_module_struct *const ndpi = ndpi_init_detection_module(ndpi_no_prefs);
    NDPI_PROTOCOL_BITMASK all;

    if (ndpi == NULL)
        return NULL;
    NDPI_BITMASK_SET_ALL(all);
    ndpi_set_protocol_detection_bitmask2(ndpi, &all);
    /* Who is the client? The flow table knows; nDPI would ask which address is the larger. */
    (void)ndpi_set_detection_preferences(ndpi, ndpi_pref_direction_detect_disable, 1);
    ndpi_finalize_initialization(ndpi);
    return ndpi;
}

int dpi_new(struct dpi **ret_dpi, const struct dpi_conf *conf, struct err *e)
{
    if (ndpi_detection_get_sizeof_ndpi_flow_struct() != sizeof(struct ndpi_flow_struct))
        return err_set(e, -EINVAL, "this nDPI library is not the one that Wind was built with");

    WIND_AUTO(dpi) struct dpi *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return err_set(e, -ENOMEM, "nDPI: out of memory");
    d->packets_max = conf->packets_max;
    const int r = pool_new(&d->flows, sizeof(struct dpi_flow), conf->flows_max, e);
    if (r < 0)
        return err_wrap(e, r, "nDPI");
    tzset(); /* certificates have dates: read the time zone while files can be read */
    d->ndpi = load_protocols();
    if (d->ndpi == NULL)
        return err_set(e, -ENOMEM, "nDPI: its protocols cannot be loaded");
    *ret_dpi = WIND_STEAL(d);
    return 0;
}

struct dpi *dpi_free(struct dpi *d)
{
    if (d == NULL)
        return NULL;
    if (d->ndpi != NULL)
        ndpi_exit_detection_module(d->ndpi);
    (void)pool_free(d->flows);
    free(d);
    return NULL;
}

/* ---------------------------------------------------------------- a flow */

struct dpi_flow *dpi_flow_new(struct dpi *d)
{
    struct dpi_flow *const f = pool_take(d->flows);

    if (f == NULL) {
        d->stats.refused++;
        return NULL;
    }
    memset(f, 0, sizeof(*f));
    d->stats.flows++;
    d->stats.flows_now++;
    return f;
}

static void recycle(struct dpi *d, struct dpi_flow *f)
{
    ndpi_free_flow_data(&f->ndpi);
    pool_put(d->flows, f);
    d->stats.flows_now--;
}

/* The type that the question behind the header asks for; 0: it is cut short. */
static unsigned question_type(const uint8_t *p, uint32_t len)
{
    uint32_t at = DNS_HEADER;

    while (at < len && p[at] != 0 && p[at] < 64)
        at += p[at] + 1u;
    return at + 2 < len && p[at] == 0 ? (unsigned)p[at + 1] << 8 | p[at + 2] : 0;
}

/*
 * A DNS answer in which nDPI would find nothing that the question did not tell: of ordinary size
 * and type, to one question, with few records. What it says is read elsewhere (listener_dns.h);
 * nDPI takes as long over it as over the question, or longer.
 */
static bool is_plain_answer(const struct packet_view *v)
{
    static const uint8_t one_question[2] = {0, 1};
    const uint8_t *const p = v->payload;

    if (v->key.proto != IPPROTO_UDP || v->payload_len <= DNS_HEADER ||
        v->payload_wire_len > DNS_PLAIN_MAX || (p[2] & 0x80) == 0 ||
        memcmp(p + 4, one_question, sizeof(one_question)) != 0)
        return false;
    for (unsigned count = 6; count < DNS_HEADER; count += 2)
        if (p[count] != 0 || p[count + 1] > DNS_RECORDS_FEW)
            return false;
    const unsigned type = question_type(p, v->payload_len);
    return type == DNS_A || type == DNS_AAAA || type == DNS_PTR;
}

bool dpi_packet(struct dpi *d, struct dpi_flow *f, const struct packet_view *view, uint64_t time_ns,
                bool to_server)
{
    const uint32_t len = view->ip_captured < IP_PACKET_MAX ? view->ip_captured : IP_PACKET_MAX;

    if (f->is_dns && !to_server && is_plain_answer(view))
        return true;
    f->ndpi.packet_direction = !to_server;
    const ndpi_protocol found = ndpi_detection_process_packet(
        d->ndpi, &f->ndpi, view->ip, (unsigned short)len, time_ns / NS_PER_MS);
    d->stats.packets++;
    f->quarters += view->payload_len > 0 ? 4 : 1; /* a handshake says little */

    const bool is_known = found.app_protocol != NDPI_PROTOCOL_UNKNOWN ||
                          found.master_protocol != NDPI_PROTOCOL_UNKNOWN;
    f->is_dns =
        found.app_protocol == NDPI_PROTOCOL_DNS || found.master_protocol == NDPI_PROTOCOL_DNS;
    return f->quarters >= 4 * d->packets_max ||
           (is_known && !ndpi_extra_dissection_possible(d->ndpi, &f->ndpi));
}

void dpi_finish(struct dpi *d, struct dpi_flow *f, struct dpi_answer *ret_answer, dpi_say *say,
                void *arg)
{
    u_int8_t was_guessed = 0;
    const ndpi_protocol found = ndpi_detection_giveup(d->ndpi, &f->ndpi, 1, &was_guessed);
    const ndpi_confidence_t how = f->ndpi.confidence;

    *ret_answer = (struct dpi_answer){.risk = f->ndpi.risk,
                                      .master = found.master_protocol,
                                      .app = found.app_protocol,
                                      .category = (uint16_t)found.category,
                                      .confidence = (uint8_t)how};
    if (say != NULL)
        dpi_tell(&f->ndpi, say, arg);
    if (found.app_protocol == NDPI_PROTOCOL_UNKNOWN &&
        found.master_protocol == NDPI_PROTOCOL_UNKNOWN) {
        ret_answer->category = NDPI_PROTOCOL_CATEGORY_UNSPECIFIED;
        ret_answer->confidence = NDPI_CONFIDENCE_UNKNOWN;
        d->stats.unknown++;
    } else {
        ret_answer->guessed = was_guessed != 0 || how == NDPI_CONFIDENCE_MATCH_BY_PORT ||
                              how == NDPI_CONFIDENCE_MATCH_BY_IP;
        d->stats.guessed += ret_answer->guessed;
        d->stats.detected += !ret_answer->guessed;
    }
    recycle(d, f);
}

void dpi_names(struct dpi *d, const struct dpi_answer *answer, char ret_app[RECORD_APP_MAX],
               char ret_category[RECORD_APP_MAX])
{
    const uint32_t key = (uint32_t)answer->master << 16 | answer->app;
    struct names *const n = &d->names[(answer->app ^ answer->master * 7u) % NAMES];
    char name[RECORD_APP_MAX];

    ret_app[0] = ret_category[0] = '\0';
    if (key == 0)
        return;
    if (n->key != key) {
        const ndpi_protocol p = {.master_protocol = answer->master, .app_protocol = answer->app};
        (void)ndpi_protocol2name(d->ndpi, p, name, sizeof(name));
        dpi_clean_text(n->app, sizeof(n->app), name, sizeof(name));
        n->key = key;
    }
    memcpy(ret_app, n->app, sizeof(n->app));
    if (answer->category == NDPI_PROTOCOL_CATEGORY_UNSPECIFIED)
        return;
    const char *const category =
        ndpi_category_get_name(d->ndpi, (ndpi_protocol_category_t)answer->category);
    dpi_clean_text(ret_category, RECORD_APP_MAX, category, strlen(category));
}

void dpi_flow_drop(struct dpi *d, struct dpi_flow *f)
{
    if (f == NULL)
        return;
    d->stats.unknown++;
    recycle(d, f);
}

/* ---------------------------------------------------------------- figures */

void dpi_stats(const struct dpi *d, struct dpi_stats *ret_stats)
{
    *ret_stats = d->stats;
}
