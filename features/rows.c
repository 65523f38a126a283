#include "features/rows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/ip.h"
#include "common/time.h"

#define IDENTITY "community_id,src_ip,src_port,dest_ip,dest_port,proto,start"
#define MAGIC    "# wind-rows 1 "

static const struct {
    uint8_t number;
    const char *name;
} protocols[] = {{1, "ICMP"}, {6, "TCP"}, {17, "UDP"}, {58, "IPv6-ICMP"}, {132, "SCTP"}};

/* ---------------------------------------------------------------- writer */

/* The shortest of %.6g to %.9g that reads back as the same float. */
static void put_float(struct buf *b, float value)
{
    char text[32];

    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    buf_puts(b, text);
}

static void put_proto(struct buf *b, uint8_t proto)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(protocols); i++) {
        if (protocols[i].number == proto) {
            buf_puts(b, protocols[i].name);
            return;
        }
    }
    buf_printf(b, "%u", proto);
}

void rows_put_header(struct buf *b)
{
    char schema[FEATURE_SCHEMA_TEXT];

    feature_schema_text(FEATURE_COUNT, schema);
    buf_printf(b, MAGIC "%s\n" IDENTITY, schema);
    for (size_t f = 0; f < FEATURE_COUNT; f++)
        buf_printf(b, ",%s", feature_name(f));
    buf_putc(b, '\n');
}

void rows_put(struct buf *b, const struct flow_record *record, const char *community_id)
{
    const struct flow_key *key = &record->key;
    char src[IP_TEXT], dst[IP_TEXT];

    (void)ip_format(key->src, src);
    (void)ip_format(key->dst, dst);
    buf_printf(b, "%s,%s,%u,%s,%u,", community_id, src, key->sport, dst, key->dport);
    put_proto(b, key->proto);
    buf_printf(b, ",%llu.%09llu", (unsigned long long)(record->start_ns / WIND_NS_PER_S),
               (unsigned long long)(record->start_ns % WIND_NS_PER_S));
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        buf_putc(b, ',');
        if (f < record->n_features && !feature_is_missing(record->missing, f))
            put_float(b, record->feature[f]);
    }
    buf_putc(b, '\n');
}

/* ---------------------------------------------------------------- reader */

/* 0: r->text is the next line without its newline. 1: the end. */
static int next_line(struct rows *r, struct err *e)
{
    if (fgets(r->text, sizeof(r->text), r->file) == NULL) {
        if (ferror(r->file))
            return err_set(e, -EIO, "%s:%zu: cannot read: %s", r->name, r->line, strerror(errno));
        return 1;
    }
    r->line++;
    size_t len = strlen(r->text);
    if (len == 0 || r->text[len - 1] != '\n')
        return err_set(e, -EINVAL, "%s:%zu: the line is cut short, or longer than %d bytes",
                       r->name, r->line, ROWS_LINE_MAX);
    r->text[--len] = '\0';
    if (len > 0 && r->text[len - 1] == '\r')
        r->text[len - 1] = '\0';
    return 0;
}

/* Ends the cell at `*at` with a NUL and moves on; NULL when there is none left. */
static char *next_cell(char **at)
{
    char *cell = *at;

    if (cell == NULL)
        return NULL;
    char *comma = strchr(cell, ',');
    if (comma != NULL)
        *comma++ = '\0';
    *at = comma;
    return cell;
}

static int header_line(struct rows *r, struct err *e)
{
    const int got = next_line(r, e);

    if (got > 0)
        return err_set(e, -EINVAL, "%s: not a file of feature rows: it ends at line %zu", r->name,
                       r->line);
    return got;
}

static int check_schema(struct rows *r, struct err *e)
{
    char ours[FEATURE_SCHEMA_TEXT], *end = NULL;
    const char *theirs = r->text + strlen(MAGIC);

    if (strncmp(r->text, MAGIC, strlen(MAGIC)) != 0)
        return err_set(e, -EINVAL, "%s:1: not a file of feature rows: it does not start with '%s'",
                       r->name, MAGIC);
    const unsigned long n = strtoul(theirs, &end, 10);
    if (n < 1 || n > FEATURE_COUNT)
        return err_set(e, -EINVAL, "%s:1: has %lu features, this program knows %d", r->name, n,
                       FEATURE_COUNT);
    feature_schema_text(n, ours);
    if (strcmp(theirs, ours) != 0)
        return err_set(e, -EINVAL,
                       "%s:1: was made with feature schema '%.24s', this program has %s", r->name,
                       theirs, ours);
    r->n_features = n;
    return 0;
}

int rows_begin(struct rows *r, FILE *file, const char *name, struct err *e)
{
    r->file = file;
    r->name = name;
    r->line = 0;

    int ret = header_line(r, e);
    if (ret == 0)
        ret = check_schema(r, e);
    if (ret == 0)
        ret = header_line(r, e);
    if (ret < 0)
        return ret;

    if (strncmp(r->text, IDENTITY ",", strlen(IDENTITY ",")) != 0)
        return err_set(e, -EINVAL, "%s:2: the columns do not start with " IDENTITY, r->name);
    char *at = r->text + strlen(IDENTITY ",");
    for (size_t f = 0; f < r->n_features; f++) {
        const char *cell = next_cell(&at);
        if (cell == NULL || strcmp(cell, feature_name(f)) != 0)
            return err_set(e, -EINVAL, "%s:2: column %zu is not '%s'", r->name, f + 8,
                           feature_name(f));
    }
    return at == NULL ? 0 : err_set(e, -EINVAL, "%s:2: more columns than features", r->name);
}

