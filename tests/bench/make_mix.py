#!/usr/bin/env python3
"""make_mix.py OUT [COPIES]: many copies of the committed recording side by side, as one capture.

Each copy has addresses of its own (10.20.x.y becomes 10.K.x.y) and starts a little later, so the
file has COPIES times the hosts and flows of the recording, all alive at once. Checksums are kept
right. The same bytes every time.
"""

import gzip
import heapq
import struct
import sys
from pathlib import Path

CAPTURE = Path(__file__).resolve().parents[1] / "data/lab-demo/capture.pcap.gz"
STAGGER_US = 1_300_000


def packets(data):
    at = 24
    while at < len(data):
        seconds, micros, length, wire = struct.unpack_from("<IIII", data, at)
        yield seconds * 10**6 + micros, wire, bytearray(data[at + 16 : at + 16 + length])
        at += 16 + length


def adjust(frame, at, old, new):
    """RFC 1624: the checksum at `at` after one 16-bit word went from old to new."""
    (check,) = struct.unpack_from("!H", frame, at)
    total = (~check & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", frame, at, ~total & 0xFFFF)


def renumber(frame, network):
    """Addresses 10.20.x.y -> 10.network.x.y, in the IPv4 header."""
    if frame[12:14] != b"\x08\0":
        return frame
    frame = bytearray(frame)
    transport = 14 + (frame[14] & 15) * 4
    check = {6: 16, 17: 6}.get(frame[23])
    for at in (26, 30):
        if frame[at : at + 2] != b"\x0a\x14":
            continue
        old, new = 0x0A14, 0x0A00 | network
        struct.pack_into("!H", frame, at, new)
        adjust(frame, 24, old, new)
        if check is not None and transport + check + 2 <= len(frame):
            adjust(frame, transport + check, old, new)
    return frame


def copy(source, number):
    for time, wire, frame in source:
        yield time + number * STAGGER_US, number, wire, renumber(frame, 1 + number)


def main():
    out = Path(sys.argv[1])
    copies = int(sys.argv[2]) if len(sys.argv) > 2 else 80
    data = gzip.decompress(CAPTURE.read_bytes())
    source = list(packets(data))
    with out.open("wb") as f:
        f.write(data[:24])
        merged = heapq.merge(*(copy(source, n) for n in range(copies)), key=lambda p: p[:2])
        for time, _, wire, frame in merged:
            f.write(struct.pack("<IIII", time // 10**6, time % 10**6, len(frame), wire))
            f.write(frame)


if __name__ == "__main__":
    main()
