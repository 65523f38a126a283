/* A flow from the bus: what comes out is one valid JSON object, or nothing. */
#include "collector/flow_doc.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flow_doc *doc;
    struct jsonw j;
    struct buf b;
    struct err e = {0};

    if (doc == NULL)
        FUZZ_CHECK(flow_doc_new(&doc, &e) == 0);
    buf_init(&b, 8 * size + 4096);
    jsonw_begin(&j, &b);
    const int r = flow_doc_put(doc, &j, (const char *)data, size, "edge", &e);
    if (r == 0) {
        json_t *v = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
        FUZZ_CHECK(!b.failed && json_is_object(v));
        const json_t *original = json_object_get(json_object_get(v, "event"), "original");
        FUZZ_CHECK(json_string_length(original) == size);
        json_decref(v);
    } else {
        FUZZ_CHECK(b.len == 0 && e.text[0] != '\0');
    }
    buf_done(&b);
    return 0;
}
