/* What anybody may answer to a batch: status (2 bytes), alerts sent (1 byte), body. */
#include <string.h>

#include "sensor/sink_answer.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sink_answer a;

    if (size < 3)
        return 0;
    const long status = data[0] | data[1] << 8;
    sink_answer_parse(status, (const char *)data + 3, size - 3, data[2], &a);
    FUZZ_CHECK(memchr(a.text, '\0', sizeof(a.text)) != NULL);
    FUZZ_CHECK(a.verdict != SINK_TAKEN || status == 200);
    FUZZ_CHECK(a.rejected <= data[2]);
    FUZZ_CHECK(a.verdict == SINK_TAKEN || a.rejected == 0);
    return 0;
}
