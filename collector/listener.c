#include "collector/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static int split(const char *text, char host[64], const char **ret_port, struct err *e)
{
    const char *colon = strrchr(text, ':');
    const char *from = text;
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len == 0 || len >= 64 || colon[1] == '\0')
        return err_set(e, -EINVAL, "api.listen: '%s' is not address:port", text);
    memcpy(host, from, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return 0;
}

static int bind_socket(const struct addrinfo *ai, const char *text, struct err *e)
{
    const int one = 1;
    const int fd =
        socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return err_set(e, -errno, "api.listen: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    const int r = err_set(e, -errno, "cannot listen on %s: %s", text, strerror(errno));
    (void)close(fd);
    return r;
}

int listener_open(struct listener *ret, const char *text, struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    union address bound = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof(bound);
    char host[64];
    const char *port = NULL;

    int r = split(text, host, &port, e);
    if (r != 0)
        return r;
    const int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0)
        return err_set(e, -EINVAL, "api.listen: '%s': %s", text, gai_strerror(code));
    const int fd = bind_socket(found, text, e);
    freeaddrinfo(found);
    if (fd < 0)
        return fd;
    if (getsockname(fd, &bound.any, &len) != 0) {
        r = err_set(e, -errno, "cannot listen on %s: %s", text, strerror(errno));
        (void)close(fd);
        return r;
    }
    const bool is_v6 = bound.any.sa_family == AF_INET6;
    ret->fd = fd;
    ret->port = ntohs(is_v6 ? bound.v6.sin6_port : bound.v4.sin_port);
    ret->is_loopback = is_loopback(&bound);
    (void)snprintf(ret->host, sizeof(ret->host), is_v6 ? "[%s]" : "%s", host);
    return 0;
}
