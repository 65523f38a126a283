"""A small reader of classic pcap files, and the 5-tuple of an IPv4 packet."""

import gzip
import struct
from typing import NamedTuple

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP"}
ICMP_ERRORS = (3, 4, 5, 11, 12)
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04


class Tuple(NamedTuple):
    """Who sent this packet to whom; ICMP has type and code as ports."""

    proto: str
    src: bytes
    sport: int
    dst: bytes
    dport: int

    def both_ways(self):
        """The same for both directions of a conversation."""
        a, b = (self.src, self.sport), (self.dst, self.dport)
        if self.proto == "ICMP":  # an answer has its question's type
            return (self.proto, *sorted((self.src, self.dst)), _question(self.sport), self.dport)
        return (self.proto, *sorted((a, b)))


class Parsed(NamedTuple):
    """What the lab wants to know about one packet."""

    tuple: Tuple
    flags: int  # TCP
    ident: int  # ICMP echo: identifier
    inner: object  # ICMP error: Parsed of the packet that caused it, or None


def _question(icmp_type):
    return {0: 8, 14: 13}.get(icmp_type, icmp_type)


def parse_ipv4(data):
    """The Parsed of an IPv4 packet, or None (another version, another protocol, too short)."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    header = (data[0] & 15) * 4
    proto = PROTOCOLS.get(data[9])
    rest = data[header:]
    fragment = struct.unpack_from("!H", data, 6)[0] & 0x1FFF
    if proto is None or fragment or len(rest) < 8:
        return None
    src, dst = data[12:16], data[16:20]
    if proto != "ICMP":
        sport, dport = struct.unpack_from("!HH", rest)
        flags = rest[13] if proto == "TCP" and len(rest) > 13 else 0
        return Parsed(Tuple(proto, src, sport, dst, dport), flags, 0, None)
    kind, code = rest[0], rest[1]
    ident = struct.unpack_from("!H", rest, 4)[0] if _question(kind) in (8, 13) else 0
    inner = parse_ipv4(rest[8:]) if kind in ICMP_ERRORS else None
    return Parsed(Tuple(proto, src, kind, dst, code), 0, ident, inner)


def read_pcap(path):
    """Yield (time in seconds, IPv4 bytes) of every IPv4 frame in an Ethernet pcap (or .gz)."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rb") as file:
        magic, _, _, _, _, _, link = struct.unpack("<IHHiIII", file.read(24))
        if magic != 0xA1B2C3D4 or link != 1:
            raise ValueError(f"{path}: not an Ethernet pcap with microseconds")
        while len(head := file.read(16)) == 16:
            seconds, micros, length, _ = struct.unpack("<IIII", head)
            frame = file.read(length)
            if frame[12:14] == b"\x08\x00":
                yield seconds * 1_000_000 + micros, frame[14:]
