/* wind-sensor: watches traffic, and says what matters and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sensor/summary.h"
#include "sensor/supervisor.h"

enum { EXIT_USAGE = 2, EXIT_CONFIGURATION = 3 };

static int exit_code(int r)
{
    return r == SENSOR_CONF_USAGE ? EXIT_USAGE : EXIT_CONFIGURATION;
}

int main(int argc, char **argv)
{
    static struct sensor_conf conf; /* static: zeroed, and large */
    struct sensor_args args;
    struct err e = {0};
    WIND_AUTO(counters) struct counters *counters = NULL;

    log_set_program("wind-sensor");
    int r = sensor_conf_from_args(argc, argv, &conf, &args, &e);
    if (r == SENSOR_CONF_DONE)
        return EXIT_SUCCESS;
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
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
