/*
 * folder.h - hands the captures of a folder to the analyser, in time order, one at a time.
 *
 * Why      The analyser can open no file. And somebody must know, when it dies, what was read.
 * Owns     The list of files (folder_files.h), and a socket to each reader.
 * Threads  The supervisor's only one. Parses nothing: the readers say when a file begins.
 * Bounds   capture.files files; descriptors are handed over when they are asked for, so that few
 *          are open at a time. Of files that are skipped, FOLDER_TOLD_MAX are named in the log.
 *
 * A reader reads all files, in the same order as any other. The first one also looks at each file
 * for the time of its first packet; until it has seen all that there are, nobody gets any.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "sensor/counter.h"

#define FOLDER_READERS_MAX WORKERS_MAX
#define FOLDER_TOLD_MAX    10

struct folder;

struct folder_conf {
    const char *path;
    bool follow;               /* new files are waited for */
    size_t files_max;          /* capture.files */
    unsigned readers;          /* from 1 */
    struct counters *counters; /* reader i is worker i */
};

WIND_MUST_USE int folder_new(struct folder **ret_folder, const struct folder_conf *conf,
                             struct err *e);
struct folder *folder_free(struct folder *f);
WIND_DEFINE_FREE(folder)

/* A new reader takes the place of reader i, if there was one: its end of the socket. */
WIND_MUST_USE int folder_connect(struct folder *f, unsigned i, int *ret_fd, struct err *e);

/* What to poll for POLLIN. Returns how many entries it has filled, at most FOLDER_READERS_MAX. */
size_t folder_poll(const struct folder *f, struct pollfd *ret_fds);

/* Answer what was asked. Never blocks. Also before a reader that died is replaced. */
void folder_serve(struct folder *f);

/*
 * The readers have died again and again: give up what they read, or looked at, then. False: that
 * was no file.
 */
bool folder_give_up(struct folder *f);
