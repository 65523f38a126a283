#include "collector/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

static const struct field problem_error_fields[] = {
    {.name = "loc", .type = FIELD_LIST, .flags = FIELD_REQUIRED, .item = FIELD_ANY},
    {.name = "msg", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = NULL},
};
static const struct schema problem_error = {.name = "Fault", .fields = problem_error_fields};

static const struct field problem_fields[] = {
    {.name = "type", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "title", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "status", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "code", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .help = "Stable, for programs."},
    {.name = "detail", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "errors", .type = FIELD_LIST, .item = FIELD_OBJECT, .of = &problem_error},
    {.name = NULL},
};
static const struct schema problem = {.name = "Problem", .fields = problem_fields};

/* Each schema once, with all that it names. Depth: that of the tables. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void add_schema(json_t *schemas, const struct schema *s)
{
    if (s == NULL || json_object_get(schemas, s->name) != NULL)
        return;
    json_object_set_new(schemas, s->name, schema_document(s));
    for (const struct field *f = s->fields; f->name != NULL; f++)
        add_schema(schemas, f->of);
}

static json_t *content(const char *type, json_t *takes_schema)
{
    return json_pack("{s:{s:o}}", type, "schema", takes_schema);
}

static json_t *reference(const struct schema *s)
{
    const struct field f = {.type = FIELD_OBJECT, .of = s};
    return schema_field_document(&f);
}

static json_t *parameter(const char *in, const struct field *f, bool is_required)
{
    json_t *o = json_pack("{s:s,s:s,s:b,s:o}", "name", f->name, "in", in, "required", is_required,
                          "schema", schema_field_document(f));
    if (f->help != NULL)
        json_object_set_new(o, "description", json_string(f->help));
    return o;
}

/* "/api/x/{name:text}/" -> "/api/x/{name}/", and a parameter for each. */
static void read_pattern(const char *pattern, char path[160], json_t *parameters)
{
    size_t n = 0;

    for (const char *p = pattern; *p != '\0' && n < 159;) {
        if (*p != '{') {
            path[n++] = *p++;
            continue;
        }
        char name[48];
        const size_t len = strcspn(p + 1, ":}");
        const bool is_text = p[1 + len] == ':';
        (void)snprintf(name, sizeof(name), "%.*s", (int)len, p + 1);
        const struct field f = {.name = name,
                                .type = is_text ? FIELD_TEXT : FIELD_INT,
                                .min = is_text ? 0 : 1,
                                .max = is_text ? 127 : 999999999999999999};
        json_array_append_new(parameters, parameter("path", &f, true));
        n += (size_t)snprintf(path + n, 160 - n, "{%s}", name);
        p += strcspn(p, "}") + 1;
    }
    path[n < 159 ? n : 159] = '\0';
}

static json_t *reply_of(const struct route *r)
{
    if (r->reply == NULL)
        return json_pack("{s:s}", "description", "done");
    json_t *schema = reference(r->reply);
    if (r->list)
        schema = json_pack("{s:s,s:[s,s],s:{s:{s:s,s:o},s:{s:[s,s]}}}", "type", "object",
                           "required", "data", "next_cursor", "properties", "data", "type", "array",
                           "items", schema, "next_cursor", "type", "string", "null");
    return json_pack("{s:s,s:o}", "description", "done", "content",
                     content("application/json", schema));
}

static json_t *responses_of(const struct route *r)
{
    char status[16];
    json_t *failure = json_pack("{s:s,s:o}", "description", "a problem", "content",
                                content("application/problem+json", reference(&problem)));

    (void)snprintf(status, sizeof(status), "%d", r->status > 0 ? r->status : 200);
    return json_pack("{s:o,s:o}", status, reply_of(r), "default", failure);
}

/* A person has a token, a program a key; a few things are for one of them alone. */
static json_t *security_of(enum permission need)
{
    json_t *list = json_array();

    if (need != PERMISSION_INGEST) {
        json_array_append_new(list, json_pack("{s:[]}", "password"));
        json_array_append_new(list, json_pack("{s:[]}", "bearer"));
    }
    if (need != PERMISSION_SELF)
        json_array_append_new(list, json_pack("{s:[]}", "key"));
    return list;
}

static const struct field idempotency_key = {
    .type = FIELD_TEXT,
    .name = "Idempotency-Key",
    .max = 200,
    .help = "The same key and body within 24 hours: the first answer again."};
