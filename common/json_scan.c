#include "common/json_scan.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/utf8.h"

#define NONE  UINT16_MAX
#define SLOTS 64 /* of a node's hash table: twice the keys of one object at least */

/* A key that is wanted: for its own value, for one inside of it, or both. */
struct want {
    const char *key;
    uint32_t len;
    uint16_t span, node; /* or NONE */
};

static inline uint16_t span_of(const struct want *w)
{
    if (w == NULL)
        return NONE;
    return w->span;
}

/* The wanted keys of one object. */
struct node {
    struct want wants[JSON_SCAN_PATHS / 2];
    uint8_t n, slots[SLOTS]; /* index + 1 */
};

struct json_scan {
    size_t n_paths, n_nodes;
    struct node nodes[JSON_SCAN_PATHS];
};

/* A member that was seen, to find a second one of that name. */
struct member {
    uint32_t hash, len;
    const char *key; /* raw */
};

/* An array or object that is open. */
struct level {
    const struct node *node; /* NULL: nothing in it is wanted */
    const char *start;
    uint64_t hashes; /* one bit for each member's hash: most keys are seen to be new at once */
    size_t first_member;
    uint16_t span;
    bool is_object;
};

/* One scan. */
struct cursor {
    const struct json_scan *scan;
    const char *text, *end;
    struct json_span *spans;
    const char *fault; /* what is wrong, and where */
    const char *at;
    size_t depth, n_members;
    struct level levels[JSON_SCAN_DEPTH + 1];
    struct member members[JSON_SCAN_MEMBERS];
};

/* ---------------------------------------------------------------- bytes */

/* What a byte can be the start of, or can do in a string. */
enum byte_class {
    BYTE_OTHER,
    BYTE_SPACE,
    BYTE_QUOTE,
    BYTE_NUMBER,
    BYTE_LITERAL,
    BYTE_OPEN,
};

static const uint8_t classes[256] = {
    [' '] = BYTE_SPACE,   ['\t'] = BYTE_SPACE,  ['\n'] = BYTE_SPACE,  ['\r'] = BYTE_SPACE,
    ['"'] = BYTE_QUOTE,   ['-'] = BYTE_NUMBER,  ['0'] = BYTE_NUMBER,  ['1'] = BYTE_NUMBER,
    ['2'] = BYTE_NUMBER,  ['3'] = BYTE_NUMBER,  ['4'] = BYTE_NUMBER,  ['5'] = BYTE_NUMBER,
    ['6'] = BYTE_NUMBER,  ['7'] = BYTE_NUMBER,  ['8'] = BYTE_NUMBER,  ['9'] = BYTE_NUMBER,
    ['t'] = BYTE_LITERAL, ['f'] = BYTE_LITERAL, ['n'] = BYTE_LITERAL, ['{'] = BYTE_OPEN,
    ['['] = BYTE_OPEN,
};

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && classes[(uint8_t)*p] == BYTE_SPACE)
        p++;
    return p;
}

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

#define ONES UINT64_C(0x0101010101010101)
#define TOPS UINT64_C(0x8080808080808080)

/* The top bit of every byte that ends a run of plain text; exact up to the first of them. */
static inline uint64_t specials(uint64_t w)
{
    const uint64_t quote = w ^ (ONES * '"'), backslash = w ^ (ONES * '\\');

    return ((w - ONES * 0x20) | (quote - ONES) | (backslash - ONES) | w) & TOPS;
}

