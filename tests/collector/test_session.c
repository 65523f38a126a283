#include "collector/session.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "collector/api_key.h"
#include "collector/replay.h"
#include "collector/users.h"
#include "support/temp_db.h"

static struct auth *a;
static struct cache *cache;

static void make_auth(int64_t access_s, int64_t sessions_max)
{
    const struct auth_conf conf = {
        .cache = cache,
        .key_file = "",
        .access_s = access_s,
        .refresh_s = 3600,
        .sessions_max = sessions_max,
        .password = {.hashes = 1, .kib = 64, .passes = 1},
    };
    struct err e = {0};

    cr_assert_eq(auth_new(&a, temp_db, &conf, &e), 0, "%s", e.text);
}

static void init(void)
{
    const struct user_draft draft = {
        .username = "eve", .password = "eves password", .role = ROLE_ANALYST};
    json_t *user = NULL;
    struct err e = {0};

    const struct cache_conf conf = {.memory = 65536};

    temp_db_init();
    cr_assert_eq(cache_new(&cache, &conf, &e), 0);
    make_auth(900, 3);
    cr_assert_eq(users_create(a, &draft, &user, &e), 0, "%s", e.text);
    json_decref(user);
}

static void fini(void)
{
    a = auth_free(a);
    cache = cache_free(cache);
    temp_db_fini();
}

TestSuite(session, .init = init, .fini = fini);

static void login(struct tokens *t)
{
    struct err e = {0};
    cr_assert_eq(session_login(a, "eve", "eves password", t, &e), 0, "%s", e.text);
}

static void change(const char *sql)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    struct err e = {0};

    cr_assert_eq(db_begin_write(temp_db, &tx, &e), 0);
    cr_assert_eq(db_run(tx, sql, DB_NONE, NULL, &e), 0, "%s", e.text);
    cr_assert_eq(db_commit(&tx, &e), 0);
}

static int use(const struct tokens *t)
{
    struct principal p;
    struct err e = {0};
    return auth_token(a, t->access, &p, &e);
}

Test(session, a_login_proves_who_it_is)
{
    struct tokens t;
    struct principal p;
    struct err e = {0};

    login(&t);
    cr_assert_eq(auth_token(a, t.access, &p, &e), 0);
    cr_assert_eq(p.kind, PRINCIPAL_USER);
    cr_assert_str_eq(p.name, "eve");
    cr_assert(principal_may(&p, PERMISSION_ALERTS_WRITE));
    cr_assert_not(principal_may(&p, PERMISSION_USERS_WRITE));
    cr_assert_not(principal_may(&p, PERMISSION_INGEST));
    cr_assert_eq(auth_still(a, &p, &e), 0);
}

Test(session, wrong_names_and_passwords_are_refused)
{
    struct tokens t;
    struct err e = {0};

    cr_assert_eq(session_login(a, "eve", "eves Password", &t, &e), AUTH_INVALID);
    cr_assert_eq(session_login(a, "adam", "eves password", &t, &e), AUTH_INVALID);
    cr_assert_eq(session_login(a, "", "", &t, &e), AUTH_INVALID);
}

Test(session, a_refresh_token_is_no_access_token_and_the_other_way_round)
{
    struct tokens t, again;
    struct principal p;
    struct err e = {0};

    login(&t);
    cr_assert_eq(auth_token(a, t.refresh, &p, &e), AUTH_INVALID);
    cr_assert_eq(session_refresh(a, t.access, &again, &e), AUTH_INVALID);
}

Test(session, the_second_use_of_a_refresh_token_ends_the_session)
{
    struct tokens t, second, third, other;
    struct err e = {0};

    login(&t);
    login(&other);
    cr_assert_eq(use(&t), 0);
    cr_assert_eq(session_refresh(a, t.refresh, &second, &e), 0);
    cr_assert_eq(use(&second), 0);
    cr_assert_eq(session_refresh(a, second.refresh, &third, &e), 0);
    cr_assert_eq(use(&third), 0);
    cr_assert_eq(session_refresh(a, t.refresh, &second, &e), AUTH_REVOKED);
    cr_assert_eq(use(&third), AUTH_REVOKED);
    cr_assert_eq(use(&t), AUTH_REVOKED);
    cr_assert_eq(session_refresh(a, third.refresh, &second, &e), AUTH_REVOKED);
    cr_assert_eq(use(&other), 0, "another session of the same user goes on");
}

Test(session, logging_out_ends_this_session_only)
{
    struct tokens t, other;
    struct principal p;
    struct err e = {0};

    login(&t);
    login(&other);
    cr_assert_eq(auth_token(a, t.access, &p, &e), 0);
    cr_assert_eq(session_logout(a, &p, &e), 0);
    cr_assert_eq(use(&t), AUTH_REVOKED);
    cr_assert_eq(auth_still(a, &p, &e), AUTH_REVOKED);
    cr_assert_eq(session_refresh(a, t.refresh, &t, &e), AUTH_REVOKED);
    cr_assert_eq(use(&other), 0);
}

