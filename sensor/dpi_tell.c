#include "sensor/dpi_tell.h"

#include <ndpi_api.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX  256
#define URL_MAX   512
#define JA3_TEXT  32
#define SHA1_SIZE 20

/* ---------------------------------------------------------------- texts */

static char clean_char(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c | 0x20);
    if (c <= ' ' || c > '~')
        return '?';
    return c;
}

void dpi_clean_text(char *out, size_t out_size, const char *in, size_t in_size)
{
    size_t n = 0;

    for (; n < out_size - 1 && n < in_size && in[n] != '\0'; n++)
        out[n] = clean_char(in[n]);
    out[n] = '\0';
}

struct teller {
    dpi_say *say;
    void *arg;
};

static void tell_text(const struct teller *t, enum record_fact_type type, const char *s, size_t max)
{
    const size_t n = s == NULL ? 0 : strnlen(s, max);

    if (n > 0)
        t->say(t->arg, type, s, n);
}

/* ---------------------------------------------------------------- facts */

/* The protocols whose state in nDPI's union is that of TLS. */
static bool has_tls(const struct ndpi_flow_struct *f)
{
    static const uint16_t protocols[] = {NDPI_PROTOCOL_TLS,       NDPI_PROTOCOL_QUIC,
                                         NDPI_PROTOCOL_DTLS,      NDPI_PROTOCOL_MAIL_SMTPS,
                                         NDPI_PROTOCOL_MAIL_POPS, NDPI_PROTOCOL_MAIL_IMAPS};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(protocols); i++)
        if (f->detected_protocol_stack[0] == protocols[i] ||
            f->detected_protocol_stack[1] == protocols[i])
            return true;
    return false;
}

/* "h3,hq-interop" as FACT_TLS_ALPN has it. */
static void tell_alpn(const char *list, const struct teller *t)
{
    uint8_t alpn[TEXT_MAX];
    size_t len = 0;

    while (list != NULL && *list != '\0') {
        const size_t n = strcspn(list, ",");
        if (n > UINT8_MAX || len + 1 + n > sizeof(alpn))
            break;
        alpn[len] = (uint8_t)n;
        memcpy(alpn + len + 1, list, n);
        len += n > 0 ? n + 1 : 0;
        list += n + (list[n] == ',');
    }
    if (len > 0)
        t->say(t->arg, FACT_TLS_ALPN, alpn, len);
}

static void tell_tls(const struct ndpi_flow_struct *f, const struct teller *t)
{
    const uint16_t choice[2] = {f->protos.tls_quic.ssl_version, f->protos.tls_quic.server_cipher};
    static const uint8_t none[SHA1_SIZE];
    const uint32_t validity[2] = {f->protos.tls_quic.notBefore, f->protos.tls_quic.notAfter};

    tell_alpn(f->protos.tls_quic.alpn, t);
    if (choice[0] != 0)
        t->say(t->arg, FACT_TLS_CHOICE, choice, sizeof(choice));
    tell_text(t, FACT_TLS_JA3, f->protos.tls_quic.ja3_client, JA3_TEXT);
    tell_text(t, FACT_TLS_JA3S, f->protos.tls_quic.ja3_server, JA3_TEXT);
    tell_text(t, FACT_TLS_ISSUER, f->protos.tls_quic.issuerDN, TEXT_MAX);
    tell_text(t, FACT_TLS_SUBJECT, f->protos.tls_quic.subjectDN, TEXT_MAX);
    if (validity[0] != 0 && validity[1] != 0)
        t->say(t->arg, FACT_TLS_VALIDITY, validity, sizeof(validity));
    if (memcmp(f->protos.tls_quic.sha1_certificate_fingerprint, none, SHA1_SIZE) != 0)
        t->say(t->arg, FACT_TLS_FINGERPRINT, f->protos.tls_quic.sha1_certificate_fingerprint,
               SHA1_SIZE);
}

/* nDPI puts the host in front of the path. */
static const char *path_of(const char *url, const char *host)
{
    const size_t n = strlen(host);

    if (url == NULL || n == 0 || strncasecmp(url, host, n) != 0)
        return url;
    const char *const slash = strchr(url + n, '/');
    return slash != NULL ? slash : url;
}

static void tell_http(const struct ndpi_flow_struct *f, const char *host, const struct teller *t)
{
    const uint16_t status = f->http.response_status_code;

    if (f->http.url == NULL && status == 0)
        return;
    if (f->http.method != NDPI_HTTP_METHOD_UNKNOWN)
        tell_text(t, FACT_HTTP_METHOD, ndpi_http_method2str(f->http.method), TEXT_MAX);
    tell_text(t, FACT_HTTP_URL, path_of(f->http.url, host), URL_MAX);
    tell_text(t, FACT_HTTP_USER_AGENT, f->http.user_agent, TEXT_MAX);
    tell_text(t, FACT_HTTP_CONTENT_TYPE, f->http.content_type, TEXT_MAX);
    if (status != 0)
        t->say(t->arg, FACT_HTTP_STATUS, &status, sizeof(status));
}

void dpi_tell(const struct ndpi_flow_struct *f, dpi_say *say, void *arg)
{
    const struct teller t = {say, arg};
    char name[RECORD_NAME_MAX];

    dpi_clean_text(name, sizeof(name), f->host_server_name, sizeof(f->host_server_name));
    tell_text(&t, FACT_NAME, name, sizeof(name));
    if (has_tls(f))
        tell_tls(f, &t);
    tell_http(f, name, &t);
}

/* ---------------------------------------------------------------- words */

const char *dpi_confidence_name(uint8_t confidence)
{
    switch (confidence) {
    case NDPI_CONFIDENCE_MATCH_BY_PORT:
        return "port";
    case NDPI_CONFIDENCE_MATCH_BY_IP:
        return "address";
    case NDPI_CONFIDENCE_DPI_CACHE:
        return "dpi_cache";
    case NDPI_CONFIDENCE_DPI:
        return "dpi";
    default:
        return NULL;
    }
}

static const char *severity_name(ndpi_risk_severity severity)
{
    switch (severity) {
    case NDPI_RISK_LOW:
        return "low";
    case NDPI_RISK_MEDIUM:
        return "medium";
    case NDPI_RISK_HIGH:
        return "high";
    default:
        return "severe";
    }
}

bool dpi_risk(unsigned bit, struct dpi_risk *ret_risk)
{
    if (bit <= NDPI_NO_RISK || bit >= NDPI_MAX_RISK)
        return false;
    const ndpi_risk_info *const info = ndpi_risk2severity((ndpi_risk_enum)bit);
    *ret_risk = (struct dpi_risk){.name = ndpi_risk2str((ndpi_risk_enum)bit),
                                  .severity = severity_name(info->severity),
                                  .score = dpi_risk_score(UINT64_C(1) << bit)};
    return true;
}

const char *dpi_cipher_name(uint16_t cipher)
{
    return ndpi_cipher2str(cipher);
}

unsigned dpi_risk_score(uint64_t risks)
{
    const uint64_t known = (UINT64_C(1) << NDPI_MAX_RISK) - 1;
    u_int16_t client = 0, server = 0;

    return ndpi_risk2score(risks & known, &client, &server);
}
