"""The lab's network: namespaces around one switch, with a mirror port.

Every host is a network namespace. Its `eth0` is a TAP device whose other end is held by the
relay (wire.py), which delays frames and hands them to the host's port on the bridge in the
switch namespace: so round trips are real ones, and no kernel module (netem) is needed. Every
bridge port mirrors what it receives to `span`, so each packet is seen once, in the middle.
Nothing in here is connected to the machine's own network, and nothing has a default route.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from . import LabError

PREFIX = "wlab"
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
ON_LINK = ("10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")

_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, check=True, stdin=None):
    """Run a command; its error output becomes the exception's sentence."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace):
    """Run the block in another network namespace: what it opens stays there."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{namespace}", "rb") as other:
        _setns(other.fileno())
        try:
            yield
        finally:
            _setns(own.fileno())


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")


def open_tap(namespace, name):
    """Make a TAP device in a namespace; it lives as long as the descriptor."""
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def die_with_parent():
    """In a child process: end when the recorder is killed, so that no wire outlives it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Network:
    """All namespaces of one run. Use as a context manager: leaving it removes them."""

    def __init__(self):
        self.tag = f"{PREFIX}{os.getpid()}"
        self.namespaces = []
        self.wires = []  # (host, descriptor of its eth0, descriptor of its switch port)
        self.switch = self._add("switch")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def name(self, host):
        return f"{self.tag}-{host}"

    def _add(self, host):
        namespace = self.name(host)
        run("ip", "netns", "add", namespace)
        self.namespaces.append(namespace)
        settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        self._sysctl(namespace, *settings)
        return namespace

    def _sysctl(self, namespace, *settings):
        with inside(namespace):
            for setting in settings:
                key, value = setting.split("=")
                path = "/proc/sys/" + key.replace(".", "/")
                if os.path.exists(path):
                    with open(path, "w", encoding="ascii") as file:
                        file.write(value)

    def start_switch(self):
        """The bridge, and the mirror port as a pair: span0 receives, span1 is listened to."""
        commands = """
            link add br0 type bridge
            link set br0 type bridge mcast_snooping 0
            link add span0 type veth peer name span1
            link set br0 up
            link set span0 up promisc on
            link set span1 up promisc on
        """
        run("ip", "-n", self.switch, "-batch", "-", stdin=commands)

    def add_host(self, host):
        """Make a host's namespace, its eth0, and its port on the switch."""
        namespace = self._add(host["name"])
        self._sysctl(
            namespace,
            "net.ipv4.ip_unprivileged_port_start=0",
            "net.ipv4.ping_group_range=0 2147483647",
            "net.ipv4.icmp_ratelimit=0",
        )
        port = f"p{len(self.wires)}"
        self.wires.append((host, open_tap(namespace, "eth0"), open_tap(self.switch, port)))
        routes = "\n".join(f"route add {net} dev eth0" for net in ON_LINK)
        commands = f"link set lo up\naddr add {host['ip']}/32 dev eth0\nlink set eth0 up\n{routes}"
        run("ip", "-n", namespace, "-batch", "-", stdin=commands)
        run("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        self._mirror(port)
        if host["role"] == "dark":
            self._darken(namespace, host["dark_net"])

    def _mirror(self, port):
        tc = ("tc", "-n", self.switch)
        run(*tc, "qdisc", "add", "dev", port, "clsact")
        match = ("u32", "match", "u32", "0", "0")
        mirror = ("action", "mirred", "egress", "mirror", "dev", "span0")
        run(*tc, "filter", "add", "dev", port, "ingress", "protocol", "all", *match, *mirror)

    def _darken(self, namespace, net):
        """Answer ARP for a whole range and then stay silent, like empty space behind a gateway."""
        run("ip", "-n", namespace, "route", "add", "local", net, "dev", "lo")
        rules = "table ip dark {\n chain in {\n type filter hook input priority 0\n drop\n }\n}\n"
        run("ip", "netns", "exec", namespace, "nft", "-f", "-", stdin=rules)

    def close(self):
        """End every process that runs in our namespaces, then remove them."""
        for _, *ends in self.wires:
            for fd in ends:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self.wires = []
        for namespace in self.namespaces:
            remove(namespace)
        self.namespaces = []


def _pids(namespace):
    return [int(pid) for pid in run("ip", "netns", "pids", namespace, check=False).split()]


def remove(namespace):
    """Remove one namespace of the lab and whatever still runs in it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 2
        pids = _pids(namespace)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        while pids and time.monotonic() < deadline:
            time.sleep(0.02)
            pids = _pids(namespace)
    run("ip", "netns", "del", namespace, check=False)


def leftovers(folder):
    """Names in `folder` that belong to runs that no longer exist (their recorder was killed)."""
    found = []
    for name in sorted(os.listdir(folder)):
        pid = name.removeprefix(PREFIX).split("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            found.append(name)
    return found


def clean():
    """Remove what killed recordings left behind; yields what that was."""
    for namespace in leftovers("/run/netns") if os.path.isdir("/run/netns") else ():
        remove(namespace)
        yield namespace
    for name in leftovers(tempfile.gettempdir()):
        shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)
        yield name
