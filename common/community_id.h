/*
 * community_id.h - Community ID v1: one name for a flow in every tool that saw it.
 *
 * Why      Analysts join Wind's records with Suricata's and Zeek's by it.
 * Threads  Any: there is no state.
 * Cost     One SHA-1 of at most 40 bytes.
 */
#pragma once

#include "common/record.h"

#define COMMUNITY_ID_TEXT 40

/* The same for both directions. */
void community_id(const struct flow_key *k, uint16_t seed, char ret_text[COMMUNITY_ID_TEXT]);