Test(session, a_new_password_ends_all_older_tokens)
{
    struct tokens t, fresh;
    struct principal p;
    struct err e = {0};

    login(&t);
    cr_assert_eq(auth_token(a, t.access, &p, &e), 0);
    cr_assert_eq(session_change_password(a, &p, "wrong", "another one", &fresh, &e), AUTH_INVALID);
    cr_assert_eq(use(&t), 0);
    cr_assert_eq(session_change_password(a, &p, "eves password", "another one", &fresh, &e), 0);
    cr_assert_eq(use(&t), AUTH_REVOKED);
    cr_assert_eq(session_refresh(a, t.refresh, &t, &e), AUTH_REVOKED);
    cr_assert_eq(use(&fresh), 0);
    cr_assert_eq(session_login(a, "eve", "eves password", &t, &e), AUTH_INVALID);
    cr_assert_eq(session_login(a, "eve", "another one", &t, &e), 0);
}

Test(session, a_lost_role_or_account_counts_at_once)
{
    const struct user_change viewer = {.role = ROLE_VIEWER, .is_active = -1};
    const struct user_change ended = {.role = -1, .is_active = 0};
    struct tokens t;
    struct err e = {0};

    login(&t);
    cr_assert_eq(use(&t), 0);
    cr_assert_eq(users_change(a, 1, &viewer, &e), 0);
    cr_assert_eq(use(&t), AUTH_REVOKED);
    login(&t);
    cr_assert_eq(use(&t), 0);
    cr_assert_eq(users_change(a, 1, &ended, &e), 0);
    cr_assert_eq(use(&t), AUTH_REVOKED);
    cr_assert_eq(session_login(a, "eve", "eves password", &t, &e), AUTH_INVALID);
}

Test(session, what_another_collector_changed_counts_when_it_says_so)
{
    static const char *const news[] = {"user 1", NULL, "what is that?"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(news); i++) {
        struct tokens t;
        login(&t);
        cr_assert_eq(use(&t), 0);
        change("UPDATE users SET generation = generation + 1");
        cr_assert_eq(use(&t), 0, "the database is not asked each time");
        cache_publish(cache, CACHE_CREDENTIALS, "user 2");
        cache_publish(cache, CACHE_CREDENTIALS, "key 1");
        cr_assert_eq(use(&t), 0, "nothing of this user");
        cache_publish(cache, CACHE_CREDENTIALS, news[i]);
        cr_assert_eq(use(&t), AUTH_REVOKED, "%s", news[i]);
    }
}

Test(session, without_news_of_others_the_database_is_asked_each_time)
{
    struct tokens t;
    struct cache *away = cache;

    a = auth_free(a);
    cache = NULL;
    make_auth(900, 3);
    cache = away;
    login(&t);
    cr_assert_eq(use(&t), 0);
    change("UPDATE users SET generation = generation + 1");
    cr_assert_eq(use(&t), AUTH_REVOKED);
}

Test(session, tokens_expire)
{
    struct tokens t;

    a = auth_free(a);
    make_auth(0, 3);
    login(&t);
    cr_assert_eq(use(&t), AUTH_EXPIRED);
    a = auth_free(a);
    make_auth(1, 3);
    login(&t);
    cr_assert_eq(use(&t), 0);
    (void)sleep(2);
    cr_assert_eq(use(&t), AUTH_EXPIRED, "also one that is known");
}

Test(session, the_key_survives_a_restart_and_sessions_are_bounded)
{
    struct tokens t[4];

    for (int i = 0; i < 4; i++)
        login(&t[i]);
    a = auth_free(a);
    make_auth(900, 3);
    cr_assert_eq(use(&t[0]), AUTH_REVOKED, "the one unused longest gave way");
    cr_assert_eq(use(&t[1]), 0);
    cr_assert_eq(use(&t[3]), 0);
}

Test(session, the_first_start_makes_one_admin_and_the_last_admin_stays)
{
    const struct user_change viewer = {.role = ROLE_VIEWER, .is_active = -1};
    const struct user_draft draft = {
        .username = "boss", .password = "bosses password", .role = ROLE_ADMIN};
    char password[21];
    json_t *user = NULL;
    struct err e = {0};

    cr_assert_eq(users_first_admin(a, password, &e), USERS_TAKEN);
    cr_assert_eq(users_create(a, &draft, &user, &e), 0);
    const int64_t id = json_integer_value(json_object_get(user, "id"));
    json_decref(user);
    cr_assert_eq(users_create(a, &draft, &user, &e), USERS_TAKEN);
    cr_assert_eq(users_change(a, id, &viewer, &e), USERS_LAST);
    cr_assert_eq(users_change(a, 99, &viewer, &e), USERS_ABSENT);
}

