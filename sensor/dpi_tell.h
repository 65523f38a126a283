/*
 * dpi_tell.h - what nDPI found in the packets of a flow, as facts; and the words for its numbers.
 *
 * Why      A part of dpi.h, which is the wall: only these two files know nDPI.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   A text longer than a fact may have is cut.
 */
#pragma once

#include "sensor/dpi.h"

struct ndpi_flow_struct;

/* Name, certificate, fingerprints and HTTP request, as far as there are any. */
void dpi_tell(const struct ndpi_flow_struct *f, dpi_say *say, void *arg);

/* Lower-case ASCII; what is not printable becomes '?'. `in` may lack its NUL. */
void dpi_clean_text(char *out, size_t out_size, const char *in, size_t in_size);
