/*
 * dpi.h - which application is it? nDPI behind a small wall.
 *
 * Why      nDPI knows several hundred protocols; nothing else in Wind includes its headers.
 * Owns     The detection module and the states of the flows that are being looked at.
 * Threads  A handle and its flows belong to one thread.
 * Bounds   At most `flows_max` states (0.7 KiB each, and what nDPI keeps inside); beyond,
 *          dpi_flow_new returns NULL and counts. At most `packets_max` packets of a flow.
 *          No file, no socket, no clock: time comes with the packet, so a replay of the same
 *          packets gives the same answers.
 *
 *     dpi_flow_new -> dpi_packet, until it returns true, or the flow ends -> dpi_finish
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/record.h"
#include "sensor/decode.h"

struct dpi_conf {
    uint32_t flows_max; /* states at a time */
    uint32_t
        packets_max; /* a flow is given up after so many; without payload they count a quarter */
};

/* What a flow is, in numbers of nDPI. */
struct dpi_answer {
    uint64_t risk;        /* bit i = nDPI risk i */
    uint16_t master, app; /* TLS and Google */
    uint16_t category;
    uint8_t confidence; /* dpi_confidence_name */
    bool guessed;       /* from the port or address, not from what was said */
};

/* Told what a flow's packets said: certificate, HTTP request, fingerprints. `p` is borrowed. */
typedef void dpi_say(void *arg, enum record_fact_type type, const void *p, size_t len);

struct dpi_stats {
    uint64_t flows;     /* states made */
    uint64_t refused;   /* flows not looked at: flows_max reached */
    uint64_t packets;   /* packets that nDPI saw */
    uint64_t detected;  /* finished with an application that was seen */
    uint64_t guessed;   /* finished with a guess */
    uint64_t unknown;   /* finished without */
    uint32_t flows_now; /* states at present: flows = detected + guessed + unknown + flows_now */
};

struct dpi;
struct dpi_flow;

/* Load the protocols: before the sandbox, takes some 50 ms. */
WIND_MUST_USE int dpi_new(struct dpi **ret_dpi, const struct dpi_conf *conf, struct err *e);

/* Free it: no flow may be left. NULL is fine. Always returns NULL. */
struct dpi *dpi_free(struct dpi *d);
WIND_DEFINE_FREE(dpi)

/* A state for a new flow, or NULL: flows_max reached, go without. */
struct dpi_flow *dpi_flow_new(struct dpi *d);

/*
 * Look at a packet of the flow. `to_server`: sent by whom the flow record calls src.
 * True: nothing more to learn, call dpi_finish.
 */
WIND_MUST_USE bool dpi_packet(struct dpi *d, struct dpi_flow *f, const struct packet_view *view,
                              uint64_t time_ns, bool to_server);

/*
 * The answer; with a guess where nothing was seen; and to `say` (NULL: nobody) what was said. Takes
 * `f`: its state is free for another.
 */
void dpi_finish(struct dpi *d, struct dpi_flow *f, struct dpi_answer *ret_answer, dpi_say *say,
                void *arg);

/* "tls.google" and "web"; lower case, "" = unknown. */
void dpi_names(struct dpi *d, const struct dpi_answer *answer, char ret_app[RECORD_APP_MAX],
               char ret_category[RECORD_APP_MAX]);

/* Forget a flow without asking; NULL is fine. Counts as unknown. */
void dpi_flow_drop(struct dpi *d, struct dpi_flow *f);

void dpi_stats(const struct dpi *d, struct dpi_stats *ret_stats);

/* ---------------------------------------------------------------- words, in any process */

/* "dpi", "port"; NULL: no such confidence, or none. */
const char *dpi_confidence_name(uint8_t confidence);

#define DPI_RISKS 64
struct dpi_risk {
    const char *name;     /* "Known Protocol on Non Standard Port" */
    const char *severity; /* "low", "medium", "high", "severe" */
    unsigned score;
};

/* What bit `bit` of the risks means. False: nDPI has none there. */
bool dpi_risk(unsigned bit, struct dpi_risk *ret_risk);

/* "TLS_AES_128_GCM_SHA256"; something else where nDPI knows no name. */
const char *dpi_cipher_name(uint16_t cipher);

/* nDPI's score of all of them together. */
unsigned dpi_risk_score(uint64_t risks);
