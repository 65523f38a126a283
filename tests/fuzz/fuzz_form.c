/* Any bytes as a form: no crash; what is accepted is a bounded object of texts. */
#include <string.h>

#include "collector/form.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *o = NULL, *v;
    const char *key;
    struct err e = {0};
    const int r = form_parse((const char *)data, size, &o, &e);

    FUZZ_CHECK(r <= 0 && (r == 0) == (o != NULL) && (r == 0) == (e.text[0] == '\0'));
    FUZZ_CHECK(json_object_size(o) <= FORM_FIELDS_MAX);
    json_object_foreach(o, key, v)
        FUZZ_CHECK(json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v));
    json_decref(o);
    return 0;
}
