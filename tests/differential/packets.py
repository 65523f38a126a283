"""Every packet of a capture as tshark dissects it, put together to flows without Wind's code.

TCP and UDP are told apart by addresses and ports, other protocols by addresses, ICMP by question
and code besides, an answer belonging to its question. A TCP connection begins where README.md says.
Numbers are Python's: integers of nanoseconds and bytes, exact fractions.
"""

import dataclasses
import ipaddress
import math
import subprocess
from fractions import Fraction

FIELDS = [
    "frame.time_epoch",
    "frame.protocols",
    "frame.len",
    "frame.cap_len",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.hdr_len",
    "ip.frag_offset",
    "ip.flags.mf",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "ipv6.hopopts.len_oct",
    "ipv6.dstopts.len_oct",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.len",
    "tcp.seq_raw",
    "tcp.stream",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "sctp.srcport",
    "sctp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
]
OPTIONS = ("ipv6.hopopts.len_oct", "ipv6.dstopts.len_oct")
PLAIN = ["tcp.desegment_tcp_streams:FALSE", "ip.defragment:FALSE", "ipv6.defragment:FALSE"]
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ICMP_QUESTION = {0: 8, 14: 13, 16: 15, 9: 10, 18: 17}
ICMPV6_QUESTION = {129: 128, 134: 133, 136: 135}
TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
TUNNELS = (4, 41, 47)
HEADED = (TCP, UDP, ICMP, ICMPV6, SCTP, *TUNNELS)  # something is missing behind a bare IP header
ICMP_HEADER, SCTP_HEADER = 8, 12


@dataclasses.dataclass
class Packet:
    number: int  # its place in the capture
    time_ns: int
    src: tuple  # address, port
    dst: tuple
    proto: int
    ip_len: int
    payload: int = 0
    flags: int = 0
    seq: int = 0
    stream: int = -1  # tshark's, of TCP
    kind: tuple = ()  # ICMP: question, code, whether it is an answer
    is_whole: bool = True  # as far as its transport header goes
    is_plain: bool = True  # nothing that rule `not plain` names
    outer: frozenset = frozenset()  # addresses of the outermost IPv4 header


class Flow:
    """Packets of one conversation. [0] is the way of the first packet, unless it was turned."""

    def __init__(self, first):
        self.proto = first.proto
        self.kind = first.kind
        self.ends = (first.src, first.dst)
        self.packets = []

    def way(self, d):
        if self.kind:  # ICMP, which may go from a host to itself
            return [p for p in self.packets if p.kind[2] == (d == 1)]
        return [p for p in self.packets if (p.src == self.ends[0]) == (d == 0)]

    def turn(self):
        self.ends = (self.ends[1], self.ends[0])

    @property
    def is_over(self):
        if any(p.flags & RST for p in self.packets):
            return True
        return all(any(p.flags & FIN for p in self.way(d)) for d in (0, 1))

    @property
    def start_ns(self):
        return min(p.time_ns for p in self.packets)

    @property
    def end_ns(self):
        return max(p.time_ns for p in self.packets)


# ---------------------------------------------------------------- packets


def nanoseconds(text):
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9])


def is_group(address):
    ip = ipaddress.ip_address(address)
    return ip.is_multicast or (ip.version == 4 and ip.packed[0] >= 224)


def layers_of(line):
    """The packet's own layers, without those that an ICMP error quotes."""
    layers = line["frame.protocols"].split(":")
    for n, layer in enumerate(layers):
        if layer in ("icmp", "icmpv6"):
            return layers[: n + 1]
    return layers


def network(line, layers):
    """Of the innermost IP header: addresses, protocol, length, length of the header."""
    ips = [x for x in layers if x in ("ip", "ipv6")]
    kind, depth = ips[-1], ips.count(ips[-1]) - 1
    value = {k: line[k].split(";") for k in line if k.startswith(f"{kind}.")}
    ends = value[f"{kind}.src"][depth], value[f"{kind}.dst"][depth]
    if kind == "ipv6":
        length = 40 + int(value["ipv6.plen"][depth])
        options = sum(int(n) for f in OPTIONS for n in line[f].split(";") if n)
        return ends, int(value["ipv6.nxt"][depth]), length, 40 + options
    header = int(value["ip.hdr_len"][depth])
    return ends, int(value["ip.proto"][depth]), int(value["ip.len"][depth]), header


def put_tcp(packet, line):
    packet.proto = TCP
    packet.src = (packet.src[0], int(line["tcp.srcport"]))
    packet.dst = (packet.dst[0], int(line["tcp.dstport"]))
    packet.payload = int(line["tcp.len"])
    packet.flags = int(line["tcp.flags"], 16) & 0xFF
    packet.seq = int(line["tcp.seq_raw"])
    packet.stream = int(line["tcp.stream"])