/* ---------------------------------------------------------------- keys */

static int make_key(const char *scopes, int64_t expires_ns, char text[API_KEY_TEXT])
{
    const struct api_key_draft draft = {
        .name = "edge", .scopes = scopes, .created_by = 1, .expires_ns = expires_ns};
    struct err e = {0};
    int64_t id = 0;

    return api_key_create(temp_db, &draft, text, &id, &e);
}

Test(session, a_key_may_what_its_scopes_say)
{
    char text[API_KEY_TEXT];
    struct principal p;
    struct err e = {0};

    cr_assert_eq(make_key("ingest", 0, text), 0);
    cr_assert_eq(auth_key(a, text, &p, &e), 0);
    cr_assert_eq(p.kind, PRINCIPAL_KEY);
    cr_assert(principal_may(&p, PERMISSION_INGEST));
    cr_assert_not(principal_may(&p, PERMISSION_ALERTS_READ));
    cr_assert_not(principal_may(&p, PERMISSION_SELF));
    cr_assert_eq(auth_still(a, &p, &e), 0);

    const size_t last = strlen(text) - 1;
    text[last] = text[last] == '0' ? '1' : '0';
    cr_assert_eq(auth_key(a, text, &p, &e), AUTH_INVALID);
}

Test(session, broken_and_ended_keys_are_refused)
{
    static const char *const bad[] = {"",
                                      "wind_",
                                      "wind_1",
                                      "wind_1_",
                                      "wind__x",
                                      "wind_-1_x",
                                      "wind_99999999999999999999_x",
                                      "WIND_1_x"};
    const struct user_change ended = {.role = -1, .is_active = 0};
    char text[API_KEY_TEXT];
    struct principal p;
    struct err e = {0};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_assert_eq(auth_key(a, bad[i], &p, &e), AUTH_INVALID, "%s", bad[i]);
    cr_assert_eq(make_key("ingest", 1, text), 0);
    cr_assert_eq(auth_key(a, text, &p, &e), AUTH_EXPIRED);
    cr_assert_eq(make_key("ingest", 0, text), 0);
    cr_assert_eq(users_change(a, 1, &ended, &e), 0);
    cr_assert_eq(auth_key(a, text, &p, &e), AUTH_REVOKED, "its maker's account has ended");
}

Test(session, scopes_are_permissions)
{
    cr_assert_eq(api_key_permissions("ingest alerts:read"),
                 (1U << PERMISSION_INGEST) | (1U << PERMISSION_ALERTS_READ));
    cr_assert_eq(api_key_permissions(""), 0);
    cr_assert_eq(api_key_permissions("ingest root"), 0);
    cr_assert_eq(api_key_permissions("ingest  alerts:read"), 0);
}

/* ---------------------------------------------------------------- Idempotency-Key */

Test(session, an_answer_is_kept_for_the_same_request_only)
{
    struct request rq = {.method = "POST", .path = "/api/alerts/"};
    const struct principal eve = {.kind = PRINCIPAL_USER, .id = 1};
    const struct principal bob = {.kind = PRINCIPAL_USER, .id = 2};
    struct replay mine, changed, theirs;
    struct response rs = {.status = 0};
    struct err e = {0};

    replay_key(&mine, &eve, &rq, "k", "body", 4);
    replay_key(&changed, &eve, &rq, "k", "other", 5);
    replay_key(&theirs, &bob, &rq, "k", "body", 4);
    cr_assert_eq(replay_begin(temp_db, &mine, &rs, &e), 0, "%s", e.text);
    cr_assert_eq(replay_begin(temp_db, &mine, &rs, &e), REPLAY_RUNNING);
    (void)respond_json(&rs, 201, json_pack("{s:i}", "id", 7));
    cr_assert_eq(replay_end(temp_db, &mine, &rs, &e), 0);
    response_done(&rs);

    cr_assert_eq(replay_begin(temp_db, &mine, &rs, &e), REPLAY_FOUND);
    cr_assert_eq(rs.status, 201);
    cr_assert(rs.n == 8 && memcmp(rs.bytes, "{\"id\":7}", 8) == 0);
    response_done(&rs);
    cr_assert_eq(replay_begin(temp_db, &changed, &rs, &e), REPLAY_MISMATCH);
    cr_assert_eq(replay_begin(temp_db, &theirs, &rs, &e), 0);

    (void)respond_problem(&rs, 409, "conflict", "no");
    cr_assert_eq(replay_end(temp_db, &theirs, &rs, &e), 0);
    response_done(&rs);
    cr_assert_eq(replay_begin(temp_db, &theirs, &rs, &e), 0, "a failure may be tried again");
}
