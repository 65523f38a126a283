#include "collector/api_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db.h"
#include "collector/schema.h"
#include "common/crypto.h"
#include "common/time.h"

#define SECRET_BYTES 20
#define SECRET_TEXT  HEX_TEXT(SECRET_BYTES)
#define USE_NOTED_NS (60 * (int64_t)WIND_NS_PER_S)
#define PREFIX_SHOWN 4 /* characters of the secret that people may see */

uint32_t api_key_permissions(const char *scopes)
{
    uint32_t bits = 0;

    while (*scopes != '\0') {
        char word[32];
        const size_t n = strcspn(scopes, " ");
        if (n == 0 || n >= sizeof(word))
            return 0;
        memcpy(word, scopes, n);
        word[n] = '\0';
        const int i = word_find(permission_words, word);
        if (i < 0)
            return 0;
        bits |= 1U << (i + PERMISSION_SELF + 1);
        scopes += n + (scopes[n] == ' ');
    }
    return bits;
}

static int insert(struct db_tx *tx, const struct api_key_draft *d, const char *secret,
                  int64_t *ret_id, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    uint8_t hash[SHA256_BYTES];

    crypto_sha256(secret, strlen(secret), hash);
    int r = db_query_row(tx,
                         "INSERT INTO api_keys (name, prefix, secret_hash, scopes, created_by,"
                         " created_ns, expires_ns, sensor)"
                         " VALUES ($1, '', $2, $3, $4, $5, $6, $7) RETURNING id",
                         DB_ARGS(db_str(d->name), db_bytes(hash, sizeof(hash)), db_str(d->scopes),
                                 d->created_by > 0 ? db_int(d->created_by) : db_null(),
                                 db_int((int64_t)time_wall_ns()),
                                 d->expires_ns > 0 ? db_int(d->expires_ns) : db_null(),
                                 db_str(d->sensor)),
                         &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : err_set(e, -EIO, "the new key has no id");
    *ret_id = db_i64(s, 0);
    return 0;
}

int api_key_create(struct db *db, const struct api_key_draft *draft, char ret_text[API_KEY_TEXT],
                   int64_t *ret_id, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    uint8_t random[SECRET_BYTES];
    char secret[SECRET_TEXT], prefix[48];
    int64_t n = 0;

    crypto_random(random, sizeof(random));
    (void)hex_encode(random, sizeof(random), secret);
    int r = db_begin_write(db, &tx, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT COUNT(*) FROM api_keys", DB_NONE, &n, e);
    if (r == 0 && n >= API_KEYS_MAX)
        return API_KEY_TOO_MANY;
    if (r == 0)
        r = insert(tx, draft, secret, ret_id, e);
    if (r == 0) {
        (void)snprintf(prefix, sizeof(prefix), "wind_%lld_%.*s", (long long)*ret_id, PREFIX_SHOWN,
                       secret);
        r = db_run(tx, "UPDATE api_keys SET prefix = $2 WHERE id = $1",
                   DB_ARGS(db_int(*ret_id), db_str(prefix)), NULL, e);
    }
    if (r == 0)
        r = db_commit(&tx, e);
    if (r == 0)
        (void)snprintf(ret_text, API_KEY_TEXT, "wind_%lld_%s", (long long)*ret_id, secret);
    crypto_wipe(secret, sizeof(secret));
    crypto_wipe(random, sizeof(random));
    return r;
}

/* "wind_7_abc": the id, and where the secret begins; 0 if it has not this form. */
static int64_t split(const char *text, const char **ret_secret)
{
    char *end = NULL;

    if (strncmp(text, "wind_", 5) != 0 || text[5] < '1' || text[5] > '9')
        return 0;
    errno = 0;
    const long long id = strtoll(text + 5, &end, 10);
    if (errno != 0 || *end != '_' || strnlen(end + 1, SECRET_TEXT) != SECRET_TEXT - 1)
        return 0;
    *ret_secret = end + 1;
    return id;
}

static int note_use(struct db *db, int64_t id, int64_t now, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    int r = db_begin_write(db, &tx, e);
    if (r == 0)
        r = db_run(tx, "UPDATE api_keys SET last_used_ns = $2 WHERE id = $1",
                   DB_ARGS(db_int(id), db_int(now)), NULL, e);
    return r == 0 ? db_commit(&tx, e) : r;
}

/* No more than its maker may today, and posting as a sensor, which no person does. */
static uint32_t key_limits(enum role maker)
{
    return role_permissions(maker) | 1U << PERMISSION_INGEST;
}

static int read_key(struct db_stmt *s, const char *secret, int64_t now, struct principal *p)
{
    uint8_t hash[SHA256_BYTES];
    size_t len;
    const void *kept = db_blob(s, 1, &len);

    crypto_sha256(secret, strlen(secret), hash);
    if (kept == NULL || len != sizeof(hash) || !crypto_equal(kept, hash, sizeof(hash)))
        return AUTH_INVALID;
    const int role = db_is_null(s, 6) ? (int)ROLE_ADMIN : word_find(role_words, db_text(s, 6));
    if (db_i64(s, 4) != 0 || role < 0)
        return AUTH_REVOKED;
    if (!db_is_null(s, 3) && db_i64(s, 3) <= now)
        return AUTH_EXPIRED;
    p->kind = PRINCIPAL_KEY;
    p->role = ROLE_VIEWER;
    p->permissions = api_key_permissions(db_text(s, 2)) & key_limits((enum role)role);
    p->expires_s = db_i64(s, 3) / (int64_t)WIND_NS_PER_S;
    (void)snprintf(p->name, sizeof(p->name), "%s", db_text(s, 0));
    (void)snprintf(p->sensor, sizeof(p->sensor), "%s", db_is_null(s, 7) ? "" : db_text(s, 7));
    return 0;
}

int auth_key(struct auth *a, const char *text, struct principal *ret, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int64_t now = (int64_t)time_wall_ns();
    const char *secret = NULL;
    struct principal p = {.id = split(text, &secret)};

    if (p.id == 0)
        return AUTH_INVALID;
    int r = db_begin_read(a->db, &tx, e);
    if (r == 0)
        r = db_query_row(
            tx,
            "SELECT k.name, k.secret_hash, k.scopes, k.expires_ns, k.is_revoked,"
            " k.last_used_ns, CASE WHEN u.is_active = 0 THEN '' ELSE u.role END, k.sensor"
            " FROM api_keys k LEFT JOIN users u ON u.id = k.created_by WHERE k.id = $1",
            DB_ARGS(db_int(p.id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : AUTH_INVALID;
    r = read_key(s, secret, now, &p);
    const bool is_due = db_i64(s, 5) + USE_NOTED_NS < now;
    s = db_stmt_free(s);
    tx = db_tx_free(tx);
    if (r != 0)
        return r;
    if (is_due && (r = note_use(a->db, p.id, now, e)) < 0)
        return r;
    *ret = p;
    return 0;
}
