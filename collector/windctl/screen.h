/*
 * screen.h - rows of JSON as an aligned table, as CSV or as JSON.
 *
 * Why      Each list of the API is shown by a table of columns, not by code of its own.
 * Owns     Nothing: rows are borrowed.
 * Threads  One.
 * Bounds   A cell SCREEN_CELL_MAX bytes, the rest is cut; any number of rows.
 *
 * Colours only on a terminal, and not with NO_COLOR or TERM=dumb. Whatever comes from the API
 * goes through text.h first.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/err.h"

#define SCREEN_CELL_MAX ((size_t)16384)

enum screen_format { SCREEN_TABLE, SCREEN_JSON, SCREEN_CSV };

enum cell {
    CELL_TEXT,
    CELL_NUMBER,    /* to the right */
    CELL_WORD,      /* text with the colour that belongs to it: severity, state */
    CELL_TIME,      /* 2026-01-02 03:04:05 in tables, as it is in CSV */
    CELL_ENTITIES,  /* attacker 10.0.0.1, victim 10.0.0.2 */
    CELL_REASONS,   /* the texts of metadata.explain */
    CELL_TECHNIQUE, /* T1046 Network Service Discovery (Discovery) */
    CELL_FLOW,      /* 10.0.0.1 port 4242 -> 10.0.0.2 port 22, TCP, ssh */
    CELL_WORDS,     /* list of texts */
};

enum { IN_TABLE = 1, IN_CSV = 2, IN_SHOW = 4 };

struct column {
    const char *title; /* for tables and pages; CSV has the last word of the path, or `csv` */
    const char *path;  /* "metadata.score" */
    enum cell cell;
    unsigned in;
    const char *csv;
};

struct screen {
    FILE *out;
    enum screen_format format;
    bool is_terminal, has_colour;
    bool has_reasons; /* a line for each reason below each row of a table */
    size_t width;     /* of the terminal; 0 = none */
};

void screen_init(struct screen *s, FILE *out, enum screen_format format);

/* `columns` ends with a NULL title. -EIO: the output did not take it. */
WIND_MUST_USE int screen_rows(const struct screen *s, const struct column *columns,
                              const json_t *rows, struct err *e);

/* One object: its fields one below the other (table), as one row (CSV), or as it is (JSON). */
WIND_MUST_USE int screen_object(const struct screen *s, const struct column *columns,
                                const json_t *object, struct err *e);

/* For pages: a text made safe, between colour codes when there are colours. */
void screen_text(const struct screen *s, const char *text);
void screen_word(const struct screen *s, const char *word); /* in its own colour */
void screen_head(const struct screen *s, const char *text); /* bold */

/* Everything has reached the output, or -EIO. */
WIND_MUST_USE int screen_flush(const struct screen *s, struct err *e);

/* The value at "a.b", or NULL. */
const json_t *screen_at(const json_t *object, const char *path);
