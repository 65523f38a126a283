#include "sensor/tls_hello.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sensor/span.h"
#include "sensor/tls_ja4.h"

#define RECORD_HEADER    5
#define MESSAGE_HEADER   4
#define RECORD_HANDSHAKE 22
#define CLIENT_HELLO     1
#define SERVER_HELLO     2
#define RANDOM_BYTES     32

enum extension {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_VERSIONS = 43,
};

/* ---------------------------------------------------------------- records */

/* A part with its length in front, of `bytes` bytes. */
static bool take_part(struct span *s, size_t bytes, struct span *ret_part)
{
    const uint8_t *const p = span_take(s, bytes);
    const size_t n = p == NULL ? 0 : bytes == 1 ? *p : load_be16(p);
    const uint8_t *const at = p == NULL ? NULL : span_take(s, n);

    if (at == NULL)
        return false;
    *ret_part = (struct span){at, n};
    return true;
}

/*
 * The body of the stream's first handshake message. It lies in one record, and then in place; or in
 * several, and is put together in `room`.
 */
static int first_message(struct span s, uint8_t type, uint8_t room[TLS_HELLO_MAX],
                         struct span *ret_body)
{
    struct span whole = {NULL, 0};
    size_t want = MESSAGE_HEADER;

    while (whole.left < want) {
        const uint8_t *const head = span_take(&s, RECORD_HEADER);
        if (head == NULL)
            return TLS_HELLO_MORE;
        const size_t len = load_be16(head + 3), here = len < s.left ? len : s.left;
        if (head[0] != RECORD_HANDSHAKE || head[1] != 3 || len == 0)
            return -EBADMSG;
        if (here == 0)
            return TLS_HELLO_MORE;
        if (whole.left == 0) {
            whole = (struct span){s.at, here};
        } else {
            if (whole.left + here > TLS_HELLO_MAX)
                return -EBADMSG;
            memmove(room, whole.at, whole.left); /* the second time it is there already */
            memcpy(room + whole.left, s.at, here);
            whole = (struct span){room, whole.left + here};
        }
        (void)span_take(&s, here);
        if (whole.at[0] != type)
            return -EBADMSG;
        if (whole.left >= MESSAGE_HEADER)
            want = MESSAGE_HEADER + ((size_t)whole.at[1] << 16 | load_be16(whole.at + 2));
        if (want > TLS_HELLO_MAX)
            return -EBADMSG;
        if (here < len && whole.left < want)
            return TLS_HELLO_MORE;
    }
    *ret_body = (struct span){whole.at + MESSAGE_HEADER, want - MESSAGE_HEADER};
    return 0;
}

/* ---------------------------------------------------------------- extensions */

static void take_name(struct span data, char ret_name[TLS_NAME_TEXT])
{
    struct span list, name;
    const uint8_t *type;

    if (!take_part(&data, 2, &list) || (type = span_take(&list, 1)) == NULL || *type != 0 ||
        !take_part(&list, 2, &name))
        return;
    const size_t n = name.left < TLS_NAME_TEXT - 1 ? name.left : TLS_NAME_TEXT - 1;
    for (size_t i = 0; i < n; i++)
        ret_name[i] = (char)(name.at[i] > ' ' && name.at[i] <= '~' ? name.at[i] : '?');
    ret_name[n] = '\0';
}

/* Returns the first name: what JA4 looks at. */
static struct span take_alpn(struct span data, uint8_t ret_alpn[TLS_ALPN_BYTES], uint8_t *ret_len)
{
    struct span list, name, first = {NULL, 0};

    if (!take_part(&data, 2, &list))
        return first;
    while (take_part(&list, 1, &name)) {
        if (first.at == NULL)
            first = name;
        if (name.left == 0 || *ret_len + name.left + 1 > TLS_ALPN_BYTES)
            continue;
        ret_alpn[*ret_len] = (uint8_t)name.left;
        memcpy(ret_alpn + *ret_len + 1, name.at, name.left);
        *ret_len = (uint8_t)(*ret_len + name.left + 1);
    }
    return first;
}

static void take_versions(struct span data, struct tls_hello *h, uint16_t *highest)
{
    struct span list;
    const uint8_t *p;

    if (!take_part(&data, 1, &list))
        return;
    while ((p = span_take(&list, 2)) != NULL) {
        const uint16_t v = load_be16(p);
        if (ja4_is_grease(v))
            continue;
        if (h->n_versions < TLS_VERSIONS_MAX)
            h->versions[h->n_versions++] = v;
        *highest = v > *highest ? v : *highest;
    }
}

