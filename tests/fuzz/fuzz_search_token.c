/* Texts become tokens: of the few signs that every text index leaves whole, small for good, and the
 * beginning of a word has the beginning of its token. PostgreSQL takes them as they are written
 * for it. */
#include "collector/search_token.h"
#include "collector/search_tsvector.h"
#include "support/fuzz.h"

#define TEXT_MAX 4096

static void check_signs(const char *tokens)
{
    size_t len = 0;

    for (const char *p = tokens; *p != '\0'; p++) {
        FUZZ_CHECK((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_' || *p == ' ');
        len = *p == ' ' ? 0 : len + 1;
        FUZZ_CHECK(len <= SEARCH_TOKEN_MAX);
        FUZZ_CHECK(*p != ' ' || (p > tokens && p[1] != ' ' && p[1] != '\0'));
    }
}

static unsigned take16(const struct buf *b, size_t *at)
{
    FUZZ_CHECK(*at + 2 <= b->len);
    *at += 2;
    return (unsigned)(unsigned char)b->data[*at - 2] << 8 | (unsigned char)b->data[*at - 1];
}

/* What tsvectorrecv asks for. */
static void check_tsvector(const struct buf *v)
{
    const char *before = "";
    size_t at = 0, lexemes = (size_t)take16(v, &at) << 16;

    lexemes |= take16(v, &at);
    for (size_t i = 0; i < lexemes; i++) {
        const char *lexeme = v->data + at;
        const size_t len = strnlen(lexeme, v->len - at);
        FUZZ_CHECK(len > 0 && len <= SEARCH_TOKEN_MAX && at + len < v->len);
        FUZZ_CHECK(strcmp(before, lexeme) < 0);
        before = lexeme;
        at += len + 1;
        const unsigned places = take16(v, &at);
        FUZZ_CHECK(places > 0 && places <= 256);
        for (unsigned k = 0, last = 0; k < places; k++) {
            const unsigned place = take16(v, &at);
            FUZZ_CHECK(place > last && place <= 16383);
            last = place;
        }
    }
    FUZZ_CHECK(at == v->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char room[4 * TEXT_MAX], vector[16 * TEXT_MAX];
    char text[TEXT_MAX];
    struct buf b = BUF_FIXED(room), v = BUF_FIXED(vector);

    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    const size_t n = search_tokens(&b, text);
    FUZZ_CHECK(!b.failed && n <= SEARCH_TOKENS_MAX);
    size_t spaces = 0;
    for (const char *p = buf_text(&b); *p != '\0'; p++)
        spaces += *p == ' ';
    FUZZ_CHECK(n == 0 ? b.len == 0 : spaces == n - 1);
    check_signs(buf_text(&b));
    search_gap(&b);
    search_tsvector(&v, b.data, b.len);
    FUZZ_CHECK(!v.failed);
    check_tsvector(&v);
    (void)search_is_prefix(text);
    return 0;
}