static const struct field if_match = {
    .type = FIELD_TEXT, .name = "If-Match", .help = "The ETag as it was read; else 412."};

/* Headers that change what a request does. */
static void add_headers(const struct route *r, json_t *parameters)
{
    const bool is_post = strcmp(r->method, "POST") == 0;

    if (is_post && r->need != PERMISSION_NONE && (r->flags & ROUTE_NO_REPLAY) == 0)
        json_array_append_new(parameters, parameter("header", &idempotency_key, false));
    if ((r->flags & ROUTE_IF_MATCH) != 0)
        json_array_append_new(parameters, parameter("header", &if_match, false));
}

/* "GET /api/alerts/{id}" -> "get_api_alerts_id", as generated clients name their functions. */
static json_t *operation_id(const struct route *r)
{
    char text[128];
    struct buf b = BUF_FIXED(text);
    char last = '_';

    for (const char *p = r->method; *p != '\0'; p++)
        buf_putc(&b, (char)tolower((unsigned char)*p));
    for (const char *p = r->pattern; *p != '\0'; p++) {
        const char c = isalnum((unsigned char)*p) ? *p : '_';
        if (c != '_' && last == '_')
            buf_putc(&b, '_');
        if (c != '_')
            buf_putc(&b, c);
        last = c;
    }
    return json_string(buf_text(&b));
}

static json_t *operation(const struct route *r, json_t *takes_parameters)
{
    json_t *o = json_pack("{s:s,s:o,s:o}", "summary", r->summary, "parameters", takes_parameters,
                          "responses", responses_of(r));

    json_object_set_new(o, "operationId", operation_id(r));
    add_headers(r, takes_parameters);
    for (const struct field *f = r->query; f != NULL && f->name != NULL; f++)
        json_array_append_new(takes_parameters,
                              parameter("query", f, (f->flags & FIELD_REQUIRED) != 0));
    if (r->body != NULL)
        json_object_set_new(
            o, "requestBody",
            json_pack("{s:b,s:o}", "required", 1, "content",
                      content((r->flags & ROUTE_FORM) != 0 ? "application/x-www-form-urlencoded"
                                                           : "application/json",
                              reference(r->body))));
    if (r->need == PERMISSION_NONE) {
        json_object_set_new(o, "security", json_array());
    } else {
        json_object_set_new(o, "security", security_of(r->need));
        json_object_set_new(o, "x-permission", json_string(permission_name(r->need)));
    }
    return o;
}

static void add_route(json_t *paths, json_t *schemas, const struct route *r)
{
    char path[160], method[8];
    json_t *parameters = json_array();
    size_t i = 0;

    for (; r->method[i] != '\0' && i < sizeof(method) - 1; i++)
        method[i] = (char)tolower((unsigned char)r->method[i]);
    method[i] = '\0';
    read_pattern(r->pattern, path, parameters);
    add_schema(schemas, r->body);
    add_schema(schemas, r->reply);
    json_t *item = json_object_get(paths, path);
    if (item == NULL) {
        item = json_object();
        json_object_set_new(paths, path, item);
    }
    json_object_set_new(item, method, operation(r, parameters));
}

json_t *openapi_document(const struct route *const *tables)
{
    json_t *paths = json_object(), *schemas = json_object();

    add_schema(schemas, &problem);
    for (; *tables != NULL; tables++)
        for (const struct route *r = *tables; r->method != NULL; r++)
            if ((r->flags & ROUTE_HIDDEN) == 0)
                add_route(paths, schemas, r);
    return json_pack("{s:s,s:{s:s,s:s},s:o,s:{s:o,s:{s:{s:s,s:{s:{s:s,s:s,s:{}}}},s:{s:s,s:s,s:s},"
                     "s:{s:s,s:s,s:s}}}}",
                     "openapi", "3.1.0", "info", "title", "Wind", "version", WIND_VERSION, "paths",
                     paths, "components", "schemas", schemas, "securitySchemes", "password", "type",
                     "oauth2", "flows", "password", "tokenUrl", "/api/auth/token", "refreshUrl",
                     "/api/auth/token", "scopes", "bearer", "type", "http", "scheme", "bearer",
                     "bearerFormat", "JWT", "key", "type", "apiKey", "in", "header", "name",
                     "X-API-Key");
}
