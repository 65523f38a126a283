#include "collector/form.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *o = NULL;
    struct err e = {0};
    const int r = form_parse(text, strlen(text), &o, &e);

    cr_assert_eq(r == 0, o != NULL);
    cr_assert_eq(r == 0, e.text[0] == '\0');
    return o;
}

static const char *get(json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

Test(form, escapes_and_plus_signs_are_decoded)
{
    json_t *o = parse("username=a%40b&password=p+q%2Br%25&empty=&bare&&uml=%C3%BC");

    cr_assert_str_eq(get(o, "username"), "a@b");
    cr_assert_str_eq(get(o, "password"), "p q+r%");
    cr_assert_str_eq(get(o, "empty"), "");
    cr_assert_str_eq(get(o, "bare"), "");
    cr_assert_str_eq(get(o, "uml"), "\xc3\xbc");
    cr_assert_eq(json_object_size(o), 5);
    json_decref(o);
}

Test(form, broken_bodies_are_refused)
{
    static const char *const bad[] = {"a=%", "a=%4", "a=%4x", "a=%00", "a=1&a=2", "a=%ff", "%ff=1"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_assert_null(parse(bad[i]), "%s", bad[i]);
}

Test(form, fields_are_bounded)
{
    char text[200] = "";
    for (int i = 0; i < FORM_FIELDS_MAX + 1; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "f%d=1&", i);
    cr_assert_null(parse(text));
}
