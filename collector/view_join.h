/*
 * view_join.h - the rules of correlate.h, over what the view knows.
 *
 * Why      The same answer as from the database, a hundred times as fast.
 * Owns     Nothing.
 * Threads  As view.h.
 * Bounds   VIEW_HEAVY for an entity with more than VIEW_PARTS parts.
 */
#pragma once

#include "collector/view_story.h"

/* The incident that an alert joins, or NULL. 0, VIEW_HEAVY. */
WIND_MUST_USE int view_find(struct view *v, const struct view_alert *a,
                            struct view_incident **ret_incident);

/* The part that entity i of an alert plays in its incident. */
enum part_role view_role(const struct alert *a, size_t i);
