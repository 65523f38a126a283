/* /api/auth/: logging in and out. */
#include <stdlib.h>
#include <string.h>

#include "collector/api_common.h"
#include "collector/collector.h"
#include "collector/routes.h"
#include "collector/session.h"

static const char *const grant_words[] = {"password", "refresh_token", NULL};

/* Open: OAuth2 clients also send scope and client_id. */
static const struct field token_fields[] = {
    {.name = "grant_type", .type = FIELD_WORD, .words = grant_words, .help = "Default: password."},
    {.name = "username", .type = FIELD_TEXT, .max = 256},
    {.name = "password", .type = FIELD_TEXT, .max = 256},
    {.name = "refresh_token", .type = FIELD_TEXT, .max = JWT_MAX},
    {.name = NULL},
};
static const struct schema token_schema = {
    .name = "TokenRequest", .fields = token_fields, .open = true};

static const char *const bearer_words[] = {"bearer", NULL};
static const struct field tokens_fields[] = {
    {.name = "access_token", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "refresh_token", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "token_type", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = bearer_words},
    {.name = "expires_in", .type = FIELD_INT, .flags = FIELD_REQUIRED, .help = "Seconds."},
    {.name = NULL},
};
static const struct schema tokens_schema = {
    .name = "Tokens", .fields = tokens_fields, .open = true};

static const struct field refresh_fields[] = {
    {.name = "refresh_token",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .min = 1,
     .max = JWT_MAX},
    {.name = NULL},
};
static const struct schema refresh_schema = {.name = "RefreshRequest", .fields = refresh_fields};

static const struct field register_fields[] = {
    USERNAME_FIELD,
    PASSWORD_FIELD("password"),
    EMAIL_FIELD,
    {.name = NULL},
};
static const struct schema register_schema = {.name = "Registration", .fields = register_fields};

static const struct field password_fields[] = {
    {.name = "current_password", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .max = 256},
    PASSWORD_FIELD("new_password"),
    {.name = NULL},
};
static const struct schema password_schema = {.name = "PasswordChange", .fields = password_fields};

static const struct field me_fields[] = {
    {.name = "id", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "username", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "role", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = role_words},
    {.name = "permissions",
     .type = FIELD_LIST,
     .flags = FIELD_REQUIRED,
     .item = FIELD_WORD,
     .words = permission_words},
    {.name = NULL},
};
static const struct schema me_schema = {.name = "Me", .fields = me_fields, .open = true};

static int respond_tokens(struct response *rs, const struct tokens *t)
{
    return respond_json(rs, 200,
                        json_pack("{s:s,s:s,s:s,s:I}", "access_token", t->access, "refresh_token",
                                  t->refresh, "token_type", "bearer", "expires_in",
                                  (json_int_t)t->expires_in_s));
}

static int refresh_with(struct request *rq, struct response *rs, const char *token)
{
    struct tokens t;
    const int r = session_refresh(rq->app->auth, token, &t, &rq->err);

    if (r > 0)
        return respond_problem(rs, 401, auth_outcome_code(r), "the refresh token is not good");
    return r < 0 ? r : respond_tokens(rs, &t);
}

static int require(struct request *rq, const char *field)
{
    if (body_text(rq, field, "")[0] != '\0')
        return 0;
    request_fault(rq, "body", field, "is required");
    return 1;
}

static int token(struct request *rq, struct response *rs)
{
    struct tokens t;
    char name[USERNAME_MAX + 1];

    if (strcmp(body_text(rq, "grant_type", "password"), "refresh_token") == 0)
        return require(rq, "refresh_token") != 0
                   ? respond_invalid(rq, rs)
                   : refresh_with(rq, rs, body_text(rq, "refresh_token", ""));
    if (require(rq, "username") + require(rq, "password") > 0)
        return respond_invalid(rq, rs);
    if (!username_normalise(body_text(rq, "username", ""), name))
        name[0] = '\0'; /* nobody's name: takes as long as a wrong password */
    const int r = session_login(rq->app->auth, name, body_text(rq, "password", ""), &t, &rq->err);
    if (r > 0)
        return respond_problem(rs, 401, "credentials_invalid", "wrong user name or password");
    return r < 0 ? r : respond_tokens(rs, &t);
}

static int refresh(struct request *rq, struct response *rs)
{
    return refresh_with(rq, rs, body_text(rq, "refresh_token", ""));
}

