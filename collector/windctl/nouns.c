/* The nouns, their columns, and the help that follows from them. */
#include <string.h>

#include "collector/windctl/command.h"

#define ALL    (IN_TABLE | IN_CSV | IN_SHOW)
#define DETAIL (IN_CSV | IN_SHOW)

/* clang-format off */
const struct column alert_columns[] = {
    {"ID",          "id",                      CELL_NUMBER,    IN_TABLE | IN_CSV, NULL},
    {"uid",         "uid",                     CELL_TEXT,      DETAIL,            NULL},
    {"TIME (UTC)",  "detected_at",             CELL_TIME,      IN_TABLE | IN_CSV, NULL},
    {"first seen",  "metadata.first_seen",     CELL_TIME,      DETAIL,            NULL},
    {"last seen",   "metadata.last_seen",      CELL_TIME,      DETAIL,            NULL},
    {"SEVERITY",    "severity",                CELL_WORD,      ALL,               NULL},
    {"TYPE",        "type",                    CELL_TEXT,      ALL,               NULL},
    {"STATUS",      "status",                  CELL_WORD,      ALL,               NULL},
    {"verdict",     "verdict",                 CELL_TEXT,      DETAIL,            NULL},
    {"assigned to", "assigned_to",             CELL_TEXT,      DETAIL,            NULL},
    {"SOURCE",      "source",                  CELL_TEXT,      ALL,               NULL},
    {"INCIDENT",    "incident_id",             CELL_NUMBER,    ALL,               NULL},
    {"count",       "metadata.count",          CELL_NUMBER,    DETAIL,            NULL},
    {"score",       "metadata.score",          CELL_NUMBER,    DETAIL,            NULL},
    {"p-value",     "metadata.p_value",        CELL_NUMBER,    DETAIL,            NULL},
    {"model",       "metadata.model",          CELL_TEXT,      DETAIL,            NULL},
    {"technique",   "metadata.technique",      CELL_TECHNIQUE, DETAIL,            NULL},
    {"flow",        "metadata.flow",           CELL_FLOW,      DETAIL,            NULL},
    {"community id", "metadata.community_ids", CELL_WORDS,     DETAIL,            NULL},
    {"entities",    "related_entities",        CELL_ENTITIES,  DETAIL,            "entities"},
    {"WHAT",        "description",             CELL_TEXT,      IN_TABLE | IN_CSV, NULL},
    {"why",         "metadata.explain",        CELL_REASONS,   IN_CSV,            "why"},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};

