/*
 * decoding.h - decode one packet of bytes, both ways, out of a copy that ends where it ends.
 */
#pragma once

#include <criterion/criterion.h>

#include "sensor/decode_layer.h"
#include "support/pcap_builder.h"

#define ETHERNET 1

static struct decode_conf conf;

static inline void set_up(void)
{
    conf = (struct decode_conf){.tunnels = true, .vlan_in_key = true, .tunnel_depth = 4};
}

static inline enum decode_verdict decode_as(const struct bytes *b, unsigned linktype, size_t len,
                                            struct packet_view *v)
{
    /* a copy of just that size: reading beyond it is an error under ASan */
    uint8_t *const copy = malloc(len > 0 ? len : 1);
    memcpy(copy, b->data, len);
    const struct packet p = {.data = copy,
                             .len = (uint32_t)len,
                             .wire_len = (uint32_t)b->len,
                             .linktype = (uint16_t)linktype};
    const enum decode_verdict verdict = decode_packet(&conf, &p, v);
    struct packet_view by_layers;
    cr_assert_eq(decode_by_layers(&conf, &p, &by_layers), verdict);
    if (verdict == DECODE_OK) /* the short cut leads to the same place */
        cr_assert_arr_eq(&by_layers, v, sizeof(by_layers));
    free(copy);
    return verdict;
}

static inline enum decode_verdict decode(const struct bytes *b, struct packet_view *v)
{
    return decode_as(b, ETHERNET, b->len, v);
}
