#include "models/truth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/time.h"
#include "features/rows.h"

#define HEADER "start,src_ip,src_port,dest_ip,dest_port,proto,label"

void labels_init(struct labels *l)
{
    *l = (struct labels){.n = 1, .name = {"benign"}};
}

int labels_index(struct labels *l, const char *name, struct err *e)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->name[i], name) == 0)
            return (int)i;
    if (name[0] == '\0' || strlen(name) >= sizeof(l->name[0]))
        return err_set(e, -EINVAL, "label '%.40s' is empty or too long", name);
    if (l->n == LABELS_MAX)
        return err_set(e, -EINVAL, "more than %d labels", LABELS_MAX);
    memcpy(l->name[l->n], name, strlen(name) + 1);
    return (int)l->n++;
}

/* The smaller end first, so that both directions are one. ICMP's type and code stay in place. */
static struct flow_key canonical(const struct flow_key *key)
{
    struct flow_key k = *key;
    const int is_icmp = k.proto == 1 || k.proto == 58;
    const int order = memcmp(k.src, k.dst, sizeof(k.src));

    k.vlan = 0;
    if (order < 0 || (order == 0 && (is_icmp || k.sport <= k.dport)))
        return k;
    memcpy(k.src, key->dst, sizeof(k.src));
    memcpy(k.dst, key->src, sizeof(k.dst));
    if (!is_icmp) {
        k.sport = key->dport;
        k.dport = key->sport;
    }
    return k;
}

static int compare_keys(const struct flow_key *a, const struct flow_key *b)
{
    int r = memcmp(a->src, b->src, sizeof(a->src));

    if (r == 0)
        r = memcmp(a->dst, b->dst, sizeof(a->dst));
    if (r == 0)
        r = a->sport - b->sport;
    if (r == 0)
        r = a->dport - b->dport;
    return r != 0 ? r : a->proto - b->proto;
}

static int compare_entries(const void *a, const void *b)
{
    const struct truth_entry *x = a, *y = b;
    const int r = compare_keys(&x->key, &y->key);

    if (r != 0)
        return r;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    return x->label - y->label;
}

static int add(struct truth *t, const struct truth_entry *entry, struct err *e)
{
    if (t->n == TRUTH_MAX)
        return err_set(e, -EFBIG, "more than %u entries", TRUTH_MAX);
    if (t->n == t->cap) {
        const size_t cap = t->cap > 0 ? t->cap * 2 : 1024;
        struct truth_entry *grown = realloc(t->entry, cap * sizeof(*grown));
        if (grown == NULL)
            return err_set(e, -ENOMEM, "out of memory for %zu entries", cap);
        t->entry = grown;
        t->cap = cap;
    }
    t->entry[t->n++] = *entry;
    t->is_sorted = 0;
    return 0;
}

static int parse_line(char *line, struct truth_entry *ret_entry, struct labels *labels,
                      struct err *e)
{
    struct truth_entry entry = {0};
    char *at = strchr(line, ',');

    if (at == NULL)
        return err_set(e, -EINVAL, "not the columns " HEADER);
    *at++ = '\0';
    if (rows_parse_start(line, &entry.start_ns) < 0 &&
        time_parse_rfc3339(line, &entry.start_ns) < 0)
        return err_set(e, -EINVAL, "'%.40s' is not a time", line);
    if (rows_parse_key(&at, &entry.key) < 0 || at == NULL)
        return err_set(e, -EINVAL, "not the columns " HEADER);
    at[strcspn(at, ",\r\n")] = '\0';
    entry.key = canonical(&entry.key);
    entry.label = labels_index(labels, at, e);
    *ret_entry = entry;
    return entry.label < 0 ? entry.label : 0;
}

static int read_lines(struct truth *t, FILE *f, struct labels *labels, size_t *ret_line,
                      struct err *e)
{
    char line[1024];

    if (fgets(line, sizeof(line), f) == NULL || strncmp(line, HEADER, strlen(HEADER)) != 0)
        return err_set(e, -EINVAL, "does not start with the columns " HEADER);
    for (*ret_line = 2; fgets(line, sizeof(line), f) != NULL; ++*ret_line) {
        struct truth_entry entry;
        int r = strchr(line, '\n') != NULL
                    ? parse_line(line, &entry, labels, e)
                    : err_set(e, -EINVAL, "the line is cut short, or too long");
        if (r == 0)
            r = add(t, &entry, e);
        if (r < 0)
            return r;
    }
    return ferror(f) ? err_set(e, -EIO, "cannot read it") : 0;
}

int truth_read(struct truth *t, const char *path, struct labels *labels, struct err *e)
{
    size_t line = 1;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    const int r = read_lines(t, f, labels, &line, e);
    (void)fclose(f);
    return r < 0 ? err_wrap(e, r, "%s:%zu", path, line) : 0;
}

void truth_done(struct truth *t)
{
    free(t->entry);
    *t = (struct truth){0};
}

int truth_find(struct truth *t, const struct flow_key *key, uint64_t start_ns)
{
    const struct flow_key k = canonical(key);
    size_t low = 0, high = t->n;

    if (!t->is_sorted && t->n > 0)
        qsort(t->entry, t->n, sizeof(*t->entry), compare_entries);
    t->is_sorted = 1;
    while (low < high) { /* the first entry that is after */
        const size_t mid = low + (high - low) / 2;
        const int r = compare_keys(&t->entry[mid].key, &k);
        if (r < 0 || (r == 0 && t->entry[mid].start_ns <= start_ns + TRUTH_SLACK_NS))
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || compare_keys(&t->entry[low - 1].key, &k) != 0)
        return -1;
    return t->entry[low - 1].label;
}
