/*
 * search_token.h - words as all text indexes see them.
 *
 * Why      SQLite's FTS5, PostgreSQL's tsvector and Elasticsearch each cut "evil-c2.example.com"
 *          in another way. Here texts become tokens once, written so that each of them leaves
 *          every token whole: letters a-z, digits, and _xx for any other byte.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   A token has at most SEARCH_TOKEN_MAX written bytes (what is longer is cut, in texts
 *          and searches alike), a text SEARCH_TOKENS_MAX tokens; words behind them are not found.
 *
 * A token is a run of letters and digits; everything else separates. ASCII, Latin, Greek and
 * Cyrillic capitals are small ones. The rules do not depend on the system's locale, so an
 * index stays true when the system is upgraded.
 */
#pragma once

#include <stdbool.h>

#include "common/buf.h"

#define SEARCH_TOKEN_MAX  192
#define SEARCH_TOKENS_MAX 4096
#define SEARCH_GAP        "_" /* between two texts: no phrase reaches over it */

/*
 * Put the tokens of `text` behind those in `out`, with a space between two. Returns how many.
 * It stops when `out` has no room: only its beginning is found then.
 */
size_t search_tokens(struct buf *out, const char *text);

/* The next text begins here. */
void search_gap(struct buf *out);

/*
 * What a searched word means: its tokens stand one behind the other. True: the last of them may
 * go on (scan finds scanner). Words end so that go on typing: in a letter, a digit or a star.
 */
bool search_is_prefix(const char *word);
