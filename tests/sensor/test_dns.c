#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "sensor/dns.h"
#include "support/dns_builder.h"

static struct bytes message;
static struct dns_reader reader;
static struct dns_header header;
static struct dns_item item;
static char text[DNS_DATA_TEXT];

static void forget(void)
{
    bytes_done(&message);
}

TestSuite(dns, .fini = forget);

static struct span all(void)
{
    return (struct span){message.data, message.len};
}

static void begin(void)
{
    cr_assert_eq(dns_begin(&reader, all(), message.len, &header), 0);
}

static void expect_item(unsigned section, unsigned type, const char *name, const char *data)
{
    char word[DNS_WORD];

    cr_assert_eq(dns_next(&reader, &item), 0, "%s", name);
    cr_assert_eq(item.section, section, "%s", name);
    cr_assert_eq(item.type, type, "%s", dns_type_name(item.type, word));
    cr_assert_str_eq(item.name, name);
    cr_assert_eq(item.name_len, strlen(name));
    if (data != NULL) {
        cr_assert_eq(dns_data_text(&reader, &item, text, sizeof(text)), strlen(data), "%s", text);
        cr_assert_str_eq(text, data);
    }
}

Test(dns, a_chain_of_aliases_with_all_its_addresses)
{
    static const uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, [15] = 7};

    dns_head(&message, 0x1234, 0x8180, "1301");
    dns_question(&message, "WWW.example.org", DNS_TYPE_A);
    dns_pointer(&message, 12);
    dns_record(&message, DNS_TYPE_CNAME, 60, 6);
    const size_t cdn = message.len;
    put(&message, "\3cdn", 4);
    dns_pointer(&message, 16); /* .example.org */
    dns_pointer(&message, (unsigned)cdn);
    dns_record(&message, DNS_TYPE_A, 30, 4);
    put(&message, "\xc0\0\2\1", 4);
    dns_pointer(&message, (unsigned)cdn);
    dns_record(&message, DNS_TYPE_AAAA, 31, 16);
    put(&message, v6, 16);
    dns_name(&message, "");
    dns_record(&message, DNS_TYPE_OPT, 0x01000000, 0);

    begin();
    cr_assert(header.id == 0x1234 && header.flags == 0x8180 && header.count[DNS_ANSWER] == 3);
    expect_item(DNS_QUESTION, DNS_TYPE_A, "WWW.example.org", NULL);
    expect_item(DNS_ANSWER, DNS_TYPE_CNAME, "WWW.example.org", "cdn.example.org");
    cr_assert_eq(item.ttl, 60);
    expect_item(DNS_ANSWER, DNS_TYPE_A, "cdn.example.org", "192.0.2.1");
    uint8_t address[16];
    cr_assert(dns_address(&item, address) && address[10] == 0xff && address[15] == 1);
    expect_item(DNS_ANSWER, DNS_TYPE_AAAA, "cdn.example.org", "2001:db8::7");
    expect_item(DNS_ADDITIONAL, DNS_TYPE_OPT, ".", NULL);
    cr_assert_eq(dns_rcode(header.flags, item.ttl), 16);
    cr_assert_eq(dns_next(&reader, &item), DNS_END);
    cr_assert_eq(dns_next(&reader, &item), DNS_END);
}

static void expect_data(unsigned type, const void *p, size_t n, const char *data)
{
    message.len = 0;
    dns_head(&message, 1, 0x8180, "1100");
    dns_question(&message, "a.example", type);
    dns_answer(&message, type, 1, p, n);
    begin();
    expect_item(DNS_QUESTION, type, "a.example", NULL);
    expect_item(DNS_ANSWER, type, "a.example", data);
}

#define EXPECT_DATA(type, bytes, data) expect_data(type, bytes, sizeof(bytes) - 1, data)

