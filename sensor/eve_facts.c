#include "sensor/eve_facts.h"

#include <netinet/in.h>
#include <stdio.h>

#include "common/crypto.h"
#include "common/ip.h"
#include "common/time.h"
#include "sensor/dns.h"
#include "sensor/dpi.h"
#include "sensor/eve_dns.h"
#include "sensor/fact_store.h"
#include "sensor/span.h"
#include "sensor/tls_hello.h"

/* The last fact of each type. */
struct facts_view {
    struct span of[FACT_TYPES]; /* .at NULL: none */
    bool has_tls, has_http;
};

/* ---------------------------------------------------------------- checks */

static bool is_list(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n; at += p[at] + 1u)
        if (p[at] >= n - at)
            return false;
    return true;
}

static bool is_sane(const struct record_fact *f, const uint8_t *p)
{
    switch (f->type) {
    case FACT_TLS_ALPN:
    case FACT_TLS_CHOSEN_ALPN:
        return is_list(p, f->len);
    case FACT_TLS_VERSIONS:
        return f->len % sizeof(uint16_t) == 0;
    case FACT_TLS_CHOICE:
        return f->len == 2 * sizeof(uint16_t);
    case FACT_TLS_VALIDITY:
        return f->len == 2 * sizeof(uint32_t);
    case FACT_TLS_FINGERPRINT:
        return f->len == SHA1_BYTES;
    case FACT_HTTP_STATUS:
        return f->len == sizeof(uint16_t);
    case FACT_DNS:
        return eve_dns_check(p, f->len);
    default:
        return f->type < FACT_TYPES;
    }
}

bool eve_facts_check(const uint8_t *facts, size_t len)
{
    struct record_fact f;
    const uint8_t *p;
    size_t at = 0;

    while ((p = fact_next(facts, len, &at, &f)) != NULL)
        if (!is_sane(&f, p))
            return false;
    return at == len;
}

static void view(const uint8_t *facts, size_t len, struct facts_view *ret_view)
{
    struct record_fact f;
    const uint8_t *p;

    *ret_view = (struct facts_view){.has_tls = false};
    for (size_t at = 0; (p = fact_next(facts, len, &at, &f)) != NULL;) {
        ret_view->of[f.type] = (struct span){p, f.len};
        ret_view->has_tls |= f.type >= FACT_TLS_NAME && f.type <= FACT_TLS_FINGERPRINT;
        ret_view->has_http |= f.type >= FACT_HTTP_METHOD && f.type <= FACT_HTTP_STATUS;
    }
}

static bool is_quic(const struct flow_record *f)
{
    return f->key.proto == IPPROTO_UDP && strncmp(f->app, "dtls", 4) != 0;
}

const char *eve_facts_app(const struct flow_record *f, const uint8_t *facts, size_t len)
{
    struct facts_view v;

    view(facts, len, &v);
    if (v.has_tls)
        return is_quic(f) ? "quic" : "tls";
    return v.of[FACT_DNS].at != NULL ? "dns" : NULL;
}

/* ---------------------------------------------------------------- pieces */

static void put_text(struct jsonw *j, const char *key, const struct facts_view *v,
                     enum record_fact_type type)
{
    const struct span s = v->of[type];

    if (s.left > 0)
        jsonw_strn(j, key, (const char *)s.at, s.left);
}

static void put_names(struct jsonw *j, const char *key, struct span list)
{
    if (list.left == 0)
        return;
    jsonw_array(j, key);
    for (size_t at = 0; at < list.left; at += list.at[at] + 1u)
        jsonw_strn(j, NULL, (const char *)list.at + at + 1, list.at[at]);
    jsonw_end(j);
}

static void put_hash(struct jsonw *j, const char *key, const struct facts_view *v,
                     enum record_fact_type type)
{
    if (v->of[type].left == 0)
        return;
    jsonw_object(j, key);
    put_text(j, "hash", v, type);
    jsonw_end(j);
}

/* ---------------------------------------------------------------- tls */

/* As Suricata has it: without a fraction and zone. */
static void put_date(struct jsonw *j, const char *key, uint32_t seconds)
{
    char text[TIME_TEXT];

    (void)time_rfc3339(seconds * WIND_NS_PER_S, text);
    jsonw_strn(j, key, text, sizeof("2026-01-02T03:04:05") - 1);
}

