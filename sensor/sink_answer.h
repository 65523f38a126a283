/*
 * sink_answer.h - what the answer to a batch means for the spool; the collector's, by HTTP.
 *
 * Why      One place decides whether alerts are done, sent again, or given up; it needs no network
 *          and is fuzzed.
 * Owns     Nothing.
 * Threads  Any: there is no state.
 * Bounds   Only an answer whose numbers add up to what was sent confirms anything.
 */
#pragma once

#include <stddef.h>

enum sink_verdict {
    SINK_TAKEN,   /* every alert of the batch is done: stored, known before, or rejected for good */
    SINK_SPLIT,   /* the batch as a whole was refused: send a smaller one */
    SINK_LATER,   /* busy or out of reach: again, after a while */
    SINK_REFUSED, /* we may not: nothing helps but an operator */
    SINK_STRANGE, /* this isn't whom we mean to talk to: an operator, or a fix over there */
};

struct sink_answer {
    enum sink_verdict verdict;
    size_t rejected; /* SINK_TAKEN: of the batch, for good */
    size_t taken;    /* others: so many from its beginning are done all the same */
    char text[200];  /* in words; for SINK_TAKEN why the first one was rejected */
};

/* `sent`: alerts in the batch. `status`: of HTTP. */
void sink_answer_parse(long status, const char *body, size_t len, size_t sent,
                       struct sink_answer *ret_answer);
