/*
 * text.h - texts of strangers, made harmless for the place where they are shown.
 *
 * Why      An alert's words may come from an attacker: a terminal must not obey them, and a
 *          spreadsheet must not calculate them.
 * Threads  Any: there is no state.
 * Bounds   The output is at most 6 times as long as the input; the caller's buf limits it.
 */
#pragma once

#include "common/buf.h"

/*
 * One line for a terminal: line breaks and tabs become spaces; other control characters (C0, C1,
 * DEL) and those that reorder or hide text are written out as \u{1b}; broken UTF-8 is U+FFFD.
 */
void text_safe(struct buf *to, const char *s, size_t n);

/* Columns that text from text_safe takes on a terminal. */
size_t text_width(const char *s, size_t n);

/* Bytes of it that fit into `width` columns; never half a character. */
size_t text_fit(const char *s, size_t n, size_t width);

/*
 * One cell of CSV (RFC 4180): quoted when it must be. A text that a spreadsheet would take as a
 * formula gets an apostrophe in front. NUL bytes are left out.
 */
void text_csv(struct buf *to, const char *s, size_t n);