/* The first byte from `p` on that is a quote, a backslash, a control or not ASCII. */
static inline const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        const uint64_t found = specials(le64toh(w));
        if (found != 0)
            return p + (unsigned)__builtin_ctzll(found) / 8;
        p += 8;
    }
    while (p < end && (uint8_t)*p >= 0x20 && (uint8_t)*p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* ---------------------------------------------------------------- strings */

/* From behind the opening quote to the closing one; NULL: c->fault says why. */
static const char *scan_string(struct cursor *c, const char *p, bool *ret_escaped)
{
    const char *const end = c->end;
    uint32_t ignored;

    *ret_escaped = false;
    for (;;) {
        size_t n = 0;
        p = skip_plain(p, end);
        c->at = p;
        if (p == end)
            c->fault = "a string has no end";
        else if (*p == '"')
            return p;
        else if ((uint8_t)*p < 0x20)
            c->fault = "a control character in a string";
        else if (*p != '\\')
            n = utf8_len(p, (size_t)(end - p));
        else {
            n = json_escape(p, end, &ignored);
            *ret_escaped = true;
        }
        if (n == 0) {
            if (c->fault == NULL)
                c->fault = *ret_escaped && *p == '\\' ? "an escape that is none" : "no UTF-8";
            return NULL;
        }
        p += n;
    }
}

/* ---------------------------------------------------------------- numbers and words */

static bool is_too_large(const char *p, size_t len, bool is_real)
{
    char copy[JSON_NUMBER_MAX + 1];

    memcpy(copy, p, len);
    copy[len] = '\0';
    if (is_real)
        return !isfinite(strtod(copy, NULL));
    errno = 0;
    (void)strtoll(copy, NULL, 10);
    return errno == ERANGE;
}

/* Returns the end; NULL: c->fault says why. */
static const char *scan_number(struct cursor *c, const char *p, uint8_t *ret_kind)
{
    const char *const end = c->end, *const start = p;
    bool is_real = false, has_exponent = false;

    c->at = start;
    c->fault = "a number that is none";
    p += *p == '-';
    if (!is_digit(p, end))
        return NULL;
    if (*p == '0')
        p++;
    else
        while (is_digit(p, end))
            p++;
    if (is_digit(p, end)) /* behind a leading 0 */
        return NULL;
    if (p < end && *p == '.') {
        is_real = true;
        if (!is_digit(++p, end))
            return NULL;
        while (is_digit(p, end))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        is_real = has_exponent = true;
        p++;
        p += p < end && (*p == '+' || *p == '-');
        if (!is_digit(p, end))
            return NULL;
        while (is_digit(p, end))
            p++;
    }
    const size_t len = (size_t)(p - start);
    c->fault = "a number is too large";
    if (len > JSON_NUMBER_MAX ||
        ((has_exponent || len > (is_real ? 300 : 18)) && is_too_large(start, len, is_real)))
        return NULL;
    c->fault = NULL;
    *ret_kind = is_real ? SPAN_REAL : SPAN_INT;
    return p;
}

static const char *scan_literal(struct cursor *c, const char *p, uint8_t *ret_kind)
{
    static const struct {
        const char *word;
        uint8_t len, kind;
    } words[] = {{"true", 4, SPAN_TRUE}, {"false", 5, SPAN_FALSE}, {"null", 4, SPAN_NULL}};

    for (size_t i = 0; i < WIND_ARRAY_SIZE(words); i++)
        if (*p == words[i].word[0] && c->end - p >= words[i].len &&
            memcmp(p, words[i].word, words[i].len) == 0) {
            *ret_kind = words[i].kind;
            return p + words[i].len;
        }
    c->at = p;
    c->fault = "a word that is none";
    return NULL;
}

/* ---------------------------------------------------------------- keys */

/* Short keys without a call of memcpy. Who crafts collisions makes a scan slow, within its bounds.
 */
static inline uint64_t key_hash(const char *key, size_t n)
{
    const uint8_t *p = (const uint8_t *)key;
    uint64_t a, b = 0;

    if (n > 16)
        return hash64(key, n, 0);
    if (n >= 8) {
        a = hash_load(p, 8);
        b = hash_load(p + n - 8, 8);
    } else if (n >= 4) {
        a = hash_load(p, 4);
        b = hash_load(p + n - 4, 4);
    } else {
        a = n == 0 ? 0 : (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
    }
    return hash_fold(a ^ HASH_K0, b ^ HASH_K1 ^ n);
}

static const struct want *want_find(const struct node *node, const char *key, size_t len,
                                    uint64_t hash)
{
    for (size_t at = hash % SLOTS; node->slots[at] != 0; at = (at + 1) % SLOTS) {
        const struct want *w = &node->wants[node->slots[at] - 1];
        if (w->len == len && memcmp(w->key, key, len) == 0)
            return w;
    }
    return NULL;
}

static bool is_same(const struct member *m, const char *key, size_t len)
{
    char text[JSON_SCAN_KEY];
    const bool is_escaped = memchr(m->key, '\\', m->len) != NULL;

    if (!is_escaped)
        return m->len == len && memcmp(m->key, key, len) == 0;
    return json_unescape(m->key, m->len, text) == len && memcmp(text, key, len) == 0;
}

/* False: c->fault says why. `key` is without escapes, raw is where it stands. */
static bool add_member(struct cursor *c, struct level *l, const struct json_span *raw,
                       const char *key, size_t len, uint64_t hash)
{
    const uint64_t bit = UINT64_C(1) << (hash >> 58);
    const uint32_t short_hash = (uint32_t)hash;

    c->at = raw->p;
    if ((l->hashes & bit) != 0)
        for (size_t i = l->first_member; i < c->n_members; i++)
            if (c->members[i].hash == short_hash && is_same(&c->members[i], key, len)) {
                c->fault = "a key that is there twice";
                return false;
            }
    if (c->n_members == JSON_SCAN_MEMBERS) {
        c->fault = "too many members";
        return false;
    }
    l->hashes |= bit;
    c->members[c->n_members++] = (struct member){short_hash, raw->len, raw->p};
    return true;
}

/* From the opening quote of a key to its value; *ret_want: what is wanted of that. */
static const char *scan_key(struct cursor *c, struct level *l, const char *p,
                            const struct want **ret_want)
{
    struct json_span raw = {.p = p + 1};
    char text[JSON_SCAN_KEY];
    const char *key = raw.p;

    if (p == c->end || *p != '"') {
        c->at = p;
        c->fault = "a key is missing";
        return NULL;
    }
    p = scan_string(c, raw.p, &raw.is_escaped);
    if (p == NULL)
        return NULL;
    size_t len = (size_t)(p - raw.p);
    if (len > JSON_SCAN_KEY) {
        c->fault = "a key is too long";
        return NULL;
    }
    raw.len = (uint32_t)len;
    if (raw.is_escaped) {
        len = json_unescape(raw.p, len, text);
        key = text;
    }
    const uint64_t hash = key_hash(key, len);
    if (!add_member(c, l, &raw, key, len, hash))
        return NULL;
    *ret_want = l->node == NULL ? NULL : want_find(l->node, key, len, hash);
    p = skip_space(p + 1, c->end);
    if (p == c->end || *p != ':') {
        c->at = p;
        c->fault = "a colon is missing";
        return NULL;
    }
    return skip_space(p + 1, c->end);
}

/* ---------------------------------------------------------------- the scan */

static void found(struct cursor *c, uint16_t span, const struct json_span *v)
{
    if (span != NONE)
        c->spans[span] = *v;
}

/* A value that holds no others. */
static const char *scan_scalar(struct cursor *c, const char *p, uint16_t span)
{
    struct json_span v = {.p = p};

    switch (p == c->end ? BYTE_OTHER : classes[(uint8_t)*p]) {
    case BYTE_QUOTE:
        v.kind = SPAN_STRING;
        v.p = p + 1;
        p = scan_string(c, p + 1, &v.is_escaped);
        break;
    case BYTE_NUMBER:
        p = scan_number(c, p, &v.kind);
        break;
    case BYTE_LITERAL:
        p = scan_literal(c, p, &v.kind);
        break;
    default:
        c->at = p;
        c->fault = "a value is missing";
        return NULL;
    }
    if (p == NULL)
        return NULL;
    v.len = (uint32_t)(p - v.p);
    found(c, span, &v);
    return p + (v.kind == SPAN_STRING);
}

static void open_level(struct cursor *c, const char *p, const struct want *w)
{
    const bool is_object = *p == '{';
    const bool is_inside = is_object && (c->depth == 0 || (w != NULL && w->node != NONE));

    c->levels[c->depth++] = (struct level){
        .node = is_inside ? &c->scan->nodes[w == NULL ? 0 : w->node] : NULL,
        .start = p,
        .first_member = c->n_members,
        .span = span_of(w),
        .is_object = is_object,
    };
}

static void close_level(struct cursor *c, const char *end)
{
    const struct level *l = &c->levels[--c->depth];
    const struct json_span v = {
        .p = l->start,
        .len = (uint32_t)(end - l->start),
        .kind = l->is_object ? SPAN_OBJECT : SPAN_ARRAY,
    };

    c->n_members = l->first_member;
    found(c, l->span, &v);
}

/* Behind a value: to the next one of its level, which *ret_more tells of; closes what ends. */
static const char *scan_after(struct cursor *c, const char *p, bool *ret_more)
{
    *ret_more = false;
    while (c->depth > 0) {
        const struct level *l = &c->levels[c->depth - 1];
        p = skip_space(p, c->end);
        if (p < c->end && *p == ',') {
            *ret_more = true;
            return skip_space(p + 1, c->end);
        }
        if (p == c->end || *p != (l->is_object ? '}' : ']')) {
            c->at = p;
            c->fault = "a comma or an end is missing";
            return NULL;
        }
        close_level(c, ++p);
    }
    return p;
}

/* One value with all in it, from its first byte on; returns its end. */
static const char *scan_value(struct cursor *c, const char *p)
{
    const struct want *w = NULL;
    bool more = true;

    while (p != NULL && more) {
        if (c->depth > 0 && c->levels[c->depth - 1].is_object) {
            p = scan_key(c, &c->levels[c->depth - 1], p, &w);
            if (p == NULL)
                return NULL;
        } else {
            w = NULL;
        }
        if (c->depth == JSON_SCAN_DEPTH) {
            c->at = p;
            c->fault = "it is nested too deeply";
            return NULL;
        }
        if (p == c->end || classes[(uint8_t)*p] != BYTE_OPEN) {
            p = scan_scalar(c, p, span_of(w));
        } else {
            open_level(c, p, w);
            const char close = *p == '{' ? '}' : ']';
            p = skip_space(p + 1, c->end);
            if (p == c->end || *p != close)
                continue;
            close_level(c, ++p);
        }
        if (p != NULL)
            p = scan_after(c, p, &more);
    }
    return p;
}

int json_scan(const struct json_scan *s, const char *text, size_t len, struct json_span *ret_spans,
              struct err *e)
{
    struct cursor c; /* 24 kB: only what is read is set */

    c.scan = s;
    c.text = text;
    c.end = text + len;
    c.spans = ret_spans;
    c.fault = NULL;
    c.at = text;
    c.depth = c.n_members = 0;
    memset(ret_spans, 0, s->n_paths * sizeof(*ret_spans));
    if (len > UINT32_MAX)
        return err_set(e, -EINVAL, "no JSON: longer than 4 GB");
    const char *p = scan_value(&c, skip_space(text, c.end));
    if (p != NULL) {
        p = skip_space(p, c.end);
        if (p == c.end)
            return 0;
        c.at = p;
        c.fault = "something follows";
    }
    return err_set(e, -EINVAL, "no JSON: %s at byte %zu", c.fault, (size_t)(c.at - text));
}

/* ---------------------------------------------------------------- compiling paths */

static struct want *want_of(struct node *node, const char *key, size_t len, struct err *e)
{
    const uint64_t hash = key_hash(key, len);
    const struct want *known = want_find(node, key, len, hash);

    if (known != NULL)
        return &node->wants[known - node->wants];
    if (node->n == WIND_ARRAY_SIZE(node->wants)) {
        (void)err_set(e, -EINVAL, "json_scan: too many keys of one object");
        return NULL;
    }
    struct want *w = &node->wants[node->n++];
    *w = (struct want){.key = key, .len = (uint32_t)len, .span = NONE, .node = NONE};
    size_t at = hash % SLOTS;
    while (node->slots[at] != 0)
        at = (at + 1) % SLOTS;
    node->slots[at] = node->n;
    return w;
}

static int add_path(struct json_scan *s, const char *path, uint16_t span, struct err *e)
{
    struct node *node = &s->nodes[0];

    for (;;) {
        const char *dot = strchrnul(path, '.');
        struct want *w = want_of(node, path, (size_t)(dot - path), e);
        if (w == NULL)
            return -EINVAL;
        if (*dot == '\0') {
            if (w->span != NONE)
                return err_set(e, -EINVAL, "json_scan: '%s' twice", path);
            w->span = span;
            return 0;
        }
        if (w->node == NONE) {
            if (s->n_nodes == JSON_SCAN_PATHS)
                return err_set(e, -EINVAL, "json_scan: too many objects");
            w->node = (uint16_t)s->n_nodes++;
        }
        node = &s->nodes[w->node];
        path = dot + 1;
    }
}

int json_scan_new(struct json_scan **ret_scan, const char *const *paths, size_t n_paths,
                  struct err *e)
{
    if (n_paths > JSON_SCAN_PATHS)
        return err_set(e, -EINVAL, "json_scan: %zu paths", n_paths);
    WIND_AUTO(json_scan) struct json_scan *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "json_scan: out of memory");
    s->n_paths = n_paths;
    s->n_nodes = 1;
    for (size_t i = 0; i < n_paths; i++) {
        const int r = add_path(s, paths[i], (uint16_t)i, e);
        if (r != 0)
            return r;
    }
    *ret_scan = WIND_STEAL(s);
    return 0;
}

struct json_scan *json_scan_free(struct json_scan *s)
{
    free(s);
    return NULL;
}
