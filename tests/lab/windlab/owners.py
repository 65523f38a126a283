"""Who sent what: an nftables rule in every namespace logs each packet that leaves, and the kernel
adds the uid of the socket's owner (also for raw sockets). Nothing in the packet is marked.

Only the first packet of an owner's conversation is kept: (proto, ends, icmp id) -> [(time, uid)].
"""

import errno
import multiprocessing
import os
import select
import signal
import socket
import struct
import time

from . import LabError, net
from .packet import parse_ipv4

GROUP = 77
NETLINK_NETFILTER = 12
ULOG_PACKET, ULOG_CONFIG = 4 << 8, 4 << 8 | 1
CFG_CMD, CFG_MODE, CFG_NLBUFSIZ, CFG_TIMEOUT, CFG_QTHRESH = 1, 2, 3, 4, 5
ATTR_PAYLOAD, ATTR_UID = 9, 11
CMD_BIND, COPY_PACKET = 1, 2
BUFFER = 64 << 20
RULES = f"""table ip windlab {{
 chain out {{
  type filter hook output priority 0
  oifname "eth0" log group {GROUP} snaplen 128
 }}
}}
"""


def _attr(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _configure(sock, *attrs):
    body = struct.pack("!BBH", 0, 0, GROUP) + b"".join(attrs)
    head = struct.pack("=IHHII", 16 + len(body), ULOG_CONFIG, 1 | 4, 1, 0)  # REQUEST | ACK
    sock.send(head + body)
    answer = sock.recv(65536)
    code = struct.unpack_from("=i", answer, 16)[0]
    if code != 0:
        raise LabError(f"NFLOG: {os.strerror(-code)}")


def listen(namespace):
    """Log what leaves a namespace; the socket that hears of it."""
    net.run_inside(namespace, "nft", "-f", "-", stdin=RULES)
    with net.inside(namespace):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    sock.bind((0, 0))
    sock.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
    _configure(sock, _attr(CFG_CMD, struct.pack("=B", CMD_BIND)))
    _configure(sock, _attr(CFG_MODE, struct.pack("!IBB", 0xFFFF, COPY_PACKET, 0)))
    _configure(sock, _attr(CFG_TIMEOUT, struct.pack("!I", 1)))
    sock.setblocking(False)
    return sock


def _attributes(data):
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        yield kind & 0x7FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _messages(data):
    """Yield (IPv4 bytes, uid or None) of every logged packet in a netlink datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 16:
            break
        if kind == ULOG_PACKET:
            found = dict(_attributes(data[at + 20 : at + length]))
            uid = found.get(ATTR_UID)
            yield found.get(ATTR_PAYLOAD, b""), struct.unpack("!I", uid)[0] if uid else None
        at += (length + 3) & ~3


def key_of(parsed):
    """What owners are looked up by: both ways of a conversation, but one ping from another."""
    return (*parsed.tuple.both_ways(), parsed.ident)


class Owners:
    """Listens in a process of its own from start() to stop(), which gives what it heard."""

    def __init__(self, namespaces, is_actor):
        self.sockets = [listen(namespace) for namespace in namespaces]
        self.is_actor = is_actor
        self.result, sender = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.Process(target=self._run, args=(sender,), daemon=True)

    def start(self):
        self.process.start()
        for sock in self.sockets:
            sock.close()

    def stop(self):
        """Returns {key: [(time in us, uid), ...]}."""
        os.kill(self.process.pid, signal.SIGTERM)
        heard = self.result.recv()
        self.process.join()
        if isinstance(heard, str):
            raise LabError(heard)
        return heard

    def _run(self, sender):
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        heard = {}
        poll = select.epoll()
        by_fd = {sock.fileno(): sock for sock in self.sockets}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        try:
            while True:
                events = poll.poll(0.1)
                if stop and not events:
                    break
                for fd, _ in events:
                    self._hear(by_fd[fd], heard)
        except OSError as error:
            lost = error.errno == errno.ENOBUFS
            sender.send("NFLOG lost packets: the machine is too slow" if lost else str(error))
            return
        sender.send(heard)

    def _hear(self, sock, heard):
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            return
        now = time.time_ns() // 1000
        for packet, uid in _messages(data):
            if uid is None or not self.is_actor(uid):
                continue
            parsed = parse_ipv4(packet)
            if parsed is None:
                continue
            owners = heard.setdefault(key_of(parsed), [])
            if not owners or owners[-1][1] != uid:
                owners.append((now, uid))
