#include "collector/http_writes.h"

/* May its route take it together with others? What is kept for an Idempotency-Key goes alone. */
static bool is_groupable(const struct exchange *x)
{
    return x->rq.route->group != NULL && exchange_key(x) == NULL;
}

/* All of this job's route from here on; what was done has an answer. */
static void run_route(struct write_job *from)
{
    const struct route *route = ((struct exchange *)from->of)->rq.route;
    struct http_asked asked[WRITE_GROUP];
    struct exchange *of[WRITE_GROUP];
    size_t n = 0;

    for (struct write_job *j = from; j != NULL && n < WRITE_GROUP; j = j->next) {
        struct exchange *x = j->of;
        if (x->is_run || x->rq.route != route || !is_groupable(x))
            continue;
        of[n] = x;
        asked[n++] = (struct http_asked){.rq = &x->rq, .rs = &x->rs};
    }
    route->group(asked, n);
    for (size_t i = 0; i < n; i++)
        of[i]->is_run = asked[i].is_done;
}

static void run(void *arg, struct write_job *group)
{
    (void)arg;
    for (struct write_job *j = group; j != NULL; j = j->next) {
        struct exchange *x = j->of;
        if (!x->is_run && is_groupable(x))
            run_route(j);
        if (!x->is_run)
            exchange_run(x);
        x->is_run = true;
    }
}

static void after(void *arg, struct write_job *group, int result, const struct err *why)
{
    const struct http_writes *w = arg;

    while (group != NULL) {
        struct exchange *x = group->of;
        group = group->next; /* once it is resumed, it may be gone */
        exchange_settle(x, result, why);
        w->resume(x);
    }
}

struct write_ops http_writes_ops(struct http_writes *w)
{
    return (struct write_ops){.arg = w, .run = run, .after = after};
}
