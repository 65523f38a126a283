/* /api/users/: who may log in, and as what. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collector/api_common.h"
#include "collector/collector.h"
#include "collector/routes.h"

static const struct field create_fields[] = {
    USERNAME_FIELD,
    PASSWORD_FIELD("password"),
    EMAIL_FIELD,
    {.name = "role", .type = FIELD_WORD, .words = role_words, .help = "Default: viewer."},
    {.name = NULL},
};
static const struct schema create_schema = {.name = "UserCreate", .fields = create_fields};

static const struct field change_fields[] = {
    {.name = "password", .type = FIELD_TEXT, .min = PASSWORD_MIN, .max = PASSWORD_MAX},
    EMAIL_FIELD,
    {.name = "role", .type = FIELD_WORD, .words = role_words},
    {.name = "is_active", .type = FIELD_BOOL},
    {.name = NULL},
};
static const struct schema change_schema = {.name = "UserPatch", .fields = change_fields};

static const struct field users_query[] = {
    {.name = "limit", .type = FIELD_INT, .min = 1, .max = 1000, .help = "Default: 100."},
    {.name = "cursor", .type = FIELD_INT, .help = "next_cursor of the page before."},
    {.name = NULL},
};

static int list(struct request *rq, struct response *rs)
{
    json_t *users = NULL;
    int64_t next = 0;
    char cursor[24];
    const int r = users_list(rq->db, request_query_int(rq, "cursor", 0),
                             request_query_int(rq, "limit", 100), &users, &next, &rq->err);
    if (r < 0)
        return r;
    (void)snprintf(cursor, sizeof(cursor), "%" PRId64, next);
    return respond_list(rs, users, next > 0 ? cursor : NULL);
}

static int get(struct request *rq, struct response *rs)
{
    json_t *user = NULL;
    const int r = users_get(rq->db, request_id(rq, "user_id"), &user, &rq->err);

    if (r == USERS_ABSENT)
        return respond_problem(rs, 404, "not_found", "there is no such user");
    return r < 0 ? r : respond_json(rs, 200, user);
}

int api_user_create(struct request *rq, struct response *rs, enum role role)
{
    char name[USERNAME_MAX + 1] = "";
    const struct user_draft draft = {
        .username = name,
        .password = body_text(rq, "password", ""),
        .email = body_text(rq, "email", NULL),
        .role = role,
    };
    json_t *user = NULL;

    if (!username_normalise(body_text(rq, "username", ""), name))
        request_fault(rq, "body", "username", "must be letters, digits or . - _ @");
    const char *fault = password_fault(name, draft.password);
    if (fault != NULL)
        request_fault(rq, "body", "password", "%s", fault);
    if (json_array_size(rq->errors) > 0)
        return respond_invalid(rq, rs);
    const int r = users_create(rq->app->auth, &draft, &user, &rq->err);
    if (r == USERS_TAKEN)
        return respond_problem(rs, 409, "username_taken", "there is a user '%s' already", name);
    if (r == USERS_TOO_MANY)
        return respond_problem(rs, 409, "too_many", "there are %d users, which is the limit",
                               USERS_MAX);
    if (r < 0)
        return r;
    respond_header(rs, "Location", "/api/users/%" PRId64,
                   (int64_t)json_integer_value(json_object_get(user, "id")));
    return respond_json(rs, 201, user);
}

static int create(struct request *rq, struct response *rs)
{
    return api_user_create(rq, rs,
                           (enum role)word_find(role_words, body_text(rq, "role", "viewer")));
}

static int change(struct request *rq, struct response *rs)
{
    const char *role = body_text(rq, "role", NULL);
    json_t *active = json_object_get(rq->body, "is_active");
    const struct user_change c = {
        .email = body_text(rq, "email", NULL),
        .sets_email = body_has(rq, "email"),
        .password = body_text(rq, "password", NULL),
        .role = role != NULL ? word_find(role_words, role) : -1,
        .is_active = active != NULL ? json_is_true(active) : -1,
    };
    const char *fault = c.password != NULL ? password_fault("", c.password) : NULL;

    if (fault != NULL) {
        request_fault(rq, "body", "password", "%s", fault);
        return respond_invalid(rq, rs);
    }
    const int r = users_change(rq->app->auth, request_id(rq, "user_id"), &c, &rq->err);
    if (r == USERS_LAST)
        return respond_problem(rs, 409, "last_admin", "somebody must stay who is admin");
    if (r == USERS_ABSENT)
        return respond_problem(rs, 404, "not_found", "there is no such user");
    return r < 0 ? r : get(rq, rs);
}

const struct route users_routes[] = {
    {.method = "GET",
     .pattern = "/api/users/",
     .need = PERMISSION_USERS_READ,
     .handler = list,
     .summary = "All users, by id",
     .reply = &user_schema,
     .query = users_query,
     .list = true},
    {.method = "POST",
     .pattern = "/api/users/",
     .need = PERMISSION_USERS_WRITE,
     .handler = create,
     .summary = "Make a user",
     .body = &create_schema,
     .reply = &user_schema,
     .status = 201},
    {.method = "GET",
     .pattern = "/api/users/{user_id}",
     .need = PERMISSION_USERS_READ,
     .handler = get,
     .summary = "One user",
     .reply = &user_schema},
    {.method = "PATCH",
     .pattern = "/api/users/{user_id}",
     .need = PERMISSION_USERS_WRITE,
     .handler = change,
     .summary = "Change a user's role, password, address, or end the account",
     .body = &change_schema,
     .reply = &user_schema},
    {.method = NULL},
};
