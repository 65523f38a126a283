#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/ip.h"
#include "models/truth.h"

#define S      UINT64_C(1000000000)
#define HEADER "start,src_ip,src_port,dest_ip,dest_port,proto,label,scenario,tool\n"

static int read_text(struct truth *t, struct labels *labels, const char *text, struct err *e)
{
    char path[] = "/tmp/test-truth-XXXXXX";
    const int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    labels_init(labels);
    *t = (struct truth){0};
    const int r = truth_read(t, path, labels, e);
    (void)unlink(path);
    return r;
}

static struct flow_key key(const char *src, uint16_t sport, const char *dst, uint16_t dport,
                           uint8_t proto)
{
    struct flow_key k = {.sport = sport, .dport = dport, .proto = proto, .vlan = 5};

    cr_assert_eq(ip_parse(src, k.src), 0);
    cr_assert_eq(ip_parse(dst, k.dst), 0);
    return k;
}

Test(truth, a_flow_is_found_in_either_direction_and_by_its_start)
{
    struct truth t;
    struct labels labels;
    struct err e = {0};
    const char *text =
        HEADER "1970-01-01T00:01:40.000000Z,10.0.0.9,4000,10.0.0.2,22,TCP,brute_force,bf,hydra\n"
               "200.5,10.0.0.9,4000,10.0.0.2,22,TCP,benign,ops,ssh\n"
               "100,10.0.0.9,8,10.0.0.2,0,ICMP,port_scan,scan,nmap\n"
               "100,fd00::9,4000,fd00::2,53,UDP,benign,dns,dig\n";

    cr_assert_eq(read_text(&t, &labels, text, &e), 0, "%s", e.text);
    cr_assert_eq(labels.n, 3);
    cr_assert_str_eq(labels.name[0], "benign");
    cr_assert_str_eq(labels.name[1], "brute_force");

    struct flow_key k = key("10.0.0.9", 4000, "10.0.0.2", 22, 6);
    cr_assert_eq(truth_find(&t, &k, 100 * S), 1);
    cr_assert_eq(truth_find(&t, &k, 150 * S), 1, "split by a time-out");
    cr_assert_eq(truth_find(&t, &k, 300 * S), 0, "the tuple was used again");
    cr_assert_eq(truth_find(&t, &k, 100 * S - 900000), 1, "within the slack");
    cr_assert_eq(truth_find(&t, &k, 99 * S), -1, "before all");
    k = key("10.0.0.2", 22, "10.0.0.9", 4000, 6);
    cr_assert_eq(truth_find(&t, &k, 100 * S), 1);
    k = key("10.0.0.2", 22, "10.0.0.9", 4000, 17);
    cr_assert_eq(truth_find(&t, &k, 100 * S), -1, "another protocol");
    k = key("10.0.0.9", 22, "10.0.0.2", 4000, 6);
    cr_assert_eq(truth_find(&t, &k, 100 * S), -1, "ports the wrong way round");
    k = key("10.0.0.9", 8, "10.0.0.2", 0, 1);
    cr_assert_eq(truth_find(&t, &k, 100 * S), 2);
    k = key("fd00::2", 53, "fd00::9", 4000, 17);
    cr_assert_eq(truth_find(&t, &k, 101 * S), 0);
    truth_done(&t);
}

static void expect_refused(const char *text, const char *sentence)
{
    struct truth t;
    struct labels labels;
    struct err e = {0};

    cr_expect_eq(read_text(&t, &labels, text, &e), -EINVAL);
    cr_expect_not_null(strstr(e.text, sentence), "'%s' does not say '%s'", e.text, sentence);
    truth_done(&t);
}

Test(truth, anything_off_is_refused_with_its_line)
{
    expect_refused("", ":1: does not start with the columns");
    expect_refused("flow,label\n", ":1: does not start with the columns");
    expect_refused(HEADER "yesterday,10.0.0.9,1,10.0.0.2,2,TCP,benign\n",
                   ":2: 'yesterday' is not a time");
    expect_refused(HEADER "1,10.0.0.9,1,10.0.0.2,2,TCP\n", ":2: not the columns");
    expect_refused(HEADER "1,10.0.0,1,10.0.0.2,2,TCP,benign\n", ":2: not the columns");
    expect_refused(HEADER "1,10.0.0.9,1,10.0.0.2,2,TCP,\n", ":2: label '' is empty");
    expect_refused(HEADER "1,10.0.0.9,1,10.0.0.2,2,TCP,benign", ":2: the line is cut short");
    expect_refused(HEADER "\n", ":2: not the columns");
}

Test(truth, a_file_that_is_not_there_is_named)
{
    struct truth t = {0};
    struct labels labels;
    struct err e = {0};

    labels_init(&labels);
    cr_assert_eq(truth_read(&t, "/no/such.csv", &labels, &e), -ENOENT);
    cr_assert_str_eq(e.text, "/no/such.csv: No such file or directory");
}
