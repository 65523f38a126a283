"""The lab's network: namespaces around one switch, with a mirror port.

Every host is a network namespace. Its `eth0` is a TAP device whose other end is held by the
relay (wire.py), which delays frames and hands them to the host's port on the bridge in the
switch namespace: so round trips are real ones, and no kernel module (netem) is needed. Every
bridge port mirrors what it receives to `span0`, so each packet is seen once, in the middle.
Nothing in here is connected to the machine's own network, and nothing has a default route.

The names of the namespaces are the room's own (room.py), and the namespaces end with it.
"""

import contextlib
import fcntl
import os
import struct
import subprocess

from . import LabError
from .room import call

SWITCH = "switch"
MIRROR = "span1"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
ON_LINK = ("10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
DARK_RULES = "table ip dark {\n chain in {\n type filter hook input priority 0\n drop\n }\n}\n"


def run(*argv, stdin=None):
    """Run a command; its error output becomes the exception's sentence."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace):
    """Run the block in another network namespace: what it opens or starts stays there."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{namespace}", "rb") as other:
        call("setns", other.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            call("setns", own.fileno(), CLONE_NEWNET)


def run_inside(namespace, *argv, stdin=None):
    """run() in a namespace. (Not `ip -n`: that changes mounts, which fails below a chroot.)"""
    with inside(namespace):
        run(*argv, stdin=stdin)


def _open_tap(namespace, name):
    """Make a TAP device in a namespace; it lives as long as the descriptor."""
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def _set(namespace, *settings):
    """Write sysctls; /proc/sys/net is that of the namespace one is in."""
    with inside(namespace):
        for setting in settings:
            key, value = setting.split("=")
            path = "/proc/sys/net/" + key.replace(".", "/")
            if os.path.exists(path):  # no IPv6 in this kernel is fine, too
                with open(path, "w", encoding="ascii") as file:
                    file.write(value)


def _add(namespace):
    run("ip", "netns", "add", namespace)
    _set(namespace, "ipv6.conf.all.disable_ipv6=1", "ipv6.conf.default.disable_ipv6=1")


class Network:
    """The switch and, by and by, its hosts."""

    def __init__(self):
        self.wires = []  # (host, descriptor of its eth0, descriptor of its switch port)
        _add(SWITCH)
        commands = f"""
            link add br0 type bridge
            link set br0 type bridge mcast_snooping 0
            link add span0 type veth peer name {MIRROR}
            link set br0 up
            link set span0 up promisc on
            link set {MIRROR} up promisc on
        """
        run_inside(SWITCH, "ip", "-batch", "-", stdin=commands)

    def add_host(self, host):
        """Make a host's namespace, its eth0, and its port on the switch."""
        name = host["name"]
        _add(name)
        _set(
            name,
            "ipv4.ip_unprivileged_port_start=0",
            "ipv4.ping_group_range=0 2147483647",
            "ipv4.icmp_ratelimit=0",
        )
        port = f"p{len(self.wires)}"
        self.wires.append((host, _open_tap(name, "eth0"), _open_tap(SWITCH, port)))
        routes = "\n".join(f"route add {net} dev eth0" for net in ON_LINK)
        commands = f"link set lo up\naddr add {host['ip']}/32 dev eth0\nlink set eth0 up\n{routes}"
        run_inside(name, "ip", "-batch", "-", stdin=commands)
        run_inside(SWITCH, "ip", "link", "set", port, "master", "br0", "up")
        self._mirror(port)
        if host["role"] == "dark":  # answers ARP for a whole range and then stays silent
            run_inside(name, "ip", "route", "add", "local", host["dark_net"], "dev", "lo")
            run_inside(name, "nft", "-f", "-", stdin=DARK_RULES)

    def _mirror(self, port):
        run_inside(SWITCH, "tc", "qdisc", "add", "dev", port, "clsact")
        match = ("u32", "match", "u32", "0", "0")
        mirror = ("action", "mirred", "egress", "mirror", "dev", "span0")
        where = ("dev", port, "ingress", "protocol", "all")
        run_inside(SWITCH, "tc", "filter", "add", *where, *match, *mirror)
