#include "collector/users.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "collector/store.h"
#include "common/crypto.h"
#include "common/time.h"

#define COLUMNS                                                                                    \
    "id, username, email, role, is_active, created_ns, updated_ns, last_login_ns FROM users"

static const struct field user_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "username", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .max = USERNAME_MAX},
    {.name = "email", .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NULLABLE, .max = 254},
    {.name = "role", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = role_words},
    {.name = "is_active", .type = FIELD_BOOL, .flags = FIELD_REQUIRED},
    {.name = "created_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "updated_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "last_login_at", .type = FIELD_TIME, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = NULL},
};
const struct schema user_schema = {.name = "User", .fields = user_fields, .open = true};

bool username_normalise(const char *from, char ret_name[USERNAME_MAX + 1])
{
    const size_t n = strlen(from);

    if (n == 0 || n > USERNAME_MAX)
        return false;
    for (size_t i = 0; i <= n; i++) {
        const unsigned char c = (unsigned char)from[i];
        if (c != '\0' && (c >= 0x80 || (!isalnum(c) && strchr(".-_@", c) == NULL)))
            return false;
        ret_name[i] = (char)tolower(c);
    }
    return true;
}

/* What everybody tries first, of those that are long enough; all in lower case. */
static const char *const first_guesses[] = {
    "password", "password1",  "password12",    "password123", "passw0rd",  "p@ssw0rd",
    "p@ssword", "12345678",   "123456789",     "1234567890",  "87654321",  "987654321",
    "qwertyui", "qwertyuiop", "qwerty12",      "qwerty123",   "1q2w3e4r",  "1qaz2wsx",
    "abcd1234", "abc12345",   "iloveyou",      "letmein1",    "welcome1",  "welcome123",
    "admin123", "admin1234",  "administrator", "changeme",    "changeme1", "sunshine",
    "football", "baseball",   "superman",      "trustno1",    "dragon123", "monkey123",
    "princess", "starwars",   "computer",      "internet",    "12341234",  "11223344",
    "asdfghjk", "asdfghjkl",  "zaq12wsx",      "q1w2e3r4",    "default1",  "test1234",
};

static bool is_guessed_first(const char *password)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(first_guesses); i++)
        if (strcasecmp(password, first_guesses[i]) == 0)
            return true;
    return false;
}

