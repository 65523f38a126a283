#include "sensor/flow_key.h"

#include "common/base.h"

/* ICMP: an answer's type and the question it belongs to, so that both are one flow. */
static bool icmp_question(uint8_t proto, uint16_t type, uint16_t *ret_question)
{
    static const struct {
        uint8_t proto, answer, question;
    } pairs[] = {{IPPROTO_ICMP, 0, 8},       {IPPROTO_ICMP, 14, 13},    {IPPROTO_ICMP, 16, 15},
                 {IPPROTO_ICMP, 9, 10},      {IPPROTO_ICMP, 18, 17},    {IPPROTO_ICMPV6, 129, 128},
                 {IPPROTO_ICMPV6, 134, 133}, {IPPROTO_ICMPV6, 136, 135}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(pairs); i++) {
        if (pairs[i].proto == proto && pairs[i].answer == type) {
            *ret_question = pairs[i].question;
            return true;
        }
    }
    return false;
}

static bool is_group(const uint8_t a[16])
{
    return a[0] == 0xff || (ip_is_v4(a) && a[12] >= 224);
}

bool flow_key_turn_icmp(struct flow_key *k)
{
    uint16_t question = 0;
    uint8_t swap[16];

    if (!icmp_question(k->proto, k->sport, &question) || is_group(k->dst))
        return false;
    memcpy(swap, k->src, 16);
    memcpy(k->src, k->dst, 16);
    memcpy(k->dst, swap, 16);
    k->sport = question;
    return true;
}
