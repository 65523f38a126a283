#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>

#include "models/calibrate.h"

Test(calibrate, scores_never_fall_as_the_raw_score_rises)
{
    static float raw[1000];
    const struct calibration c = {raw, 1000};
    struct err e = {0};

    for (int i = 0; i < 1000; i++) /* with ties */
        raw[i] = 0.3f + 0.0004f * (float)(i - i % 7);
    cr_assert_eq(calibration_check(&c, &e), 0, "%s", e.text);
    struct model_score last = calibration_score(&c, 0);
    for (int i = 1; i <= 100000; i++) {
        const struct model_score s = calibration_score(&c, (float)i / 100000);
        cr_assert(s.score >= last.score && s.p_value <= last.p_value, "at %d", i);
        cr_assert(s.score >= 0 && s.score <= 1 && s.p_value > 0 && s.p_value <= 1);
        last = s;
    }
    cr_assert_float_eq(last.score, 1, 1e-6);
    cr_assert_float_eq(calibration_score(&c, 0.0f).score, 0, 1e-3);
}

Test(calibrate, one_in_a_thousand_is_half)
{
    static float raw[999];
    const struct calibration c = {raw, 999};

    for (int i = 0; i < 999; i++)
        raw[i] = (float)i / 1000;
    const struct model_score s = calibration_score(&c, raw[998]);
    cr_assert_float_eq(s.p_value, 0.002, 1e-6,
                       "one of 999 is as unusual, and one more for caution");
    cr_assert_float_eq(s.score, 0.5, 1e-6);
}

Test(calibrate, all_the_same_and_all_one_are_fine)
{
    static const float same[3] = {0.5f, 0.5f, 0.5f}, ones[2] = {1, 1};

    cr_assert_float_eq(calibration_score(&(struct calibration){same, 3}, 0.5f).p_value, 1, 1e-6);
    cr_assert_float_eq(calibration_score(&(struct calibration){same, 3}, 0.6f).p_value, 0.25, 1e-6);
    cr_assert(isfinite(calibration_score(&(struct calibration){ones, 2}, 1).score));
}

Test(calibrate, nothing_to_compare_with_is_refused)
{
    struct err e = {0};

    cr_assert_eq(calibration_check(&(struct calibration){NULL, 0}, &e), -EINVAL);
    cr_assert_eq(calibration_check(&(struct calibration){NULL, CALIBRATION_MAX + 1}, &e), -EINVAL);
}
