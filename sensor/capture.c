#include "sensor/capture.h"

#include <time.h>

#include "sensor/capture_backend.h"

struct capture *capture_free(struct capture *c)
{
    if (c != NULL)
        c->ops->free(c);
    return NULL;
}

size_t capture_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    WIND_CHECK(!c->lent); /* or bytes still in use would be overwritten */
    if (c->ended)
        return 0;

    const size_t n = c->ops->recv(c, ret_packets, max, wait_ms);
    for (size_t i = 0; i < n; i++) {
        if (ret_packets[i].time_ns > c->latest_ns)
            c->latest_ns = ret_packets[i].time_ns;
    }
    c->stats.received += n;
    c->lent = n > 0;
    return n;
}

void capture_release(struct capture *c)
{
    if (c->lent && c->ops->release != NULL)
        c->ops->release(c);
    c->lent = false;
}

bool capture_keeps(const struct capture *c)
{
    return c->ops->keeps != NULL && c->ops->keeps(c);
}

bool capture_ended(const struct capture *c)
{
    return c->ended;
}

bool capture_is_live(const struct capture *c)
{
    return c->ops->is_live;
}

const char *capture_backend_name(const struct capture *c)
{
    return c->name;
}

enum capture_state capture_error(const struct capture *c, const struct err **ret_error)
{
    if (ret_error != NULL)
        *ret_error = &c->error;
    return c->state;
}

enum capture_state capture_take_fault(struct capture *c, const struct err **ret_error)
{
    const enum capture_state fault = c->fault;

    *ret_error = &c->fault_error;
    c->fault = CAPTURE_OK;
    return fault;
}

int capture_start_thread(struct capture *c, struct err *e)
{
    return c->ops->start_thread != NULL ? c->ops->start_thread(c, e) : 0;
}

uint64_t capture_now(const struct capture *c)
{
    struct timespec now;

    if (!c->ops->is_live)
        return c->latest_ns;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool capture_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms)
{
    return c->ops->digest(c, ret_digest, wait_ms);
}

void capture_stats(struct capture *c, struct capture_stats *ret_stats)
{
    if (c->ops->update_stats != NULL)
        c->ops->update_stats(c);
    *ret_stats = c->stats;
}
