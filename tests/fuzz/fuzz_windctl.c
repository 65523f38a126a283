/* What windctl shows of any text: one valid line without control characters; CSV that parses back.
 */
#include <stdlib.h>

#include "collector/windctl/text.h"
#include "common/utf8.h"
#include "support/fuzz.h"

static void check_safe(const char *data, size_t size)
{
    struct buf b;

    buf_init(&b, 8 * size + 16);
    text_safe(&b, data, size);
    FUZZ_CHECK(!b.failed && utf8_is_line(b.data != NULL ? b.data : "", b.len));
    for (size_t i = 0; i + 1 < b.len; i++) /* no C1 control either */
        FUZZ_CHECK((unsigned char)b.data[i] != 0xc2 || (unsigned char)b.data[i + 1] >= 0xa0);
    for (size_t width = 0; width < 8; width++)
        FUZZ_CHECK(text_width(b.data, text_fit(b.data, b.len, width)) <= width);
    buf_done(&b);
}

/* A reader of RFC 4180: the cell ends where it should, and holds what went in. */
static void check_csv(const char *data, size_t size)
{
    struct buf b;
    size_t at = 0, in = 0;

    buf_init(&b, 2 * size + 16);
    text_csv(&b, data, size);
    const bool is_quoted = b.len > 0 && b.data[0] == '"';
    at += is_quoted;
    if (is_quoted && size > 0 && memchr("=+-@\t\r\n", data[0], 7) != NULL)
        FUZZ_CHECK(b.data[at++] == '\'');
    for (; at < b.len - is_quoted; at++) {
        FUZZ_CHECK(is_quoted || memchr(",\"\r\n", b.data[at], 4) == NULL);
        if (b.data[at] == '"')
            FUZZ_CHECK(at + 1 < b.len - 1 && b.data[++at] == '"');
        while (in < size && data[in] == '\0')
            in++;
        FUZZ_CHECK(in < size && data[in++] == b.data[at]);
    }
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_safe((const char *)data, size);
    check_csv((const char *)data, size);
    return 0;
}