def put_udp(packet, line):
    """The last of its fields: those before belong to tunnels."""
    packet.proto = UDP
    packet.src = (packet.src[0], int(line["udp.srcport"].split(";")[-1]))
    packet.dst = (packet.dst[0], int(line["udp.dstport"].split(";")[-1]))
    packet.payload = min(packet.payload, int(line["udp.length"].split(";")[-1])) - 8  # of a part


def put_sctp(packet, line):
    packet.src = (packet.src[0], int(line["sctp.srcport"]))
    packet.dst = (packet.dst[0], int(line["sctp.dstport"]))
    packet.payload -= SCTP_HEADER


def put_icmp(packet, line, kind, header):
    number, code = int(line[f"{kind}.type"].split(";")[0]), int(line[f"{kind}.code"].split(";")[0])
    question = (ICMP_QUESTION if kind == "icmp" else ICMPV6_QUESTION).get(number, number)
    if is_group(packet.dst[0]):
        question = number  # what a group hears nobody has asked
    packet.proto = ICMP if kind == "icmp" else ICMPV6
    packet.kind = (question, code, question != number)
    packet.payload = packet.ip_len - header - ICMP_HEADER


def room(line, layers):
    """Bytes of an Ethernet frame behind its header: rule `too long`."""
    if layers[:1] != ["eth"] or sum(1 for x in layers if x in ("ip", "ipv6")) != 1:
        return math.inf
    return int(line["frame.len"]) - 14 - 4 * layers.count("vlan")


def is_plain(line, layers, proto):
    """No tunnel, no part of a packet, nothing cut, no header between IP and transport."""
    ips = sum(1 for x in layers if x in ("ip", "ipv6"))
    first = [line[f].split(";")[0] for f in ("ip.flags.mf", "ip.frag_offset")]  # not what is quoted
    is_part = any(value not in ("", "0", "False") for value in first)
    is_cut = line["frame.len"] != line["frame.cap_len"]
    direct = (TCP, UDP, ICMP, ICMPV6)
    return ips == 1 and not is_part and not is_cut and (proto in direct or "ip" in layers)


def packet_of(line, number):
    """None for what has no IP header."""
    layers = layers_of(line)
    if "ip" not in layers and "ipv6" not in layers:
        return None
    (src, dst), proto, said, header = network(line, layers)
    length = min(said, room(line, layers))
    time_ns = nanoseconds(line["frame.time_epoch"])
    packet = Packet(number, time_ns, (src, 0), (dst, 0), proto, length, length - header)
    packet.is_plain = is_plain(line, layers, proto) and length == said
    packet.outer = frozenset(line[f].split(";")[0] for f in ("ip.src", "ip.dst"))
    if "tcp" in layers and line["tcp.stream"]:
        put_tcp(packet, line)
    elif "udp" in layers:
        put_udp(packet, line)
    elif "sctp" in layers:
        put_sctp(packet, line)
    elif layers[-1] in ("icmp", "icmpv6"):
        put_icmp(packet, line, layers[-1], header)
    else:
        packet.is_whole = proto not in HEADED
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
        packet = packet_of(dict(zip(FIELDS, row.split("\t"), strict=True)), number)
        if packet is not None:
            yield packet


# ---------------------------------------------------------------- flows


def key_of(packet):
    if packet.proto in (ICMP, ICMPV6):
        question, code, is_answer = packet.kind
        ends = (packet.dst, packet.src) if is_answer else (packet.src, packet.dst)
        return packet.proto, ends, (question, code)
    return packet.proto, frozenset((packet.src, packet.dst)), ()


def is_opening(packet):
    return packet.proto == TCP and packet.flags & (SYN | ACK) == SYN


def check_stream(before, packet, is_anew):
    """Rule `new connections`: tshark begins one where Wind does, or README.md says why not."""
    last = before.packets[-1]
    first = next(p for p in before.packets if p.stream == last.stream)
    if is_anew and packet.stream == last.stream:
        assert packet.seq == first.seq, packet
    if not is_anew and packet.stream != last.stream:
        assert is_opening(packet) and packet.seq != first.seq and not before.is_over, packet


def flows(packets):
    """All of them, in the order of their first packets."""
    now, found = {}, []
    for packet in packets:
        if not packet.is_whole:
            continue
        k = key_of(packet)
        flow = now.get(k)
        is_anew = flow is not None and is_opening(packet) and flow.is_over
        if flow is not None and packet.proto == TCP:
            check_stream(flow, packet, is_anew)
        if flow is None or is_anew:
            flow = now[k] = Flow(packet)
            found.append(flow)
            if packet.proto in (ICMP, ICMPV6):
                flow.ends = k[1]
        flow.packets.append(packet)
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