static int parse_number(const char *cell, unsigned long max, unsigned long *ret)
{
    char *end = NULL;

    if (cell == NULL || cell[0] < '0' || cell[0] > '9')
        return -EINVAL;
    errno = 0;
    const unsigned long value = strtoul(cell, &end, 10);
    if (errno != 0 || *end != '\0' || value > max)
        return -EINVAL;
    *ret = value;
    return 0;
}

static int parse_proto(const char *cell, uint8_t *ret)
{
    unsigned long number = 0;

    for (size_t i = 0; cell != NULL && i < WIND_ARRAY_SIZE(protocols); i++) {
        if (strcasecmp(cell, protocols[i].name) == 0) {
            *ret = protocols[i].number;
            return 0;
        }
    }
    if (parse_number(cell, UINT8_MAX, &number) < 0)
        return -EINVAL;
    *ret = (uint8_t)number;
    return 0;
}

static int parse_port(const char *cell, uint16_t *ret)
{
    unsigned long number = 0;

    if (parse_number(cell, UINT16_MAX, &number) < 0)
        return -EINVAL;
    *ret = (uint16_t)number;
    return 0;
}

int rows_parse_start(const char *cell, uint64_t *ret_ns)
{
    uint64_t s = 0, ns = 0, unit = WIND_NS_PER_S / 10;

    if (cell == NULL || *cell < '0' || *cell > '9')
        return -EINVAL;
    for (; *cell >= '0' && *cell <= '9'; cell++) {
        s = s * 10 + (uint64_t)(*cell - '0');
        if (s >= UINT64_MAX / WIND_NS_PER_S)
            return -EINVAL;
    }
    if (*cell == '.')
        for (cell++; *cell >= '0' && *cell <= '9'; cell++, unit /= 10)
            ns += (uint64_t)(*cell - '0') * unit;
    if (*cell != '\0')
        return -EINVAL;
    *ret_ns = s * WIND_NS_PER_S + ns;
    return 0;
}

int rows_parse_key(char **at, struct flow_key *ret_key)
{
    struct flow_key key = {0};
    const char *src = next_cell(at), *sport = next_cell(at), *dst = next_cell(at);
    const char *dport = next_cell(at), *proto = next_cell(at);

    if (proto == NULL || ip_parse(src, key.src) < 0 || ip_parse(dst, key.dst) < 0 ||
        parse_port(sport, &key.sport) < 0 || parse_port(dport, &key.dport) < 0 ||
        parse_proto(proto, &key.proto) < 0)
        return -EINVAL;
    key.ip_version = ip_is_v4(key.src) ? 4 : 6;
    *ret_key = key;
    return 0;
}

/* A value as the writer makes it: finite, not negative. */
static int parse_value(const char *cell, float *ret)
{
    char *end = NULL;

    if (!((cell[0] >= '0' && cell[0] <= '9') || cell[0] == '.'))
        return -EINVAL;
    const float value = strtof(cell, &end);
    if (*end != '\0' || !isfinite(value))
        return -EINVAL;
    *ret = value;
    return 0;
}

int rows_next(struct rows *r, struct row *ret_row, struct err *e)
{
    const int got = next_line(r, e);
    if (got != 0)
        return got;

    struct row row = {.missing = 0};
    char *at = r->text;
    const char *id = next_cell(&at);
    if (strlen(id) >= sizeof(row.community_id))
        return err_set(e, -EINVAL, "%s:%zu: the community_id is too long", r->name, r->line);
    memcpy(row.community_id, id, strlen(id));
    if (rows_parse_key(&at, &row.key) < 0 || rows_parse_start(next_cell(&at), &row.start_ns) < 0)
        return err_set(e, -EINVAL, "%s:%zu: the columns " IDENTITY " do not name a flow", r->name,
                       r->line);
    for (size_t f = 0; f < FEATURE_COUNT; f++) {
        const char *cell = f < r->n_features ? next_cell(&at) : "";
        if (cell == NULL)
            return err_set(e, -EINVAL, "%s:%zu: only %zu features, expected %zu", r->name, r->line,
                           f, r->n_features);
        if (*cell == '\0')
            row.missing |= UINT64_C(1) << f;
        else if (parse_value(cell, &row.value[f]) < 0)
            return err_set(e, -EINVAL, "%s:%zu: %s: '%.40s' is not a finite number from 0 on",
                           r->name, r->line, feature_name(f), cell);
    }
    if (at != NULL)
        return err_set(e, -EINVAL, "%s:%zu: more than %zu features", r->name, r->line,
                       r->n_features);
    *ret_row = row;
    return 0;
}