Test(dns, what_records_say)
{
    EXPECT_DATA(DNS_TYPE_A, "\xc0\0\2\1", "192.0.2.1");
    EXPECT_DATA(DNS_TYPE_NS, "\2ns\xc0\x0c", "ns.a.example");
    EXPECT_DATA(DNS_TYPE_PTR, "\xc0\x0c", "a.example");
    EXPECT_DATA(DNS_TYPE_MX, "\0\x0a\4mail\xc0\x0e", "mail.example");
    EXPECT_DATA(DNS_TYPE_TXT, "\5v=spf\3 -x\0", "v=spf  -x ");
    EXPECT_DATA(DNS_TYPE_TXT, "\3a\x01\xff", "a??");
    EXPECT_DATA(DNS_TYPE_SRV, "\0\1\0\2\x14\x95\4xmpp\xc0\x0e", "1 2 5269 xmpp.example");
    EXPECT_DATA(DNS_TYPE_SOA, "\2ns\xc0\x0e\4host\xc0\x0e\0\0\0\7\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4",
                "ns.example host.example 7 1 2 3 4");
    EXPECT_DATA(DNS_TYPE_CAA, "\0\5issueca.example", "0 issue ca.example");
    EXPECT_DATA(DNS_TYPE_HTTPS,
                "\0\1\0\0\1\0\6\2h2\2h3\0\3\0\2\x20\xfb\0\4\0\x08\xc0\0\2\1\xc0\0\2\2"
                "\x02\x9a\0\1\xab",
                "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 key666=ab");
    EXPECT_DATA(4711, "\xde\xad", "\\# 2 dead");
    EXPECT_DATA(4711, "", "\\# 0");
}

/* Data that is not what its type says is shown as it is. */
Test(dns, data_that_lies_about_its_type)
{
    EXPECT_DATA(DNS_TYPE_A, "\xc0\0\2", "\\# 3 c00002");
    EXPECT_DATA(DNS_TYPE_TXT, "\5abc", "\\# 4 05616263");
    EXPECT_DATA(DNS_TYPE_MX, "\0", "\\# 1 00");
    EXPECT_DATA(DNS_TYPE_CNAME, "\xc0\xff", "\\# 2 c0ff");
    EXPECT_DATA(DNS_TYPE_SOA, "\0\0\0\0\0\7", "\\# 6 000000000007");
    EXPECT_DATA(DNS_TYPE_HTTPS, "\0\1\0\0\1\0\x09\2h2",
                "\\# 10 000100000100090268"
                "32");
}

Test(dns, odd_characters_in_names_are_escaped)
{
    dns_head(&message, 1, 0x0100, "1000");
    put(&message, "\5a.b\\c\3d \x07\2\xc3\xa4\0\0\1\0\1", 18);
    begin();
    expect_item(DNS_QUESTION, DNS_TYPE_A, "a\\.b\\\\c.d\\032\\007.\\195\\164", NULL);
}

Test(dns, a_name_that_escapes_make_too_long_is_cut)
{
    dns_head(&message, 1, 0x0100, "1000");
    for (int i = 0; i < 3; i++) {
        put8(&message, 63);
        for (int k = 0; k < 63; k++)
            put8(&message, 0xff);
    }
    put(&message, "\0\0\1\0\1", 5);
    begin();
    cr_assert_eq(dns_next(&reader, &item), 0);
    cr_assert(item.is_cut);
    cr_assert_lt(item.name_len, DNS_NAME_TEXT);
    cr_assert_eq(strlen(item.name), item.name_len);
}

/* 255 bytes on the wire are allowed, one more is not; a label has 63. */
Test(dns, names_have_a_limit)
{
    for (unsigned last = 61; last <= 62; last++) {
        message.len = 0;
        dns_head(&message, 1, 0x0100, "1000");
        for (int i = 0; i < 4; i++) {
            const unsigned n = i < 3 ? 63 : last;
            put8(&message, n);
            for (unsigned k = 0; k < n; k++)
                put8(&message, 'x');
        }
        put(&message, "\0\0\1\0\1", 5);
        begin();
        cr_assert_eq(dns_next(&reader, &item), last == 61 ? 0 : -EBADMSG);
        cr_assert(last != 61 || (item.name_len == 253 && !item.is_cut));
    }
    message.len = 0;
    dns_head(&message, 1, 0x0100, "1000");
    put8(&message, 64);
    for (int k = 0; k < 80; k++)
        put8(&message, 'x');
    begin();
    cr_assert_eq(dns_next(&reader, &item), -EBADMSG);
    cr_assert_eq(dns_next(&reader, &item), DNS_END, "nothing behind it can be found");
}

