#include "common/conf_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/time.h"
#include "common/utf8.h"

#define NUMBER_TEXT 32

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: printing takes the first that divides. The first of equals is printed. */
static const struct unit size_units[] = {
    {"tb", INT64_C(1) << 40},
    {"gb", 1 << 30},
    {"mb", 1 << 20},
    {"kb", 1 << 10},
    {"b", 1},
    {"t", INT64_C(1) << 40},
    {"g", 1 << 30},
    {"m", 1 << 20},
    {"k", 1 << 10},
    {"", 1},
    {NULL, 0},
};
static const struct unit time_units[] = {
    {"d", INT64_C(86400) * 1000000000},
    {"h", INT64_C(3600) * 1000000000},
    {"m", INT64_C(60) * 1000000000},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
    {"min", INT64_C(60) * 1000000000},
    {NULL, 0},
};

static const struct unit *units_of(const struct conf_key *k)
{
    return k->type == CONF_TYPE_SIZE ? size_units : k->type == CONF_TYPE_TIME ? time_units : NULL;
}

static void number_text(const struct conf_key *k, int64_t v, char text[NUMBER_TEXT])
{
    const struct unit *u = units_of(k);

    if (v == 0 && k->type == CONF_TYPE_TIME) {
        (void)snprintf(text, NUMBER_TEXT, "0s");
        return;
    }
    while (u != NULL && v % u->factor != 0)
        u++;
    (void)snprintf(text, NUMBER_TEXT, "%" PRId64 "%s", u != NULL && v != 0 ? v / u->factor : v,
                   u != NULL && v != 0 ? u->name : "");
}

static int set_bool(const struct conf_key *k, bool *field, const char *value, struct err *e)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(words); i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *field = i % 2 == 1;
            return 0;
        }
    }
    return err_set(e, -EINVAL, "%s: expected yes or no, got '%.60s'", k->name, value);
}

/* The unit's factor; 1 for a plain number; 0 if the unit is unknown or missing. */
static int64_t factor_of(const struct conf_key *k, const char *unit, bool is_zero)
{
    const struct unit *u = units_of(k);

    if (u == NULL)
        return *unit == '\0' ? 1 : 0;
    while (*unit == ' ')
        unit++;
    for (; u->name != NULL; u++)
        if (strcasecmp(u->name, unit) == 0)
            return u->factor;
    return *unit == '\0' && is_zero ? 1 : 0;
}

static int bad_number(const struct conf_key *k, const char *value, struct err *e)
{
    const char *what = k->type == CONF_TYPE_SIZE   ? "a size such as 64mb"
                       : k->type == CONF_TYPE_TIME ? "a time such as 30s, 5m or 250ms"
                                                   : "a number";

    return err_set(e, -EINVAL, "%s: '%.60s' is not %s", k->name, value, what);
}

static int set_number(const struct conf_key *k, int64_t *field, const char *value, struct err *e)
{
    char lo[NUMBER_TEXT], hi[NUMBER_TEXT];
    char *end = NULL;

    errno = 0;
    const long long n = strtoll(value, &end, 10);
    if (end == value || isspace((unsigned char)*value))
        return bad_number(k, value, e);
    const int64_t factor = factor_of(k, end, n == 0);
    if (factor == 0)
        return bad_number(k, value, e);

    int64_t v;
    if (errno != 0 || __builtin_mul_overflow((int64_t)n, factor, &v) || v < k->min || v > k->max) {
        number_text(k, k->min, lo);
        number_text(k, k->max, hi);
        return err_set(e, -ERANGE, "%s: %.60s is outside %s..%s", k->name, value, lo, hi);
    }
    *field = v;
    return 0;
}

static int set_text(const struct conf_key *k, char *field, const char *value, struct err *e)
{
    const size_t len = strlen(value);

    if (len >= k->size)
        return err_set(e, -ERANGE, "%s: longer than %zu characters", k->name, k->size - 1);
    if (!utf8_is_line(value, len))
        return err_set(e, -EINVAL, "%s: holds control characters or broken UTF-8", k->name);
    memcpy(field, value, len + 1);
    return 0;
}

int conf_list_add(const struct conf_key *k, struct conf_list *list, const char *item, size_t len,
                  struct err *e)
{
    if (list->n == CONF_LIST_MAX)
        return err_set(e, -ERANGE, "%s: more than %d items", k->name, CONF_LIST_MAX);
    if (len >= CONF_ITEM_MAX)
        return err_set(e, -ERANGE, "%s: an item is longer than %d characters", k->name,
                       CONF_ITEM_MAX - 1);
    if (len == 0)
        return err_set(e, -EINVAL, "%s: an item is empty", k->name);
    if (!utf8_is_line(item, len))
        return err_set(e, -EINVAL, "%s: holds control characters or broken UTF-8", k->name);
    memcpy(list->item[list->n], item, len);
    list->item[list->n][len] = '\0';
    list->n++;
    return 0;
}

