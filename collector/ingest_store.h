/*
 * ingest_store.h - a batch of checked alerts goes into the store: each once, joined, in bulk.
 *
 * Why      A few statements for a batch, not a dozen for an alert.
 * Owns     Nothing beyond a call.
 * Threads  That of the write transaction.
 * Bounds   Those of its caller, and of view.h.
 *
 * What it gives is what alert_put and correlate.h would give alert by alert; for what can't be
 * told from the view alone (a revision that takes something back, a host with too many parts)
 * it is those that are called, after all before has been written.
 */
#pragma once

#include "collector/ingest.h"
#include "collector/view.h"

struct ingest_put {
    const struct alert *alert; /* checked, with entities_json; NULL: leave this item out */
    enum ingest_state state;   /* what became of it */
};

/* < 0 or DB_CONFLICT: roll back. */
WIND_MUST_USE int ingest_store(struct view *v, struct db_tx *tx, struct ingest_put *items, size_t n,
                               struct err *e);
