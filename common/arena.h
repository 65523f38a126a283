/*
 * arena.h - memory that is handed out in pieces and taken back all at once.
 *
 * Why      What lives for one batch or one request needs no free of its own.
 * Owns     One block, made at the start. Pieces are borrowed until arena_reset.
 * Threads  One at a time.
 * Bounds   `bytes` in all; then arena_alloc returns NULL. With WIND_SANITIZED every piece is a
 *          malloc of its own, so that an overrun or a use after reset is found.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct arena;

/* -EINVAL: bytes is 0. -ENOMEM. */
WIND_MUST_USE int arena_new(struct arena **ret_arena, size_t bytes, struct err *e);
struct arena *arena_free(struct arena *a);
WIND_DEFINE_FREE(arena)

/* n bytes, aligned for anything, not cleared; NULL when they do not fit. */
void *arena_alloc(struct arena *a, size_t n);

/* n bytes of text and a NUL. */
char *arena_text(struct arena *a, const char *s, size_t n);

/* Every piece is void from here on. */
void arena_reset(struct arena *a);

size_t arena_used(const struct arena *a);
