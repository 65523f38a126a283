/*
 * share.h - several workers read the same capture: which of them has a packet?
 *
 * Why      In replay each worker sees every packet, so that clock, time-outs and fragments are the
 *          same whatever their number; it decodes and counts only those that are its own.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   share_of_packet reads the first bytes of a packet, as far as they are there.
 *
 * Both directions of a flow belong to the same worker: of addresses, ports and protocol, of ICMP
 * the addresses alone. Not keyed: flow ids are the same in every run. Who packs the flows of a file
 * onto one worker gets a replay as slow as with one.
 */
#pragma once

#include "common/record.h"
#include "sensor/capture.h"

#define SHARE_UNSURE UINT32_MAX

/* The worker, of `n`, to which packets of this flow belong. */
uint32_t share_of_key(const struct flow_key *key, uint32_t n);

/*
 * The same without decoding, for what most packets are: TCP or UDP in IP in Ethernet, with VLANs or
 * without. SHARE_UNSURE: it has to be decoded (fragments, tunnels, anything odd).
 */
uint32_t share_of_packet(const struct packet *p, uint32_t n);
