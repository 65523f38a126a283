/*
 * static_files.h - the page's files, read once into memory.
 *
 * Why      A request is looked up in a table of names, never in the file system, so no path
 *          can leave the folder.
 * Owns     The bytes of all files.
 * Threads  Immutable after new.
 * Bounds   STATIC_FILES_MAX files and STATIC_BYTES_MAX bytes; more fails at start.
 */
#pragma once

#include <stdbool.h>

#include "common/err.h"

#define STATIC_FILES_MAX 1000
#define STATIC_BYTES_MAX ((size_t)64 * 1024 * 1024)

struct static_files;

struct static_file {
    char path[160]; /* "/assets/index-1a2b.js" */
    const char *type;
    char *bytes;
    size_t n;
    char etag[40];
    bool is_immutable; /* its name changes when its content does */
};

/* A folder that does not exist gives an empty set: the API works without the page. */
WIND_MUST_USE int static_files_new(struct static_files **ret, const char *dir, struct err *e);
struct static_files *static_files_free(struct static_files *f);
WIND_DEFINE_FREE(static_files)

/* "/" and a name without a dot beside it give index.html. NULL: no such file. */
const struct static_file *static_files_find(const struct static_files *f, const char *path);
