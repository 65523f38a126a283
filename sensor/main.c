/* wind-sensor: watches traffic, and says what matters and why. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "sensor/summary.h"
#include "sensor/supervisor.h"

static int exit_code(int r)
{
    return r == CLI_USAGE ? CLI_EXIT_USAGE : CLI_EXIT_CONFIGURATION;
}

/*
 * Whoever started us may have closed them. Then the next file opened would get their numbers, and
 * what is meant for the terminal would land in it.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
}

/* What was printed is only then printed when it is out; a reader may have had enough (head). */
static int end_with(int code)
{
    if (fflush(stdout) == 0 || errno == EPIPE || code != EXIT_SUCCESS)
        return code;
    log_error("can't write to standard output: %s", strerror(errno));
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct sensor_conf conf; /* static: zeroed, and large */
    struct sensor_args args;
    struct err e = {0};
    WIND_AUTO(counters) struct counters *counters = NULL;

    hold_standard_descriptors();
    log_set_program("wind-sensor");
    int r = sensor_conf_from_args(argc, argv, &conf, &args, &e);
    if (r == CLI_DONE)
        return end_with(EXIT_SUCCESS);
    if (r < 0) {
        log_error("%s", e.text);
        return exit_code(r);
    }
    r = counters_new(&counters, &e);
    if (r == 0)
        r = supervisor_run(&conf, &args, counters, &e);
    if (r < 0 && e.text[0] != '\0')
        log_error("%s", e.text);
    if (r >= 0 && !args.quiet)
        summary_print(stdout, &args, counters);
    return end_with(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
