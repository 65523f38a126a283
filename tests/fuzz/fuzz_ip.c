/* Any text as address and network; any 16 bytes as address: against the C library's. */
#include <arpa/inet.h>
#include <string.h>

#include "common/ip.h"
#include "support/fuzz.h"

static void check_format(const uint8_t a[16])
{
    char text[IP_TEXT], expected[IP_TEXT];
    uint8_t again[16];

    const size_t len = ip_format(a, text);
    FUZZ_CHECK(len == strlen(text) && len < IP_TEXT);
    FUZZ_CHECK(ip_parse(text, again) == 0);
    FUZZ_CHECK(memcmp(again, a, 16) == 0);
    if (ip_is_v4(a)) {
        FUZZ_CHECK(inet_ntop(AF_INET, a + 12, expected, sizeof(expected)) != NULL);
        FUZZ_CHECK(strcmp(text, expected) == 0);
        return;
    }
    FUZZ_CHECK(inet_ntop(AF_INET6, a, expected, sizeof(expected)) != NULL);
    if (strchr(expected, '.') == NULL) /* RFC 5952 leaves ::1.2.3.4 to IPv4-mapped ones */
        FUZZ_CHECK(strcmp(text, expected) == 0);
}

static void check_network(const char *text)
{
    struct cidr net, again;
    struct err e = {0};
    char printed[CIDR_TEXT];

    if (cidr_parse(text, &net, &e) < 0) {
        FUZZ_CHECK(e.text[0] != '\0');
        return;
    }
    FUZZ_CHECK(net.bits <= 128);
    FUZZ_CHECK(cidr_contains(&net, net.net));
    FUZZ_CHECK(cidr_format(&net, printed) == strlen(printed));
    FUZZ_CHECK(cidr_parse(printed, &again, NULL) == 0);
    FUZZ_CHECK(again.bits == net.bits && memcmp(again.net, net.net, 16) == 0);
    for (unsigned i = 0; i < 128; i++) {
        uint8_t other[16];

        memcpy(other, net.net, 16);
        other[i / 8] ^= (uint8_t)(0x80U >> i % 8);
        FUZZ_CHECK(cidr_contains(&net, other) == (i >= net.bits));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[128];
    uint8_t a[16];

    if (size >= 16)
        check_format(data);
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (ip_parse(text, a) == 0)
        check_format(a);
    check_network(text);
    return 0;
}
