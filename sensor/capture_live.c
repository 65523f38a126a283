#include <errno.h>

#include "sensor/capture_interface.h"

/* A ring of our own where it can be, libpcap where it can't. */
static int open_interface(struct capture **ret_capture, const struct capture_live *conf,
                          const char *interface, struct err *e)
{
    if (conf->backend != CAPTURE_LIBPCAP) {
        const int r = capture_afpacket_new(ret_capture, conf, interface, e);
        if (r != -EOPNOTSUPP || conf->backend == CAPTURE_AFPACKET)
            return r;
    }
    return capture_libpcap_new(ret_capture, conf, interface, e);
}

/* Several are merged by capture_many, which takes what was opened so far. */
static int open_interfaces(struct capture **ret_capture, const struct capture_live *conf, size_t n,
                           struct err *e)
{
    struct capture *each[CAPTURE_INTERFACES_MAX] = {NULL};
    int r = 0;
    size_t i = 0;

    for (; i < n && r == 0; i++) {
        struct capture_live one = *conf;
        one.fanout = conf->fanout == NULL ? NULL : conf->fanout + i;
        r = open_interface(&each[i], &one, conf->interface[i], e);
    }
    if (r == 0)
        r = capture_many_new(ret_capture, each, n, e);
    for (i = 0; i < n && r < 0; i++)
        each[i] = capture_free(each[i]);
    return r;
}

int capture_live_new(struct capture **ret_capture, const struct capture_live *conf, struct err *e)
{
    if (conf->snaplen < CAPTURE_SNAPLEN_MIN || conf->snaplen > CAPTURE_PACKET_MAX)
        return err_set(e, -EINVAL, "a snap length of %u is outside %d..%d", conf->snaplen,
                       CAPTURE_SNAPLEN_MIN, CAPTURE_PACKET_MAX);
    if (conf->buffer_bytes > INT32_MAX)
        return err_set(e, -EINVAL, "a kernel buffer of %u bytes is more than the kernel takes",
                       conf->buffer_bytes);
    size_t n = 0;
    while (n < CAPTURE_INTERFACES_MAX && conf->interface[n] != NULL)
        n++;
    if (n == 0)
        return err_set(e, -EINVAL, "there is no interface to listen on");
    return n == 1 ? open_interface(ret_capture, conf, conf->interface[0], e)
                  : open_interfaces(ret_capture, conf, n, e);
}
