#include "collector/db_postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/crypto.h"
#include "common/file.h"
#include "common/log.h"

#define SECRET_MAX 1024
#define SENT_MIN   64
#define LOCK_SQL   "SELECT pg_advisory_xact_lock(1464421956)" /* "WIND" */

/* Beyond the server's own limits for waiting and running: it doesn't answer at all. */
#define SILENCE_MS 60000

/* ---------------------------------------------------------------- what went wrong */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* SQLSTATE, see "PostgreSQL Error Codes". */
static int code_of(const char *state, bool *ret_lost)
{
    static const struct code {
        const char *state;
        int code;
        bool is_lost; /* this connection is of no use any more */
    } codes[] = {
        {"23505", DB_CONFLICT, false}, /* unique_violation */
        {"23503", DB_CONFLICT, false}, /* foreign_key_violation */
        {"23", -EINVAL, false},        {"22", -EINVAL, false},
        {"25006", -EROFS, true}, /* read_only_sql_transaction: the primary is a standby now */
        {"25", -EINVAL, false},        {"42", -EINVAL, false},
        {"08", -EAGAIN, true},         {"57P", -EAGAIN, true}, /* shutting down, starting up */
        {"57014", -EBUSY, false},  /* query_canceled: statement_timeout */
        {"55P03", -EBUSY, false},  /* lock_not_available: lock_timeout */
        {"53100", -ENOSPC, false}, /* disk_full */
        {"53", -EAGAIN, false},    /* too_many_connections, out_of_memory */
        {"40", -EAGAIN, false},    /* serialization_failure, deadlock_detected */
        {"0A000", -EAGAIN, true},  /* cached plan must not change result type: prepare again */
        {"26", -EAGAIN, true},     /* a pooler between us took the statement away */
    };
    for (size_t i = 0; state != NULL && i < WIND_ARRAY_SIZE(codes); i++) {
        if (begins(state, codes[i].state)) {
            *ret_lost = codes[i].is_lost;
            return codes[i].code;
        }
    }
    return -EIO;
}

/* libpq's texts end in newlines, and may have several lines. */
static int tell(struct err *e, int code, const char *doing, const char *message)
{
    char text[300];

    (void)snprintf(text, sizeof(text), "%s", message == NULL ? "" : message);
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n')
            *p = p[1] == '\0' ? '\0' : ' ';
    return err_set(e, code, "database: %s: %s", doing, text);
}

int pg_lost(struct pg_conn *c, const char *doing, struct err *e)
{
    c->is_broken = true;
    return tell(e, -EAGAIN, doing, PQerrorMessage(c->pq));
}

int pg_outcome(struct pg_conn *c, const PGresult *res, const char *doing, struct err *e)
{
    bool is_lost = false;

    if (res == NULL)
        return pg_lost(c, doing, e);
    switch (PQresultStatus(res)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_PIPELINE_SYNC:
    case PGRES_COPY_IN:
    case PGRES_EMPTY_QUERY: /* a migration that is the other database's alone */
        return 0;
    default:
        break;
    }
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    int code = code_of(state, &is_lost);
    if (state == NULL && PQstatus(c->pq) != CONNECTION_OK) {
        code = -EAGAIN;
        is_lost = true;
    }
    c->is_broken = c->is_broken || is_lost;
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    (void)tell(e, code, doing, message != NULL ? message : PQresultErrorMessage(res));
    return code;
}

/* ---------------------------------------------------------------- connecting */

static int read_secret(const char *path, enum db_role role, char ret_secret[SECRET_MAX],
                       struct err *e)
{
    ret_secret[0] = '\0';
    if (path[0] == '\0')
        return 0;
    const int r = file_read_secret(path, ret_secret, SECRET_MAX, e);
    if (r == FILE_EXPOSED && role == DB_WRITER)
        log_warn("db.password_file '%s' can be read by others", path);
    return r < 0 ? r : 0;
}

static int connect_failed(PGconn *pq, struct err *e)
{
    const char *message = pq == NULL ? "out of memory" : PQerrorMessage(pq);
    const bool is_refused = strstr(message, "password authentication failed") != NULL ||
                            strstr(message, "does not exist") != NULL;

    return tell(e, is_refused ? -EACCES : -EAGAIN, "connect", message);
}

static void log_notice(void *arg, const char *message)
{
    (void)arg;
    log_debug("database: %s", message);
}

