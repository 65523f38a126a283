"""A link between two network namespaces, and a sensor that listens to it. Needs root."""

import json
import os
import signal
import struct
import subprocess
import sys

import support
from books import balance

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"


SENDER = """
import socket, struct, sys
data, frames = sys.stdin.buffer.read(), []
while data:
    n = 4 + struct.unpack("!I", data[:4])[0]
    frames.append(data[4:n])
    data = data[n:]
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind((sys.argv[1], 0))
for _ in range(int(sys.argv[2])):
    for frame in frames:
        out.send(frame)
"""


def udp_frame(n, payload=b"x" * 20, tags=()):
    """Ethernet, VLAN tags, IPv4 10.9.x.x to 10.8.0.1, UDP 4000 to 4001: flow number n."""
    udp = struct.pack("!HHHH", 4000, 4001, 8 + len(payload), 0) + payload
    source = bytes([10, 9, n >> 8, n & 255])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), n, 0, 64, 17, 0)
    packet = head + source + bytes([10, 8, 0, 1]) + udp
    kinds = [0x8100] * len(tags) + [0x0800]
    tagged = struct.pack("!H", kinds[0])
    for tag, kind in zip(tags, kinds[1:], strict=True):
        tagged += struct.pack("!HH", tag, kind)
    return bytes.fromhex("020000000002020000000001") + tagged + packet


def pcap(frames):
    """The same frames as a capture file."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(
        struct.pack("<IIII", 1767322800, i, len(f), len(f)) + f for i, f in enumerate(frames)
    )


class Space:
    """A network namespace that lives as long as a process in it: no name, nothing left behind.

    Named ones (ip netns) need mounts that a build in a chroot can't make.
    """

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        support.until("the namespace is there", lambda: self.link() not in (own, None))
        self.ip("link", "set", "lo", "up")

    def link(self):
        try:
            return os.readlink(f"/proc/{self.holder.pid}/ns/net")
        except OSError:
            return None

    def command(self, *words):
        return ["nsenter", f"--target={self.holder.pid}", "--net", *map(str, words)]

    def ip(self, *words):
        subprocess.run(self.command("ip", *words), check=True, capture_output=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Link:
    """Two namespaces, `a` with the client's address and `b` with the server's, and a cable."""

    def __init__(self):
        self.a, self.b = Space(), Space()
        peer = str(self.b.holder.pid)
        self.a.ip("link", "add", "wa", "type", "veth", "peer", "name", "wb", "netns", peer)
        for space, end, address in ((self.a, "wa", CLIENT), (self.b, "wb", SERVER)):
            space.ip("addr", "add", f"{address}/24", "dev", end)
            space.ip("link", "set", end, "up")
        self.running = []

    def add(self, a, b):
        """One more cable, without addresses: only frames made by send() go over it."""
        peer = str(self.b.holder.pid)
        self.a.ip("link", "add", a, "type", "veth", "peer", "name", b, "netns", peer)
        for space, end in ((self.a, a), (self.b, b)):
            space.ip("link", "set", end, "up")

    def send(self, frames, interface="wa", times=1):
        """Put frames on the cable, as they are; the whole list so many times."""
        lengths = b"".join(struct.pack("!I", len(f)) + f for f in frames)
        sender = self.command(self.a, sys.executable, "-c", SENDER, interface, times)
        subprocess.run(sender, input=lengths, check=True, timeout=120)

    def command(self, space, *words):
        return space.command(*words)

    def run(self, space, *words):
        return subprocess.run(
            self.command(space, *words), capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def start(self, space, *words, **options):
        self.running.append(subprocess.Popen(self.command(space, *words), **options))
        return self.running[-1]

    def close(self):
        for process in self.running:
            process.kill()
            process.wait()
        for space in (self.a, self.b):
            space.close()


class Live:
    """wind-sensor on the server's end of the link."""

    def __init__(self, link, folder, *more, interfaces=("wb",)):
        self.out = folder / "out"
        self.log_path = folder / "sensor.log"
        where = [word for name in interfaces for word in ("-i", name)]
        args = [*where, "-l", self.out, "--set", "stats.interval=1s", *more]
        with open(self.log_path, "wb") as log:
            self.process = link.start(
                link.b, support.BIN / "wind-sensor", *args, stdout=log, stderr=log
            )
        support.until("it listens", lambda: self.of_type("stats"))

    @property
    def log(self):
        return self.log_path.read_text()

    def of_type(self, event_type):
        assert self.process.poll() is None or event_type == "stats", self.log
        return [line for line in self.lines if line["event_type"] == event_type]

    @property
    def lines(self):
        path = self.out / "eve.json"
        if not path.exists():
            return []
        whole = path.read_text().rpartition("\n")[0]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def stats(self):
        return self.of_type("stats")[-1]["stats"]

    def child(self, name):
        """The process id of the analyser or the uplink."""
        supervisor = self.process.pid
        with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as children:
            for pid in children.read().split():
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if comm.read().strip() == name:
                        return int(pid)
        return None

    def stop(self, code=0):
        """Its exit code is as expected, and its books balance."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30 * support.SLOW) == code, self.log
        stats = self.lines[-1]["stats"]
        balance(stats)
        assert stats["flow"]["live"] == 0
        assert stats["supervisor"]["analyser_restarts"] == 0, self.log
        return stats
