#include "collector/static_files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/wind-static-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

static void init(void)
{
    char path[200];

    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/assets", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    put("index.html", "<page>");
    put("assets/a.js", "code");
    (void)snprintf(path, sizeof(path), "%s/secret.txt", dir);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
}

static void fini(void)
{
    char command[100];
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(static_files, .init = init, .fini = fini);

Test(static_files, paths_find_files_and_the_pages_own_routes_find_the_page)
{
    struct static_files *f = NULL;
    struct err e = {0};

    cr_assert_eq(static_files_new(&f, dir, &e), 0, "%s", e.text);
    const struct static_file *page = static_files_find(f, "/");
    cr_assert_not_null(page);
    cr_assert(page->n == 6 && memcmp(page->bytes, "<page>", 6) == 0);
    cr_assert_not(page->is_immutable);
    cr_assert_eq(static_files_find(f, "/alerts"), page);
    cr_assert_null(static_files_find(f, "/alerts/7"));
    cr_assert_eq(static_files_find(f, "/index.html"), page);
    const struct static_file *code = static_files_find(f, "/assets/a.js");
    cr_assert_str_eq(code->type, "text/javascript; charset=utf-8");
    cr_assert(code->is_immutable);
    cr_assert_str_neq(code->etag, page->etag);
    static_files_free(f);
}

Test(static_files, nothing_outside_the_folder_can_be_named)
{
    static const char *const bad[] = {"/../etc/passwd.txt",
                                      "/assets/../../x.js",
                                      "/secret.txt",
                                      "//etc/x.conf",
                                      "/assets/a.js/..",
                                      "x.js",
                                      "/.",
                                      "/assets//a.js"};
    struct static_files *f = NULL;
    struct err e = {0};

    cr_assert_eq(static_files_new(&f, dir, &e), 0);
    for (size_t i = 0; i < WIND_ARRAY_SIZE(bad); i++)
        cr_assert_null(static_files_find(f, bad[i]), "%s", bad[i]);
    static_files_free(f);
}

Test(static_files, without_a_folder_there_is_no_page)
{
    struct static_files *f = NULL;
    struct err e = {0};

    cr_assert_eq(static_files_new(&f, "/nonexistent/wind", &e), 0);
    cr_assert_null(static_files_find(f, "/"));
    static_files_free(f);
}
