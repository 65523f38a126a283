#include "collector/jwt.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Clocks of collectors that share a key may differ by this much. */
#define LEEWAY_S 5

static const char *const use_words[] = {[JWT_ACCESS] = "access", [JWT_REFRESH] = "refresh"};

int jwt_sign(const uint8_t key[JWT_KEY_BYTES], const struct jwt_claims *claims,
             char ret_token[JWT_MAX])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    uint8_t mac[SHA256_BYTES];
    char sub[24];

    (void)snprintf(sub, sizeof(sub), "%lld", (long long)claims->user_id);
    json_t *o = json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:s,s:s}", "iss", "wind", "sub", sub, "use",
                          use_words[claims->use], "iat", (json_int_t)claims->issued_s, "exp",
                          (json_int_t)claims->expires_s, "gen", (json_int_t)claims->generation,
                          "jti", claims->jti, "sid", claims->sid);
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        return -ENOMEM;
    if (BASE64_TEXT(sizeof(header)) + BASE64_TEXT(strlen(text)) + BASE64_TEXT(sizeof(mac)) >
        JWT_MAX) {
        free(text);
        return -E2BIG;
    }
    size_t n = base64url_encode(header, sizeof(header) - 1, ret_token);
    ret_token[n++] = '.';
    n += base64url_encode(text, strlen(text), ret_token + n);
    free(text);
    crypto_hmac_sha256(key, JWT_KEY_BYTES, ret_token, n, mac);
    ret_token[n++] = '.';
    (void)base64url_encode(mac, sizeof(mac), ret_token + n);
    return 0;
}

/* A part of the token as a JSON object (new reference), or NULL. */
static json_t *read_part(const char *p, size_t n)
{
    uint8_t bytes[JWT_MAX];
    const ssize_t len = base64url_decode(p, n, bytes, sizeof(bytes));
    json_t *o =
        len < 0 ? NULL : json_loadb((const char *)bytes, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

static int read_uuid(json_t *o, const char *name, char ret_text[UUID_TEXT])
{
    const char *s = json_string_value(json_object_get(o, name));
    uint8_t bytes[16];

    if (s == NULL || uuid_parse(s, bytes) != 0)
        return -EINVAL;
    uuid_format(bytes, ret_text);
    return 0;
}

static int read_claims(json_t *o, struct jwt_claims *c)
{
    const char *iss = json_string_value(json_object_get(o, "iss"));
    const char *sub = json_string_value(json_object_get(o, "sub"));
    const char *use = json_string_value(json_object_get(o, "use"));
    json_t *iat = json_object_get(o, "iat"), *exp = json_object_get(o, "exp");
    json_t *gen = json_object_get(o, "gen");
    char *end = NULL;

    if (iss == NULL || strcmp(iss, "wind") != 0 || sub == NULL || use == NULL ||
        !json_is_integer(iat) || !json_is_integer(exp) || !json_is_integer(gen))
        return -EINVAL;
    if (strcmp(use, use_words[JWT_ACCESS]) == 0)
        c->use = JWT_ACCESS;
    else if (strcmp(use, use_words[JWT_REFRESH]) == 0)
        c->use = JWT_REFRESH;
    else
        return -EINVAL;
    errno = 0;
    c->user_id = strtoll(sub, &end, 10);
    if (errno != 0 || *end != '\0' || c->user_id <= 0)
        return -EINVAL;
    c->issued_s = json_integer_value(iat);
    c->expires_s = json_integer_value(exp);
    c->generation = json_integer_value(gen);
    return read_uuid(o, "jti", c->jti) != 0 || read_uuid(o, "sid", c->sid) != 0 ? -EINVAL : 0;
}

static bool is_hs256(const char *p, size_t n)
{
    json_t *header = read_part(p, n);
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const bool ok = alg != NULL && strcmp(alg, "HS256") == 0;

    json_decref(header);
    return ok;
}

int jwt_verify(const uint8_t key[JWT_KEY_BYTES], const char *token, int64_t now_s,
               struct jwt_claims *ret_claims)
{
    uint8_t mac[SHA256_BYTES], given[SHA256_BYTES];
    struct jwt_claims c = {.user_id = 0};
    const char *first = strchr(token, '.'), *last = strrchr(token, '.');

    if (strnlen(token, JWT_MAX) >= JWT_MAX || first == NULL || first == last)
        return JWT_INVALID;
    crypto_hmac_sha256(key, JWT_KEY_BYTES, token, (size_t)(last - token), mac);
    if (base64url_decode(last + 1, strlen(last + 1), given, sizeof(given)) != sizeof(given) ||
        !crypto_equal(mac, given, sizeof(mac)) || !is_hs256(token, (size_t)(first - token)))
        return JWT_INVALID;

    json_t *o = read_part(first + 1, (size_t)(last - first - 1));
    const int r = o != NULL ? read_claims(o, &c) : -EINVAL;
    json_decref(o);
    if (r != 0)
        return JWT_INVALID;
    *ret_claims = c;
    const bool is_early = c.use == JWT_ACCESS && c.issued_s > now_s + LEEWAY_S;
    return is_early || c.expires_s <= now_s ? JWT_EXPIRED : 0;
}