const struct column incident_columns[] = {
    {"ID",          "id",               CELL_NUMBER,   IN_TABLE | IN_CSV, NULL},
    {"uid",         "uid",              CELL_TEXT,     DETAIL,            NULL},
    {"FIRST SEEN",  "first_seen",       CELL_TIME,     ALL,               NULL},
    {"LAST SEEN",   "last_seen",        CELL_TIME,     ALL,               NULL},
    {"SEVERITY",    "severity",         CELL_WORD,     ALL,               NULL},
    {"TYPE",        "type",             CELL_TEXT,     ALL,               NULL},
    {"STATUS",      "status",           CELL_WORD,     ALL,               NULL},
    {"ALERTS",      "alert_count",      CELL_NUMBER,   ALL,               NULL},
    {"assigned to", "assigned_to",      CELL_TEXT,     DETAIL,            NULL},
    {"created by",  "created_by",       CELL_TEXT,     DETAIL,            NULL},
    {"tags",        "tags",             CELL_WORDS,    DETAIL,            NULL},
    {"entities",    "related_entities", CELL_ENTITIES, DETAIL,            "entities"},
    {"TITLE",       "title",            CELL_TEXT,     IN_TABLE | IN_CSV, NULL},
    {"description", "description",      CELL_TEXT,     DETAIL,            NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};

const struct column sensor_columns[] = {
    {"NAME",       "name",       CELL_TEXT,   IN_TABLE | IN_CSV, NULL},
    {"STATE",      "state",      CELL_WORD,   IN_TABLE | IN_CSV, NULL},
    {"VERSION",    "version",    CELL_TEXT,   IN_TABLE | IN_CSV, NULL},
    {"FIRST SEEN", "first_seen", CELL_TIME,   IN_TABLE | IN_CSV, NULL},
    {"LAST SEEN",  "last_seen",  CELL_TIME,   IN_TABLE | IN_CSV, NULL},
    {"ALERTS",     "alerts",     CELL_NUMBER, IN_TABLE | IN_CSV, NULL},
    {"REJECTED",   "rejected",   CELL_NUMBER, IN_TABLE | IN_CSV, NULL},
    {"MISSING",    "missing",    CELL_NUMBER, IN_TABLE | IN_CSV, NULL},
    {NULL, NULL, CELL_TEXT, 0, NULL},
};

const struct noun nouns[] = {
    {.name = "login",
     .verb = {{"", "[URL]", "log in, and stay so until logout", command_login}},
     .examples = "  windctl login https://wind.example.org:8443\n"
                 "  windctl login --password-file admin.password\n"},
    {.name = "logout",
     .verb = {{"", NULL, "end the session here and at the collector", command_logout}},
     .examples = "  windctl logout\n"},
    {.name = "whoami",
     .verb = {{"", NULL, "who is logged in, and what they may do", command_whoami}},
     .examples = "  windctl whoami -o json\n"},
    {.name = "alerts", .one = "alert", .path = "/api/alerts/",
     .verb = {{"list", NULL, "the newest alerts, or those of a search", command_list},
              {"show", "ID", "one alert, and why it was raised", command_show}},
     .columns = alert_columns, .page = page_alert,
     .examples = "  windctl alerts list --why\n"
                 "  windctl alerts list -q 'severity:>=high -status:closed src:10.0.0.0/8'\n"
                 "  windctl alerts list -o csv --limit 10000 > alerts.csv\n"
                 "  windctl alerts show 17\n"},
    {.name = "incidents", .one = "incident", .path = "/api/incidents/",
     .verb = {{"list", NULL, "the newest incidents, or those of a search", command_list},
              {"show", "ID", "one incident, its alerts and comments", command_show}},
     .columns = incident_columns, .page = page_incident,
     .examples = "  windctl incidents list -q status:open\n"
                 "  windctl incidents show 3\n"},
    {.name = "sensors", .one = "sensor", .path = "/api/sensors/",
     .verb = {{"list", NULL, "the sensors, and when each was last heard", command_list}},
     .columns = sensor_columns,
     .examples = "  windctl sensors list\n"},
    {.name = "db", .is_local = true,
     .verb = {{"status", NULL, "the database: schema, size, what is in it", command_db_status},
              {"migrate", NULL, "bring its schema up to date, as every start does",
               command_db_migrate},
              {"backup", "FILE", "a copy of all of it, while collectors work", command_db_backup},
              {"restore", "FILE", "what such a copy has, in place of what is there",
               command_db_restore},
              {"prune", NULL, "delete what is too old or too much, now (retention.*)",
               command_db_prune}},
     .examples = "  windctl db status -c /etc/wind/collector.yaml\n"
                 "  windctl db backup wind-2026-01-02.db --set db.path=/var/lib/wind/wind.db\n"
                 "  windctl db restore wind.dump --set db.url=postgresql://wind@db.example.org/wind\n"},
    {.name = "search",
     .verb = {{"status", NULL, "how far the text index has come", command_search_status},
              {"rebuild", NULL, "fill it anew, while it goes on answering",
               command_search_rebuild}},
     .examples = "  windctl search status\n"
                 "  windctl alerts list -q '\"port scan\" evil-c2.example.com -status:closed'\n"},
    {.name = "doctor", .is_local = true,
     .verb = {{"", NULL, "find out what is wrong, and how to mend it", command_doctor}},
     .examples = "  windctl doctor\n"
                 "  windctl doctor --url https://wind.example.org:8443 --key-file ops.key\n"},
    {.name = "completion", .is_local = true,
     .verb = {{"", NULL, "what bash needs to complete these words", command_completion}},
     .examples = "  windctl completion > ~/.local/share/bash-completion/completions/windctl\n"},
    {.name = NULL},
};
/* clang-format on */

static const char *verbs_of(const struct noun *n, const char *between, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (const struct verb *v = n->verb; v->name != NULL && len < size; v++)
        len +=
            (size_t)snprintf(ret + len, size - len, "%s%s", v == n->verb ? "" : between, v->name);
    return ret;
}

int command_completion(struct ctl *c, struct err *e)
{
    FILE *to = c->screen.out;

    (void)fputs("_windctl() {\n"
                "    local words=''\n"
                "    case $COMP_CWORD:${COMP_WORDS[1]} in\n"
                "    1:*) words='",
                to);
    for (const struct noun *n = nouns; n->name != NULL; n++)
        (void)fprintf(to, "%s%s", n == nouns ? "" : " ", n->name);
    (void)fputs("' ;;\n", to);
    for (const struct noun *n = nouns; n->name != NULL; n++)
        if (n->verb[0].name[0] != '\0') {
            char words[128];
            (void)fprintf(to, "    2:%s) words='%s' ;;\n", n->name,
                          verbs_of(n, " ", words, sizeof(words)));
        }
    (void)fputs("    esac\n"
                "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
                "    -o) words='table json csv' ;;\n"
                "    -c | --*-file) mapfile -t COMPREPLY < <(compgen -f -- \"$2\"); return ;;\n"
                "    esac\n"
                "    [[ $2 != -* ]] || words='-o -q --limit --why --url --username --password-file "
                "--key-file --ca-file --insecure -c --set --force --help --version'\n"
                "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$2\")\n"
                "}\n"
                "complete -F _windctl windctl\n",
                to);
    return screen_flush(&c->screen, e);
}

void command_help(FILE *to, const struct noun *only)
{
    (void)fputs("windctl - Wind's command line for operators\n\n", to);
    for (const struct noun *n = nouns; n->name != NULL; n++) {
        if (only != NULL && n != only)
            continue;
        for (const struct verb *v = n->verb; v->name != NULL; v++) {
            char words[64];
            (void)snprintf(words, sizeof(words), "%s %s%s%s", n->name, v->name,
                           v->name[0] != '\0' ? " " : "", v->arg != NULL ? v->arg : "");
            (void)fprintf(to, "  windctl %-20s %s\n", words, v->summary);
        }
    }
    (void)fputs("\nExamples:\n", to);
    for (const struct noun *n = nouns; n->name != NULL; n++)
        if (only == NULL || n == only)
            (void)fputs(n->examples, to);
    (void)fprintf(to, "\n%s", options_help);
}

static int no_noun(const char *word, struct err *e)
{
    char names[200] = "";

    for (const struct noun *n = nouns; n->name != NULL; n++) {
        const size_t len = strlen(names);
        (void)snprintf(names + len, sizeof(names) - len, "%s%s", len > 0 ? ", " : "", n->name);
    }
    if (word == NULL)
        return err_set(e, CLI_USAGE, "what? There are %s; see windctl --help", names);
    return err_set(e, CLI_USAGE, "there is no command '%s'; there are %s", word, names);
}

static int no_verb(const struct noun *n, const char *word, struct err *e)
{
    char words[128];

    return err_set(e, CLI_USAGE, "%s%s%s: there is windctl %s %s", n->name, word != NULL ? " " : "",
                   word != NULL ? word : "", n->name, verbs_of(n, " and ", words, sizeof(words)));
}

const struct noun *command_noun(const char *name)
{
    for (const struct noun *n = nouns; n->name != NULL && name != NULL; n++)
        if (strcmp(n->name, name) == 0)
            return n;
    return NULL;
}

int command_find(const struct options *o, const struct noun **ret_noun,
                 const struct verb **ret_verb, const char **ret_arg, struct err *e)
{
    const struct noun *n = command_noun(o->word[0]);
    const struct verb *v;
    size_t used = 1;

    if (n == NULL)
        return no_noun(o->word[0], e);
    *ret_noun = n;
    v = n->verb;
    if (v->name[0] != '\0') {
        const char *word = o->n_words > 1 ? o->word[1] : NULL;
        while (v->name != NULL && (word == NULL || strcmp(v->name, word) != 0))
            v++;
        if (v->name == NULL)
            return no_verb(n, word, e);
        used = 2;
    }
    *ret_arg = o->n_words > used ? o->word[used] : NULL;
    if (*ret_arg != NULL && (v->arg == NULL || o->n_words > used + 1))
        return err_set(e, CLI_USAGE, "'%s' is one word too many; see windctl %s --help",
                       o->word[v->arg == NULL ? used : used + 1], n->name);
    if (*ret_arg == NULL && v->arg != NULL && v->arg[0] != '[')
        return err_set(e, CLI_USAGE, "windctl %s %s needs %s; see windctl %s --help", n->name,
                       v->name, v->arg, n->name);
    *ret_verb = v;
    return 0;
}
