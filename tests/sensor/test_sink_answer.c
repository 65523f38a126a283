#include <criterion/criterion.h>
#include <string.h>

#include "sensor/sink_answer.h"

static struct sink_answer answer(long status, const char *body, size_t sent)
{
    struct sink_answer a;

    sink_answer_parse(status, body, strlen(body), sent, &a);
    return a;
}

Test(sink_answer, numbers_that_add_up_confirm_the_batch)
{
    const struct sink_answer a =
        answer(200,
               "{\"accepted\":2,\"updated\":1,\"unchanged\":3,\"rejected\":"
               "[{\"index\":4,\"uid\":\"x\",\"detail\":\"no severity\"}]}",
               7);

    cr_assert_eq(a.verdict, SINK_TAKEN);
    cr_assert_eq(a.rejected, 1);
    cr_assert_str_eq(a.text, "no severity");
}

Test(sink_answer, numbers_that_do_not_add_up_confirm_nothing)
{
    const char *body = "{\"accepted\":2,\"updated\":0,\"unchanged\":0,\"rejected\":[]}";

    cr_assert_eq(answer(200, body, 2).verdict, SINK_TAKEN);
    cr_assert_eq(answer(200, body, 3).verdict, SINK_SPLIT);
    cr_assert_eq(answer(200, body, 1).verdict, SINK_STRANGE);
}

Test(sink_answer, a_200_from_somebody_else_confirms_nothing)
{
    cr_assert_eq(answer(200, "", 0).verdict, SINK_STRANGE);
    cr_assert_eq(answer(200, "<html>log in to the wifi</html>", 1).verdict, SINK_STRANGE);
    cr_assert_eq(answer(200, "{\"accepted\":1}", 1).verdict, SINK_STRANGE);
    cr_assert_eq(
        answer(200, "{\"accepted\":-1,\"updated\":2,\"unchanged\":0,\"rejected\":[]}", 1).verdict,
        SINK_STRANGE);
    cr_assert_eq(
        answer(200, "{\"accepted\":1.0,\"updated\":0,\"unchanged\":0,\"rejected\":[]}", 1).verdict,
        SINK_STRANGE);
}

Test(sink_answer, other_statuses_say_whether_waiting_helps)
{
    cr_assert_eq(answer(401, "{\"detail\":\"unknown key\"}", 1).verdict, SINK_REFUSED);
    cr_assert_str_eq(answer(401, "{\"detail\":\"unknown key\"}", 1).text,
                     "answered 401: unknown key");
    cr_assert_eq(answer(403, "", 1).verdict, SINK_REFUSED);
    cr_assert_eq(answer(413, "", 1).verdict, SINK_SPLIT);
    cr_assert_eq(answer(422, "", 1).verdict, SINK_SPLIT);
    cr_assert_eq(answer(429, "", 1).verdict, SINK_LATER);
    cr_assert_eq(answer(503, "", 1).verdict, SINK_LATER);
    cr_assert_eq(answer(302, "", 1).verdict, SINK_STRANGE);
    cr_assert_eq(answer(404, "", 1).verdict, SINK_STRANGE);
}
