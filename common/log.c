#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/jsonw.h"
#include "common/time.h"

static struct {
    enum log_format format;
    enum log_level level;
    const char *program;
} log_state = {LOG_AUTO, LOG_LEVEL_INFO, "wind"};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_init(enum log_format format, enum log_level level)
{
    /* Decided once: asking the terminal is a system call that a sandbox may forbid later. */
    log_state.format = format != LOG_AUTO ? format : isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
    log_state.level = level;
}

void log_set_program(const char *name)
{
    log_state.program = name;
}

static void put_json(struct buf *line, enum log_level level, const char *message)
{
    struct jsonw j;

    jsonw_begin(&j, line);
    jsonw_object(&j, NULL);
    jsonw_time_rfc3339(&j, "time", time_wall_ns());
    jsonw_str(&j, "level", level_names[level]);
    jsonw_str(&j, "program", log_state.program);
    jsonw_u64(&j, "pid", (uint64_t)getpid());
    jsonw_str(&j, "message", message);
    jsonw_end(&j);
}

static void put_text(struct buf *line, enum log_level level, const char *message)
{
    buf_puts(line, log_state.program);
    buf_puts(line, ": ");
    if (level != LOG_LEVEL_INFO) {
        buf_puts(line, level_names[level]);
        buf_puts(line, ": ");
    }
    for (; *message != '\0'; message++) {
        if ((unsigned char)*message < 0x20 || *message == 0x7f)
            buf_putc(line, ' ');
        else
            buf_putc(line, *message);
    }
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char message[LOG_MESSAGE_MAX];
    char memory[LOG_MESSAGE_MAX * 6 + 256]; /* every character may need an escape */
    struct buf line = BUF_FIXED(memory);
    va_list ap;

    if (level > log_state.level)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (log_state.format == LOG_JSON || (log_state.format == LOG_AUTO && !isatty(STDERR_FILENO)))
        put_json(&line, level, message);
    else
        put_text(&line, level, message);
    buf_putc(&line, '\n');
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return; /* nowhere left to say so */
}
