/*
 * eve_dns.h - the DNS messages of a flow as EVE's `dns`. A part of eve_facts.h.
 *
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   As eve_facts.h.
 */
#pragma once

#include "common/jsonw.h"

/* A FACT_DNS: do its items hold together? */
bool eve_dns_check(const uint8_t *fact, size_t len);

/* All messages among the facts, of which there is at least one. */
void eve_dns_put(struct jsonw *j, const uint8_t *facts, size_t len, bool is_cut);
