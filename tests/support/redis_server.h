/*
 * redis_server.h - a real Redis of the test's own, on a free port: killed, paused, brought back.
 *
 * It ends with the test's thread, whatever happens to that. posix_spawn, not fork: see child.h.
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base.h"

extern char **environ;

struct redis_server {
    pid_t pid;
    int port;
    char url[64];
};

static inline int redis_server_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    WIND_CHECK(bind(fd, (struct sockaddr *)&a, n) == 0);
    WIND_CHECK(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    (void)close(fd);
    return ntohs(a.sin_port);
}

/* For what the test itself wants to know or do. NULL: it does not answer. */
static inline redisContext *redis_server_connect(const struct redis_server *s)
{
    redisContext *c = redisConnectWithTimeout("127.0.0.1", s->port, (struct timeval){.tv_sec = 2});

    if (c != NULL && c->err != 0) {
        redisFree(c);
        c = NULL;
    }
    return c;
}

/* On its old port, with nothing in it. */
static inline void redis_server_again(struct redis_server *s)
{
    char sh[] = "sh", option[] = "-c", command[256];
    char *const argv[] = {sh, option, command, NULL};
    posix_spawn_file_actions_t files;
    redisContext *c = NULL;

    (void)snprintf(command, sizeof(command),
                   "exec setpriv --pdeathsig KILL redis-server --port %d --bind 127.0.0.1"
                   " --save '' --dir /tmp --loglevel warning",
                   s->port);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    WIND_CHECK(posix_spawnp(&s->pid, argv[0], &files, NULL, argv, environ) == 0);
    (void)posix_spawn_file_actions_destroy(&files);
    for (int i = 0; c == NULL && i < 1000; i++) {
        (void)usleep(10000);
        WIND_CHECK(waitpid(s->pid, NULL, WNOHANG) == 0); /* is redis-server installed? */
        c = redis_server_connect(s);
    }
    WIND_CHECK(c != NULL);
    redisFree(c);
}

static inline void redis_server_start(struct redis_server *s)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as wind-collector does */
    s->port = redis_server_free_port();
    (void)snprintf(s->url, sizeof(s->url), "redis://127.0.0.1:%d/0", s->port);
    redis_server_again(s);
}

static inline void redis_server_kill(struct redis_server *s)
{
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
}

/* One command as redis-cli takes it, and its answer; the caller frees that. */
static inline redisReply *redis_server_do(const struct redis_server *s, const char *fmt, ...)
{
    va_list args;
    redisContext *c = redis_server_connect(s);

    WIND_CHECK(c != NULL);
    va_start(args, fmt);
    redisReply *reply = redisvCommand(c, fmt, args);
    va_end(args);
    WIND_CHECK(reply != NULL);
    WIND_CHECK(reply->type != REDIS_REPLY_ERROR);
    redisFree(c);
    return reply;
}

static inline void redis_server_run(const struct redis_server *s, const char *command)
{
    freeReplyObject(redis_server_do(s, command));
}
