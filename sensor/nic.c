#include "sensor/nic.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ask(int fd, struct ifreq *r, uint32_t command, uint32_t *ret_value)
{
    struct ethtool_value v = {.cmd = command};

    r->ifr_data = (char *)&v;
    if (ioctl(fd, SIOCETHTOOL, r) != 0)
        return false;
    *ret_value = v.data;
    return true;
}

void nic_probe(const char *interface, struct nic *ret_nic)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {.ifr_flags = 0};
    uint32_t value = 0;

    *ret_nic = (struct nic){.mtu = 0};
    if (fd < 0)
        return;
    (void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    if (ioctl(fd, SIOCGIFFLAGS, &r) == 0) {
        ret_nic->is_up = (r.ifr_flags & IFF_UP) != 0;
        ret_nic->is_loopback = (r.ifr_flags & IFF_LOOPBACK) != 0;
    }
    if (ioctl(fd, SIOCGIFMTU, &r) == 0)
        ret_nic->mtu = (uint32_t)r.ifr_mtu;
    ret_nic->gro = ask(fd, &r, ETHTOOL_GGRO, &value) && value != 0;
    ret_nic->lro = ask(fd, &r, ETHTOOL_GFLAGS, &value) && (value & ETH_FLAG_LRO) != 0;
    (void)close(fd);
}
