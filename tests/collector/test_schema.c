#include "collector/schema.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const char *const colours[] = {"red", "green", NULL};

static const struct field inner_fields[] = {
    {.name = "kind", .type = FIELD_WORD, .flags = FIELD_REQUIRED, .words = colours},
    {.name = NULL},
};
static const struct schema inner = {.name = "Inner", .fields = inner_fields};

static const struct field fields[] = {
    {.name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = 5},
    {.name = "number", .type = FIELD_INT, .min = 1, .max = 10},
    {.name = "real", .type = FIELD_NUMBER},
    {.name = "flag", .type = FIELD_BOOL},
    {.name = "maybe", .type = FIELD_TEXT, .flags = FIELD_NULLABLE},
    {.name = "when", .type = FIELD_TIME},
    {.name = "list", .type = FIELD_LIST, .max = 2, .item = FIELD_OBJECT, .of = &inner},
    {.name = "colours", .type = FIELD_LIST, .item = FIELD_WORD, .words = colours},
    {.name = "any", .type = FIELD_ANY},
    {.name = NULL},
};
static const struct schema outer = {.name = "Outer", .fields = fields};

/* The first fault as "where.field: msg", or "" if there is none. */
static const char *check(const char *body)
{
    static char text[400];
    json_t *value = json_loads(body, JSON_DECODE_ANY, NULL), *errors = json_array();
    cr_assert_not_null(value, "%s", body);
    const bool ok = schema_check(&outer, value, "body", errors);
    json_t *first = json_array_get(errors, 0), *loc = json_object_get(first, "loc"), *part;
    size_t i, n = 0;

    cr_assert_eq(ok, json_array_size(errors) == 0);
    text[0] = '\0';
    json_array_foreach(loc, i, part)
    {
        if (json_is_integer(part))
            n += (size_t)snprintf(text + n, sizeof(text) - n, ".%lld",
                                  (long long)json_integer_value(part));
        else
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? "." : "",
                                  json_string_value(part));
    }
    if (first != NULL)
        (void)snprintf(text + n, sizeof(text) - n, ": %s",
                       json_string_value(json_object_get(first, "msg")));
    json_decref(value);
    json_decref(errors);
    return text;
}

Test(schema, what_fits_has_no_fault)
{
    cr_assert_str_eq(check("{\"text\":\"a\"}"), "");
    cr_assert_str_eq(check("{\"text\":\"abcde\",\"number\":10,\"real\":1.5,\"flag\":true,"
                           "\"maybe\":null,\"when\":\"2026-01-02T03:04:05Z\",\"any\":[null],"
                           "\"list\":[{\"kind\":\"red\"}],\"colours\":[\"green\"]}"),
                     "");
}

Test(schema, each_fault_names_its_place)
{
    static const struct {
        const char *body, *fault;
    } cases[] = {
        {"[]", "body: must be a JSON object"},
        {"{}", "body.text: is required"},
        {"{\"text\":null}", "body.text: must not be null"},
        {"{\"text\":1}", "body.text: must be a text"},
        {"{\"text\":\"\"}", "body.text: must not be empty"},
        {"{\"text\":\"abcdef\"}", "body.text: must have at most 5 characters"},
        {"{\"text\":\"a\",\"number\":0}", "body.number: must be between 1 and 10"},
        {"{\"text\":\"a\",\"number\":1.5}", "body.number: must be an integer"},
        {"{\"text\":\"a\",\"real\":\"1\"}", "body.real: must be a number"},
        {"{\"text\":\"a\",\"flag\":1}", "body.flag: must be true or false"},
        {"{\"text\":\"a\",\"when\":\"now\"}",
         "body.when: must be a time like 2026-01-02T03:04:05Z"},
        {"{\"text\":\"a\",\"list\":{}}", "body.list: must be a list"},
        {"{\"text\":\"a\",\"list\":[{},{},{}]}", "body.list: must have at most 2 items"},
        {"{\"text\":\"a\",\"list\":[{\"kind\":\"red\"},{\"kind\":\"blue\"}]}",
         "body.list.1.kind: must be one of: red, green"},
        {"{\"text\":\"a\",\"list\":[{\"kind\":\"red\",\"x\":1}]}",
         "body.list.0.x: is not a field of Inner"},
        {"{\"text\":\"a\",\"colours\":[\"red\",7]}", "body.colours.1: must be a text"},
        {"{\"text\":\"a\",\"other\":1}", "body.other: is not a field of Outer"},
    };
    for (size_t i = 0; i < WIND_ARRAY_SIZE(cases); i++)
        cr_assert_str_eq(check(cases[i].body), cases[i].fault, "%s: %s", cases[i].body,
                         check(cases[i].body));
}

