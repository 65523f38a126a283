/* "METHOD path": no crash, parameters are what they must be, the final slash changes nothing. */
#include <string.h>

#include "collector/route.h"
#include "collector/routes.h"
#include "support/fuzz.h"

static void check_slash(const char *method, char *path, const struct route_match *m, int r)
{
    struct route_match other;
    const size_t n = strlen(path);

    if (n == 0 || path[n - 1] == '/')
        return;
    path[n] = '/'; /* there is room for one more and its NUL */
    path[n + 1] = '\0';
    FUZZ_CHECK(route_find(all_routes, method, path, &other) == r);
    FUZZ_CHECK(other.route == m->route && other.n_params == m->n_params);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct route_match m;
    char *text = calloc(1, size + 2);

    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    char *path = strchr(text, ' ');
    if (path != NULL) {
        *path++ = '\0';
        const int r = route_find(all_routes, text, path, &m);
        FUZZ_CHECK(m.n_params <= HTTP_PARAMS_MAX);
        FUZZ_CHECK((r == 0 || r == ROUTE_BAD_PARAM) == (m.route != NULL));
        FUZZ_CHECK((r == ROUTE_NO_METHOD) == (m.route == NULL && m.allow[0] != '\0'));
        for (size_t i = 0; r == 0 && i < m.n_params; i++)
            FUZZ_CHECK(m.params[i].id > 0 || m.params[i].text[0] != '\0');
        check_slash(text, path, &m, r);
    }
    free(text);
    return 0;
}
