/*
 * Bytes as a DNS message: no more items than it has room for, and every text is bounded, printable
 * and ends where it says.
 */
#include <string.h>

#include "sensor/dns.h"
#include "support/fuzz.h"

static void check_text(const char *text, size_t len, size_t size)
{
    FUZZ_CHECK(len < size && strlen(text) == len);
    for (size_t i = 0; i < len; i++)
        FUZZ_CHECK(text[i] >= ' ' && text[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_reader r;
    struct dns_header h;
    struct dns_item item;
    char text[DNS_DATA_TEXT];
    uint8_t address[16];
    size_t items = 0, used = DNS_HEADER_BYTES;

    if (dns_begin(&r, (struct span){data, size}, size, &h) < 0)
        return 0;
    while (dns_next(&r, &item) == 0) {
        const size_t at = (size_t)(r.rest.at - data);

        FUZZ_CHECK(at > used && at <= size && at + r.rest.left == size);
        used = at;
        FUZZ_CHECK(item.section < DNS_SECTIONS);
        FUZZ_CHECK(item.data.left == 0 ||
                   (item.data.at > data && item.data.at + item.data.left <= data + size));
        FUZZ_CHECK(item.name_len > 0);
        check_text(item.name, item.name_len, sizeof(item.name));
        check_text(text, dns_data_text(&r, &item, text, sizeof(text)), sizeof(text));
        check_text(text, dns_data_text(&r, &item, text, 9), 9);
        FUZZ_CHECK(!dns_address(&item, address) || item.data.left == 4 || item.data.left == 16);
        items++;
    }
    FUZZ_CHECK(items <= size / 5);
    FUZZ_CHECK(dns_next(&r, &item) == DNS_END);
    return 0;
}
