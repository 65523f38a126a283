#include "collector/route.h"

#include <stdio.h>
#include <string.h>

struct text {
    const char *p;
    size_t len;
};

/* "/a/b/" and "/a/b" are the same; "/" stays. */
static struct text without_final_slash(const char *s)
{
    size_t len = strlen(s);
    if (len > 1 && s[len - 1] == '/')
        len--;
    return (struct text){s, len};
}

/* Take "/segment" off the front. Returns false at the end, or where no slash is. */
static bool take_segment(struct text *from, struct text *ret_segment)
{
    if (from->len == 0 || from->p[0] != '/')
        return false;
    size_t n = 1;
    while (n < from->len && from->p[n] != '/')
        n++;
    *ret_segment = (struct text){from->p + 1, n - 1};
    from->p += n;
    from->len -= n;
    return true;
}

static bool is_same(struct text a, struct text b)
{
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static bool read_id(struct text s, int64_t *ret_id)
{
    int64_t id = 0;

    if (s.len == 0 || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        id = id * 10 + (s.p[i] - '0');
    }
    *ret_id = id;
    return id > 0;
}

/* `slot` is "{name}" or "{name:text}". */
static bool read_param(struct text slot, struct text value, struct path_param *p)
{
    static const char text_mark[] = ":text}";
    const size_t mark = sizeof(text_mark) - 1;
    const bool is_text = slot.len > mark && memcmp(slot.p + slot.len - mark, text_mark, mark) == 0;

    *p = (struct path_param){.name = slot.p + 1, .name_len = slot.len - (is_text ? mark + 1 : 2)};
    if (!is_text)
        return read_id(value, &p->id);
    if (value.len == 0 || value.len >= sizeof(p->text))
        return false;
    memcpy(p->text, value.p, value.len);
    return true;
}

/* Does the pattern fit, and are its parameters good? 0, ROUTE_NO_PATH, ROUTE_BAD_PARAM. */
static int match(const char *pattern, struct text path, struct route_match *m)
{
    struct text want = without_final_slash(pattern), slot, segment;
    int outcome = 0;

    m->n_params = 0;
    while (take_segment(&want, &slot)) {
        if (!take_segment(&path, &segment))
            return ROUTE_NO_PATH;
        if (slot.len == 0 || slot.p[0] != '{') {
            if (!is_same(slot, segment))
                return ROUTE_NO_PATH;
        } else if (outcome == 0 && m->n_params < HTTP_PARAMS_MAX) {
            if (!read_param(slot, segment, &m->params[m->n_params++]))
                outcome = ROUTE_BAD_PARAM;
        }
    }
    return path.len == 0 ? outcome : ROUTE_NO_PATH;
}

static void allow(struct route_match *m, const char *method)
{
    const size_t n = strlen(m->allow);
    (void)snprintf(m->allow + n, sizeof(m->allow) - n, "%s%s", n > 0 ? ", " : "", method);
}

int route_find(const struct route *const *tables, const char *method, const char *path,
               struct route_match *ret)
{
    const struct text wanted = without_final_slash(path);
    int outcome = ROUTE_NO_PATH;

    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    *ret = (struct route_match){.route = NULL};
    for (; *tables != NULL; tables++) {
        for (const struct route *r = *tables; r->method != NULL; r++) {
            const int found = match(r->pattern, wanted, ret);
            if (found == ROUTE_NO_PATH)
                continue;
            if (strcmp(r->method, method) == 0) {
                ret->route = r;
                return found;
            }
            allow(ret, r->method);
            outcome = ROUTE_NO_METHOD;
        }
    }
    return outcome;
}