/* "a, b, c"; "" is the empty list */
static int set_list(const struct conf_key *k, struct conf_list *field, const char *value,
                    struct err *e)
{
    struct conf_list list = {0};
    const char *at = value + strspn(value, " ");

    while (*at != '\0') {
        size_t len = strcspn(at, ",");
        const char *next = at + len;

        while (len > 0 && at[len - 1] == ' ')
            len--;
        const int r = conf_list_add(k, &list, at, len, e);
        if (r < 0)
            return r;
        if (*next == ',' && next[1 + strspn(next + 1, " ")] == '\0')
            return err_set(e, -EINVAL, "%s: an item is empty", k->name);
        at = *next == ',' ? next + 1 + strspn(next + 1, " ") : next;
    }
    *field = list;
    return 0;
}

static int set_enum(const struct conf_key *k, int *field, const char *value, struct err *e)
{
    char all[160] = "";
    size_t len = 0;

    for (int i = 0; k->names[i] != NULL; i++) {
        if (strcmp(k->names[i], value) == 0) {
            *field = i;
            return 0;
        }
        const int n =
            snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "", k->names[i]);
        len = n > 0 && len + (size_t)n < sizeof(all) ? len + (size_t)n : len;
    }
    return err_set(e, -EINVAL, "%s: '%.60s' is not one of %s", k->name, value, all);
}

int conf_value_set(const struct conf_key *k, void *out, const char *value, struct err *e)
{
    void *field = (char *)out + k->offset;

    switch (k->type) {
    case CONF_TYPE_BOOL:
        return set_bool(k, field, value, e);
    case CONF_TYPE_INT:
    case CONF_TYPE_SIZE:
    case CONF_TYPE_TIME:
        return set_number(k, field, value, e);
    case CONF_TYPE_TEXT:
        return set_text(k, field, value, e);
    case CONF_TYPE_LIST:
        return set_list(k, field, value, e);
    case CONF_TYPE_ENUM:
        return set_enum(k, field, value, e);
    }
    return err_set(e, -EINVAL, "%s: unknown type %d", k->name, (int)k->type);
}

/* Valid UTF-8 was checked when it was set. */
static uint32_t code_point(const unsigned char *p, size_t len)
{
    uint32_t c = p[0] & (0x7fU >> len);

    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3fU);
    return c;
}

/* All but ASCII is escaped: YAML reads some of it as line ends, or not at all. */
static void print_quoted(const char *s, FILE *to)
{
    size_t left = strlen(s);

    fputc('"', to);
    while (left > 0) {
        const size_t len = utf8_len(s, left);

        if (len > 1)
            fprintf(to, "\\U%08x", (unsigned)code_point((const unsigned char *)s, len));
        else
            fprintf(to, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
        s += len > 0 ? len : 1;
        left -= len > 0 ? len : 1;
    }
    fputc('"', to);
}

static void print_list(const struct conf_list *list, FILE *to)
{
    fputc('[', to);
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            fputs(", ", to);
        print_quoted(list->item[i], to);
    }
    fputc(']', to);
}

void conf_value_print(const struct conf_key *k, const void *conf, FILE *to)
{
    const void *field = (const char *)conf + k->offset;
    char number[NUMBER_TEXT];

    switch (k->type) {
    case CONF_TYPE_BOOL:
        fputs(*(const bool *)field ? "yes" : "no", to);
        break;
    case CONF_TYPE_INT:
    case CONF_TYPE_SIZE:
    case CONF_TYPE_TIME:
        number_text(k, *(const int64_t *)field, number);
        fputs(number, to);
        break;
    case CONF_TYPE_TEXT:
        print_quoted(field, to);
        break;
    case CONF_TYPE_LIST:
        print_list(field, to);
        break;
    case CONF_TYPE_ENUM:
        fputs(k->names[*(const int *)field], to);
        break;
    }
}

void conf_range_print(const struct conf_key *k, FILE *to)
{
    char lo[NUMBER_TEXT], hi[NUMBER_TEXT];

    switch (k->type) {
    case CONF_TYPE_BOOL:
        fputs(" (yes or no)", to);
        break;
    case CONF_TYPE_INT:
    case CONF_TYPE_SIZE:
    case CONF_TYPE_TIME:
        number_text(k, k->min, lo);
        number_text(k, k->max, hi);
        fprintf(to, " (%s..%s)", lo, hi);
        break;
    case CONF_TYPE_ENUM:
        for (int i = 0; k->names[i] != NULL; i++)
            fprintf(to, "%s%s", i == 0 ? " (" : ", ", k->names[i]);
        fputc(')', to);
        break;
    case CONF_TYPE_TEXT:
    case CONF_TYPE_LIST:
        break;
    }
}
