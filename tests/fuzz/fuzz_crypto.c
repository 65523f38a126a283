/* Any text as hex, base64url and UUID: what is accepted has exactly one spelling (but for case). */
#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "support/fuzz.h"

#define TEXT_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX], again[TEXT_MAX + 8];
    uint8_t bytes[TEXT_MAX], uuid[16];

    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';

    ssize_t n = hex_decode(text, bytes, sizeof(bytes));
    if (n >= 0) {
        (void)hex_encode(bytes, (size_t)n, again);
        FUZZ_CHECK(strcasecmp(text, again) == 0);
        FUZZ_CHECK(n == 0 || hex_decode(text, bytes, (size_t)n - 1) < 0);
    }
    n = base64url_decode(text, size, bytes, sizeof(bytes));
    if (n >= 0) {
        FUZZ_CHECK(base64url_encode(bytes, (size_t)n, again) == size);
        FUZZ_CHECK(memcmp(text, again, size) == 0);
        FUZZ_CHECK(n == 0 || base64url_decode(text, size, bytes, (size_t)n - 1) < 0);
    }
    if (uuid_parse(text, uuid) == 0) {
        uuid_format(uuid, again);
        FUZZ_CHECK(strcasecmp(text, again) == 0);
    }
    return 0;
}