static size_t count_characters(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

const char *password_fault(const char *username, const char *password)
{
    const size_t n = strlen(password);

    if (count_characters(password) < PASSWORD_MIN)
        return "must have at least 8 characters";
    if (n > PASSWORD_MAX)
        return "must have at most 128 characters";
    if (strcasecmp(username, password) == 0)
        return "must not be the user name";
    if (is_guessed_first(password))
        return "is one of those that are tried first";
    for (size_t i = 1; i < n; i++)
        if (password[i] != password[0])
            return NULL;
    return "must not be one character again and again";
}

static json_t *read_user(struct db_stmt *s)
{
    return json_pack("{s:I,s:s,s:s?,s:s,s:b,s:o,s:o,s:o}", "id", (json_int_t)db_i64(s, 0),
                     "username", db_text(s, 1), "email", db_text(s, 2), "role", db_text(s, 3),
                     "is_active", db_i64(s, 4) != 0, "created_at", store_json_time_at(s, 5),
                     "updated_at", store_json_time_at(s, 6), "last_login_at",
                     store_json_time_at(s, 7));
}

static int insert(struct db_tx *tx, const struct user_draft *d, const char *hash, json_t **ret_user,
                  struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    const int64_t now = (int64_t)time_wall_ns();
    int r = db_query_row(tx,
                         "INSERT INTO users (username, email, role, password_hash, created_ns,"
                         " updated_ns) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (username)"
                         " DO NOTHING RETURNING id, username, email, role, is_active, created_ns,"
                         " updated_ns, last_login_ns",
                         DB_ARGS(db_str(d->username), db_str(d->email), db_str(role_words[d->role]),
                                 db_str(hash), db_int(now)),
                         &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : USERS_TAKEN;
    *ret_user = read_user(s);
    return *ret_user != NULL ? 0 : err_set(e, -ENOMEM, "users: out of memory");
}

static int create(struct auth *a, const struct user_draft *d, int64_t max, json_t **ret_user,
                  struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    char hash[PASSWORD_TEXT];
    json_t *user = NULL;
    int64_t n = 0;

    int r = password_hash(a->passwords, d->password, hash, e);
    if (r == 0)
        r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT COUNT(*) FROM users", DB_NONE, &n, e);
    if (r == 0 && n >= max)
        return USERS_TOO_MANY;
    if (r == 0)
        r = insert(tx, d, hash, &user, e);
    if (r == 0)
        r = db_commit(&tx, e);
    if (r != 0) {
        json_decref(user);
        return r;
    }
    *ret_user = user;
    return 0;
}

int users_create(struct auth *a, const struct user_draft *draft, json_t **ret_user, struct err *e)
{
    return create(a, draft, USERS_MAX, ret_user, e);
}

int users_first_admin(struct auth *a, char ret_password[21], struct err *e)
{
    const struct user_draft draft = {
        .username = "admin", .password = ret_password, .role = ROLE_ADMIN};
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *user = NULL;
    int64_t n = 0;

    int r = db_begin_read(a->db, &tx, e);
    if (r == 0)
        r = db_query_i64(tx, "SELECT COUNT(*) FROM users", DB_NONE, &n, e);
    tx = db_tx_free(tx);
    if (r != 0 || n > 0)
        return r != 0 ? r : USERS_TAKEN;
    password_random(ret_password);
    r = create(a, &draft, 1, &user, e);
    json_decref(user);
    return r > 0 ? USERS_TAKEN : r;
}

int users_get(struct db *db, int64_t id, json_t **ret_user, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r = db_begin_single(db, &tx, e);

    if (r == 0)
        r = db_query_row(tx, "SELECT " COLUMNS " WHERE id = $1", DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : USERS_ABSENT;
    *ret_user = read_user(s);
    return *ret_user != NULL ? 0 : err_set(e, -ENOMEM, "users: out of memory");
}

int users_list(struct db *db, int64_t after, int64_t limit, json_t **ret_list, int64_t *ret_next,
               struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int64_t next = 0, last = 0;

    int r = db_begin_read(db, &tx, e);
    if (r == 0)
        r = db_query(tx, "SELECT " COLUMNS " WHERE id > $1 ORDER BY id LIMIT $2",
                     DB_ARGS(db_int(after), db_int(limit + 1)), &s, e);
    if (r != 0)
        return r;
    json_t *list = json_array();
    while ((r = db_step(s, e)) == DB_ROW) {
        if ((int64_t)json_array_size(list) == limit) {
            next = last;
            break;
        }
        last = db_i64(s, 0);
        json_array_append_new(list, read_user(s));
    }
    if (r < 0) {
        json_decref(list);
        return r;
    }
    *ret_list = list;
    *ret_next = next;
    return 0;
}

/* 0, USERS_ABSENT, or USERS_LAST: without this user no admin could log in. */
static int check_last(struct db_tx *tx, int64_t id, const struct user_change *c, struct err *e)
{
    WIND_AUTO(db_stmt) struct db_stmt *s = NULL;
    int r =
        db_query_row(tx,
                     "SELECT role = 'admin' AND is_active = 1, (SELECT COUNT(*) FROM users WHERE"
                     " role = 'admin' AND is_active = 1) FROM users WHERE id = $1",
                     DB_ARGS(db_int(id)), &s, e);
    if (r != DB_ROW)
        return r < 0 ? r : USERS_ABSENT;
    const bool leaves = (c->role >= 0 && c->role != ROLE_ADMIN) || c->is_active == 0;
    return leaves && db_i64(s, 0) != 0 && db_i64(s, 1) == 1 ? USERS_LAST : 0;
}

int users_change(struct auth *a, int64_t id, const struct user_change *c, struct err *e)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    char hash[PASSWORD_TEXT] = "";
    int r = c->password != NULL ? password_hash(a->passwords, c->password, hash, e) : 0;

    if (r == 0)
        r = db_begin_write(a->db, &tx, e);
    if (r == 0)
        r = check_last(tx, id, c, e);
    if (r == 0)
        r = db_run(
            tx,
            "UPDATE users SET role = COALESCE($2, role), is_active = COALESCE($3, is_active),"
            " password_hash = COALESCE($4, password_hash), updated_ns = $5 WHERE id = $1",
            DB_ARGS(db_int(id), c->role >= 0 ? db_str(role_words[c->role]) : db_null(),
                    c->is_active >= 0 ? db_int(c->is_active) : db_null(),
                    hash[0] != '\0' ? db_str(hash) : db_null(), db_int((int64_t)time_wall_ns())),
            NULL, e);
    if (r == 0 && c->sets_email)
        r = db_run(tx, "UPDATE users SET email = $2 WHERE id = $1",
                   DB_ARGS(db_int(id), db_str(c->email)), NULL, e);
    if (r == 0 && (c->password != NULL || c->is_active == 0 || c->role >= 0))
        r = session_end_all(tx, id, e);
    if (r == 0)
        r = db_commit(&tx, e);
    if (r == 0)
        auth_changed(a, id, NULL);
    return r;
}
