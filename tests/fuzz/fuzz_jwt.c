/*
 * Any bytes as a token, and as payload of a token that is signed rightly: no crash, nothing
 * accepted that was not signed, and what is accepted can be signed again to the same meaning.
 */
#include <string.h>

#include "collector/jwt.h"
#include "support/fuzz.h"

static const uint8_t key[JWT_KEY_BYTES] = {7};

static void check_signed(const uint8_t *data, size_t size)
{
    static const char header[] = "{\"alg\":\"HS256\"}";
    char token[JWT_MAX * 2], again[JWT_MAX];
    uint8_t mac[SHA256_BYTES];
    struct jwt_claims c, d;

    if (size > 600)
        return;
    size_t n = base64url_encode(header, sizeof(header) - 1, token);
    token[n++] = '.';
    n += base64url_encode(data, size, token + n);
    crypto_hmac_sha256(key, sizeof(key), token, n, mac);
    token[n++] = '.';
    (void)base64url_encode(mac, sizeof(mac), token + n);
    const int r = jwt_verify(key, token, 1500, &c);
    if (r == JWT_INVALID)
        return;
    FUZZ_CHECK(jwt_sign(key, &c, again) == 0);
    FUZZ_CHECK(jwt_verify(key, again, 1500, &d) == r);
    FUZZ_CHECK(c.user_id == d.user_id && c.use == d.use && strcmp(c.jti, d.jti) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jwt_claims c;
    char *text = malloc(size + 1);

    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    FUZZ_CHECK(jwt_verify(key, text, 1500, &c) == JWT_INVALID);
    free(text);
    check_signed(data, size);
    return 0;
}
