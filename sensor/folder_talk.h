/*
 * folder_talk.h - what the analyser asks of the supervisor, and what it is handed.
 *
 * Why      The analyser can open no file: those of a folder come through a socket (SCM_RIGHTS), one
 *          message each way at a time. Only folder.c and capture_folder.c include this.
 * Bounds   Messages of fixed size. The supervisor believes nothing in them but what harms only the
 *          analyser's own input.
 *
 *     NEXT -> LOOK, descriptor     FOUND (time of its first packet) | NO_CAPTURE | NOT_YET
 *     NEXT -> READ, descriptor     BEGIN ... DONE
 *     NEXT -> NOTHING (ask again later) | END
 */
#pragma once

#include <stdint.h>

enum folder_ask_kind {
    FOLDER_NEXT = 1,   /* answered; the others are not */
    FOLDER_FOUND,      /* number: nanoseconds, UINT64_MAX = it has no packet */
    FOLDER_NO_CAPTURE, /* text: why not */
    FOLDER_NOT_YET,    /* it grows, and its first packet is not there yet */
    FOLDER_BEGIN,      /* number: packets received before its first one */
    FOLDER_DONE        /* text: what was wrong with it, or "" */
};

struct folder_ask {
    uint32_t kind, id; /* id: of the file in the answer; FOLDER_NEXT: 0 */
    uint64_t number;
    char text[240];
};

enum folder_answer_kind { FOLDER_LOOK = 1, FOLDER_READ, FOLDER_NOTHING, FOLDER_END };

struct folder_answer {
    uint32_t kind, id;
    uint64_t number; /* READ: packets to skip. END: 0 = nobody has begun any file */
    /* READ while another file is being followed: nobody has written to that for a while. */
    uint32_t is_settled;
    uint32_t reserved;
    char name[256];
};
