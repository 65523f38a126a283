#include <criterion/criterion.h>
#include <errno.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "common/ip.h"
#include "features/rows.h"

static FILE *file_of(const char *text, size_t len)
{
    FILE *f = tmpfile();

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(text, 1, len, f), len);
    rewind(f);
    return f;
}

static struct flow_record *record_new(void)
{
    struct flow_record *r = calloc(1, sizeof(*r) + FEATURE_COUNT * sizeof(float));

    cr_assert_not_null(r);
    r->key = (struct flow_key){.sport = 4242, .dport = 22, .proto = 6, .ip_version = 4};
    cr_assert_eq(ip_parse("10.0.0.1", r->key.src), 0);
    cr_assert_eq(ip_parse("10.0.0.2", r->key.dst), 0);
    r->start_ns = UINT64_C(1700000000000000001);
    r->n_features = FEATURE_COUNT;
    return r;
}

Test(rows, what_is_written_is_read_back_bit_for_bit)
{
    struct flow_record *record = record_new();
    struct buf b;
    struct rows rows;
    struct row row;
    struct err e = {0};

    for (size_t f = 0; f < FEATURE_COUNT; f++)
        record->feature[f] = 1.0f / (float)(f + 3);
    record->feature[0] = FLT_MAX;
    record->feature[1] = FLT_MIN;
    record->feature[2] = 0;
    record->feature[4] = 0;
    record->missing = 1 << 4;

    buf_init(&b, 1 << 20);
    rows_put_header(&b);
    rows_put(&b, record, "1:abc=");
    cr_assert_not(b.failed);
    FILE *f = file_of(b.data, b.len);
    cr_assert_eq(rows_begin(&rows, f, "x.csv", &e), 0, "%s", e.text);
    cr_assert_eq(rows_next(&rows, &row, &e), 0, "%s", e.text);
    for (size_t i = 0; i < FEATURE_COUNT; i++)
        cr_assert_float_eq(row.value[i], record->feature[i], 0, "%s", feature_name(i));
    cr_assert_eq(row.missing, record->missing);
    cr_assert_eq(memcmp(&row.key, &record->key, sizeof(row.key)), 0);
    cr_assert_eq(row.start_ns, record->start_ns);
    cr_assert_str_eq(row.community_id, "1:abc=");
    cr_assert_eq(rows_next(&rows, &row, &e), 1);
    (void)fclose(f);
    buf_done(&b);
    free(record);
}

/* The writer's file, with `from` replaced by `to` in it; what the reader then says. */
static void expect_refused(const char *from, const char *to, const char *sentence)
{
    struct flow_record *record = record_new();
    struct buf b, changed;
    struct rows rows;
    struct row row;
    struct err e = {0};

    buf_init(&b, 1 << 20);
    buf_init(&changed, 1 << 20);
    rows_put_header(&b);
    rows_put(&b, record, "1:abc=");
    const char *text = buf_text(&b), *at = strstr(text, from);
    cr_assert_not_null(at, "'%s' is not in the file", from);
    buf_put(&changed, text, (size_t)(at - text));
    buf_puts(&changed, to);
    buf_puts(&changed, at + strlen(from));

    FILE *f = file_of(changed.data, changed.len);
    int r = rows_begin(&rows, f, "x.csv", &e);
    if (r == 0)
        r = rows_next(&rows, &row, &e);
    cr_expect_lt(r, 0, "'%s' was taken", to);
    cr_expect_not_null(strstr(e.text, sentence), "'%s' does not say '%s'", e.text, sentence);
    (void)fclose(f);
    buf_done(&b);
    buf_done(&changed);
    free(record);
}

Test(rows, anything_off_is_refused_with_file_and_line)
{
    expect_refused("# wind-rows 1", "# wind-rows 2", "x.csv:1: not a file of feature rows");
    expect_refused("# wind-rows 1 31:", "# wind-rows 1 99:", "x.csv:1: has 99 features");
    expect_refused("# wind-rows 1 31:", "# wind-rows 1 31:0", "x.csv:1: was made with feature");
    expect_refused("community_id,", "uid,", "x.csv:2: the columns do not start with");
    expect_refused("pkts_fwd", "pkts", "x.csv:2: column 9 is not 'pkts_fwd'");
    expect_refused("channel_gap_cv\n", "channel_gap_cv,more\n", "x.csv:2: more columns");
    expect_refused("10.0.0.1", "10.0.0.256", "x.csv:3: the columns");
    expect_refused("4242", "65536", "x.csv:3: the columns");
    expect_refused("TCP", "256", "x.csv:3: the columns");
    expect_refused("1700000000.", "99999999999999999999.", "x.csv:3: the columns");
    expect_refused(",0,0,", ",nan,0,", "x.csv:3: duration: 'nan' is not a finite number");
    expect_refused(",0,0,", ",-1,0,", "x.csv:3: duration: '-1'");
    expect_refused(",0,0,", ",1e39,0,", "x.csv:3: duration: '1e39'");
    expect_refused(",0,0,", ",0,", "x.csv:3: only 30 features");
    expect_refused(",0,0,", ",0,0,0,", "x.csv:3: more than 31 features");
    expect_refused(",0\n", ",0", "x.csv:3: the line is cut short");
}

Test(rows, an_empty_or_endless_file_is_refused)
{
    struct rows rows;
    struct err e = {0};
    static char line[3 * ROWS_LINE_MAX];

    FILE *f = file_of("", 0);
    cr_assert_eq(rows_begin(&rows, f, "empty", &e), -EINVAL);
    cr_assert_str_eq(e.text, "empty: not a file of feature rows: it ends at line 0");
    (void)fclose(f);
    memset(line, 'x', sizeof(line));
    f = file_of(line, sizeof(line));
    cr_assert_eq(rows_begin(&rows, f, "long", &e), -EINVAL);
    cr_assert_not_null(strstr(e.text, "longer than 4096 bytes"));
    (void)fclose(f);
}

Test(rows, starts_are_seconds_with_decimals)
{
    uint64_t ns = 0;

    cr_assert_eq(rows_parse_start("1700000000.5", &ns), 0);
    cr_assert_eq(ns, UINT64_C(1700000000500000000));
    cr_assert_eq(rows_parse_start("7", &ns), 0);
    cr_assert_eq(ns, UINT64_C(7000000000));
    cr_assert_eq(rows_parse_start("", &ns), -EINVAL);
    cr_assert_eq(rows_parse_start("1.5x", &ns), -EINVAL);
    cr_assert_eq(rows_parse_start(NULL, &ns), -EINVAL);
}
