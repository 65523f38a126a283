/*
 * eve_facts.h - the facts of a flow as EVE objects: tls (or quic), http, dns.
 *
 * Why      Suricata's names and shapes, so that what reads its eve.json reads ours.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   RECORD_FACTS_MAX bytes make less than EVE_LINE_MAX, whatever is in them.
 * Trust    eve_facts_check first; then every length in them has been checked. See eve.h.
 *
 * `dns` is that of the flow's first message, as in Suricata's version 2; where there were several,
 * all of them are under dns.transactions, the first included.
 */
#pragma once

#include "common/jsonw.h"
#include "common/record.h"

/* Does it hold together? */
bool eve_facts_check(const uint8_t *facts, size_t len);

void eve_facts_put(struct jsonw *j, const struct flow_record *f, const uint8_t *facts, size_t len);

/* "tls", "quic" or "dns", when facts prove it; else NULL. */
const char *eve_facts_app(const struct flow_record *f, const uint8_t *facts, size_t len);
