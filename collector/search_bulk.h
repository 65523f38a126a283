/*
 * search_bulk.h - many documents to a search server at once, and what became of each.
 *
 * Why      Alerts and flows go there by the same call, with the same answers to the same troubles.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   The body is the caller's.
 */
#pragma once

#include <stdint.h>

#include "collector/search_http.h"

/* Lines of the bulk call, an action and a document each. */
struct search_bulk {
    struct buf body;
    size_t n; /* documents */
};

/*
 * Send it. *ret_refused: what the server will never take, told in the log. -EAGAIN: it may not have
 * taken all of it now, and all of it should be sent again. -EFBIG: the same, in smaller pieces.
 */
WIND_MUST_USE int search_bulk_send(struct search_http *h, const struct search_bulk *b,
                                   uint64_t *ret_refused, struct err *e);
