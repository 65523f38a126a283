/*
 * search_tsvector.h - tokens as a tsvector, in the form in which PostgreSQL receives one.
 *
 * Why      As text they were parsed and sorted over there, where it cost a third of what the text
 *          index costs.
 * Owns     Nothing.
 * Threads  Any.
 * Bounds   As of any tsvector: places above 16383 are 16383, and a lexeme has the first 256.
 *
 * What COPY with FORMAT binary takes (tsvectorrecv in PostgreSQL's tsvector.c), numbers in network
 * order: 32 bits, how many lexemes; of each, in the order of their bytes, its bytes and a 0, 16
 * bits, how many places, and 16 bits each place, ascending.
 */
#pragma once

#include "common/buf.h"

/* `tokens` as search_token.h writes them. Without memory `out` has failed. */
void search_tsvector(struct buf *out, const char *tokens, size_t len);
