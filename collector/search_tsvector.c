#include "collector/search_tsvector.h"

#include <stdlib.h>

#include "collector/search_token.h"

#define PLACE_MAX  16383
#define PLACES_MAX 256

struct word {
    const char *p;
    size_t len;
    unsigned place;
};

static int compare_bytes(const struct word *a, const struct word *b)
{
    const int c = memcmp(a->p, b->p, a->len < b->len ? a->len : b->len);

    return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

static int compare(const void *first, const void *second)
{
    const struct word *a = first, *b = second;
    const int c = compare_bytes(a, b);

    return c != 0 ? c : (a->place > b->place) - (a->place < b->place);
}

/* The words but for gaps, in the order of a tsvector. NULL: no memory. */
static struct word *sorted_words(const char *tokens, size_t len, size_t *ret_n)
{
    const char *end = tokens + len;
    size_t n = 1;
    unsigned place = 0;

    for (const char *p = tokens; p < end; p++)
        n += *p == ' ';
    struct word *words = calloc(n, sizeof(*words));
    if (words == NULL)
        return NULL;
    n = 0;
    for (const char *p = tokens; p < end; p++) {
        const char *space = memchr(p, ' ', (size_t)(end - p));
        const size_t bytes = (size_t)((space != NULL ? space : end) - p);
        place += place < PLACE_MAX;
        if (bytes != 1 || p[0] != SEARCH_GAP[0])
            words[n++] = (struct word){p, bytes, place};
        p += bytes;
    }
    qsort(words, n, sizeof(*words), compare);
    *ret_n = n;
    return words;
}

static void set16(char *at, size_t v)
{
    at[0] = (char)(v >> 8);
    at[1] = (char)v;
}

static void put16(struct buf *out, size_t v)
{
    char bytes[2];

    set16(bytes, v);
    buf_put(out, bytes, 2);
}

/* One lexeme: the words from `w` that have its bytes. Returns how many. */
static size_t put_lexeme(struct buf *out, const struct word *w, size_t left)
{
    size_t n = 0, places = 0;
    unsigned last = 0;

    buf_put(out, w->p, w->len);
    buf_putc(out, '\0');
    const size_t count_at = out->len;
    put16(out, 0);
    for (; n < left && compare_bytes(w, w + n) == 0; n++) {
        if (w[n].place == last || places == PLACES_MAX)
            continue;
        last = w[n].place;
        put16(out, last);
        places++;
    }
    if (!out->failed)
        set16(out->data + count_at, places);
    return n;
}

void search_tsvector(struct buf *out, const char *tokens, size_t len)
{
    const size_t count_at = out->len;
    size_t n = 0, lexemes = 0;
    struct word *words = sorted_words(tokens, len, &n);

    put16(out, 0);
    put16(out, 0);
    for (size_t i = 0; i < n; lexemes++)
        i += put_lexeme(out, words + i, n - i);
    if (!out->failed) {
        set16(out->data + count_at, lexemes >> 16);
        set16(out->data + count_at + 2, lexemes & 0xffff);
    }
    out->failed |= words == NULL;
    free(words);
}