static bool take_extension(uint16_t type, struct span data, struct tls_hello *h, struct ja4 *j)
{
    struct span list;

    switch (type) {
    case EXTENSION_SERVER_NAME:
        j->has_name = true;
        take_name(data, h->server_name);
        break;
    case EXTENSION_ALPN:
        j->alpn = take_alpn(data, h->alpn, &h->alpn_len);
        break;
    case EXTENSION_VERSIONS:
        take_versions(data, h, &j->version);
        break;
    case EXTENSION_SIGNATURES:
        if (take_part(&data, 2, &list))
            return ja4_add_all(&j->signatures, list);
        break;
    default:
        break;
    }
    return true;
}

/* ---------------------------------------------------------------- hellos */

static int read_extensions(struct span s, struct tls_hello *h, struct ja4 *j)
{
    struct span all, data;
    const uint8_t *type;

    if (s.left == 0)
        return 0;
    if (!take_part(&s, 2, &all))
        return -EBADMSG;
    while ((type = span_take(&all, 2)) != NULL) {
        if (!take_part(&all, 2, &data) || !ja4_add(&j->extensions, load_be16(type)) ||
            !take_extension(load_be16(type), data, h, j))
            return -EBADMSG;
    }
    return all.left == 0 ? 0 : -EBADMSG;
}

int tls_hello_read(const uint8_t *stream, size_t len, struct tls_hello *ret_hello)
{
    uint8_t room[TLS_HELLO_MAX];
    struct span body, session, ciphers, compression;
    struct ja4 j;

    const int r = first_message((struct span){stream, len}, CLIENT_HELLO, room, &body);
    if (r != 0)
        return r;
    const uint8_t *const version = span_take(&body, 2 + RANDOM_BYTES);
    if (version == NULL || !take_part(&body, 1, &session) || !take_part(&body, 2, &ciphers) ||
        !take_part(&body, 1, &compression))
        return -EBADMSG;
    ja4_begin(&j);
    *ret_hello = (struct tls_hello){.n_versions = 0};
    if (!ja4_add_all(&j.ciphers, ciphers) || read_extensions(body, ret_hello, &j) < 0)
        return -EBADMSG;
    if (j.version == 0)
        j.version = load_be16(version);
    if (ret_hello->n_versions == 0)
        ret_hello->versions[ret_hello->n_versions++] = j.version;
    ret_hello->n_ciphers = j.ciphers.n;
    ret_hello->n_extensions = j.extensions.n;
    ja4_text(&j, ret_hello->ja4);
    return 0;
}

int tls_choice_read(const uint8_t *stream, size_t len, struct tls_choice *ret_choice)
{
    uint8_t room[TLS_HELLO_MAX];
    struct span body, session, all, data;
    const uint8_t *type;

    const int r = first_message((struct span){stream, len}, SERVER_HELLO, room, &body);
    if (r != 0)
        return r;
    const uint8_t *const version = span_take(&body, 2 + RANDOM_BYTES);
    const uint8_t *const cipher =
        version != NULL && take_part(&body, 1, &session) ? span_take(&body, 3) : NULL;
    if (cipher == NULL)
        return -EBADMSG;
    *ret_choice = (struct tls_choice){.version = load_be16(version), .cipher = load_be16(cipher)};
    if (body.left == 0)
        return 0;
    if (!take_part(&body, 2, &all))
        return -EBADMSG;
    while ((type = span_take(&all, 2)) != NULL && take_part(&all, 2, &data)) {
        if (load_be16(type) == EXTENSION_VERSIONS && data.left == 2)
            ret_choice->version = load_be16(data.at);
        else if (load_be16(type) == EXTENSION_ALPN)
            (void)take_alpn(data, ret_choice->alpn, &ret_choice->alpn_len);
    }
    return 0;
}

const char *tls_version_name(uint16_t version, char ret_word[TLS_WORD])
{
    static const struct {
        uint16_t version;
        const char *name;
    } names[] = {{0x0304, "TLS 1.3"}, {0x0303, "TLS 1.2"}, {0x0302, "TLS 1.1"},
                 {0x0301, "TLSv1"},   {0x0300, "SSLv3"},   {0x0002, "SSLv2"}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(names); i++)
        if (names[i].version == version)
            return names[i].name;
    (void)snprintf(ret_word, TLS_WORD, "0x%04x", version);
    return ret_word;
}
