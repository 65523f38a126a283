#include "sensor/dpi.h"

#include <errno.h>
#include <ndpi_api.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/pool.h"

#define NS_PER_MS     1000000
#define IP_PACKET_MAX UINT16_MAX /* nDPI counts in 16 bits */

struct dpi_flow {
    struct ndpi_flow_struct ndpi;
    uint32_t packets;
};

struct dpi {
    struct ndpi_detection_module_struct *ndpi;
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

bool dpi_packet(struct dpi *d, struct dpi_flow *f, const struct packet_view *view, uint64_t time_ns,
                bool to_server)
{
    const uint32_t len = view->ip_captured < IP_PACKET_MAX ? view->ip_captured : IP_PACKET_MAX;

    f->ndpi.packet_direction = !to_server;
    const ndpi_protocol found = ndpi_detection_process_packet(
        d->ndpi, &f->ndpi, view->ip, (unsigned short)len, time_ns / NS_PER_MS);
    d->stats.packets++;
    f->packets++;

    const bool is_known = found.app_protocol != NDPI_PROTOCOL_UNKNOWN ||
                          found.master_protocol != NDPI_PROTOCOL_UNKNOWN;
    return f->packets >= d->packets_max ||
           (is_known && !ndpi_extra_dissection_possible(d->ndpi, &f->ndpi));
}

static char clean_char(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c | 0x20);
    if (c <= ' ' || c > '~')
        return '?';
    return c;
}

/* Lower-case ASCII; what is not printable becomes '?'. `in` may lack its NUL. */
static void clean_text(char *out, size_t out_size, const char *in, size_t in_size)
{
    size_t n = 0;

    for (; n < out_size - 1 && n < in_size && in[n] != '\0'; n++)
        out[n] = clean_char(in[n]);
    out[n] = '\0';
}

void dpi_finish(struct dpi *d, struct dpi_flow *f, struct dpi_result *ret_result)
{
    u_int8_t was_guessed = 0;
    const ndpi_protocol found = ndpi_detection_giveup(d->ndpi, &f->ndpi, 1, &was_guessed);
    const bool is_known = found.app_protocol != NDPI_PROTOCOL_UNKNOWN ||
                          found.master_protocol != NDPI_PROTOCOL_UNKNOWN;
    char name[RECORD_APP_MAX];

    *ret_result = (struct dpi_result){.risk = f->ndpi.risk};
    clean_text(ret_result->server_name, sizeof(ret_result->server_name), f->ndpi.host_server_name,
               sizeof(f->ndpi.host_server_name));
    if (!is_known) {
        d->stats.unknown++;
        recycle(d, f);
        return;
    }
    ret_result->guessed = was_guessed != 0 || f->ndpi.confidence == NDPI_CONFIDENCE_MATCH_BY_PORT ||
                          f->ndpi.confidence == NDPI_CONFIDENCE_MATCH_BY_IP;
    (void)ndpi_protocol2name(d->ndpi, found, name, sizeof(name));
    clean_text(ret_result->app, sizeof(ret_result->app), name, sizeof(name));
    if (found.category != NDPI_PROTOCOL_CATEGORY_UNSPECIFIED) {
        const char *const category = ndpi_category_get_name(d->ndpi, found.category);
        clean_text(ret_result->category, sizeof(ret_result->category), category, strlen(category));
    }
    if (ret_result->guessed)
        d->stats.guessed++;
    else
        d->stats.detected++;
    recycle(d, f);
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
