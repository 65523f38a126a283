#include <criterion/criterion.h>
#include <string.h>

#include "common/buf.h"

Test(buf, pieces_come_out_in_order)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i % 10);
    buf_putc(&b, 'x');
    buf_puts(&b, "yz");
    buf_put(&b, NULL, 0);
    cr_assert_not(b.failed);
    cr_assert_eq(b.len, 2003);
    cr_assert_str_eq(buf_text(&b) + 1996, "8,9,xyz");
    buf_done(&b);
    buf_done(&b);
    cr_assert_eq(b.len, 0);
}

Test(buf, what_does_not_fit_is_not_appended_and_stays_failed)
{
    struct buf b;

    buf_init(&b, 10);
    buf_puts(&b, "12345678");
    cr_assert_not(b.failed);
    buf_puts(&b, "abc");
    cr_assert(b.failed);
    buf_putc(&b, 'd');
    buf_printf(&b, "%d", 1);
    cr_assert_eq(b.len, 8);
    cr_assert_str_eq(buf_text(&b), "12345678");
    cr_assert(b.failed, "reading must not clear it");
    buf_truncate(&b, 4);
    cr_assert_not(b.failed);
    buf_puts(&b, "567890");
    cr_assert_not(b.failed, "exactly the limit fits");
    cr_assert_eq(b.len, 10);
    buf_done(&b);
}

Test(buf, memory_of_the_caller_never_grows)
{
    char memory[8];
    struct buf b = BUF_FIXED(memory);

    buf_puts(&b, "12345678");
    cr_assert_not(b.failed);
    cr_assert(b.data == memory);
    buf_putc(&b, '9');
    cr_assert(b.failed);
    buf_reset(&b);
    cr_assert_not(b.failed);
    cr_assert_eq(b.len, 0);
}