/*
 * Every statement has an index (tests/e2e/test_plans.py), and a plan is kept: one made while a
 * new partition is small must not read it whole when it has grown. Disks are no drums any more.
 */
static void write_options(const struct db_conf *conf, enum db_role role, char *ret, size_t size)
{
    (void)snprintf(
        ret, size,
        "-c client_min_messages=warning -c plan_cache_mode=force_generic_plan -c jit=off "
        "-c enable_seqscan=off -c random_page_cost=1.1 "
        "-c lock_timeout=%d -c statement_timeout=%d "
        "-c idle_in_transaction_session_timeout=%d%s%s",
        conf->busy_ms, conf->is_tool ? 0 : conf->read_ms, conf->is_tool ? 0 : SILENCE_MS,
        role == DB_WRITER ? ""
                          : " -c default_transaction_read_only=on"
                            " -c default_transaction_isolation=repeatable\\ read",
        role == DB_WRITER && conf->is_fast ? " -c synchronous_commit=off" : "");
}

/* What stands later wins: the operator's URL over our habits, the file over the URL. */
static PGconn *connect_to(const struct db_conf *conf, enum db_role role, const char *secret)
{
    char options[1024];
    const char *const keys[] = {"client_encoding",
                                "application_name",
                                "connect_timeout",
                                "tcp_user_timeout",
                                "keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                "options",
                                "dbname",
                                secret[0] ? "password" : NULL,
                                NULL};
    const char *const values[] = {"UTF8",
                                  conf->is_tool ? "windctl" : "wind-collector",
                                  "5",
                                  "10000",
                                  "10",
                                  "5",
                                  "3",
                                  options,
                                  role == DB_REPLICA ? conf->replica_url : conf->url,
                                  secret,
                                  NULL};

    write_options(conf, role, options, sizeof(options));
    return PQconnectdbParams(keys, values, 1);
}

/*
 * Until November 2023 tsvectorrecv said of each tsvector that it was longer than it is: it takes
 * more room, and bytes behind it are stored with it (search_tsvector.h).
 */
static void look_at_version(PGconn *pq)
{
    static const int mended[] = {120017, 130013, 140010, 150005, 160001};
    const int is = PQserverVersion(pq);

    for (size_t i = 0; i < WIND_ARRAY_SIZE(mended); i++)
        if (is / 10000 == mended[i] / 10000 && is < mended[i])
            log_warn("database: PostgreSQL %d.%d wastes room on the text index; from %d.%d on it "
                     "does not",
                     is / 10000, is % 10000, mended[i] / 10000, mended[i] % 10000);
}

int pg_connect(const struct db_conf *conf, enum db_role role, void **ret_conn, struct err *e)
{
    char secret[SECRET_MAX];

    int r = read_secret(conf->password_file, role, secret, e);
    if (r != 0)
        return r;
    PGconn *pq = connect_to(conf, role, secret);
    crypto_wipe(secret, sizeof(secret));
    struct pg_conn *c = calloc(1, sizeof(*c));
    if (c == NULL || pq == NULL || PQstatus(pq) != CONNECTION_OK) {
        r = connect_failed(pq, e);
        PQfinish(pq);
        free(c);
        return r;
    }
    *c = (struct pg_conn){.pq = pq,
                          .role = role,
                          .wait_ms = conf->is_tool ? -1 : SILENCE_MS,
                          .is_synced = true,
                          .has_replica = conf->replica_url[0] != '\0',
                          .plan = PLAN_GENERIC};
    (void)PQsetnonblocking(pq, 1);
    (void)PQsetNoticeProcessor(pq, log_notice, NULL);
    if (role == DB_WRITER && !conf->is_tool)
        look_at_version(pq);
    r = pg_resume(c, e);
    if (r != 0) {
        pg_disconnect(c);
        return r;
    }
    *ret_conn = c;
    return 0;
}

void pg_disconnect(void *conn)
{
    struct pg_conn *c = conn;

    if (c == NULL)
        return;
    PQfinish(c->pq);
    free(c->sent);
    free(c);
}

int pg_failure(const struct pg_conn *c, struct err *e)
{
    return err_set(e, c->failed < 0 ? c->failed : -EINVAL, "%s", c->failure.text);
}

/* ---------------------------------------------------------------- what was sent */

