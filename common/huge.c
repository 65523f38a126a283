#include "common/huge.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAGE ((uintptr_t)4096)

void huge_advise(void *block, size_t bytes)
{
    const uintptr_t from = ((uintptr_t)block + PAGE - 1) & ~(PAGE - 1);
    const uintptr_t to = ((uintptr_t)block + bytes) & ~(PAGE - 1);

    if (block != NULL && bytes >= HUGE_WORTH_BYTES)
        (void)madvise((char *)block + (from - (uintptr_t)block), to - from, MADV_HUGEPAGE);
}
