#include <criterion/criterion.h>
#include <string.h>

#include "models/evaluate.h"

static void expect(const struct metric *m, double auc, double ap, double at_1pct)
{
    cr_expect_float_eq(m->auc, auc, 1e-9, "AUC %g, by hand %g", m->auc, auc);
    cr_expect_float_eq(m->average_precision, ap, 1e-9, "AP %g, by hand %g", m->average_precision,
                       ap);
    cr_expect_float_eq(m->recall_1pct, at_1pct, 1e-9);
}

Test(evaluate, metrics_are_what_the_hand_computes)
{
    /* the ranking A B A B: pairs won 2 + 1 of 4; precision 1 at recall 1/2, 2/3 at 1 */
    struct scored items[] = {{0.1f, 0}, {0.9f, 1}, {0.5f, 1}, {0.7f, 0}};
    struct metric m = metric_of(items, 4);

    expect(&m, 0.75, 0.5 + 0.5 * 2 / 3, 0.5);
}

Test(evaluate, ties_count_half)
{
    struct scored all_same[] = {{1, 0}, {1, 1}, {1, 0}, {1, 0}};
    struct metric m = metric_of(all_same, 4);

    expect(&m, 0.5, 0.25, 0);
}

Test(evaluate, a_perfect_and_a_perverse_ranking)
{
    struct scored perfect[] = {{3, 1}, {2, 1}, {1, 0}}, perverse[] = {{3, 0}, {1, 1}};
    struct metric m = metric_of(perfect, 3);

    expect(&m, 1, 1, 1);
    m = metric_of(perverse, 2);
    expect(&m, 0, 0.5, 0);
}

Test(evaluate, recall_is_read_where_the_false_alarms_still_fit)
{
    static struct scored items[1100];

    for (int i = 0; i < 1000; i++) /* benign 0..999 */
        items[i] = (struct scored){(float)i, 0};
    for (int i = 0; i < 100; i++) /* attacks: 30 above all, 50 above all but ten, 20 below */
        items[1000 + i] = (struct scored){i < 30 ? 2000.0f : i < 80 ? 989.5f : -1.0f, 1};
    const struct metric m = metric_of(items, 1100);
    cr_assert_float_eq(m.recall_1pct, 0.8, 1e-9);
    cr_assert_float_eq(m.recall_01pct, 0.3, 1e-9);
}

Test(evaluate, one_class_alone_has_no_metric)
{
    struct scored benign[] = {{1, 0}, {2, 0}}, attacks[] = {{1, 1}};
    struct metric m = metric_of(benign, 2);

    expect(&m, 0, 0, 0);
    m = metric_of(attacks, 1);
    expect(&m, 0, 0, 0);
    m = metric_of(NULL, 0);
    expect(&m, 0, 0, 0);
}
