#include "sensor/sink_answer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

static bool get_count(const json_t *root, const char *name, size_t max, size_t *ret_n)
{
    const json_t *v = json_object_get(root, name);

    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (unsigned long long)json_integer_value(v) > max)
        return false;
    *ret_n = (size_t)json_integer_value(v);
    return true;
}

static void read_taken(const json_t *root, size_t sent, struct sink_answer *a)
{
    const json_t *rejected = json_object_get(root, "rejected");
    size_t accepted, updated, unchanged;

    if (!json_is_array(rejected) || json_array_size(rejected) > sent ||
        !get_count(root, "accepted", sent, &accepted) ||
        !get_count(root, "updated", sent, &updated) ||
        !get_count(root, "unchanged", sent, &unchanged)) {
        a->verdict = SINK_STRANGE;
        (void)snprintf(a->text, sizeof(a->text), "answered 200, but not as a collector does");
        return;
    }
    a->rejected = json_array_size(rejected);
    if (accepted + updated + unchanged + a->rejected != sent) {
        a->verdict = SINK_SPLIT;
        (void)snprintf(a->text, sizeof(a->text), "counted %zu alerts where %zu were sent",
                       accepted + updated + unchanged + a->rejected, sent);
        a->rejected = 0;
        return;
    }
    a->verdict = SINK_TAKEN;
    if (a->rejected > 0) {
        const json_t *first = json_array_get(rejected, 0);
        const char *detail = json_string_value(json_object_get(first, "detail"));

        (void)snprintf(a->text, sizeof(a->text), "%s", detail != NULL ? detail : "no reason given");
    }
}

static enum sink_verdict verdict_of(long status)
{
    switch (status) {
    case 401:
    case 403:
        return SINK_REFUSED;
    case 400:
    case 413:
    case 422:
        return SINK_SPLIT;
    case 408:
    case 425:
    case 429:
        return SINK_LATER;
    default:
        return status >= 500 ? SINK_LATER : SINK_STRANGE;
    }
}

void sink_answer_parse(long status, const char *body, size_t len, size_t sent,
                       struct sink_answer *ret_answer)
{
    json_t *root = json_loadb(body, len, 0, NULL);

    *ret_answer = (struct sink_answer){.verdict = verdict_of(status)};
    if (status == 200) {
        read_taken(root, sent, ret_answer);
    } else {
        const char *detail = json_string_value(json_object_get(root, "detail"));

        (void)snprintf(ret_answer->text, sizeof(ret_answer->text), "answered %ld%s%s", status,
                       detail != NULL ? ": " : "", detail != NULL ? detail : "");
    }
    json_decref(root);
}
