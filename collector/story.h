/*
 * story.h - what an incident's alerts tell: its title, type and severity.
 *
 * Why      Correlation tells it from the database or from what it remembers; either way in the
 *          same words.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   STORY_MAX kinds of alert are told, those that came first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/store.h"

#define STORY_MAX    6
#define STORY_PEOPLE 64

struct story {
    int64_t alerts, first_ns, last_ns, severity;
    unsigned stages; /* bits of story_stage */
    size_t n_chapters;
    struct chapter {
        char type[TYPE_MAX + 1];
        char who[STORY_PEOPLE], whom[STORY_PEOPLE]; /* "10.9.0.66", "3 hosts", "" */
    } chapters[STORY_MAX]; /* in the order of their first alerts, then of their types */
};

/* The stage of the kill chain that an ATT&CK tactic is; 0: none. */
unsigned story_stage(const char *tactic);

/* Do alerts of this type against one victim belong together? */
bool story_joins_by_victim(const char *alert_type);

/* n people, of whom `only` is the one if there is one. */
void story_people(int64_t n, const char *only, char ret_text[STORY_PEOPLE]);

/* Of several alerts; one alert speaks for itself. */
void story_title(const struct story *st, char ret_title[TITLE_MAX + 1]);
const char *story_type(const struct story *st);
int64_t story_severity(const struct story *st);
