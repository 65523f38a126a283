#include "collector/form.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

/* Decodes into `out`, which has room for `n` bytes. False: a broken % escape, or a NUL. */
static bool unescape(const char *p, size_t n, char *out, size_t *ret_n)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (n - i < 3)
                return false;
            const int high = hex_value(p[i + 1]), low = hex_value(p[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return false;
        out[k++] = c;
    }
    *ret_n = k;
    return true;
}

/* `room` has 2 * n + 2 bytes: the name goes to its front, the value behind. */
static int take_field(const char *p, size_t n, char *room, json_t *into, struct err *e)
{
    const char *equals = memchr(p, '=', n);
    const size_t name_len = equals != NULL ? (size_t)(equals - p) : n;
    char *name = room, *value = room + name_len + 1;
    size_t name_n, value_n = 0;

    if (!unescape(p, name_len, name, &name_n) ||
        (equals != NULL && !unescape(equals + 1, n - name_len - 1, value, &value_n)))
        return err_set(e, -EINVAL, "the form has a broken escape");
    name[name_n] = '\0';
    if (json_object_get(into, name) != NULL)
        return err_set(e, -EINVAL, "the form has a field twice");
    if (json_object_size(into) >= FORM_FIELDS_MAX)
        return err_set(e, -EINVAL, "the form has more than %d fields", FORM_FIELDS_MAX);
    if (json_object_set_new(into, name, json_stringn(value, value_n)) != 0)
        return err_set(e, -EINVAL, "the form is not UTF-8");
    return 0;
}

int form_parse(const char *p, size_t n, json_t **ret_object, struct err *e)
{
    char *room = malloc(2 * n + 2);
    if (room == NULL)
        return err_set(e, -ENOMEM, "form: out of memory");
    json_t *o = json_object();
    int r = o == NULL ? err_set(e, -ENOMEM, "form: out of memory") : 0;

    while (r == 0 && n > 0) {
        const char *and = memchr(p, '&', n);
        const size_t len = and != NULL ? (size_t)(and-p) : n;
        if (len > 0)
            r = take_field(p, len, room, o, e);
        p += and != NULL ? len + 1 : len;
        n -= and != NULL ? len + 1 : len;
    }
    free(room);
    if (r != 0) {
        json_decref(o);
        return r;
    }
    *ret_object = o;
    return 0;
}
