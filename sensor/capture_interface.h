/*
 * capture_interface.h - what the two ways to listen on one interface share, and how several become
 * one. Only capture*.c include this.
 *
 * Why      capture_afpacket.c is fast, capture_libpcap.c knows every link; capture_live.c chooses.
 * Owns     Nothing: the socket is the backend's.
 * Threads  The one that has the handle (capture.h).
 */
#pragma once

#include <linux/filter.h>

#include "sensor/capture_backend.h"

#define CAPTURE_SNAPLEN_MIN 64

/*
 * -EOPNOTSUPP: this link, this kernel or this filter is nothing for a ring of our own; libpcap may
 * be able to.
 */
WIND_MUST_USE int capture_afpacket_new(struct capture **ret_capture,
                                       const struct capture_live *conf, const char *interface,
                                       struct err *e);
WIND_MUST_USE int capture_libpcap_new(struct capture **ret_capture, const struct capture_live *conf,
                                      const char *interface, struct err *e);

/* One out of several live ones, which it takes when it returns 0. */
WIND_MUST_USE int capture_many_new(struct capture **ret_capture, struct capture *const *each,
                                   size_t n, struct err *e);

/* Join a group of sockets among which the kernel divides the interface's flows. */
WIND_MUST_USE int capture_fanout_join(int fd, const struct capture_live *conf,
                                      const char *interface, struct err *e);

/*
 * A program for the kernel, as libpcap makes it for this very interface: there `vlan` also finds
 * tags that the kernel has taken off, and needs the interface up. An empty filter only cuts at
 * snaplen. On a loopback all that leaves comes in again: there it takes what comes in. `linktype`:
 * of the ring; another one that libpcap may see is -EOPNOTSUPP. *ret_filter is the caller's to
 * free.
 */
WIND_MUST_USE int capture_filter_new(struct sock_fprog *ret_filter, const struct capture_live *conf,
                                     const char *interface, uint16_t linktype, bool is_loopback,
                                     struct err *e);

/* The kernel unbinds a socket whose interface is gone, and leaves one whose interface is down. */
bool capture_socket_is_gone(int fd);

/*
 * What poll says is an error: 0 when it is none that stays (a link that is down comes up again),
 * -ENODEV when the interface is gone, else another.
 */
WIND_MUST_USE int capture_socket_error(int fd);

/* No packet will come from there any more. */
void capture_lose(struct capture *c, const char *interface, const char *why);

/* Add what the kernel counted since it was asked last. */
void capture_socket_count(int fd, struct capture_stats *stats);

/* The digest of an input that can't be read twice: of nothing. */
bool capture_no_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms);