Test(schema, a_nul_inside_a_text_is_a_fault)
{
    json_t *errors = json_array(), *body = json_pack("{s:s#}", "text", "a\0b", 3);

    cr_assert_not(schema_check(&outer, body, "body", errors));
    json_decref(body);
    json_decref(errors);
}

Test(schema, faults_are_bounded)
{
    json_t *errors = json_array(), *body = json_object();

    for (int i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        json_object_set_new(body, name, json_true());
    }
    cr_assert_not(schema_check(&outer, body, "body", errors));
    cr_assert_eq(json_array_size(errors), SCHEMA_ERRORS_MAX);
    json_decref(body);
    json_decref(errors);
}

Test(schema, query_values_are_text_that_must_fit)
{
    static const struct field limit = {.name = "limit", .type = FIELD_INT, .min = 1, .max = 9};
    static const struct field flag = {.name = "flag", .type = FIELD_BOOL};
    static const char *const bad[] = {"", "x", "0", "10", "1x", "99999999999999999999"};
    json_t *errors = json_array();

    cr_assert(schema_check_text(&limit, "9", errors));
    cr_assert(schema_check_text(&flag, "true", errors));
    cr_assert_not(schema_check_text(&flag, "yes", errors));
    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_assert_not(schema_check_text(&limit, bad[i], errors), "'%s'", bad[i]);
    json_decref(errors);
}

Test(schema, the_document_says_what_the_check_does)
{
    json_t *d = schema_document(&outer);
    char *text = json_dumps(json_object_get(json_object_get(d, "properties"), "list"),
                            JSON_COMPACT | JSON_SORT_KEYS);

    cr_assert_str_eq(text, "{\"items\":{\"$ref\":\"#/components/schemas/Inner\"},\"maxItems\":2,"
                           "\"type\":\"array\"}");
    cr_assert(json_is_false(json_object_get(d, "additionalProperties")));
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(d, "required"), 0)), "text");
    free(text);
    json_decref(d);
}

Test(schema, times_leave_room_for_the_windows_that_are_added_to_them)
{
    int64_t ns = 0;

    cr_assert_eq(schema_time("1970-01-01T00:00:00Z", &ns), 0);
    cr_assert_eq(ns, 0);
    cr_assert_eq(schema_time("2261-12-31T23:59:59.999999999Z", &ns), 0);
    cr_assert_gt(INT64_MAX - ns, INT64_C(100) * 86400 * 1000000000);
    cr_assert_eq(schema_time("2262-01-01T00:00:00Z", &ns), -EINVAL);
    cr_assert_eq(schema_time("2500-01-01T00:00:00Z", &ns), -EINVAL);
    cr_assert_eq(schema_time("soon", &ns), -EINVAL);
}

Test(schema, a_fault_is_utf8_whatever_was_asked)
{
    static const struct field word = {.name = "q", .type = FIELD_TEXT, .max = 1000};
    json_t *errors = json_array();

    cr_assert_not(schema_check_text(&word, "a\xff", errors));
    schema_fault(errors, "query", "q", "%.5s", "ab\xc3\xa9\xc3\xa9"); /* cut within a character */
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(errors, 0), "msg")),
                     "must be UTF-8");
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(errors, 1), "msg")),
                     "ab\xc3\xa9");
    json_decref(errors);
}
