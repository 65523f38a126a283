/*
 * Bytes as the start of a TLS stream, from either side: what is read is bounded text, and the
 * same answer comes when they are all there as when one was missing before.
 */
#include <string.h>

#include "sensor/tls_hello.h"
#include "support/fuzz.h"

static void check_names(const uint8_t *alpn, size_t n)
{
    for (size_t at = 0; at < n; at += alpn[at] + 1u)
        FUZZ_CHECK(alpn[at] > 0 && at + 1 + alpn[at] <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_hello hello, again;
    struct tls_choice choice;

    const int r = tls_hello_read(data, size, &hello);
    if (r == 0) {
        FUZZ_CHECK(strlen(hello.ja4) == TLS_JA4_TEXT - 1);
        FUZZ_CHECK(hello.ja4[0] == 't' && hello.ja4[10] == '_' && hello.ja4[23] == '_');
        FUZZ_CHECK(memchr(hello.server_name, 0, sizeof(hello.server_name)) != NULL);
        FUZZ_CHECK(hello.n_versions > 0 && hello.n_versions <= TLS_VERSIONS_MAX);
        FUZZ_CHECK(hello.alpn_len <= TLS_ALPN_BYTES);
        check_names(hello.alpn, hello.alpn_len);
        FUZZ_CHECK(tls_is_handshake(data, size));
    }
    if (size > 0) { /* less of the same: never a wrong "this is none" */
        const int less = tls_hello_read(data, size - 1, &again);
        FUZZ_CHECK(r < 0 || less >= 0);
        FUZZ_CHECK(less != 0 || (r == 0 && strcmp(hello.ja4, again.ja4) == 0));
    }
    if (tls_choice_read(data, size, &choice) == 0) {
        FUZZ_CHECK(choice.alpn_len <= TLS_ALPN_BYTES);
        check_names(choice.alpn, choice.alpn_len);
    }
    return 0;
}
