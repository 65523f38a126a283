/*
 * capture_file.h - what capture_folder.c does with a capture file that others don't.
 *
 * Why      A folder's files come later, and are told apart by who hands them over.
 * Owns     Nothing.
 * Threads  The one that has the handle (capture.h).
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/source_thread.h"

struct capture_file_conf {
    const char *name;
    uint64_t skip_packets;
    unsigned flags; /* PACKED_... */
    bool no_digest; /* capture_digest is never asked for: don't wait for what it covers */
    struct source_thread *thread; /* borrowed; or NULL */
};

/* As capture_file_new. A file that is followed has no digest. */
WIND_MUST_USE int capture_file_open(struct capture **ret_capture, int fd,
                                    const struct capture_file_conf *conf, struct err *e);

/* No more will be written to the file: its end is one. */
void capture_file_stop_following(struct capture *c);
