"""Joins what the mirror saw with who sent it: one row of truth per flow, and none left over."""

import csv
import datetime
import socket

from .owners import key_of
from .packet import ACK, FIN, RST, SYN, parse_ipv4, read_pcap

HEADER = (
    "start",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
    "proto",
    "label",
    "scenario",
    "tool",
)


def rfc3339(micros):
    """Exact, unlike a conversion through floating point."""
    moment = datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros % 1_000_000:06d}Z"


class Truth:
    """Feed it every packet of a capture in order; `rows` are the flows."""

    def __init__(self, owners, roles):
        self.owners = owners
        self.roles = {role["uid"]: role for role in roles}
        self.open = {}  # key -> [row, uid, saw the end]
        self.rows = []
        self.packets = {}  # label -> packets
        self.unknown = []  # packets nobody owns: there must be none

    def _owner(self, key, time):
        """The uid that last started to speak on this key before `time`."""
        heard = self.owners.get(key)
        if not heard:
            return None
        earlier = [uid for since, uid in heard if since <= time]
        return earlier[-1] if earlier else heard[0][1]

    def packet(self, time, data):
        """Account for one IPv4 packet."""
        parsed = parse_ipv4(data)
        if parsed is None:
            self.unknown.append((time, data[:28].hex()))
            return
        key = key_of(parsed)
        cause = key_of(parsed.inner) if parsed.inner else key
        uid = self._owner(cause, time)
        role = self.roles.get(uid)
        if role is None:
            self.unknown.append((time, str(parsed.tuple)))
            return
        label = role["label"]
        self.packets[label] = self.packets.get(label, 0) + 1
        flow = self.open.get(key)
        again = flow and flow[2] and parsed.flags & (SYN | ACK) == SYN
        if flow is None or flow[1] != uid or again:
            flow = self.open[key] = [len(self.rows), uid, False]
            self.rows.append(_row(time, parsed.tuple, role))
        if parsed.flags & (FIN | RST):
            flow[2] = True

    def write(self, path):
        with open(path, "w", newline="", encoding="ascii") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(HEADER)
            out.writerows(self.rows)


def _row(time, key, role):
    ends = (socket.inet_ntoa(key.src), key.sport, socket.inet_ntoa(key.dst), key.dport)
    return (rfc3339(time), *ends, key.proto, role["label"], role["scenario"], role["tool"])


def make(pcap, owners, roles):
    """The truth about a capture file."""
    truth = Truth(owners, roles)
    for time, data in read_pcap(pcap):
        truth.packet(time, data)
    return truth