/* Pointers to themselves, to each other, forward: none of them is followed for ever. */
Test(dns, pointers_lead_back_only)
{
    static const char *const names[] = {"\xc0\x0c", "\1a\xc0\x0c", "\xc0\x0e\xc0\x0c", "\xc0\xff",
                                        "\xc0"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        message.len = 0;
        dns_head(&message, 1, 0x0100, "1000");
        put(&message, names[i], strlen(names[i]));
        put(&message, "\0\1\0\1", i == 4 ? 0 : 4);
        if (i == 4)
            message.data[5] = 0; /* "no question": the least of one isn't there */
        begin();
        cr_assert_eq(dns_next(&reader, &item), i == 4 ? DNS_END : -EBADMSG, "%zu", i);
    }
}

/* Each of many pointers leads back, a little: the jumps are counted. */
Test(dns, a_long_ladder_of_pointers_is_refused)
{
    for (unsigned jumps = DNS_JUMPS_MAX; jumps <= DNS_JUMPS_MAX + 1; jumps++) {
        message.len = 0;
        dns_head(&message, 1, 0x8180, "0100");
        dns_name(&message, "");
        dns_record(&message, DNS_TYPE_NS, 1, 2 * jumps);
        put8(&message, 0); /* the root, and a byte too much */
        put8(&message, 0);
        for (unsigned i = 1; i < jumps; i++)
            dns_pointer(&message, (unsigned)message.len - 2);
        begin();
        cr_assert_eq(dns_next(&reader, &item), 0);
        struct span at = {message.data + message.len - 2, 2};
        size_t len = 0;
        bool is_cut = false;
        char name[DNS_NAME_TEXT];
        dns_pointer(&message, (unsigned)message.len - 2);
        at.at = message.data + message.len - 2;
        cr_assert_eq(
            dns_read_name((struct span){message.data, message.len}, &at, name, &len, &is_cut),
            jumps == DNS_JUMPS_MAX ? 0 : -EBADMSG);
    }
}

/* A message that was cut: what is whole is read, and no byte behind the end. */
Test(dns, every_length_of_a_cut_message)
{
    dns_addresses(&message, 7, "www.example.org", 3);
    for (size_t n = 0; n < message.len; n++) {
        uint8_t *const some = malloc(n + 1);
        unsigned items = 0;

        memcpy(some, message.data, n);
        int r = dns_begin(&reader, (struct span){some, n}, n, &header);
        while (r == 0 && (r = dns_next(&reader, &item)) == 0)
            items++;
        cr_assert_eq(r, -EBADMSG);
        cr_assert_leq(items, 3);
        free(some);
    }
}

Test(dns, counts_that_the_message_has_no_room_for_are_refused)
{
    dns_head(&message, 1, 0x8180, "9999");
    put(&message, "\0\0\1\0\1", 5);
    cr_assert_eq(dns_begin(&reader, all(), message.len, &header), -EBADMSG);
    cr_assert_eq(dns_begin(&reader, (struct span){message.data, 11}, 11, &header), -EBADMSG);
}

Test(dns, mdns_uses_a_bit_of_the_class_for_itself)
{
    dns_head(&message, 0, 0x8400, "0100");
    dns_name(&message, "printer.local");
    dns_record(&message, DNS_TYPE_A, 120, 4);
    message.data[message.len - 8] = 0x80;
    put(&message, "\x0a\0\0\5", 4);
    begin();
    expect_item(DNS_ANSWER, DNS_TYPE_A, "printer.local", "10.0.0.5");
    cr_assert_eq(item.class, 1);
}

Test(dns, numbers_have_the_names_that_people_know)
{
    char word[DNS_WORD];

    cr_assert_str_eq(dns_type_name(28, word), "AAAA");
    cr_assert_str_eq(dns_type_name(10, word), "NULL");
    cr_assert_str_eq(dns_type_name(65535, word), "TYPE65535");
    cr_assert_str_eq(dns_rcode_name(3, word), "NXDOMAIN");
    cr_assert_str_eq(dns_rcode_name(4095, word), "RCODE4095");
}
