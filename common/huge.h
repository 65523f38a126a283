/*
 * huge.h - ask for huge pages under a large table.
 *
 * Why      A table of some hundred megabytes that is touched at random misses the TLB at every
 *          visit, and under a hypervisor that costs more than the miss of the cache.
 * Owns     Nothing: it is advice about memory that malloc or calloc gave.
 * Threads  Any.
 * Bounds   Nothing below HUGE_WORTH_BYTES: a small table would only waste the rest of its page.
 *          Memory still comes as it is touched, 2 MiB at a time.
 */
#pragma once

#include <stddef.h>

#define HUGE_WORTH_BYTES ((size_t)8 << 20)

/* Advise the whole pages within the block. NULL is fine; a kernel without them is, too. */
void huge_advise(void *block, size_t bytes);