static bool sent_grow(struct pg_conn *c)
{
    const size_t cap = c->sent_cap == 0 ? SENT_MIN : 2 * c->sent_cap;
    struct pg_sent *ring = malloc(cap * sizeof(*ring));

    if (ring == NULL)
        return false;
    for (size_t i = 0; i < c->sent_n; i++)
        ring[i] = c->sent[(c->sent_first + i) % c->sent_cap];
    free(c->sent);
    c->sent = ring;
    c->sent_first = 0;
    c->sent_cap = cap;
    return true;
}

int pg_note(struct pg_conn *c, int sent, struct pg_sent what, struct err *e)
{
    if (sent != 1)
        return pg_lost(c, "send", e);
    if (c->sent_n == c->sent_cap && !sent_grow(c)) {
        c->is_broken = true; /* an answer will come that nobody expects */
        return err_set(e, -ENOMEM, "database: out of memory");
    }
    what.tx = c->txs;
    c->sent[(c->sent_first + c->sent_n++) % c->sent_cap] = what;
    c->is_synced = what.what == SENT_SYNC;
    return 0;
}

int pg_command(struct pg_conn *c, const char *sql, struct err *e)
{
    return pg_note(c, PQsendQueryParams(c->pq, sql, 0, NULL, NULL, NULL, NULL, 1),
                   (struct pg_sent){.what = SENT_COMMAND}, e);
}

int pg_start(struct pg_conn *c, bool is_planned, struct err *e)
{
    const enum pg_plan plan = is_planned ? PLAN_CUSTOM : PLAN_GENERIC;
    int r = 0;

    if (c->is_broken)
        return err_set(e, -EAGAIN, "database: the connection was lost");
    if (c->failed != 0 && c->mode == DB_MODE_SINGLE)
        c->failed = 0;
    if (c->failed != 0)
        return pg_failure(c, e);
    if (!c->is_begun && c->mode != DB_MODE_SINGLE) {
        c->is_begun = true;
        r = pg_command(c, "BEGIN", e);
        if (r == 0 && c->mode == DB_MODE_WRITE)
            r = pg_command(c, LOCK_SQL, e);
    }
    if (r == 0 && c->is_part && !c->is_saved) {
        c->is_saved = true;
        r = pg_command(c, "SAVEPOINT part", e);
    }
    if (r == 0 && c->plan != plan) {
        c->plan = plan;
        c->is_plan_new = true;
        r = pg_command(c,
                       is_planned ? "SET plan_cache_mode = force_custom_plan"
                                  : "SET plan_cache_mode = force_generic_plan",
                       e);
    }
    return r;
}

/* ---------------------------------------------------------------- what came back */

static int remaining_ms(const struct pg_conn *c, const struct timespec *since)
{
    struct timespec now;

    if (c->wait_ms < 0)
        return -1;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t passed =
        (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
    return passed >= c->wait_ms ? 0 : (int)(c->wait_ms - passed);
}

/* Until there is something to read, or room to write when there is something to write. */
static int wait_socket(struct pg_conn *c, bool wants_write, const struct timespec *since,
                       struct err *e)
{
    struct pollfd p = {.fd = PQsocket(c->pq),
                       .events = (short)(POLLIN | (wants_write ? POLLOUT : 0))};
    const int r = poll(&p, 1, remaining_ms(c, since));

    if (r == 0) {
        c->is_broken = true;
        return err_set(e, -EAGAIN, "database: no answer for %d s", c->wait_ms / 1000);
    }
    if (r < 0 && errno != EINTR)
        return pg_lost(c, "wait", e);
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && PQconsumeInput(c->pq) != 1)
        return pg_lost(c, "read", e);
    return 0;
}

int pg_flush(struct pg_conn *c, struct err *e)
{
    struct timespec since;
    int r = 0, left;

    (void)clock_gettime(CLOCK_MONOTONIC, &since);
    while (r == 0 && (left = PQflush(c->pq)) != 0)
        r = left < 0 ? pg_lost(c, "send", e) : wait_socket(c, true, &since, e);
    return r;
}

void pg_fail(struct pg_conn *c, int code, const struct err *e)
{
    if (c->is_plan_new) /* a SET is undone with its transaction */
        c->plan = PLAN_UNKNOWN;
    if (c->failed != 0)
        return;
    c->failed = code;
    if (e != NULL)
        c->failure = *e;
}

