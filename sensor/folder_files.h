/*
 * folder_files.h - which files a folder has, and in which order they are read.
 *
 * Why      The supervisor must know both across crashes of the analyser; the times come from there.
 * Owns     The folder's descriptor, and a name and a few numbers a file.
 * Threads  One.
 * Bounds   `max` files; more are left out. Files that are through and gone from the folder are
 *          forgotten, so one that is followed for months stays small.
 *
 * Hidden files and folders within the folder are not looked at. Symbolic links are followed to
 * regular files; anything else is refused when it is opened.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum folder_state {
    FOLDER_FILE_NEW,     /* to be looked at */
    FOLDER_FILE_WAITING, /* was looked at, and had no packet yet: again when it has grown */
    FOLDER_FILE_QUEUED,  /* has a place in the order */
    FOLDER_FILE_OUT      /* skipped, or read */
};

struct folder_file {
    char *name;
    uint32_t id; /* from 1, never used again */
    enum folder_state state;
    bool is_there;    /* at the last scan */
    uint64_t time_ns; /* of its first packet */
    int64_t size;     /* WAITING: when it was looked at */
};

struct folder_files {
    int fd;
    size_t max;
    uint64_t left_out; /* over max, at the last scan */
    uint32_t last_id;
    struct folder_file **file; /* by name */
    size_t n;
    size_t look_at; /* none of those before it is NEW */
    /* Those with a place: the first `fixed` may have been handed out and stay where they are. */
    struct folder_file **queue;
    size_t n_queue, fixed, sorted;
    int64_t seen_s, seen_ns; /* time of change of the folder, at the last scan */
    bool may_have_changed;   /* that was too near to the scan to be sure */
};

WIND_MUST_USE int folder_files_init(struct folder_files *f, const char *path, size_t max,
                                    struct err *e);
void folder_files_done(struct folder_files *f);

/* Look which files there are. Returns 0 or negative. */
WIND_MUST_USE int folder_files_scan(struct folder_files *f, struct err *e);

/* The same, but only if something seems to have changed. */
void folder_files_scan_again(struct folder_files *f);

/* The next file to be looked at, by name; NULL: none. */
struct folder_file *folder_files_new_one(struct folder_files *f);

/* Its first packet is known (UINT64_MAX: it has none): give it its place. */
void folder_files_enqueue(struct folder_files *f, struct folder_file *file, uint64_t time_ns);

/* The file at a place, which is fixed from now on; NULL: there is none (yet). */
struct folder_file *folder_files_at(struct folder_files *f, size_t place);

/* The first `n` places are through with: forget them. All other places move down by `n`. */
void folder_files_forget(struct folder_files *f, size_t n);

/* Open for reading. Negative: errno style; -EINVAL: it is no regular file. */
int folder_files_open(const struct folder_files *f, const struct folder_file *file);

/* Nobody has written to it for a second, or it is gone. */
bool folder_files_is_settled(const struct folder_files *f, const struct folder_file *file);
