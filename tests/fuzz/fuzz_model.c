/*
 * A model file that somebody made: refused with a sentence, or it scores and explains without
 * reading outside. Length and digest are made right first, or the fuzzer would only ever see those.
 */
#include <math.h>
#include <string.h>

#include "common/crypto.h"
#include "features/feature.h"
#include "models/model.h"
#include "support/fuzz.h"

#define REASONS 8

static void use(const struct model *m)
{
    float value[FEATURE_COUNT];
    struct model_reason reason[REASONS];
    struct model_score score;
    float sum = 0;

    for (int f = 0; f < FEATURE_COUNT; f++)
        value[f] = (float)(1 << f % 30);
    const struct model_row row = {value, UINT64_C(0x5a5a)};
    model_score(m, &row, 1, &score);
    FUZZ_CHECK(score.raw >= 0 && score.raw <= 1);
    FUZZ_CHECK(score.score >= 0 && score.score <= 1);
    FUZZ_CHECK(score.p_value > 0 && score.p_value <= 1);
    const size_t n = model_explain(m, &row, reason, REASONS);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(reason[i].contribution > 0);
        sum += reason[i].contribution;
    }
    FUZZ_CHECK(sum <= 1.001f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model *m = NULL;
    struct err e = {0};

    uint8_t *copy = malloc(size + 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    if (size > 24 + 32) {
        const uint64_t len = size;
        memcpy(copy + 16, &len, sizeof(len));
        crypto_sha256(copy, size - 32, copy + size - 32);
    }
    const int r = model_load_bytes(&m, copy, size, &e);
    FUZZ_CHECK((r == 0) == (m != NULL) && (r < 0) == (e.text[0] != '\0'));
    if (m != NULL)
        use(m);
    m = model_free(m);
    free(copy);
    return 0;
}
