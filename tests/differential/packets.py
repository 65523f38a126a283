"""Every packet of a capture as tshark dissects it, put together to flows without Wind's code.

A flow of TCP is what tshark calls a stream. UDP is told apart by addresses and ports (tshark's
udp.stream is the dissectors' business: SNMP gets one for each way); ICMP by addresses, question and
code, answers belonging to their question. Numbers are Python's: integers of nanoseconds and bytes,
exact fractions.
"""

import dataclasses
import ipaddress
import math
import subprocess
from fractions import Fraction

FIELDS = [
    "frame.number",
    "frame.time_epoch",
    "frame.protocols",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.hdr_len",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.len",
    "tcp.stream",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
]
PLAIN = [  # nothing that looks beyond one packet, or changes what a field says
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
    "ip.use_geoip:FALSE",
]
SYN, RST, ACK = 0x02, 0x04, 0x10
ICMP_QUESTION = {0: 8, 14: 13, 16: 15, 9: 10, 18: 17}
ICMPV6_QUESTION = {129: 128, 134: 133, 136: 135}
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ICMP_HEADER = 8


@dataclasses.dataclass
class Packet:
    time_ns: int
    src: tuple  # address, port
    dst: tuple
    proto: int
    ip_len: int
    payload: int = 0
    flags: int = 0
    stream: tuple = ()
    number: int = 0  # its place in the capture


class Flow:
    """Packets of one stream. [0] is the way of the first packet."""

    def __init__(self, first):
        self.proto = first.proto
        self.ends = (first.src, first.dst)
        self.packets = []

    def way(self, d):
        return [p for p in self.packets if (p.src == self.ends[0]) == (d == 0)]

    def turn(self):
        self.ends = (self.ends[1], self.ends[0])

    @property
    def start_ns(self):
        return min(p.time_ns for p in self.packets)

    @property
    def end_ns(self):
        return max(p.time_ns for p in self.packets)


def nanoseconds(text):
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9])


def one(line, name, last=False):
    values = line[name].split(";")
    return values[-1 if last else 0]


def layers_of(line):
    """The packet's own layers, without those that an ICMP error quotes."""
    layers = line["frame.protocols"].split(":")
    for n, layer in enumerate(layers):
        if layer in ("icmp", "icmpv6"):
            return layers[: n + 1]
    return layers


def packet_of(line):
    """None for what has no IP header, and for the later parts of a fragmented packet."""
    layers = layers_of(line)
    ips = [x for x in layers if x in ("ip", "ipv6")]
    if not ips:
        return None
    depth = sum(1 for x in ips if x == ips[-1]) - 1  # of the innermost, among its kind
    kind = ips[-1]
    values = {k: line[k].split(";") for k in line if k.startswith(f"{kind}.")}
    src, dst = values[f"{kind}.src"][depth], values[f"{kind}.dst"][depth]
    length = int(values["ip.len"][depth]) if kind == "ip" else 40 + int(values["ipv6.plen"][depth])
    header = int(values["ip.hdr_len"][depth]) if kind == "ip" else 40
    time_ns = nanoseconds(line["frame.time_epoch"])
    if "tcp" in layers:
        return Packet(
            time_ns,
            (src, int(one(line, "tcp.srcport"))),
            (dst, int(one(line, "tcp.dstport"))),
            TCP,
            length,
            int(one(line, "tcp.len")),
            int(one(line, "tcp.flags"), 16) & 0xFF,
            (TCP, int(one(line, "tcp.stream"))),
        )
    if "udp" in layers:
        return Packet(
            time_ns,
            (src, int(one(line, "udp.srcport", True))),
            (dst, int(one(line, "udp.dstport", True))),
            UDP,
            length,
            int(one(line, "udp.length", True)) - 8,
            0,
            (UDP,),  # a dissector may split udp.stream: ends are all that UDP has
        )
    if layers[-1] in ("icmp", "icmpv6"):
        return icmp_packet(line, layers[-1], (time_ns, src, dst, length, header))
    return None


def is_group(address):
    ip = ipaddress.ip_address(address)
    return ip.is_multicast or (ip.version == 4 and ip.packed[0] >= 224)


def icmp_packet(line, kind, where):
    time_ns, src, dst, length, header = where
    number, code = int(one(line, f"{kind}.type")), int(one(line, f"{kind}.code"))
    questions = ICMP_QUESTION if kind == "icmp" else ICMPV6_QUESTION
    proto = ICMP if kind == "icmp" else ICMPV6
    question = questions.get(number, number)
    is_answer = question != number and not is_group(dst)  # what a group hears nobody has asked
    question = question if is_answer else number
    asker, asked = (dst, src) if is_answer else (src, dst)
    packet = Packet(time_ns, (src, 0), (dst, 0), proto, length, length - header - ICMP_HEADER)
    packet.stream = (proto, asker, asked, question, code)
    return packet


def dissect(capture):
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", "aggregator=;", "-E", "separator=/t"]
    for option in PLAIN:
        command += ["-o", option]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for number, row in enumerate(done.stdout.splitlines()):
        packet = packet_of(dict(zip(FIELDS, row.split("\t"), strict=True)))
        if packet is not None:
            packet.number = number
            if packet.stream == (UDP,):
                packet.stream = (UDP, frozenset((packet.src, packet.dst)))
            yield packet


def flows(capture):
    """stream -> Flow, in the order of their first packets."""
    found = {}
    for packet in dissect(capture):
        found.setdefault(packet.stream, Flow(packet)).packets.append(packet)
    for stream, flow in found.items():
        if flow.proto in (ICMP, ICMPV6):
            flow.ends = ((stream[1], 0), (stream[2], 0))  # who asked, even if the answer came first
        elif flow.packets[0].flags & (SYN | ACK) == SYN | ACK:
            flow.turn()  # its opening was missed: who answers did not open
    return found


# ---------------------------------------------------------------- what a flow's packets add up to


def gaps(times):
    """Of a running maximum: time that runs backwards is no gap."""
    found, last = [], times[0]
    for time in times[1:]:
        found.append(max(0, time - last))
        last = max(last, time)
    return found


def mean(values):
    return Fraction(sum(values), len(values))


def variance(values, less=0):
    middle = mean(values)
    return sum((v - middle) ** 2 for v in values) / (len(values) - less)


def root(value):
    """Of a fraction, to far more digits than anybody writes."""
    scale = 10**40
    return Fraction(math.isqrt(value.numerator * scale * scale // value.denominator), scale)
