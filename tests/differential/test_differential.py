"""Wind's flows beside those of tshark and NFStream: the same, or different by a rule that is named.

Each flow of a capture is held against the packets that tshark dissects, and each of NFStream's
flows against the same packets, so that Wind and NFStream agree wherever no rule is named. The
rules are in README.md; nothing is compared "roughly".
"""

import collections
import json
import subprocess
from fractions import Fraction

import pytest
from conftest import HERE
from packets import ICMP, ICMPV6, RST, SYN, gaps, mean, root, variance

ULP = Fraction(1, 2**23)
MS = 10**6  # ns
PROTO = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "IPv6-ICMP"}
FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}


def is_single(have, exact):
    return abs(Fraction(have) - exact) <= abs(exact) * ULP


# ---------------------------------------------------------------- Wind against tshark


def key(proto, ends, kind=()):
    return proto, frozenset(ends), kind


def by_key(flows, key_of):
    found = collections.defaultdict(list)
    for flow in flows:
        found[key_of(flow)].append(flow)
    return found


def wind_key(flow):
    e = flow.eve
    if e["proto"] in (PROTO[ICMP], PROTO[ICMPV6]):
        return e["proto"], (e["src_ip"], e["dest_ip"]), (e["icmp_type"], e["icmp_code"])
    return key(e["proto"], flow.ends)


def tshark_key(item):
    stream, flow = item
    if flow.proto in (ICMP, ICMPV6):
        return PROTO[flow.proto], (stream[1], stream[2]), (stream[3], stream[4])
    return key(PROTO[flow.proto], flow.ends)


def pairs(seen):
    """Wind's flow and tshark's of the same key, in the order in which they began."""
    ours = by_key(seen.wind, wind_key)
    theirs = by_key(seen.tshark.items(), tshark_key)
    assert ours.keys() == theirs.keys()
    for k, flows in ours.items():
        flows.sort(key=lambda f: f.time_us("start"))
        others = sorted((flow for _, flow in theirs[k]), key=lambda f: f.start_ns)
        assert len(flows) == len(others), (k, len(flows), len(others))
        yield from zip(flows, others, strict=True)


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
    if flow.proto == 6:
        for name, flag in (("tcp_syn", SYN), ("tcp_rst", RST)):
            want[name] = Fraction(sum(1 for p in flow.packets if p.flags & flag))
    return want


def is_feature_right(name, have, want):
    if name in ("gap_sd_fwd", "payload_sd_fwd", "payload_sd_rev"):
        middle = want[name.replace("_sd_", "_mean_")]
        return abs(Fraction(have) - want[name]) <= (want[name] + middle) * ULP
    return is_single(have, want[name])


def turned_as(wind, flow):
    if wind.ends != flow.ends:
        flow.turn()
    return flow


def test_each_flow_of_wind_is_a_stream_of_tshark(seen):
    for wind, flow in pairs(seen):
        about = json.dumps(wind.eve)
        assert wind.ends == flow.ends or flow.proto in (ICMP, ICMPV6), about
        ways = [flow.way(0), flow.way(1)]
        assert wind.pkts == [len(w) for w in ways], about
        assert wind.bytes == [sum(p.ip_len for p in w) for w in ways], about
        assert wind.time_us("start") == flow.start_ns // 1000, about
        assert wind.time_us("end") == flow.end_ns // 1000, about
        if flow.proto == 6:
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


def merged(seen):
    """Rules `reused ports` and `ICMP`: all packets of two ends are one flow."""
    found = {}
    for stream, flow in seen.tshark.items():
        if flow.proto in (ICMP, ICMPV6):
            k = key(flow.proto, ((stream[1], 0), (stream[2], 0)))
        else:
            k = key(flow.proto, flow.ends)
        found.setdefault(k, []).extend(flow.packets)
    return {k: sorted(packets, key=lambda p: p.number) for k, packets in found.items()}


def nfstream_flows(python, capture):
    done = subprocess.run(
        [python, HERE / "nfstream_flows.py", capture], check=True, capture_output=True, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


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


def test_each_flow_of_nfstream_is_made_of_the_same_packets(seen, nfstream):
    want = merged(seen)
    theirs = nfstream_flows(nfstream, seen.capture)
    got = {
        key(f["protocol"], ((f["src_ip"], f["src_port"]), (f["dst_ip"], f["dst_port"]))): f
        for f in theirs
    }
    assert len(got) == len(theirs)
    assert got.keys() == want.keys()
    for k, nf in got.items():
        first = (nf["src_ip"], nf["src_port"])
        ways = [[p for p in want[k] if (p.src == first) == is_first] for is_first in (True, False)]
        assert want[k][0].src == first, nf
        assert nf["bidirectional_packets"] == len(want[k]), nf
        assert nf["bidirectional_first_seen_ms"] == want[k][0].time_ns // MS, nf
        for name, way in zip(("src2dst", "dst2src"), ways, strict=True):
            check_way(nf, name, way)


def test_wind_and_nfstream_count_the_same(seen, nfstream):
    """Directly, flow by flow: rules `reused ports`, `ICMP` and `milliseconds`."""
    ours = collections.defaultdict(list)
    for f in seen.wind:
        ours[key(f.eve["proto"], ((f.ends[0]), (f.ends[1])))].append(f)
    for nf in nfstream_flows(nfstream, seen.capture):
        ends = ((nf["src_ip"], nf["src_port"]), (nf["dst_ip"], nf["dst_port"]))
        flows = ours.pop(key(PROTO[nf["protocol"]], ends))
        total = collections.Counter()
        for f in flows:
            for d, end in enumerate(f.ends):
                total["packets", end] += f.pkts[d]
                total["bytes", end] += f.bytes[d]
        for way, end in zip(("src2dst", "dst2src"), ends, strict=True):
            assert nf[f"{way}_packets"] == total["packets", end], nf
            assert nf[f"{way}_bytes"] == total["bytes", end], nf
        begin = min(f.time_us("start") for f in flows)
        end = max(f.time_us("end") for f in flows)
        assert nf["bidirectional_duration_ms"] == end // 1000 - begin // 1000, nf
    assert not ours
