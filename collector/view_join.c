#include "collector/view_join.h"

enum part_role view_role(const struct alert *a, size_t i)
{
    const char role = a->entities[i].role[0];

    return role == 'a'   ? PART_ATTACKER
           : role == 'v' ? PART_VICTIM
           : i == 0      ? PART_SUBJECT
                         : PART_RELATED;
}

static bool acts(enum part_role role)
{
    return role == PART_ATTACKER || role == PART_SUBJECT;
}

static bool is_near(const struct view *v, const struct alert *a, const struct view_incident *in)
{
    return !in->is_gone && in->last_ns >= a->first_ns - v->conf.window_ns &&
           in->first_ns <= a->last_ns + v->conf.window_ns;
}

static bool can_join(const struct view *v, const struct alert *a, const struct view_incident *in)
{
    return is_near(v, a, in) && in->is_open && in->alerts < v->conf.alerts_max;
}

/* A victim in so many incidents of the time that it says nothing. */
static bool is_hub(struct view *v, const struct alert *a, const struct view_entity *en)
{
    const uint64_t mark = ++v->mark;
    int n = 0;

    for (size_t i = en->n_parts; i > 0 && n < HUB_INCIDENTS; i--) {
        struct view_incident *in = en->parts[i - 1].in;
        if (en->parts[i - 1].role != PART_VICTIM || in->mark == mark || !is_near(v, a, in))
            continue;
        in->mark = mark;
        n++;
    }
    return n == HUB_INCIDENTS;
}

enum rule { RULE_ACTOR, RULE_TURNED, RULE_VICTIM, RULES };

/* Would a part of the same entity with `theirs` be of the story? `role` is the alert's. */
static bool rule_fits(enum rule rule, const struct view_alert *a, enum part_role role,
                      const struct view_part *theirs)
{
    /* of an alert, the subject is a related one: only incidents tell them apart */
    const enum part_role plain = role == PART_SUBJECT ? PART_RELATED : role;

    switch (rule) {
    case RULE_ACTOR:
        return acts(role) && acts((enum part_role)theirs->role);
    case RULE_TURNED:
        return (acts(role) && theirs->role == PART_VICTIM) ||
               (role == PART_VICTIM && acts((enum part_role)theirs->role));
    case RULE_VICTIM:
    case RULES:
    default:
        return plain != PART_ATTACKER && theirs->role == plain && theirs->type == a->type;
    }
}

/* The latest; of two, the older. */
static bool is_better(const struct view_incident *in, const struct view_incident *best)
{
    return best == NULL || in->last_ns > best->last_ns ||
           (in->last_ns == best->last_ns && in->order < best->order);
}

static struct view_incident *find_by(struct view *v, enum rule rule, const struct view_alert *a)
{
    struct view_incident *best = NULL;

    for (size_t i = 0; i < a->alert->n_entities; i++) {
        const struct view_entity *en = a->entities[i];
        const enum part_role role = view_role(a->alert, i);
        struct view_incident *mine = NULL;
        for (size_t k = 0; k < en->n_parts; k++) {
            const struct view_part *p = &en->parts[k];
            if (rule_fits(rule, a, role, p) && can_join(v, a->alert, p->in) &&
                is_better(p->in, mine))
                mine = p->in;
        }
        if (mine != NULL && rule == RULE_TURNED && is_hub(v, a->alert, en))
            continue;
        if (mine != NULL && is_better(mine, best))
            best = mine;
    }
    return best;
}

int view_find(struct view *v, const struct view_alert *a, struct view_incident **ret_incident)
{
    *ret_incident = NULL;
    for (size_t i = 0; i < a->alert->n_entities; i++)
        if (a->entities[i]->n_parts > VIEW_PARTS)
            return VIEW_HEAVY;
    for (int rule = 0; rule < RULES && *ret_incident == NULL; rule++)
        if (rule != RULE_VICTIM || story_joins_by_victim(v->type_words[a->type]))
            *ret_incident = find_by(v, (enum rule)rule, a);
    return 0;
}
