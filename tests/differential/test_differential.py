"""Wind's flows beside those of tshark and NFStream: the same, or different by a rule that is named.

Each flow of a capture is held against the packets that tshark dissects, and each of NFStream's
flows against the same packets, so that Wind and NFStream agree wherever no rule is named. The
rules are in README.md; nothing is compared "roughly".
"""

import collections
import json
import os
from fractions import Fraction

import pytest
from packets import ACK, ICMP, ICMPV6, RST, SYN, TCP, UDP, gaps, mean, root, variance

ULP = Fraction(1, 2**23)
MS = 10**6  # ns
PROTO = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 51: "AH"}
PROTO |= {58: "IPv6-ICMP", 132: "SCTP"}
FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}
SERVICES = {1433, 1521, 1883, 3128, 3268, 3306, 3389, 5060, 5222, 5432, 5671, 5672, 5900, 6379}
SERVICES |= {8000, 8080, 8443, 8883, 9042, 9092, 9200, 9418, 11211, 25565, 27017}


def is_service(port):
    return 0 < port < 1024 or port in SERVICES


def is_single(have, exact):
    return abs(Fraction(have) - exact) <= abs(exact) * ULP


# ---------------------------------------------------------------- Wind against tshark


def name_of(proto):
    return PROTO.get(proto, f"{proto:03}")


def wind_key(flow):
    e = flow.eve
    if e["proto"] in (PROTO[ICMP], PROTO[ICMPV6]):
        return e["proto"], flow.ends, (e["icmp_type"], e["icmp_code"])
    return e["proto"], frozenset(flow.ends), ()


def tshark_key(flow):
    if flow.proto in (ICMP, ICMPV6):
        return PROTO[flow.proto], flow.ends, flow.kind[:2]
    return name_of(flow.proto), frozenset(flow.ends), ()


def by_key(flows, key_of):
    found = collections.defaultdict(list)
    for flow in flows:
        found[key_of(flow)].append(flow)
    return found


def may_be_turned(flow):
    """Rule `opener`."""
    first = flow.packets[0]
    if first.flags & SYN:
        return bool(first.flags & ACK)
    return is_service(first.src[1]) and not is_service(first.dst[1])


def pairs(seen):
    """Wind's flow and its packets, of the same key in the order in which they began."""
    ours = by_key(seen.wind, wind_key)
    theirs = by_key(seen.tshark, tshark_key)
    assert ours.keys() == theirs.keys()
    for k, flows in ours.items():
        flows.sort(key=lambda f: f.eve["flow_id"])
        assert len(flows) == len(theirs[k]), (k, len(flows), len(theirs[k]))
        for wind, flow in zip(flows, theirs[k], strict=True):
            if flow.proto in (TCP, UDP) and may_be_turned(flow):
                flow.ends = (flow.packets[0].dst, flow.packets[0].src)
            yield wind, flow


def expected_row(flow):
    """Feature -> exact value, of those that a flow's own packets make."""
    ways = [flow.way(0), flow.way(1)]
    last = [max(p.time_ns for p in way) if way else 0 for way in ways]
    first = [way[0].time_ns if way else None for way in ways]
    begin = min(t for t in first if t is not None)
    want = {"duration": Fraction(max(last) - begin, MS)}
    longest = []
    for way, name in zip(ways, ("fwd", "rev"), strict=True):
        want[f"pkts_{name}"] = Fraction(len(way))
        want[f"bytes_{name}"] = Fraction(sum(p.ip_len for p in way))
        said = [p.payload for p in way if p.payload > 0]
        if said:
            want[f"payload_mean_{name}"] = mean(said)
            want[f"payload_sd_{name}"] = root(variance(said))
            want[f"first_payload_{name}"] = Fraction(said[0])
        if len(way) > 1:
            between = gaps([p.time_ns for p in way])
            want[f"gap_mean_{name}"] = mean(between) / MS
            longest.append(max(between))
            if name == "fwd":
                want["gap_sd_fwd"] = root(variance(between)) / MS
    if longest:
        want["gap_max"] = Fraction(max(longest), MS)
    if all(ways):
        want["answer_time"] = Fraction(max(0, first[1] - first[0]), MS)
    if flow.proto == TCP:
        for name, flag in (("tcp_syn", SYN), ("tcp_rst", RST)):
            want[name] = Fraction(sum(1 for p in flow.packets if p.flags & flag))
    return want


def is_feature_right(name, have, want):
    if name in ("gap_sd_fwd", "payload_sd_fwd", "payload_sd_rev"):
        middle = want[name.replace("_sd_", "_mean_")]
        return abs(Fraction(have) - want[name]) <= (want[name] + middle) * ULP
    return is_single(have, want[name])


