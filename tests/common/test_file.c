#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

static char dir[] = "/tmp/wind-test-file-XXXXXX";
static char path[64];

static void begin(void)
{
    cr_assert(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/a", dir);
}

static void end(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(dir), 0, "a temporary file was left behind");
}

TestSuite(file, .init = begin, .fini = end);

Test(file, what_is_replaced_reads_back_with_its_mode)
{
    struct buf b;
    struct stat st;

    buf_init(&b, 8);
    cr_assert_eq(file_replace(path, "old", 3, 0644, NULL), 0);
    cr_assert_eq(file_replace(path, "new text", 8, 0600, NULL), 0);
    cr_assert_eq(file_read(path, &b, NULL), 0);
    cr_assert_str_eq(buf_text(&b), ""); /* no room for a NUL beyond the limit */
    cr_assert_eq(b.len, 8);
    cr_assert_arr_eq(b.data, "new text", 8);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    buf_done(&b);
}

Test(file, more_than_the_limit_is_refused)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, 7);
    cr_assert_eq(file_replace(path, "new text", 8, 0600, NULL), 0);
    cr_assert_eq(file_read(path, &b, &e), -EFBIG);
    buf_done(&b);
    cr_assert_eq(file_read("/proc/none/x", &b, &e), -ENOENT);
    cr_assert_str_eq(e.text, "/proc/none/x: No such file or directory");
    cr_assert_eq(file_replace("/proc/none/x", "", 0, 0600, &e), -ENOENT);
    cr_assert_eq(file_read(dir, &b, &e), -EISDIR);
    buf_done(&b);
}

Test(file, a_secret_is_one_line_and_exposure_is_an_outcome)
{
    char secret[9] = "unset";
    struct err e = {0};

    cr_assert_eq(file_replace(path, "hunter22\n", 9, 0640, NULL), 0);
    cr_assert_eq(file_read_secret(path, secret, sizeof(secret), &e), 0);
    cr_assert_str_eq(secret, "hunter22");
    cr_assert_eq(file_replace(path, "x\r\n", 3, 0644, NULL), 0);
    cr_assert_eq(file_read_secret(path, secret, sizeof(secret), &e), FILE_EXPOSED);
    cr_assert_str_eq(secret, "x");
    cr_assert_eq(file_replace(path, "hunter222", 9, 0600, NULL), 0);
    cr_assert_eq(file_read_secret(path, secret, sizeof(secret), &e), -EFBIG);
    cr_assert_eq(file_replace(path, "a\nb\n", 4, 0600, NULL), 0);
    cr_assert_eq(file_read_secret(path, secret, sizeof(secret), &e), -EINVAL);
    cr_assert_eq(file_replace(path, "\n", 1, 0600, NULL), 0);
    cr_assert_eq(file_read_secret(path, secret, sizeof(secret), &e), -EINVAL);
    cr_assert_str_eq(secret, "x", "a failure leaves it alone");
}
