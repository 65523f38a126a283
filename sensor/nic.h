/*
 * nic.h - how a network interface is set up, as far as it spoils what a sensor sees.
 *
 * Why      GRO and LRO put packets together before any capture sees them: sizes, times and counts
 *          are not those of the wire. Whoever starts a sensor should be told, with the remedy.
 * Owns     Nothing. Needs no privilege.
 * Threads  Any; at start-up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct nic {
    uint32_t mtu; /* 0: unknown */
    bool is_up, is_loopback;
    bool gro, lro; /* false, too, where the driver does not say */
};

/* What can't be asked stays 0. */
void nic_probe(const char *interface, struct nic *ret_nic);
