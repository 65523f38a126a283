/* /api/sensors/: who reports, and who has gone silent. */
#include "collector/routes.h"
#include "collector/sensors.h"
#include "common/time.h"

static const char *const state_words[] = {"online", "late", "offline", NULL};

static const struct field sensor_fields[] = {
    {.name = "name", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "version", .type = FIELD_TEXT, .flags = FIELD_REQUIRED},
    {.name = "first_seen", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "last_seen", .type = FIELD_TIME, .flags = FIELD_REQUIRED},
    {.name = "state",
     .type = FIELD_WORD,
     .flags = FIELD_REQUIRED,
     .words = state_words,
     .help = "late: silent for 90 seconds; offline: for 10 minutes."},
    {.name = "alerts", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "updates", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "rejected", .type = FIELD_INT, .flags = FIELD_REQUIRED},
    {.name = "gaps",
     .type = FIELD_INT,
     .flags = FIELD_REQUIRED,
     .help = "Times that numbered messages of the bus did not come."},
    {.name = "missing",
     .type = FIELD_INT,
     .flags = FIELD_REQUIRED,
     .help = "Messages that did not come; one that comes after all is taken off."},
    {.name = "stats", .type = FIELD_OBJECT, .flags = FIELD_REQUIRED | FIELD_NULLABLE},
    {.name = NULL},
};
static const struct schema sensor_schema = {.name = "Sensor", .fields = sensor_fields};

static int list(struct request *rq, struct response *rs)
{
    WIND_AUTO(db_tx) struct db_tx *tx = NULL;
    json_t *sensors = NULL;

    int r = db_begin_read(rq->db, &tx, &rq->err);
    if (r == 0)
        r = sensor_list(tx, (int64_t)time_wall_ns(), &sensors, &rq->err);
    return r == 0 ? respond_list(rs, sensors, NULL) : r;
}

const struct route sensors_routes[] = {
    {.method = "GET",
     .pattern = "/api/sensors/",
     .need = PERMISSION_SENSORS_READ,
     .handler = list,
     .summary = "Sensors, by name",
     .reply = &sensor_schema,
     .list = true},
    {.method = NULL},
};