/* A commit of a failed transaction succeeds, and says ROLLBACK. */
static int commit_outcome(struct pg_conn *c, const PGresult *res, struct err *e)
{
    if (c->failed == 0 && strcmp(PQcmdStatus((PGresult *)(uintptr_t)res), "COMMIT") != 0)
        return err_set(e, -EIO, "database: commit: it was rolled back");
    return 0;
}

/* One answer to the oldest of what was sent; takes `res`. */
static void deal(struct pg_conn *c, PGresult *res)
{
    const struct pg_sent s = c->sent[c->sent_first];
    struct err e = {0};
    int r = 0;

    if (PQresultStatus(res) != PGRES_PIPELINE_ABORTED) /* the cause was told before */
        r = pg_outcome(c, res, s.what == SENT_COMMIT ? "commit" : "run", &e);
    if (r == 0 && s.what == SENT_COMMIT)
        r = commit_outcome(c, res, &e);
    if (r == 0 && s.what == SENT_POSITION && PQntuples(res) == 1)
        c->position = pg_read_i64(res, 0, 0);
    if (r != 0 && s.tx == c->txs)
        pg_fail(c, r, &e);
    if (s.what == SENT_PREPARE && s.stmt != NULL) {
        s.stmt->is_preparing = false;
        s.stmt->is_prepared = PQresultStatus(res) == PGRES_COMMAND_OK;
    }
    if (s.what == SENT_QUERY && s.stmt != NULL && s.stmt->ticket == s.ticket)
        s.stmt->res = res;
    else
        PQclear(res);
}

/* libpq ends the answers to each thing but a sync with a NULL. */
static void read_ready(struct pg_conn *c)
{
    while (c->sent_n > 0 && !PQisBusy(c->pq)) {
        PGresult *res = PQgetResult(c->pq);
        const bool is_sync = c->sent[c->sent_first].what == SENT_SYNC;
        if (res != NULL)
            deal(c, res);
        if (res == NULL || is_sync) {
            c->sent_first = (c->sent_first + 1) % c->sent_cap;
            c->sent_n--;
        }
        if (PQstatus(c->pq) != CONNECTION_OK) {
            c->is_broken = true;
            return;
        }
    }
}

/* Is the answer to it still on its way? */
static bool is_due(const struct pg_conn *c, uint64_t ticket)
{
    if (ticket == 0)
        return c->sent_n > 0;
    for (size_t i = 0; i < c->sent_n; i++)
        if (c->sent[(c->sent_first + i) % c->sent_cap].ticket == ticket)
            return true;
    return false;
}

static int sync_up(struct pg_conn *c, struct err *e)
{
    return c->is_synced ? 0
                        : pg_note(c, PQpipelineSync(c->pq), (struct pg_sent){.what = SENT_SYNC}, e);
}

int pg_wait(struct pg_conn *c, uint64_t ticket, struct err *e)
{
    struct timespec since;

    int r = c->is_broken ? err_set(e, -EAGAIN, "database: the connection was lost") : sync_up(c, e);
    if (r == 0)
        r = pg_flush(c, e);
    (void)clock_gettime(CLOCK_MONOTONIC, &since);
    while (r == 0 && is_due(c, ticket)) {
        read_ready(c);
        if (c->is_broken && is_due(c, ticket))
            r = c->failed < 0 ? pg_failure(c, e) : pg_lost(c, "read", e);
        else if (is_due(c, ticket))
            r = wait_socket(c, false, &since, e);
    }
    return r;
}

void pg_nudge(struct pg_conn *c)
{
    if (!c->is_broken && sync_up(c, NULL) == 0 && PQflush(c->pq) < 0)
        c->is_broken = true;
}

int pg_pause(struct pg_conn *c, struct err *e)
{
    int r = pg_wait(c, 0, e);

    if (r == 0 && c->failed != 0)
        r = c->failed == DB_CONFLICT ? DB_CONFLICT : pg_failure(c, e);
    return r == 0 && PQexitPipelineMode(c->pq) != 1 ? pg_lost(c, "leave pipeline mode", e) : r;
}

int pg_resume(struct pg_conn *c, struct err *e)
{
    c->is_synced = true;
    return PQenterPipelineMode(c->pq) == 1 ? 0 : pg_lost(c, "enter pipeline mode", e);
}
