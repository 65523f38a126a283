/* windctl search: how far the text index has come, and filling it anew. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/windctl/command.h"

/* clang-format off */
static const struct column status_columns[] = {
    {"index",            "index",        CELL_TEXT,   IN_SHOW | IN_CSV, NULL},
    {"changes behind",   "behind",       CELL_NUMBER, IN_SHOW | IN_CSV, NULL},
    {"rebuild, done",    "rebuild.done", CELL_NUMBER, IN_SHOW | IN_CSV, "rebuild_done"},
    {"rebuild, of",      "rebuild.of",   CELL_NUMBER, IN_SHOW | IN_CSV, "rebuild_of"},
    {"taken",            "taken",        CELL_NUMBER, IN_SHOW | IN_CSV, NULL},
    {"refused for good", "refused",      CELL_NUMBER, IN_SHOW | IN_CSV, NULL},
    {"failed batches",   "failed",       CELL_NUMBER, IN_SHOW | IN_CSV, NULL},
    {"trouble",          "trouble",      CELL_TEXT,   IN_SHOW | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};
/* clang-format on */

int command_search_status(struct ctl *c, struct err *e)
{
    json_t *status = NULL;

    int r = client_get(c->client, "/api/search/status", &status, NULL, e);
    if (r < 0)
        return r;
    r = screen_object(&c->screen, status_columns, status, e);
    json_decref(status);
    return r;
}

/* One look; 1: it is still being filled. */
static int show_progress(struct ctl *c, struct err *e)
{
    json_t *status = NULL;

    const int r = client_get(c->client, "/api/search/status", &status, NULL, e);
    if (r < 0)
        return r;
    const json_t *rebuild = json_object_get(status, "rebuild");
    const json_int_t done = json_integer_value(json_object_get(rebuild, "done"));
    const json_int_t of = json_integer_value(json_object_get(rebuild, "of"));
    const bool goes_on = json_is_object(rebuild);
    if (goes_on)
        (void)fprintf(stderr, "\rfilling the text index: %lld of %lld ", (long long)done,
                      (long long)of);
    json_decref(status);
    return goes_on ? 1 : 0;
}

/* On a terminal it shows how it goes; the work is the collector's, and goes on without us. */
int command_search_rebuild(struct ctl *c, struct err *e)
{
    const struct timespec pause = {.tv_nsec = 300000000};

    int r = client_post(c->client, "/api/search/rebuild", e);
    if (r < 0)
        return r;
    if (isatty(STDERR_FILENO) == 1) {
        while ((r = show_progress(c, e)) == 1)
            (void)nanosleep(&pause, NULL);
        (void)fputs("\n", stderr);
    }
    return r < 0 ? r : command_search_status(c, e);
}
