"""Capture files made byte by byte: readers and writers of the formats, a few lines each."""

import gzip
import pathlib
import struct

PCAP = 0xA1B2C3D4
PCAP_NS = 0xA1B23C4D
ETHERNET = 1


def read_pcap(path):
    """[(nanoseconds, bytes, wire length)] of a little-endian microsecond pcap, perhaps gzipped."""
    data = pathlib.Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    assert struct.unpack_from("<I", data)[0] == PCAP
    packets = []
    at = 24
    while at < len(data):
        seconds, micros, length, wire = struct.unpack_from("<IIII", data, at)
        packets.append((seconds * 10**9 + micros * 1000, data[at + 16 : at + 16 + length], wire))
        at += 16 + length
    return packets


def pcap(packets, order="<", nanoseconds=False, linktype=ETHERNET):
    unit = 1 if nanoseconds else 1000
    magic = PCAP_NS if nanoseconds else PCAP
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)]
    for time, data, wire in packets:
        out.append(
            struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(data), wire)
        )
        out.append(data)
    return b"".join(out)


def pcapng(packets, order="<", linktype=ETHERNET):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    resolution = struct.pack(order + "HH", 9, 1) + b"\x09\0\0\0" + bytes(4)  # if_tsresol: 10^-9
    out = [
        block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(1, struct.pack(order + "HHI", linktype, 0, 262144) + resolution),
    ]
    for time, data, wire in packets:
        head = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(data), wire)
        out.append(block(6, head + data))
    return b"".join(out)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, target, proto, payload):
    def address(text):
        return bytes(map(int, text.split(".")))

    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, proto, 0)
    head += address(source) + address(target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return bytes.fromhex("020000000002020000000001") + b"\x08\0" + head + payload


def tcp(source, target, sport, dport, flags, payload=b"", seq=0):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 65535, 0, 0)
    return ipv4(source, target, 6, head + payload)


def udp(source, target, sport, dport, payload=b""):
    return ipv4(
        source, target, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    )


FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def conversation(start_ns, source, target, sport, dport, gap_ns=1_000_000):
    """A whole TCP connection of 8 packets."""
    steps = [
        (0, SYN, b""),
        (1, SYN | ACK, b""),
        (0, ACK, b""),
        (0, PSH | ACK, b"question"),
        (1, PSH | ACK, b"the answer"),
        (0, FIN | ACK, b""),
        (1, FIN | ACK, b""),
        (0, ACK, b""),
    ]
    packets = []
    for number, (direction, flags, payload) in enumerate(steps):
        ends = (source, target, sport, dport)
        if direction:
            ends = (target, source, dport, sport)
        data = tcp(*ends, flags, payload)
        packets.append((start_ns + number * gap_ns, data, len(data)))
    return packets