def test_each_flow_of_wind_is_a_stream_of_tshark(seen):
    for wind, flow in pairs(seen):
        about = json.dumps(wind.eve)
        assert wind.ends == flow.ends, about
        ways = [flow.way(0), flow.way(1)]
        assert wind.pkts == [len(w) for w in ways], about
        assert wind.bytes == [sum(p.ip_len for p in w) for w in ways], about
        assert wind.time_us("start") == flow.start_ns // 1000, about
        assert wind.time_us("end") == flow.end_ns // 1000, about
        if flow.proto == TCP:
            for side, way in zip(("ts", "tc"), ways, strict=True):
                flags = 0
                for p in way:
                    flags |= p.flags
                assert int(wind.eve["tcp"][f"tcp_flags_{side}"], 16) == flags, about


def test_features_are_those_of_the_packets(seen):
    for wind, flow in pairs(seen):
        want = expected_row(flow)
        for name, value in want.items():
            assert name in wind.row, (name, float(value), wind.eve)
            have = wind.row[name]
            assert is_feature_right(name, have, want), (name, have, float(value), wind.eve)
        own = ("gap_", "payload_mean", "payload_sd", "first_payload", "answer_time", "tcp_")
        extra = [n for n in wind.row if n.startswith(own) and n not in want]
        assert not extra, (extra, wind.eve)


# ---------------------------------------------------------------- NFStream against tshark


def ends_key(packet):
    return packet.proto, frozenset((packet.src, packet.dst))


def merged(seen):
    """Rules `reused ports` and `ICMP`: all packets of two ends are one flow."""
    found = collections.defaultdict(list)
    for packet in seen.packets:
        found[ends_key(packet)].append(packet)
    return found


def left_out(seen):
    """Rules `no header` and `not plain`: addresses whose packets NFStream sees differently."""
    odd = [p for p in seen.packets if not p.is_whole or not p.is_plain]
    assert not odd or "WIND_CAPTURES" in os.environ, "the committed recordings are plain"
    return {frozenset((p.src[0], p.dst[0])) for p in odd} | {p.outer for p in odd}


def addresses(ends):
    return frozenset(address for address, _ in ends)


def check_way(nf, name, way):
    times = [p.time_ns // MS for p in way]
    assert nf[f"{name}_packets"] == len(way)
    assert nf[f"{name}_bytes"] == sum(p.ip_len for p in way)
    for flag, bit in FLAGS.items():
        assert nf[f"{name}_{flag}_packets"] == sum(1 for p in way if p.flags & bit), flag
    between = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert nf[f"{name}_duration_ms"] == (times[-1] - times[0] if times else 0)
    assert nf[f"{name}_max_piat_ms"] == max(between, default=0)
    assert nf[f"{name}_mean_piat_ms"] == pytest.approx(
        float(mean(between)) if between else 0, rel=1e-9
    )
    assert nf[f"{name}_stddev_piat_ms"] == pytest.approx(
        float(root(variance(between, 1))) if len(between) > 1 else 0, rel=1e-9
    )


def ends_of(nf):
    return (nf["src_ip"], nf["src_port"]), (nf["dst_ip"], nf["dst_port"])


def test_each_flow_of_nfstream_is_made_of_the_same_packets(seen, theirs):
    want = merged(seen)
    odd = left_out(seen)
    got = {(f["protocol"], frozenset(ends_of(f))): f for f in theirs}
    assert len(got) == len(theirs)
    assert {k for k in got if addresses(k[1]) not in odd} == {
        k for k in want if addresses(k[1]) not in odd
    }
    for k, nf in got.items():
        if addresses(k[1]) in odd:
            continue
        first, second = ends_of(nf)
        ways = [[p for p in want[k] if (p.src == first) == is_first] for is_first in (True, False)]
        assert want[k][0].src == first, nf
        assert nf["bidirectional_packets"] == len(want[k]), nf
        assert nf["bidirectional_first_seen_ms"] == want[k][0].time_ns // MS, nf
        for name, way in zip(("src2dst", "dst2src"), ways, strict=True):
            if first != second:
                check_way(nf, name, way)


def test_wind_and_nfstream_count_the_same(seen, theirs):
    """Directly, flow by flow: rules `reused ports`, `ICMP`, `milliseconds` and `itself`."""
    ours = by_key(seen.wind, lambda f: (f.eve["proto"], frozenset(f.ends)))
    odd = left_out(seen)
    for nf in theirs:
        ends = ends_of(nf)
        flows = ours.pop((name_of(nf["protocol"]), frozenset(ends)), [])
        if addresses(ends) in odd:
            continue
        total, told = collections.Counter(), collections.Counter()
        for f in flows:
            for d, end in enumerate(f.ends):
                total["packets", end] += f.pkts[d]
                total["bytes", end] += f.bytes[d]
        for way, end in zip(("src2dst", "dst2src"), ends, strict=True):
            told["packets", end] += nf[f"{way}_packets"]
            told["bytes", end] += nf[f"{way}_bytes"]
        assert total == told, nf
        begin = min(f.time_us("start") for f in flows)
        end = max(f.time_us("end") for f in flows)
        assert nf["bidirectional_duration_ms"] == end // 1000 - begin // 1000, nf
    assert all(addresses(ends) in odd for _, ends in ours)