static void put_fingerprint(struct jsonw *j, struct span s)
{
    static const char digit[] = "0123456789abcdef";
    char text[3 * SHA1_BYTES];

    if (s.left != SHA1_BYTES)
        return;
    for (size_t i = 0; i < SHA1_BYTES; i++) {
        text[3 * i] = digit[s.at[i] >> 4];
        text[3 * i + 1] = digit[s.at[i] & 15];
        text[3 * i + 2] = ':';
    }
    jsonw_strn(j, "fingerprint", text, sizeof(text) - 1);
}

static void put_versions(struct jsonw *j, const struct facts_view *v)
{
    struct span s = v->of[FACT_TLS_VERSIONS];
    char word[TLS_WORD];
    const uint8_t *p;

    if (s.left == 0)
        return;
    jsonw_array(j, "client_versions");
    while ((p = span_take(&s, sizeof(uint16_t))) != NULL)
        jsonw_str(j, NULL, tls_version_name(load_16(p, false), word));
    jsonw_end(j);
}

static void put_choice(struct jsonw *j, struct span s)
{
    char word[TLS_WORD];

    if (s.left == 0)
        return;
    const uint16_t version = load_16(s.at, false), cipher = load_16(s.at + 2, false);
    jsonw_str(j, "version", tls_version_name(version, word));
    if (cipher != 0)
        jsonw_str(j, "cipher", dpi_cipher_name(cipher));
}

static void put_tls(struct jsonw *j, const struct flow_record *f, const struct facts_view *v)
{
    const struct span validity = v->of[FACT_TLS_VALIDITY];

    jsonw_object(j, is_quic(f) ? "quic" : "tls");
    put_text(j, "subject", v, FACT_TLS_SUBJECT);
    put_text(j, "issuerdn", v, FACT_TLS_ISSUER);
    put_fingerprint(j, v->of[FACT_TLS_FINGERPRINT]);
    put_text(j, "sni", v, v->of[FACT_TLS_NAME].left > 0 ? FACT_TLS_NAME : FACT_NAME);
    put_choice(j, v->of[FACT_TLS_CHOICE]);
    if (validity.left > 0) {
        put_date(j, "notbefore", load_32(validity.at, false));
        put_date(j, "notafter", load_32(validity.at + 4, false));
    }
    put_text(j, "ja4", v, FACT_TLS_JA4);
    put_hash(j, "ja3", v, FACT_TLS_JA3);
    put_hash(j, "ja3s", v, FACT_TLS_JA3S);
    put_versions(j, v);
    put_names(j, "client_alpns", v->of[FACT_TLS_ALPN]);
    put_names(j, "server_alpns", v->of[FACT_TLS_CHOSEN_ALPN]);
    jsonw_end(j);
}

/* ---------------------------------------------------------------- http */

static void put_http(struct jsonw *j, const struct flow_record *f, const struct facts_view *v)
{
    const struct span status = v->of[FACT_HTTP_STATUS];

    jsonw_object(j, "http");
    if (f->server_name[0] != '\0')
        jsonw_strn(j, "hostname", f->server_name, strnlen(f->server_name, sizeof(f->server_name)));
    put_text(j, "url", v, FACT_HTTP_URL);
    put_text(j, "http_user_agent", v, FACT_HTTP_USER_AGENT);
    put_text(j, "http_content_type", v, FACT_HTTP_CONTENT_TYPE);
    put_text(j, "http_method", v, FACT_HTTP_METHOD);
    if (status.left > 0)
        jsonw_u64(j, "status", load_16(status.at, false));
    jsonw_end(j);
}

void eve_facts_put(struct jsonw *j, const struct flow_record *f, const uint8_t *facts, size_t len)
{
    struct facts_view v;

    if (len == 0)
        return;
    view(facts, len, &v);
    if (v.has_tls)
        put_tls(j, f, &v);
    if (v.has_http)
        put_http(j, f, &v);
    if (v.of[FACT_DNS].at != NULL)
        eve_dns_put(j, facts, len, v.of[FACT_CUT].at != NULL);
}
