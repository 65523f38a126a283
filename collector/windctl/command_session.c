/* windctl login, logout, whoami. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/windctl/command.h"
#include "collector/windctl/prompt.h"
#include "common/buf.h"
#include "common/crypto.h"

int command_login(struct ctl *c, struct err *e)
{
    const char *name = c->options.username != NULL ? c->options.username : "admin";
    char password[PROMPT_MAX + 1], question[400];

    if (client_has_key(c->client))
        return err_set(e, CLI_USAGE, "a key needs no login: give --key-file to each command");
    if (strlen(name) > 256)
        return err_set(e, CLI_USAGE, "--username: a name has at most 256 characters");
    (void)snprintf(question, sizeof(question), "Password of %s: ", name);
    int r = prompt_password(c->options.password_file, question, password, e);
    if (r < 0)
        return r;
    const int lock = profile_lock(&c->profile, e);
    r = lock < 0 ? lock : client_login(c->client, name, password, e);
    crypto_wipe(password, sizeof(password));
    if (r == 0)
        r = profile_save(&c->profile, e);
    if (lock >= 0)
        (void)close(lock);
    if (r == 0)
        (void)fprintf(stderr, "logged in at %s as %s\n", c->profile.url, name);
    return r;
}

int command_logout(struct ctl *c, struct err *e)
{
    struct err why = {0};

    if (c->profile.access[0] == '\0') {
        (void)fputs("not logged in\n", stderr);
        return 0;
    }
    const int told = client_post(c->client, "/api/auth/logout", &why);
    profile_wipe(&c->profile);
    const int r = profile_save(&c->profile, e);
    if (r < 0)
        return r;
    if (told < 0)
        (void)fprintf(stderr, "logged out here; the collector was not told: %s\n", why.text);
    else
        (void)fputs("logged out\n", stderr);
    return 0;
}

/* clang-format off */
static const struct column me_columns[] = {
    {"collector",   "url",         CELL_TEXT,   IN_SHOW | IN_CSV, NULL},
    {"user",        "username",    CELL_TEXT,   IN_SHOW | IN_CSV, NULL},
    {"role",        "role",        CELL_TEXT,   IN_SHOW | IN_CSV, NULL},
    {"permissions", "permissions", CELL_WORDS,  IN_SHOW | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};
/* clang-format on */

int command_whoami(struct ctl *c, struct err *e)
{
    json_t *me = NULL;

    if (client_has_key(c->client))
        return err_set(e, CLI_USAGE, "a key is no user; whoami is for logins");
    int r = client_get(c->client, "/api/auth/me", &me, NULL, e);
    if (r < 0)
        return r;
    (void)json_object_set_new(me, "url", json_string(client_url(c->client)));
    r = screen_object(&c->screen, me_columns, me, e);
    json_decref(me);
    return r;
}
