/*
 * cell.h - one value of an API object as text, not yet safe for a terminal.
 *
 * Threads  Any: there is no state.
 * Bounds   The caller's buf.
 */
#pragma once

#include "collector/windctl/screen.h"
#include "common/buf.h"

/* Nothing is appended for what is missing, null, or of another kind than the cell shows. */
void cell_put(struct buf *to, const struct column *c, const json_t *object);
