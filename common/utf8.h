/*
 * utf8.h - what is valid UTF-8 (RFC 3629: no surrogates, no long forms, at most U+10FFFF).
 *
 * Why      Text from packets and files goes into JSON and YAML, and both must be valid.
 * Threads  Any: there is no state.
 */
#pragma once

#include <stdbool.h>

#include "common/base.h"

/* Length, 1 to 4, of the sequence at p; 0: broken, or cut off by `left`. */
size_t utf8_len(const void *p, size_t left);

bool utf8_valid(const void *p, size_t n);

/* Ends the text where it stops being valid: what snprintf cut may end within a character. */
void utf8_cut(char *text);

/* As utf8_valid, and nothing below U+0020, nor U+007F: one line that a person can read. */
bool utf8_is_line(const void *p, size_t n);
