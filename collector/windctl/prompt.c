#include "collector/windctl/prompt.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/file.h"

#define CTRL_C    0x03
#define CTRL_D    0x04
#define CTRL_U    0x15
#define BACKSPACE 0x08
#define DELETE    0x7f

static bool is_end(char c)
{
    return c == '\n' || c == '\r' || c == CTRL_C || c == CTRL_D;
}

/*
 * Keys one by one: no signal is raised while the echo is off, so nothing can leave it off.
 * A pipe ends at its line or its end. -EINTR: given up.
 */
static int read_line(int fd, char ret_line[PROMPT_MAX + 1], struct err *e)
{
    size_t n = 0;
    char c = CTRL_D;
    ssize_t got;

    while ((got = read(fd, &c, 1)) != 0) {
        if (got < 0 && errno != EINTR)
            return err_set(e, -errno, "the password could not be read: %s", strerror(errno));
        if (got < 0)
            continue;
        if (is_end(c))
            break;
        if (c == CTRL_U)
            n = 0;
        else if (c == BACKSPACE || c == DELETE)
            n -= n > 0;
        else if (n == PROMPT_MAX)
            return err_set(e, -EFBIG, "a password has at most %d characters", PROMPT_MAX);
        else
            ret_line[n++] = c;
    }
    ret_line[n] = '\0';
    if (c == CTRL_C)
        return err_set(e, -EINTR, "given up");
    return n > 0 ? 0 : err_set(e, -EINVAL, "there is no password on standard input");
}

static int ask(const char *question, char ret_line[PROMPT_MAX + 1], struct err *e)
{
    struct termios before, quiet;

    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return err_set(e, -errno, "the terminal's echo cannot be switched off: %s",
                       strerror(errno));
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    (void)fputs(question, stderr);
    (void)fflush(stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0)
        return err_set(e, -errno, "the terminal's echo cannot be switched off: %s",
                       strerror(errno));
    const int r = read_line(STDIN_FILENO, ret_line, e);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    (void)fputs("\n", stderr);
    return r;
}

int prompt_password(const char *path, const char *question, char ret_password[PROMPT_MAX + 1],
                    struct err *e)
{
    int r;

    if (path != NULL)
        r = file_read_secret(path, ret_password, PROMPT_MAX + 1, e);
    else if (isatty(STDIN_FILENO) == 1)
        r = ask(question, ret_password, e);
    else
        r = read_line(STDIN_FILENO, ret_password, e);
    if (r < 0)
        crypto_wipe(ret_password, PROMPT_MAX + 1);
    return r < 0 ? r : 0;
}
