#include "collector/windctl/cell.h"

#include <stdlib.h>

static void put_string(struct buf *to, const json_t *v)
{
    if (json_is_string(v))
        buf_put(to, json_string_value(v), json_string_length(v));
}

static void put_scalar(struct buf *to, const json_t *v)
{
    if (json_is_integer(v))
        buf_printf(to, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        buf_printf(to, "%.6g", json_real_value(v));
    else if (json_is_boolean(v))
        buf_puts(to, json_is_true(v) ? "yes" : "no");
    else
        put_string(to, v);
}

static void put_words(struct buf *to, const json_t *list)
{
    size_t i;
    const json_t *v;

    json_array_foreach(list, i, v)
    {
        if (i > 0)
            buf_puts(to, ", ");
        put_scalar(to, v);
    }
}

static void put_entities(struct buf *to, const json_t *list)
{
    size_t i;
    const json_t *v;

    json_array_foreach(list, i, v)
    {
        if (i > 0)
            buf_puts(to, ", ");
        put_string(to, json_object_get(v, "role"));
        buf_putc(to, ' ');
        put_string(to, json_object_get(v, "value"));
    }
}

static void put_reasons(struct buf *to, const json_t *list)
{
    size_t i;
    const json_t *v;

    json_array_foreach(list, i, v)
    {
        if (i > 0)
            buf_puts(to, "; ");
        put_string(to, json_object_get(v, "text"));
    }
}

static void put_technique(struct buf *to, const json_t *v)
{
    const json_t *tactic = json_object_get(v, "tactic");

    put_string(to, json_object_get(v, "id"));
    if (json_is_string(json_object_get(v, "name"))) {
        buf_putc(to, ' ');
        put_string(to, json_object_get(v, "name"));
    }
    if (json_is_string(tactic)) {
        buf_puts(to, " (");
        put_string(to, tactic);
        buf_putc(to, ')');
    }
}

static void put_end(struct buf *to, const json_t *flow, const char *ip, const char *port)
{
    put_string(to, json_object_get(flow, ip));
    if (json_integer_value(json_object_get(flow, port)) > 0) {
        buf_puts(to, " port ");
        put_scalar(to, json_object_get(flow, port));
    }
}

static void put_flow(struct buf *to, const json_t *flow)
{
    static const char *const more[] = {"proto", "app_proto"};

    if (!json_is_string(json_object_get(flow, "src_ip")))
        return;
    put_end(to, flow, "src_ip", "src_port");
    buf_puts(to, " -> ");
    put_end(to, flow, "dest_ip", "dest_port");
    for (size_t i = 0; i < WIND_ARRAY_SIZE(more); i++)
        if (json_is_string(json_object_get(flow, more[i]))) {
            buf_puts(to, ", ");
            put_string(to, json_object_get(flow, more[i]));
        }
}

static void (*const putters[])(struct buf *, const json_t *) = {
    [CELL_TEXT] = put_scalar,         [CELL_NUMBER] = put_scalar,     [CELL_WORD] = put_scalar,
    [CELL_TIME] = put_string,         [CELL_ENTITIES] = put_entities, [CELL_REASONS] = put_reasons,
    [CELL_TECHNIQUE] = put_technique, [CELL_FLOW] = put_flow,         [CELL_WORDS] = put_words,
};

void cell_put(struct buf *to, const struct column *c, const json_t *object)
{
    putters[c->cell](to, screen_at(object, c->path));
}
