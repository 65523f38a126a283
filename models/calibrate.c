#include "models/calibrate.h"

#include <errno.h>

#include "features/fmath.h"

#define LOG2_10 3.3219280948873626
#define DECADES 6 /* of rarity that a score of 0..1 spans */

int calibration_check(const struct calibration *c, struct err *e)
{
    if (c->n < 1 || c->n > CALIBRATION_MAX)
        return err_set(e, -EINVAL, "calibration: %zu scores, expected 1..%d", c->n,
                       CALIBRATION_MAX);
    for (size_t i = 0; i < c->n; i++)
        if (!(c->raw[i] >= 0 && c->raw[i] <= 1) || (i > 0 && c->raw[i] < c->raw[i - 1]))
            return err_set(e, -EINVAL, "calibration: score %zu is not ascending from 0 to 1", i);
    return 0;
}

/* How many are below `raw`. Halved without a branch: each would be guessed wrong half the time. */
static size_t count_below(const struct calibration *c, float raw)
{
    const float *from = c->raw;
    size_t n = c->n;

    while (n > 1) {
        const size_t half = n / 2;

        from += from[half - 1] < raw ? half : 0;
        n -= half;
    }
    return (size_t)(from - c->raw) + (*from < raw);
}

static double of_rarity(double p)
{
    const double score = -fmath_log2(p) / LOG2_10 / DECADES;

    return score < 1 ? score : 1;
}

/*
 * The p-value is a staircase. The score follows it, but between two calibration scores it rises
 * linearly in p, and beyond the last one linearly in `raw` up to 1.
 */
struct model_score calibration_score(const struct calibration *c, float raw)
{
    const size_t below = count_below(c, raw), k = c->n - below;
    const double all = (double)c->n + 1;
    struct model_score s = {.raw = raw, .p_value = (float)((double)(k + 1) / all)};

    if (k == 0) {
        const double most = (double)c->raw[c->n - 1], start = of_rarity(1 / all);
        s.score = (float)(most < 1 ? start + (1 - start) * ((double)raw - most) / (1 - most) : 1);
        return s;
    }
    const double low = below > 0 ? (double)c->raw[below - 1] : 0, high = (double)c->raw[below];
    const double share = high > low ? ((double)raw - low) / (high - low) : 0;
    s.score = (float)of_rarity(((double)(k + 1) - share) / all);
    return s;
}