static int logout(struct request *rq, struct response *rs)
{
    const int r = session_logout(rq->app->auth, &rq->principal, &rq->err);
    return r < 0 ? r : respond_empty(rs, 204);
}

/* 0 or USERS_ABSENT. */
static int write_me(struct request *rq, struct buf *answer)
{
    json_t *user = NULL;
    const int r = users_get(rq->db, rq->principal.id, &user, &rq->err);

    if (r != 0)
        return r;
    json_t *permissions = json_array();
    for (int p = PERMISSION_SELF + 1; p < PERMISSIONS; p++)
        if (principal_may(&rq->principal, (enum permission)p))
            json_array_append_new(permissions, json_string(permission_name((enum permission)p)));
    json_object_set_new(user, "permissions", permissions);
    char *text = json_dumps(user, JSON_COMPACT);
    json_decref(user);
    if (text != NULL)
        buf_puts(answer, text);
    answer->failed = answer->failed || text == NULL;
    free(text);
    return 0;
}

static int me(struct request *rq, struct response *rs)
{
    struct session_cache *known = rq->app->auth->known;
    struct buf answer;

    buf_init(&answer, HTTP_BODY_MAX);
    if (known != NULL && session_cache_answer(known, rq->principal.id, &answer))
        return respond_buf(rs, 200, &answer);
    const uint64_t heard = known != NULL ? session_cache_heard(known) : 0;
    const int r = write_me(rq, &answer);
    if (r != 0)
        return r < 0 ? r : respond_problem(rs, 404, "not_found", "this user is no more");
    if (known != NULL && !answer.failed)
        session_cache_put_answer(known, heard, rq->principal.id, answer.data, answer.len);
    return respond_buf(rs, 200, &answer);
}

static int register_user(struct request *rq, struct response *rs)
{
    if (!rq->app->conf.auth_register)
        return respond_problem(rs, 403, "registration_closed", "an admin makes the users here");
    return api_user_create(rq, rs, ROLE_VIEWER);
}

static int change_password(struct request *rq, struct response *rs)
{
    const char *password = body_text(rq, "new_password", "");
    const char *fault = password_fault(rq->principal.name, password);
    struct tokens t;

    if (fault != NULL) {
        request_fault(rq, "body", "new_password", "%s", fault);
        return respond_invalid(rq, rs);
    }
    const int r =
        session_change_password(rq->app->auth, &rq->principal,
                                body_text(rq, "current_password", ""), password, &t, &rq->err);
    if (r > 0)
        return respond_problem(rs, 401, "credentials_invalid", "the current password is wrong");
    return r < 0 ? r : respond_tokens(rs, &t);
}

const struct route auth_routes[] = {
    {.method = "POST",
     .pattern = "/api/auth/token",
     .handler = token,
     .summary = "Log in (OAuth2 password grant), or refresh",
     .body = &token_schema,
     .reply = &tokens_schema,
     .flags = ROUTE_FORM | ROUTE_LOGIN | ROUTE_NO_REPLAY},
    {.method = "POST",
     .pattern = "/api/auth/refresh",
     .handler = refresh,
     .summary = "New tokens for a refresh token, which is used up",
     .body = &refresh_schema,
     .reply = &tokens_schema,
     .flags = ROUTE_LOGIN | ROUTE_NO_REPLAY},
    {.method = "POST",
     .pattern = "/api/auth/register",
     .handler = register_user,
     .summary = "Make oneself a user with the role viewer",
     .body = &register_schema,
     .reply = &user_schema,
     .flags = ROUTE_LOGIN | ROUTE_NO_REPLAY,
     .status = 201},
    {.method = "POST",
     .pattern = "/api/auth/logout",
     .need = PERMISSION_SELF,
     .handler = logout,
     .summary = "End the session with all its tokens",
     .status = 204},
    {.method = "POST",
     .pattern = "/api/auth/password",
     .need = PERMISSION_SELF,
     .handler = change_password,
     .summary = "Change one's own password; ends all other sessions",
     .body = &password_schema,
     .reply = &tokens_schema,
     .flags = ROUTE_LOGIN | ROUTE_NO_REPLAY},
    {.method = "GET",
     .pattern = "/api/auth/me",
     .need = PERMISSION_SELF,
     .handler = me,
     .summary = "Who am I, and what may I do",
     .reply = &me_schema},
    {.method = NULL},
};
