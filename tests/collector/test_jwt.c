#include "collector/jwt.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const uint8_t key[JWT_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static struct jwt_claims some_claims(void)
{
    return (struct jwt_claims){
        .use = JWT_ACCESS,
        .user_id = 42,
        .generation = 3,
        .issued_s = 1000,
        .expires_s = 1900,
        .jti = "0198f2c4-7a31-7c5e-9d2b-0123456789ab",
        .sid = "0198f2c4-7a31-7c5e-9d2b-0123456789ac",
    };
}

/* header.payload, signed with the right key. */
static void sign_parts(const char *header, const char *payload, char token[JWT_MAX])
{
    uint8_t mac[SHA256_BYTES];
    size_t n = base64url_encode(header, strlen(header), token);

    token[n++] = '.';
    n += base64url_encode(payload, strlen(payload), token + n);
    crypto_hmac_sha256(key, sizeof(key), token, n, mac);
    token[n++] = '.';
    (void)base64url_encode(mac, sizeof(mac), token + n);
}

#define GOOD_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define GOOD_IDS                                                                                   \
    "\"jti\":\"0198f2c4-7a31-7c5e-9d2b-0123456789ab\",\"sid\":\"0198f2c4-7a31-7c5e-9d2b-"          \
    "0123456789ac\""
#define PAYLOAD(iss, sub, use, exp)                                                                \
    ("{\"iss\":\"" iss "\",\"sub\":" sub ",\"use\":\"" use "\",\"iat\":1000,\"exp\":" exp          \
     ",\"gen\":3," GOOD_IDS "}")
#define GOOD_PAYLOAD PAYLOAD("wind", "\"42\"", "access", "1900")

Test(jwt, comes_back_as_it_was_signed)
{
    const struct jwt_claims in = some_claims();
    struct jwt_claims out;
    char token[JWT_MAX];

    cr_assert_eq(jwt_sign(key, &in, token), 0);
    cr_assert_eq(jwt_verify(key, token, 1500, &out), 0);
    cr_assert_eq(out.user_id, 42);
    cr_assert_eq(out.generation, 3);
    cr_assert_eq(out.use, JWT_ACCESS);
    cr_assert_str_eq(out.jti, in.jti);
    cr_assert_str_eq(out.sid, in.sid);
}

Test(jwt, ends_at_its_time)
{
    const struct jwt_claims in = some_claims();
    struct jwt_claims out;
    char token[JWT_MAX];

    cr_assert_eq(jwt_sign(key, &in, token), 0);
    cr_assert_eq(jwt_verify(key, token, 1899, &out), 0);
    cr_assert_eq(jwt_verify(key, token, 1900, &out), JWT_EXPIRED);
}

Test(jwt, of_a_clock_that_was_set_back_an_access_token_has_expired_and_a_refresh_token_counts)
{
    struct jwt_claims in = some_claims(), out;
    char token[JWT_MAX];

    cr_assert_eq(jwt_sign(key, &in, token), 0);
    cr_assert_eq(jwt_verify(key, token, 900, &out), JWT_EXPIRED);
    cr_assert_str_eq(out.sid, in.sid);
    in.use = JWT_REFRESH;
    cr_assert_eq(jwt_sign(key, &in, token), 0);
    cr_assert_eq(jwt_verify(key, token, 900, &out), 0);
}

Test(jwt, any_changed_character_is_refused)
{
    const struct jwt_claims in = some_claims();
    struct jwt_claims out;
    char token[JWT_MAX];

    cr_assert_eq(jwt_sign(key, &in, token), 0);
    for (size_t i = 0; token[i] != '\0'; i++) {
        const char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        cr_assert_eq(jwt_verify(key, token, 1500, &out), JWT_INVALID, "at %zu", i);
        token[i] = kept;
    }
    cr_assert_eq(jwt_verify(key, token, 1500, &out), 0);
}

Test(jwt, another_key_is_refused)
{
    const struct jwt_claims in = some_claims();
    uint8_t other[JWT_KEY_BYTES] = {1};
    struct jwt_claims out;
    char token[JWT_MAX];

    cr_assert_eq(jwt_sign(other, &in, token), 0);
    cr_assert_eq(jwt_verify(key, token, 1500, &out), JWT_INVALID);
}

Test(jwt, no_header_chooses_another_algorithm)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"HS512\"}",
        "{\"alg\":\"RS256\"}",
        "{}",
        "[]",
        "{\"alg\":\"HS256\",\"alg\":1}",
        "not json",
        "{\"alg\":1}",
    };
    struct jwt_claims out;
    char token[JWT_MAX];

    sign_parts(GOOD_HEADER, GOOD_PAYLOAD, token);
    cr_assert_eq(jwt_verify(key, token, 1500, &out), 0, "the form below is good otherwise");
    for (size_t i = 0; i < WIND_ARRAY_SIZE(headers); i++) {
        sign_parts(headers[i], GOOD_PAYLOAD, token);
        cr_assert_eq(jwt_verify(key, token, 1500, &out), JWT_INVALID, "%s", headers[i]);
    }
}

Test(jwt, claims_that_are_missing_or_wrong_are_refused)
{
    static const char *const payloads[] = {
        "{}",
        "[]",
        PAYLOAD("other", "\"42\"", "access", "1900"),
        PAYLOAD("wind", "\"42x\"", "access", "1900"),
        PAYLOAD("wind", "\"-1\"", "access", "1900"),
        PAYLOAD("wind", "\"\"", "access", "1900"),
        PAYLOAD("wind", "42", "access", "1900"),
        PAYLOAD("wind", "\"42\"", "root", "1900"),
        PAYLOAD("wind", "\"42\"", "access", "\"never\""),
        PAYLOAD("wind", "\"42\"", "access", "null"),
        "{\"iss\":\"wind\",\"sub\":\"42\",\"use\":\"access\",\"iat\":1000,\"exp\":1900}",
    };
    struct jwt_claims out;
    char token[JWT_MAX];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(payloads); i++) {
        sign_parts(GOOD_HEADER, payloads[i], token);
        cr_assert_eq(jwt_verify(key, token, 1500, &out), JWT_INVALID, "%s", payloads[i]);
    }
}

Test(jwt, what_is_no_token_is_refused)
{
    static const char *const texts[] = {"", ".", "..", "a.b", "a.b.c", "....", "a..b"};
    struct jwt_claims out;

    for (size_t i = 0; i < WIND_ARRAY_SIZE(texts); i++)
        cr_assert_eq(jwt_verify(key, texts[i], 1500, &out), JWT_INVALID, "'%s'", texts[i]);

    char longer[JWT_MAX + 100];
    memset(longer, 'a', sizeof(longer));
    longer[5] = longer[9] = '.';
    longer[sizeof(longer) - 1] = '\0';
    cr_assert_eq(jwt_verify(key, longer, 1500, &out), JWT_INVALID);
}
