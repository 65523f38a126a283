/* wind-collector: receives alerts, joins them into incidents, serves API and page. */
#include <stdio.h>
#include <stdlib.h>

#include "collector/api_key.h"
#include "collector/collector.h"
#include "collector/collector_conf.h"
#include "collector/db.h"
#include "common/crypto.h"
#include "common/log.h"

static int create_key(const struct collector_conf *conf, const struct collector_args *args,
                      struct err *e)
{
    WIND_AUTO(db) struct db *db = NULL;
    struct db_conf db_conf = collector_db_conf(conf);
    const struct api_key_draft draft = {
        .name = args->create_key, .scopes = args->scopes, .sensor = args->sensor};
    char text[API_KEY_TEXT];
    int64_t id;

    db_conf.readers = 1;
    int r = db_open(&db, &db_conf, e);
    if (r == 0)
        r = api_key_create(db, &draft, text, &id, e);
    if (r == API_KEY_TOO_MANY)
        return err_set(e, -1, "there are %d keys, which is the limit", API_KEYS_MAX);
    if (r == 0 && (puts(text) < 0 || fflush(stdout) != 0))
        r = err_set(e, -1, "cannot write the key; it was made, revoke key %lld", (long long)id);
    crypto_wipe(text, sizeof(text));
    return r;
}

int main(int argc, char **argv)
{
    static struct collector_conf conf; /* static: zeroed, and large */
    struct collector_args args;
    struct err e = {0};
    WIND_AUTO(collector) struct collector *c = NULL;

    log_set_program("wind-collector");
    int r = collector_conf_from_args(argc, argv, &conf, &args, &e);
    if (r == CLI_DONE)
        return EXIT_SUCCESS;
    if (r < 0) {
        log_error("%s", e.text);
        return r == CLI_USAGE ? CLI_EXIT_USAGE : CLI_EXIT_CONFIGURATION;
    }
    if (args.create_key != NULL) {
        r = create_key(&conf, &args, &e);
    } else {
        r = collector_new(&c, &conf, &e);
        if (r == 0)
            r = collector_run(c, &e);
    }
    if (r < 0)
        log_error("%s", e.text);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
