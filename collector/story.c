#include "collector/story.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/utf8.h"

/*
 * What a kind of alert means. Kinds that are not here (people's own, later detectors) are
 * "other", no stage, and never joined by their victim.
 */
static const struct meaning {
    const char *alert_type;
    const char *incident_type;
    const char *did;   /* attacker DID victim */
    const char *alone; /* attacker ALONE, when no victim is named */
    bool joins_by_victim;
} meanings[] = {
    {"port_scan", "recon", "scanned", "scanned the network", true},
    {"brute_force", "intrusion", "guessed passwords on", "guessed passwords", true},
    {"beacon", "malware", "kept calling", "kept calling home", true},
    {"anomaly", "other", "behaved unusually towards", "behaved unusually", false},
};

/* ATT&CK tactics as stages of the kill chain; several tactics are one stage. */
static const struct stage {
    const char *tactic;
    unsigned bit;
} stages[] = {
    {"Reconnaissance", 1U << 0},
    {"Discovery", 1U << 0},
    {"Initial Access", 1U << 1},
    {"Credential Access", 1U << 1},
    {"Execution", 1U << 2},
    {"Persistence", 1U << 2},
    {"Privilege Escalation", 1U << 2},
    {"Defense Evasion", 1U << 2},
    {"Lateral Movement", 1U << 3},
    {"Command and Control", 1U << 4},
    {"Collection", 1U << 5},
    {"Exfiltration", 1U << 5},
    {"Impact", 1U << 6},
};
#define STAGE_CONTROL (1U << 4)
#define STAGE_EXFIL   (1U << 5)

static const struct meaning *meaning_of(const char *alert_type)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(meanings); i++)
        if (strcmp(meanings[i].alert_type, alert_type) == 0)
            return &meanings[i];
    return NULL;
}

unsigned story_stage(const char *tactic)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(stages); i++)
        if (strcmp(stages[i].tactic, tactic) == 0)
            return stages[i].bit;
    return 0;
}

bool story_joins_by_victim(const char *alert_type)
{
    const struct meaning *m = meaning_of(alert_type);

    return m != NULL && m->joins_by_victim;
}

void story_people(int64_t n, const char *only, char ret_text[STORY_PEOPLE])
{
    ret_text[0] = '\0';
    if (n == 1)
        (void)snprintf(ret_text, STORY_PEOPLE, "%s", only);
    else if (n > 1)
        (void)snprintf(ret_text, STORY_PEOPLE, "%lld hosts", (long long)n);
    utf8_cut(ret_text);
}

static bool is_chain(const struct story *st)
{
    return (st->stages & (st->stages - 1)) != 0;
}

int64_t story_severity(const struct story *st)
{
    return st->severity < 4 && is_chain(st) ? st->severity + 1 : st->severity;
}

/* "10.9.0.66 scanned 3 hosts, then guessed passwords on 10.9.0.5" */
void story_title(const struct story *st, char ret_title[TITLE_MAX + 1])
{
    char text[512] = "";
    struct buf b = BUF_FIXED(text);
    const char *who = "";

    for (size_t i = 0; i < st->n_chapters; i++) {
        const struct chapter *ch = &st->chapters[i];
        const struct meaning *m = meaning_of(ch->type);
        buf_puts(&b, i == 0 ? "" : i == 1 ? ", then " : ", ");
        if (strcmp(who, ch->who) != 0) {
            who = ch->who;
            buf_printf(&b, "%s ", who[0] ? who : "somebody");
        }
        if (m != NULL && ch->whom[0] != '\0')
            buf_printf(&b, "%s %s", m->did, ch->whom);
        else if (m != NULL)
            buf_puts(&b, m->alone);
        else
            buf_printf(&b, "caused alerts of type %s", ch->type);
    }
    (void)snprintf(ret_title, TITLE_MAX + 1, "%s", buf_text(&b));
    utf8_cut(ret_title);
}

const char *story_type(const struct story *st)
{
    const char *type = "other";

    if (st->stages & STAGE_EXFIL)
        return "exfiltration";
    if (is_chain(st))
        return st->stages & STAGE_CONTROL ? "malware" : "intrusion";
    /* the last kind that means something: what came later is usually worse */
    for (size_t i = 0; i < st->n_chapters; i++) {
        const struct meaning *m = meaning_of(st->chapters[i].type);
        if (m != NULL && strcmp(m->incident_type, "other") != 0)
            type = m->incident_type;
    }
    return type;
}
