/*
 * Only the YAML that settings need: maps, texts, lists of texts. Aliases, tags and several
 * documents are refused, so a small file stays small; depth and size are bounded.
 */
#include "common/conf.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/buf.h"
#include "common/conf_value.h"
#include "common/file.h"

#define DEPTH_MAX     6
#define VALUE_MAX     4096
#define DIRECTORY_MAX 256 /* files */

struct loader {
    const struct conf_key *keys;
    void *out;
    const char *file;
    struct err *e;
    yaml_parser_t parser;
    size_t path_len;
    char path[CONF_NAME_MAX + 1];
    size_t set_on[CONF_KEYS_MAX]; /* line where each key was set, 0 = not yet */
};

struct token {
    yaml_event_type_t type;
    size_t line;
    bool is_plain;
    char text[VALUE_MAX];
};

/* Put "file:line: " in front of the sentence. */
static int at_line(struct loader *l, size_t line, int code)
{
    (void)err_wrap(l->e, code, "%s:%zu", l->file, line);
    return code;
}

static int fail(struct loader *l, size_t line, const char *what)
{
    (void)err_set(l->e, -EINVAL, "%s", what);
    return at_line(l, line, -EINVAL);
}

static int parser_failed(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return err_set(l->e, -ENOMEM, "%s: out of memory", l->file);
    return fail(l, p->problem_mark.line + 1, p->problem != NULL ? p->problem : "is not YAML");
}

static int take_scalar(struct loader *l, const yaml_event_t *event, struct token *t)
{
    const char *value = (const char *)event->data.scalar.value;
    const size_t len = event->data.scalar.length;

    if (event->data.scalar.tag != NULL)
        return fail(l, t->line, "tags (!) are not supported");
    if (event->data.scalar.anchor != NULL)
        return fail(l, t->line, "anchors (&) are not supported");
    if (len >= sizeof(t->text) || memchr(value, '\0', len) != NULL)
        return fail(l, t->line, "a value is too long, or holds a NUL");
    memcpy(t->text, value, len);
    t->text[len] = '\0';
    t->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int check_event(struct loader *l, const yaml_event_t *event, struct token *t)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return fail(l, t->line, "aliases (*) are not supported");
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL)
            return fail(l, t->line, "anchors (&) and tags (!) are not supported");
        return 0;
    case YAML_SEQUENCE_START_EVENT:
        if (event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL)
            return fail(l, t->line, "anchors (&) and tags (!) are not supported");
        return 0;
    case YAML_SCALAR_EVENT:
        return take_scalar(l, event, t);
    default:
        return 0;
    }
}

static int next_token(struct loader *l, struct token *t)
{
    yaml_event_t event = {0};

    if (!yaml_parser_parse(&l->parser, &event))
        return parser_failed(l);
    t->type = event.type;
    t->line = event.start_mark.line + 1;
    const int r = check_event(l, &event, t);
    yaml_event_delete(&event);
    return r;
}

/* The key at the loader's path, which must not have been set before in this file. */
static int claim_key(struct loader *l, size_t line, const struct conf_key **ret_key)
{
    const struct conf_key *k = conf_find(l->keys, l->path);

    if (k == NULL) {
        (void)conf_unknown(l->keys, l->path, l->e);
        return at_line(l, line, -ENOENT);
    }
    size_t *set_on = &l->set_on[k - l->keys];
    if (*set_on != 0) {
        (void)err_set(l->e, -EINVAL, "'%s' was already set on line %zu", k->name, *set_on);
        return at_line(l, line, -EINVAL);
    }
    *set_on = line;
    *ret_key = k;
    return 0;
}

static bool is_section(const struct loader *l)
{
    for (const struct conf_key *k = l->keys; k->name != NULL; k++)
        if (strncmp(k->name, l->path, l->path_len) == 0 && k->name[l->path_len] == '.')
            return true;
    return false;
}

static int load_scalar(struct loader *l, const struct token *value)
{
    const struct conf_key *k = NULL;

    if (value->text[0] == '\0' && value->is_plain && is_section(l))
        return 0; /* "flow:" with everything below it commented out */
    int r = claim_key(l, value->line, &k);
    if (r < 0)
        return r;
    r = conf_value_set(k, l->out, value->text, l->e);
    return r < 0 ? at_line(l, value->line, r) : 0;
}

static int load_list(struct loader *l, struct token *t)
{
    const struct conf_key *k = NULL;
    struct conf_list list = {0};

    int r = claim_key(l, t->line, &k);
    if (r == 0 && k->type != CONF_TYPE_LIST)
        r = at_line(l, t->line, err_set(l->e, -EINVAL, "%s: takes one value, not a list", k->name));
    while (r == 0) {
        r = next_token(l, t);
        if (r < 0 || t->type == YAML_SEQUENCE_END_EVENT)
            break;
        if (t->type != YAML_SCALAR_EVENT)
            return fail(l, t->line, "a list may hold only plain values");
        r = conf_list_add(k, &list, t->text, strlen(t->text), l->e);
        if (r < 0)
            return at_line(l, t->line, r);
    }
    if (r == 0)
        memcpy((char *)l->out + k->offset, &list, sizeof(list));
    return r;
}

