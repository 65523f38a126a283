#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "common/crypto.h"

static void expect_hex(const void *p, size_t n, const char *hex)
{
    char text[HEX_TEXT(64)];

    cr_assert_eq(hex_encode(p, n, text), 2 * n);
    cr_expect_str_eq(text, hex);
}

Test(crypto, digests_give_the_published_values)
{
    uint8_t d[SHA256_BYTES];

    crypto_sha1("abc", 3, d);
    expect_hex(d, SHA1_BYTES, "a9993e364706816aba3e25717850c26c9cd0d89d");
    crypto_sha256("abc", 3, d);
    expect_hex(d, sizeof(d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, d); /* RFC 4231, case 2 */
    expect_hex(d, sizeof(d), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

Test(crypto, random_bytes_differ_each_time)
{
    uint8_t a[32] = {0}, b[32] = {0};

    crypto_random(a, sizeof(a));
    crypto_random(b, sizeof(b));
    cr_assert_not(crypto_equal(a, b, sizeof(a)));
    cr_assert(crypto_equal(a, a, sizeof(a)));
    crypto_random(a, 0);
}

Test(crypto, equal_sees_every_byte)
{
    uint8_t a[20] = {0}, b[20] = {0};

    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] = 0x80;
        cr_assert_not(crypto_equal(a, b, sizeof(a)), "byte %zu", i);
        b[i] = 0;
    }
    cr_assert(crypto_equal(a, b, 0));
}

Test(crypto, hex_reads_either_case_and_refuses_the_rest)
{
    uint8_t b[4] = {0};

    cr_assert_eq(hex_decode("00fFaB", b, sizeof(b)), 3);
    cr_assert(b[0] == 0 && b[1] == 0xff && b[2] == 0xab);
    cr_assert_eq(hex_decode("", b, sizeof(b)), 0);
    cr_assert_eq(hex_decode("abc", b, sizeof(b)), -EINVAL);
    cr_assert_eq(hex_decode("ag", b, sizeof(b)), -EINVAL);
    cr_assert_eq(hex_decode("0011223344", b, sizeof(b)), -EINVAL);
}

Test(crypto, base64_gives_the_values_of_rfc_4648)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    char text[BASE64_TEXT(6)], back[6];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(pairs); i++) {
        const size_t n = strlen(pairs[i][0]);

        cr_assert_eq(base64_encode(pairs[i][0], n, text), strlen(pairs[i][1]));
        cr_assert_str_eq(text, pairs[i][1]);
        const size_t len = base64url_encode(pairs[i][0], n, text);
        cr_assert_eq(len, strcspn(pairs[i][1], "="));
        cr_assert_eq(base64url_decode(text, len, back, sizeof(back)), (ssize_t)n);
        cr_assert_arr_eq(back, pairs[i][0], n);
    }
    cr_assert_eq(base64url_encode("\xfb\xff", 2, text), 3);
    cr_assert_str_eq(text, "-_8");
}

Test(crypto, base64url_has_one_spelling_for_each_value)
{
    static const char *const bad[] = {"Zg==", "Zh", "Zm9", "Z", "Zm9+", "Zm 9", "Zm9v\n"};
    uint8_t b[16];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_expect_eq(base64url_decode(bad[i], strlen(bad[i]), b, sizeof(b)), -EINVAL, "%s", bad[i]);
    cr_assert_eq(base64url_decode("Zm9v", 4, b, 2), -EINVAL, "no room");
}

Test(crypto, uuid_v7_holds_the_time_and_sorts_by_it)
{
    const uint8_t random[10] = {0xff, 0x5e, 0xff, 0x2b, 1, 2, 3, 4, 5, 6};
    uint8_t u[16], later[16], back[16];
    char text[UUID_TEXT];

    uuid_v7(UINT64_C(0x0198f2c47a31), random, u);
    uuid_format(u, text);
    cr_assert_str_eq(text, "0198f2c4-7a31-7f5e-bf2b-010203040506");
    uuid_v7(UINT64_C(0x0198f2c47a32), (const uint8_t[10]){0}, later);
    cr_assert_lt(memcmp(u, later, sizeof(u)), 0);
    cr_assert_eq(uuid_parse("0198F2C4-7a31-7f5e-bf2b-010203040506", back), 0);
    cr_assert_arr_eq(back, u, sizeof(u));
}

Test(crypto, what_is_not_a_uuid_is_refused)
{
    static const char *const bad[] = {"",
                                      "0198f2c4-7a31-7f5e-bf2b-01020304050",
                                      "0198f2c4-7a31-7f5e-bf2b-0102030405066",
                                      "0198f2c4+7a31-7f5e-bf2b-010203040506",
                                      "0198f2c-47a31-7f5e-bf2b-010203040506",
                                      "0198f2cg-7a31-7f5e-bf2b-010203040506"};
    uint8_t u[16];

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_expect_eq(uuid_parse(bad[i], u), -EINVAL, "%s", bad[i]);
}
