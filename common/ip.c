#include "common/ip.h"

#include <arpa/inet.h>
#include <errno.h>

#include "common/digits.h"

static size_t format_v4(const uint8_t a[4], char *to)
{
    char *at = to;

    for (int i = 0; i < 4; i++) {
        at = digits_u64(at, a[i]);
        *at++ = i < 3 ? '.' : '\0';
    }
    return (size_t)(at - to) - 1;
}

/* The longest run of zero groups, the first of equals; a single group is not shortened. */
static void find_gap(const uint16_t group[8], int *ret_first, int *ret_n)
{
    *ret_first = -1;
    *ret_n = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;

        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > *ret_n) {
            *ret_first = i;
            *ret_n = n;
        }
        i += n;
    }
}

static char *put_hex(char *to, uint16_t v)
{
    static const char hex[] = "0123456789abcdef";
    int shift = 12;

    while (shift > 0 && v >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *to++ = hex[v >> shift & 15];
    return to;
}

size_t ip_format(const uint8_t a[16], char ret_text[IP_TEXT])
{
    uint16_t group[8];
    int gap, gap_n;
    char *to = ret_text;

    if (ip_is_v4(a))
        return format_v4(a + 12, ret_text);
    for (size_t i = 0; i < 8; i++)
        group[i] = (uint16_t)(a[2 * i] << 8 | a[2 * i + 1]);
    find_gap(group, &gap, &gap_n);
    for (int i = 0; i < 8; i++) {
        if (i == gap) {
            *to++ = ':';
            i += gap_n - 1;
            if (i == 7)
                *to++ = ':';
            continue;
        }
        if (i > 0)
            *to++ = ':';
        to = put_hex(to, group[i]);
    }
    *to = '\0';
    return (size_t)(to - ret_text);
}

int ip_parse(const char *s, uint8_t ret_a[16])
{
    uint8_t a[16];

    if (inet_pton(AF_INET, s, a) == 1)
        ip_from_v4(a, ret_a);
    else if (inet_pton(AF_INET6, s, a) == 1)
        memcpy(ret_a, a, sizeof(a));
    else
        return -EINVAL;
    return 0;
}

/* One to three digits and nothing else. */
static bool parse_bits(const char *s, unsigned max, unsigned *ret_bits)
{
    unsigned bits = 0;
    const size_t len = strlen(s);

    if (len < 1 || len > 3)
        return false;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return false;
        bits = bits * 10 + (unsigned)(*s - '0');
    }
    *ret_bits = bits;
    return bits <= max;
}

int cidr_parse(const char *s, struct cidr *ret_net, struct err *e)
{
    char text[IP_TEXT];
    struct cidr net;
    unsigned bits;
    const char *slash = strchr(s, '/');
    const size_t len = slash != NULL ? (size_t)(slash - s) : strlen(s);

    if (len >= sizeof(text))
        return err_set(e, -EINVAL, "'%.60s' is not a network such as 10.0.0.0/8", s);
    memcpy(text, s, len);
    text[len] = '\0';
    if (ip_parse(text, net.net) < 0)
        return err_set(e, -EINVAL, "'%.60s' is not a network such as 10.0.0.0/8", s);

    /* "::ffff:1.2.3.4/120" counts its bits of 128, "1.2.3.4/24" of 32 */
    const unsigned family_bits = strchr(text, ':') == NULL ? 32 : 128;
    bits = family_bits;
    if (slash != NULL && !parse_bits(slash + 1, family_bits, &bits))
        return err_set(e, -EINVAL, "'%.60s': the prefix length is not 0..%u", s, family_bits);
    net.bits = (uint8_t)(128 - family_bits + bits);
    for (unsigned i = net.bits; i < 128; i++)
        net.net[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
    *ret_net = net;
    return 0;
}

bool cidr_contains(const struct cidr *net, const uint8_t a[16])
{
    const size_t whole = net->bits / 8;
    const unsigned rest = net->bits % 8;

    if (memcmp(net->net, a, whole) != 0)
        return false;
    return rest == 0 || ((net->net[whole] ^ a[whole]) & (0xff00U >> rest) & 0xff) == 0;
}

size_t cidr_format(const struct cidr *net, char ret_text[CIDR_TEXT])
{
    char *at = ret_text + ip_format(net->net, ret_text);
    const bool v4 = net->bits >= 96 && ip_is_v4(net->net);

    *at++ = '/';
    at = digits_u64(at, v4 ? net->bits - 96U : net->bits);
    *at = '\0';
    return (size_t)(at - ret_text);
}
