#include <criterion/criterion.h>
#include <errno.h>

#include "sensor/tls_ja4.h"
#include "support/tls_builder.h"

static struct bytes stream;
static struct tls_hello hello;

static void forget(void)
{
    bytes_done(&stream);
}

TestSuite(tls_hello, .fini = forget);

static const char *ja4_of(const struct hello_parts *parts)
{
    stream.len = 0;
    put_hello_record(&stream, parts);
    const int r = tls_hello_read(stream.data, stream.len, &hello);
    cr_assert_eq(r, 0, "%d", r);
    return hello.ja4;
}

/* Published: https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md */
Test(tls_hello, the_published_example_has_its_fingerprint)
{
    cr_assert_str_eq(ja4_of(hello_of_chrome()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    cr_assert_str_eq(hello.server_name, "www.wind-lab.example");
    cr_assert_eq(hello.n_ciphers, 15);
    cr_assert_eq(hello.n_extensions, 16);
    cr_assert_eq(hello.n_versions, 2);
    cr_assert(hello.versions[0] == 0x0304 && hello.versions[1] == 0x0303);
    cr_assert_eq(hello.alpn_len, 12);
    cr_assert_arr_eq(hello.alpn, "\2h2\10http/1.1", 12);
}

/* Published by tls.browserleaks.com for Chrome 143: extensions in an order of chance. */
Test(tls_hello, a_shuffled_hello_of_chrome_143_has_its_fingerprint)
{
    struct hello_parts parts = *hello_of_chrome();

    parts.extensions = "baba,002d,0033,0010,fe0d,0017,44cd,0000,000b,000a,002b,ff01,0023,0012,0005,"
                       "000d,001b,caca";
    cr_assert_str_eq(ja4_of(&parts), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
}

/* A hello without anything: what is empty is zeros, not the hash of nothing. */
Test(tls_hello, what_is_not_there_is_zeros)
{
    struct hello_parts parts = {
        .version = 0x0303, .ciphers = "0a0a,0035", .extensions = "0000", .name = "x"};

    cr_assert_str_eq(ja4_of(&parts), "t12d010100_692296a295db_000000000000");
    parts.extensions = NULL;
    cr_assert_str_eq(ja4_of(&parts), "t12i010000_692296a295db_000000000000");
    parts.ciphers = "3a3a";
    parts.version = 0x0300;
    cr_assert_str_eq(ja4_of(&parts), "ts3i000000_000000000000_000000000000");
    cr_assert_str_eq(hello.server_name, "");
    cr_assert(hello.n_versions == 1 && hello.versions[0] == 0x0300);
}

/* The examples of the description, "ALPN Extension Value". */
Test(tls_hello, odd_protocol_names_are_shown_by_their_hex)
{
    static const struct {
        const char *alpn, *ends;
    } examples[] = {{"http/1.1", "h1"},
                    {"h", "hh"},
                    {"\xab", "ab"},
                    {"\xab\xcd", "ad"},
                    {"0\xab", "3b"},
                    {"01\xab\xcd", "3d"},
                    {"0\xab"
                     "1",
                     "01"},
                    {"_x", "58"}};

    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const char *const alpn[] = {examples[i].alpn, NULL};
        struct hello_parts parts = *hello_of_chrome();

        parts.alpn = alpn;
        cr_assert_arr_eq(ja4_of(&parts) + 8, examples[i].ends, 2, "%s", hello.ja4);
    }
}

Test(tls_hello, more_than_99_are_99_and_more_than_there_is_room_for_are_refused)
{
    static char many[8 * 1024 + 16];
    struct hello_parts parts = {.version = 0x0303, .ciphers = many};

    for (size_t i = 0; i < JA4_LIST_MAX + 1; i++)
        (void)snprintf(many + 5 * i, 6, "%04zx,", 0x1000 + 0x7ff - i); /* falling: to be sorted */
    many[5 * 150] = '\0';
    cr_assert_arr_eq(ja4_of(&parts), "t12i9900", 8);
    many[5 * 150] = '1';
    stream.len = 0;
    put_hello_record(&stream, &parts);
    cr_assert_eq(tls_hello_read(stream.data, stream.len, &hello), -EBADMSG);
}

/* However the stream is cut into records, and however little of it is there. */
Test(tls_hello, a_hello_in_pieces_is_the_same_hello)
{
    static const size_t pieces[] = {1, 3, 4, 5, 100, 500};
    struct bytes message = {.data = NULL};

    put_client_hello(&message, hello_of_chrome());
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        stream.len = 0;
        put_tls_records(&stream, message.data, message.len, pieces[i]);
        for (size_t n = 0; n < stream.len; n++) {
            uint8_t *const some = malloc(n + 1); /* ASan knows its end */
            memcpy(some, stream.data, n);
            cr_assert_eq(tls_hello_read(some, n, &hello), TLS_HELLO_MORE, "%zu of %zu", n,
                         pieces[i]);
            free(some);
        }
        cr_assert_eq(tls_hello_read(stream.data, stream.len, &hello), 0);
        cr_assert_str_eq(hello.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }
    bytes_done(&message);
}

Test(tls_hello, other_things_are_no_hello)
{
    static const char *const others[] = {"GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                                         "\x16\x03\x01\0\5\2\0\0\1\0", "\x17\x03\x03\0\5abcde",
                                         "\x16\x03\x01\0\x04\1\0\xff\xff"};

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        cr_assert_eq(tls_hello_read((const uint8_t *)others[i], i < 2 ? 16 : 9, &hello), -EBADMSG,
                     "%zu", i);
}

/* Every length that lies, one byte at a time: refused, or read without harm. */
Test(tls_hello, a_length_that_lies_does_no_harm)
{
    put_hello_record(&stream, hello_of_chrome());
    for (size_t i = 0; i < stream.len; i++) {
        for (unsigned lie = 0; lie < 256; lie += 51) {
            uint8_t *const copy = malloc(stream.len);
            memcpy(copy, stream.data, stream.len);
            copy[i] = (uint8_t)lie;
            const int r = tls_hello_read(copy, stream.len, &hello);
            cr_assert(r == 0 || r == TLS_HELLO_MORE || r == -EBADMSG);
            free(copy);
        }
    }
}

Test(tls_hello, the_servers_choice)
{
    static const uint8_t tls12[] = "\x16\x03\x03\0\x3b\2\0\0\x37\x03\x03"
                                   "0123456789abcdef0123456789abcdef\0\xc0\x2f\0\0\x0f"
                                   "\0\x10\0\x0b\0\x09\x08http/1.1";
    static const uint8_t tls13[] = "\x16\x03\x03\0\x32\2\0\0\x2e\x03\x03"
                                   "0123456789abcdef0123456789abcdef\0\x13\x01\0\0\x06"
                                   "\0\x2b\0\2\x03\x04";
    struct tls_choice choice;
    char word[TLS_WORD];

    cr_assert_eq(tls_choice_read(tls12, sizeof(tls12) - 1, &choice), 0);
    cr_assert(choice.version == 0x0303 && choice.cipher == 0xc02f);
    cr_assert_eq(choice.alpn_len, 9);
    cr_assert_arr_eq(choice.alpn, "\x08http/1.1", 9);
    cr_assert_eq(tls_choice_read(tls13, sizeof(tls13) - 1, &choice), 0);
    cr_assert(choice.version == 0x0304 && choice.cipher == 0x1301 && choice.alpn_len == 0);
    cr_assert_eq(tls_choice_read(tls13, 40, &choice), TLS_HELLO_MORE);
    cr_assert_eq(tls_hello_read(tls13, sizeof(tls13) - 1, &hello), -EBADMSG);
    cr_assert_str_eq(tls_version_name(0x0303, word), "TLS 1.2");
    cr_assert_str_eq(tls_version_name(0x7f1c, word), "0x7f1c");
}

Test(tls_hello, a_name_that_is_no_text_is_made_one)
{
    struct hello_parts parts = *hello_of_chrome();

    parts.name = "a b\x01\xff";
    (void)ja4_of(&parts);
    cr_assert_str_eq(hello.server_name, "a?b??");
}
