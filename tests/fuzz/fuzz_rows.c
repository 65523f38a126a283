/* A file of feature rows that anyone may have written: values finite, never a read outside. */
#include <math.h>
#include <stdio.h>

#include "features/rows.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rows rows;
    struct row row;
    struct err e = {0};

    if (size == 0)
        return 0;
    FILE *f = fmemopen((void *)(uintptr_t)data, size, "r");
    FUZZ_CHECK(f != NULL);
    int r = rows_begin(&rows, f, "fuzz", &e);
    while (r == 0) {
        r = rows_next(&rows, &row, &e);
        for (size_t i = 0; r == 0 && i < FEATURE_COUNT; i++)
            FUZZ_CHECK(isfinite(row.value[i]) && row.value[i] >= 0);
    }
    FUZZ_CHECK((r < 0) == (e.text[0] != '\0'));
    (void)fclose(f);
    return 0;
}
