#include "sensor/spool_held.h"

#include <string.h>

void held_init(struct held *h)
{
    *h = (struct held){0};
    buf_init(&h->bytes, 2 * HELD_MAX);
}

void held_done(struct held *h)
{
    buf_done(&h->bytes);
}

const void *held_next(const struct held *h, size_t *at, size_t *ret_len)
{
    const size_t from = h->head + *at;
    uint32_t len;

    if (from >= h->bytes.len)
        return NULL;
    memcpy(&len, h->bytes.data + from, sizeof(len));
    *at += sizeof(len) + len;
    *ret_len = len;
    return h->bytes.data + from + sizeof(len);
}

void held_take(struct held *h)
{
    size_t at = 0, len;

    if (held_next(h, &at, &len) == NULL)
        return;
    h->head += at;
    h->n--;
    if (h->n == 0) {
        buf_reset(&h->bytes);
        h->head = 0;
    } else if (h->head > HELD_MAX / 2) {
        memmove(h->bytes.data, h->bytes.data + h->head, h->bytes.len - h->head);
        h->bytes.len -= h->head;
        h->head = 0;
    }
}

void held_put(struct held *h, const void *head, size_t head_len, const void *body, size_t len)
{
    const uint32_t whole = (uint32_t)(head_len + len);

    while (h->n > 0 && h->bytes.len - h->head + sizeof(whole) + whole > HELD_MAX)
        held_take(h);
    const size_t before = h->bytes.len;
    buf_put(&h->bytes, &whole, sizeof(whole));
    buf_put(&h->bytes, head, head_len);
    buf_put(&h->bytes, body, len);
    if (h->bytes.failed) /* no memory: it is lost, and its index tells */
        buf_truncate(&h->bytes, before);
    else
        h->n++;
}
