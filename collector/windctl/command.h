/*
 * command.h - the commands of windctl: one table of nouns and verbs.
 *
 * Why      A new list of the API is a row here and its columns, in nouns.c.
 * Owns     struct ctl: what a command works with, for the life of the process.
 * Threads  One.
 */
#pragma once

#include "collector/windctl/client.h"
#include "collector/windctl/options.h"
#include "collector/windctl/profile.h"
#include "collector/windctl/screen.h"

struct noun;

struct ctl {
    struct options options;
    const struct noun *noun;
    const char *arg; /* behind the verb, or NULL */
    struct profile profile;
    struct client *client;
    struct screen screen;
};

typedef int command(struct ctl *c, struct err *e);

struct verb {
    const char *name; /* "" when the noun is the whole command */
    const char *arg;  /* "ID", "[URL]", or NULL */
    const char *summary;
    command *run;
};

#define VERBS 5

struct noun {
    const char *name;
    struct verb verb[VERBS + 1];
    bool is_local;                /* works without a login, also when that is broken */
    const char *path;             /* of the list: "/api/alerts/" */
    const char *one;              /* "alert" */
    const struct column *columns; /* with a NULL title at the end */
    int (*page)(struct ctl *c, const json_t *object, struct err *e); /* `show` as a table */
    const char *examples;
};

extern const struct noun nouns[]; /* ends with a NULL name */
extern const struct column alert_columns[], incident_columns[], sensor_columns[];

command command_login, command_logout, command_whoami;            /* command_session.c */
command command_list, command_show;                               /* command_list.c */
command command_doctor;                                           /* command_doctor.c */
command command_db_status, command_db_migrate, command_db_backup; /* command_db.c */
command command_db_restore, command_db_prune;
command command_search_status, command_search_rebuild; /* command_search.c */
command command_completion;                            /* nouns.c */

/* command_page.c: one object for people, with what belongs to it. */
int page_alert(struct ctl *c, const json_t *alert, struct err *e);
int page_incident(struct ctl *c, const json_t *incident, struct err *e);

/* *ret_noun and *ret_verb of the words; CLI_USAGE names what there is. */
WIND_MUST_USE int command_find(const struct options *o, const struct noun **ret_noun,
                               const struct verb **ret_verb, const char **ret_arg, struct err *e);

/* NULL: there is none of this name. */
const struct noun *command_noun(const char *name);

/* `only` may be NULL: of all. */
void command_help(FILE *to, const struct noun *only);