static int push_name(struct loader *l, const struct token *key)
{
    const size_t n = strlen(key->text);

    if (n == 0 || n + l->path_len + 1 > CONF_NAME_MAX) {
        (void)err_set(l->e, -ENOENT, "unknown setting '%s%s%.60s'", l->path,
                      l->path_len > 0 ? "." : "", key->text);
        return at_line(l, key->line, -ENOENT);
    }
    if (l->path_len > 0)
        l->path[l->path_len++] = '.';
    memcpy(l->path + l->path_len, key->text, n + 1);
    l->path_len += n;
    return 0;
}

/* The map that has just been opened, up to its end. Uses `t` for all its tokens. */
/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX levels */
static int load_map(struct loader *l, struct token *t, int depth)
{
    const size_t path_len = l->path_len;

    if (depth > DEPTH_MAX)
        return fail(l, t->line, "is nested too deeply");
    for (;;) {
        int r = next_token(l, t);
        if (r < 0 || t->type == YAML_MAPPING_END_EVENT)
            return r;
        if (t->type != YAML_SCALAR_EVENT)
            return fail(l, t->line, "expected the name of a setting");
        r = push_name(l, t);
        if (r == 0)
            r = next_token(l, t);
        if (r < 0)
            return r;
        if (t->type == YAML_MAPPING_START_EVENT)
            r = load_map(l, t, depth + 1);
        else if (t->type == YAML_SEQUENCE_START_EVENT)
            r = load_list(l, t);
        else
            r = load_scalar(l, t);
        if (r < 0)
            return r;
        l->path_len = path_len;
        l->path[path_len] = '\0';
    }
}

static int load_stream(struct loader *l)
{
    struct token t = {0};
    bool has_document = false;

    for (;;) {
        const int r = next_token(l, &t);

        if (r < 0 || t.type == YAML_STREAM_END_EVENT)
            return r;
        if (t.type == YAML_DOCUMENT_START_EVENT && has_document)
            return fail(l, t.line, "more than one document in a file");
        has_document = has_document || t.type == YAML_DOCUMENT_START_EVENT;
        if (t.type == YAML_SEQUENCE_START_EVENT ||
            (t.type == YAML_SCALAR_EVENT && (t.text[0] != '\0' || !t.is_plain)))
            return fail(l, t.line, "expected 'name: value' lines");
        if (t.type == YAML_MAPPING_START_EVENT) {
            const int bad = load_map(l, &t, 1);

            if (bad < 0)
                return bad;
        }
    }
}

int conf_parse(const struct conf_key *keys, void *out, const char *name, const char *text,
               size_t len, struct err *e)
{
    struct loader l = {.keys = keys, .out = out, .file = name, .e = e};
    size_t n = 0;

    while (keys[n].name != NULL)
        n++;
    WIND_CHECK(n <= CONF_KEYS_MAX);
    if (len > CONF_FILE_MAX)
        return err_set(e, -EFBIG, "%s: larger than %zu bytes", name, CONF_FILE_MAX);
    if (!yaml_parser_initialize(&l.parser))
        return err_set(e, -ENOMEM, "%s: out of memory", name);
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
    const int r = load_stream(&l);
    yaml_parser_delete(&l.parser);
    return r;
}

int conf_load(const struct conf_key *keys, void *out, const char *path, struct err *e)
{
    struct buf text;

    buf_init(&text, CONF_FILE_MAX);
    int r = file_read(path, &text, e);
    if (r == 0)
        r = conf_parse(keys, out, path, text.data != NULL ? text.data : "", text.len, e);
    buf_done(&text);
    return r;
}

static int is_yaml(const struct dirent *d)
{
    const size_t len = strlen(d->d_name);

    return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".yaml") == 0;
}

static int load_entry(const struct conf_key *keys, void *out, const char *dir, const char *name,
                      struct err *e)
{
    struct buf path;

    buf_init(&path, VALUE_MAX);
    buf_printf(&path, "%s/%s", dir, name);
    const int r = path.failed ? err_set(e, -ENAMETOOLONG, "%.80s...: the path is too long", dir)
                              : conf_load(keys, out, buf_text(&path), e);
    buf_done(&path);
    return r;
}

int conf_load_dir(const struct conf_key *keys, void *out, const char *dir, struct err *e)
{
    struct dirent **entries = NULL;
    int r = 0;

    const int n = scandir(dir, &entries, is_yaml, alphasort);
    if (n < 0) {
        const int code = errno;

        return code == ENOENT ? 0 : err_set(e, -code, "%s: %s", dir, strerror(code));
    }
    if (n > DIRECTORY_MAX)
        r = err_set(e, -EFBIG, "%s: more than %d files", dir, DIRECTORY_MAX);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = load_entry(keys, out, dir, entries[i]->d_name, e);
        free(entries[i]);
    }
    free((void *)entries);
    return r;
}
