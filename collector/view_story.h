/*
 * view_story.h - what an incident's alerts tell together, kept up alert by alert.
 *
 * Why      An incident may have a thousand alerts: to read them all again for each batch costs
 *          more than to store the batch.
 * Owns     The story. Its incident belongs to the view.
 * Threads  As view.h.
 * Bounds   As many people as the incident's alerts name.
 */
#pragma once

#include "collector/alerts.h"
#include "collector/story.h"
#include "collector/view.h"

/* One alert for correlation. Borrowed. */
struct view_alert {
    const struct alert *alert; /* entities, times, tactic, description */
    struct view_entity *const *entities;
    int severity; /* as the database has it */
    uint16_t type;
};

/* The story of an incident that is in the database with all its alerts; does nothing when here. */
WIND_MUST_USE int view_story_load(struct view *v, struct db_tx *tx, struct view_incident *in,
                                  struct err *e);
void view_story_free(struct view_story *st);

/* A new alert is in it (or the first revision of one that was), or one grew. Moves in's times. */
WIND_MUST_USE int view_story_add(struct view *v, struct view_incident *in,
                                 const struct view_alert *a, bool is_new, struct err *e);

void view_story_tell(const struct view *v, const struct view_incident *in, struct story *ret_story,
                     char ret_title[TITLE_MAX + 1]);
