#include <criterion/criterion.h>

#include "collector/search_token.h"

static const char *tokens_of(const char *text)
{
    static char room[8192];
    static struct buf b;

    b = BUF_FIXED(room);
    (void)search_tokens(&b, text);
    cr_assert(!b.failed);
    return buf_text(&b);
}

Test(search_token, letters_and_digits_are_tokens_all_else_separates)
{
    static const struct {
        const char *text, *tokens;
    } rows[] = {
        {"", ""},
        {" -- ", ""},
        {"evil-c2.example.com", "evil c2 example com"},
        {"Evil-C2.EXAMPLE.com:8443/a_b?c=1", "evil c2 example com 8443 a b c 1"},
        {"fd00:1::2", "fd00 1 2"},
        {"O'Brien (root)", "o brien root"},
        {"M\xc3\x9cLLER", "m_c3_bcller"}, /* MÜLLER */
        {"m\xc3\xbcller", "m_c3_bcller"},
        {"\xc5\xbb\xc5\xbc", "_c5_bc_c5_bc"},               /* Żż */
        {"\xce\xa9\xcf\x89", "_cf_89_cf_89"},               /* Ωω */
        {"\xd0\x96\xd0\xb6", "_d0_b6_d0_b6"},               /* Жж */
        {"\xe6\x97\xa5\xe6\x9c\xac", "_e6_97_a5_e6_9c_ac"}, /* 日本 */
        {"\xf0\x90\x8d\x88", "_f0_90_8d_88"},
        {"a\xe2\x80\x93z", "a z"}, /* a dash */
        {"a\xc2\xa0z", "a z"},     /* a space */
        {"2\xc3\x97"
         "3",
         "2 3"},               /* × */
        {"a\xff\xc3z", "a z"}, /* broken bytes */
        {"a\tb\nc", "a b c"},
    };

    for (size_t i = 0; i < WIND_ARRAY_SIZE(rows); i++)
        cr_expect_str_eq(tokens_of(rows[i].text), rows[i].tokens, "%s: %s", rows[i].text,
                         tokens_of(rows[i].text));
}

Test(search_token, what_is_too_long_is_cut_where_a_letter_ends)
{
    char text[400];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    cr_assert_eq(strlen(tokens_of(text)), SEARCH_TOKEN_MAX);
    text[SEARCH_TOKEN_MAX] = ' ';
    cr_assert_eq(strlen(tokens_of(text)), 2 * SEARCH_TOKEN_MAX + 1);

    memset(text, 'x', SEARCH_TOKEN_MAX - 1);
    (void)memcpy(text + SEARCH_TOKEN_MAX - 1, "\xc3\xbcx y", 6);
    const char *found = tokens_of(text);
    cr_assert_eq(strcspn(found, " "), SEARCH_TOKEN_MAX - 1);
    cr_assert_str_eq(found + SEARCH_TOKEN_MAX - 1, " y");
}

Test(search_token, a_text_without_end_has_a_beginning)
{
    static char text[3 * SEARCH_TOKENS_MAX];
    char room[16];
    struct buf b = BUF_FIXED(room), all;

    for (size_t i = 0; i + 1 < sizeof(text); i++)
        text[i] = i % 2 ? ' ' : 'a';
    buf_init(&all, sizeof(text));
    cr_assert_eq(search_tokens(&all, text), SEARCH_TOKENS_MAX);
    buf_done(&all);

    (void)search_tokens(&b, "one two three four");
    cr_assert(b.failed);
    cr_assert_eq(b.len, strlen("one two three"));
}

Test(search_token, texts_stand_apart)
{
    char room[64];
    struct buf b = BUF_FIXED(room);

    search_gap(&b);
    (void)search_tokens(&b, "evil c2");
    search_gap(&b);
    search_gap(&b);
    (void)search_tokens(&b, "com");
    cr_assert_str_eq(buf_text(&b), "evil c2 _ _ com");
}

Test(search_token, a_word_that_ends_in_a_sign_is_whole)
{
    cr_assert(search_is_prefix("scan"));
    cr_assert(search_is_prefix("scan*"));
    cr_assert(search_is_prefix("m\xc3\xbc"));
    cr_assert(search_is_prefix("10.0"));
    cr_assert(!search_is_prefix("10.0."));
    cr_assert(!search_is_prefix("scan-"));
    cr_assert(!search_is_prefix("a\xe2\x80\x93"));
    cr_assert(!search_is_prefix(""));
}
