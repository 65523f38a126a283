#include "sensor/source.h"

#include <errno.h>
#include <stdlib.h>

/*
 * packed -> window. A mapping is its own window. Without a thread the window is a buffer that
 * packed_fill appends to; with one, it lies in the thread's blocks.
 */
struct source {
    struct packed *packed;
    struct source_thread *thread; /* borrowed, or NULL */
    bool is_started, is_mapped, is_threaded, is_out_of_memory;
    struct span window;
    uint8_t *buffer; /* SOURCE_WINDOW bytes, or NULL */
};

int source_new(struct source **ret_source, int fd, unsigned flags, struct err *e)
{
    WIND_AUTO(source) struct source *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    const int r = packed_new(&s->packed, fd, flags, e);
    if (r < 0)
        return r;
    *ret_source = WIND_STEAL(s);
    return 0;
}

struct source *source_free(struct source *s)
{
    if (s != NULL) {
        if (s->is_threaded)
            source_thread_stop(s->thread);
        s->packed = packed_free(s->packed);
        free(s->buffer);
        free(s);
    }
    return NULL;
}

void source_lend_thread(struct source *s, struct source_thread *t)
{
    s->thread = t;
}

struct span *source_window(struct source *s)
{
    return &s->window;
}

bool source_is_mapped(const struct source *s)
{
    return s->is_mapped;
}

const char *source_compression(const struct source *s)
{
    return packed_compression(s->packed);
}

const char *source_problem(const struct source *s)
{
    return s->is_out_of_memory ? "out of memory" : packed_problem(s->packed);
}

void source_stop_following(struct source *s)
{
    packed_stop_following(s->packed);
}

bool source_looks_compressed(const struct source *s)
{
    return packed_looks_compressed(s->packed);
}

static enum source_fill start(struct source *s, int wait_ms)
{
    const enum source_fill r = packed_start(s->packed, wait_ms);

    if (r != SOURCE_FILLED)
        return r;
    s->is_started = true;
    s->is_mapped = packed_mapping(s->packed, &s->window);
    s->is_threaded = s->thread != NULL && packed_compression(s->packed)[0] != '\0';
    if (s->is_threaded)
        source_thread_start(s->thread, s->packed);
    if (s->is_mapped || s->is_threaded)
        return r;
    s->buffer = malloc(SOURCE_WINDOW);
    s->window.at = s->buffer;
    s->is_out_of_memory = s->buffer == NULL;
    return r;
}

static enum source_fill fill_buffer(struct source *s, int wait_ms)
{
    size_t n = 0;

    memmove(s->buffer, s->window.at, s->window.left);
    s->window.at = s->buffer;
    const enum source_fill r = packed_fill(s->packed, s->buffer + s->window.left,
                                           SOURCE_WINDOW - s->window.left, wait_ms, &n);
    s->window.left += n;
    return r;
}

enum source_fill source_fill(struct source *s, int wait_ms)
{
    if (!s->is_started) {
        const enum source_fill r = start(s, wait_ms);
        if (r != SOURCE_FILLED || s->is_mapped)
            return r;
    }
    if (s->is_mapped)
        return SOURCE_END;
    if (s->is_threaded)
        return source_thread_take(s->thread, &s->window, wait_ms);
    return s->is_out_of_memory ? SOURCE_BAD : fill_buffer(s, wait_ms);
}
