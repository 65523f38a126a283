#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

/* What log_write puts on stderr, which is a pipe here: no terminal. */
static void capture(char *text, size_t size, enum log_level level, const char *message)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    const int saved = dup(STDERR_FILENO);
    cr_assert_geq(dup2(ends[1], STDERR_FILENO), 0);
    log_write(level, "%s", message);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)close(ends[1]);
    const ssize_t n = read(ends[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
}

Test(log, a_line_is_json_when_stderr_is_no_terminal)
{
    char text[8192];

    log_init(LOG_AUTO, LOG_LEVEL_INFO);
    log_set_program("wind-sensor");
    capture(text, sizeof(text), LOG_LEVEL_WARN, "a \"quoted\"\nline\xff");
    cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "one line");
    json_t *line = json_loads(text, 0, NULL);
    cr_assert(line != NULL, "%s", text);
    cr_assert_str_eq(json_string_value(json_object_get(line, "level")), "warning");
    cr_assert_str_eq(json_string_value(json_object_get(line, "program")), "wind-sensor");
    cr_assert_str_eq(json_string_value(json_object_get(line, "message")),
                     "a \"quoted\"\nline\xef\xbf\xbd");
    json_decref(line);
}

Test(log, text_stays_on_one_line)
{
    char text[8192];

    log_init(LOG_TEXT, LOG_LEVEL_INFO);
    capture(text, sizeof(text), LOG_LEVEL_ERROR, "a\n\x1b[31mb");
    cr_assert_str_eq(text, "wind: error: a  [31mb\n");
    capture(text, sizeof(text), LOG_LEVEL_INFO, "hello");
    cr_assert_str_eq(text, "wind: hello\n");
}

Test(log, what_is_below_the_level_is_not_written)
{
    char text[64];

    log_init(LOG_TEXT, LOG_LEVEL_WARN);
    capture(text, sizeof(text), LOG_LEVEL_INFO, "hello");
    cr_assert_str_eq(text, "");
}

Test(log, a_message_full_of_escapes_fits_its_line)
{
    static char message[3000], text[8192];

    memset(message, 1, sizeof(message) - 1);
    log_init(LOG_JSON, LOG_LEVEL_INFO);
    capture(text, sizeof(text), LOG_LEVEL_INFO, message);
    json_t *line = json_loads(text, 0, NULL);
    cr_assert(line != NULL);
    cr_assert_eq(json_string_length(json_object_get(line, "message")), LOG_MESSAGE_MAX - 1);
    json_decref(line);
}
