#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

Test(err, wrap_puts_context_in_front)
{
    struct err e = {0};

    cr_assert_eq(err_set(&e, -ENOENT, "open '%s': no such file", "a.bin"), -ENOENT);
    cr_assert_eq(err_wrap(&e, -ENOENT, "model"), -ENOENT);
    cr_assert_str_eq(e.text, "model: open 'a.bin': no such file");
    cr_assert_eq(err_set(NULL, -ENOMEM, "nobody listens"), -ENOMEM);
}

Test(err, long_text_is_cut_not_overrun)
{
    struct err e = {0};

    (void)err_set(&e, -1, "%0500d", 7);
    cr_assert_eq(strlen(e.text), sizeof(e.text) - 1);
    (void)err_wrap(&e, -1, "%0500d", 7);
    cr_assert_eq(strlen(e.text), sizeof(e.text) - 1);
}
