"""Does the lab tell the truth, and does it leave nothing behind? Needs root (namespaces)."""

import contextlib
import csv
import glob
import gzip
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from windlab import LabError, packet, room, truth  # noqa: E402
from windlab.scenario import Plan  # noqa: E402

SMALL = os.path.join(HERE, "scenarios", "small.json")
DEMO = os.path.join(os.path.dirname(HERE), "data", "lab-demo")
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def record(*argv):
    return [os.path.join(HERE, "record"), *argv]


def room_of(pid):
    """The room of a recording: the process ids' namespace that its child lives in."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return os.readlink(f"/proc/{file.read().split()[0]}/ns/pid")


def lives_in(place):
    """How many processes are in a room."""
    count = 0
    for path in glob.glob("/proc/[0-9]*/ns/pid"):
        with contextlib.suppress(OSError):
            count += os.readlink(path) == place
    return count


def folders(pid):
    return glob.glob(f"{tempfile.gettempdir()}/{room.PREFIX}{pid}-*")


def mounts():
    """Where the room mounts things; on the machine itself that must never change."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        places = [line.split()[1] for line in file]
    return [place for place in places if place in ("/proc", "/run") or place.startswith("/etc")]


class Recording:
    """A finished recording, read back without the code that wrote it."""

    def __init__(self, folder):
        self.pcap = glob.glob(f"{folder}/capture.pcap*")[0]
        with open(f"{folder}/meta.json", encoding="utf-8") as file:
            self.meta = json.load(file)
        with open(f"{folder}/truth.csv", newline="", encoding="ascii") as file:
            self.rows = list(csv.DictReader(file))
        self.address = {host["name"]: host["ip"] for host in self.meta["hosts"]}

    def packets(self):
        """Yield (RFC 3339 time, src, sport, dst, dport, proto) as truth.csv would write it."""
        for time_us, data in packet.read_pcap(self.pcap):
            parsed = packet.parse_ipv4(data)
            assert parsed is not None, f"an IPv4 packet that the truth cannot name: {data[:28]}"
            key = parsed.tuple
            src, dst = (str(ipaddress.ip_address(ip)) for ip in (key.src, key.dst))
            yield truth.rfc3339(time_us), src, key.sport, dst, key.dport, key.proto


def row_key(row):
    ends = (row["src_ip"], int(row["src_port"]), row["dest_ip"], int(row["dest_port"]))
    return *ends, row["proto"]


def turned(key):
    src, sport, dst, dport, proto = key
    if proto == "ICMP":
        return dst, {0: 8, 14: 13}.get(sport, sport), src, dport, proto
    return dst, dport, src, sport, proto


def check_truth(recording):
    """Every packet has a row that began no later; every row has its packet at its start."""
    began = {}
    for row in recording.rows:
        began.setdefault(row_key(row), row["start"])
    seen = set()
    for when, *key in recording.packets():
        key = tuple(key)
        seen.add((when, key))
        mine = [began[way] for way in (key, turned(key)) if way in began]
        assert mine and min(mine) <= when, f"no truth for {key} at {when}"
    missing = [row for row in recording.rows if (row["start"], row_key(row)) not in seen]
    assert not missing, f"truth without a packet: {missing[0]}"
    assert [row["start"] for row in recording.rows] == sorted(r["start"] for r in recording.rows)


def check_labels(recording):
    """The labels agree with what the capture shows by itself: who attacks whom, and where."""
    attacks = {}
    for activity in recording.meta["activities"]:
        if activity["label"] != "benign":
            source = recording.address[activity["host"]]
            attacks.setdefault(activity["label"], set()).add(source)
    assert set(attacks) == {"port_scan", "brute_force", "beacon"}
    for row in recording.rows:
        sources = attacks.get(row["label"])
        unreachable = row["proto"] == "ICMP" and row["src_port"] == "3"
        if sources:
            assert row["dest_ip" if unreachable else "src_ip"] in sources, row
        if row["label"] == "brute_force":
            assert row["dest_port"] == "22", row
    counted = {label: entry["flows"] for label, entry in recording.meta["labels"].items()}
    labels = [row["label"] for row in recording.rows]
    assert counted == {label: labels.count(label) for label in set(labels)}
    assert min(counted.values()) > 0 and set(counted) == {"benign", *attacks}


def check_delay(recording):
    """The time to a server and back is what its wire costs, never zero."""
    asked, times = {}, {}
    for when, data in packet.read_pcap(recording.pcap):
        parsed = packet.parse_ipv4(data)
        flags = parsed.flags & (packet.SYN | packet.ACK)
        key = parsed.tuple.both_ways()
        if flags == packet.SYN:
            asked[key] = when
        elif flags == packet.SYN | packet.ACK and key in asked:
            times.setdefault(parsed.tuple.src, []).append((when - asked[key]) / 1000)
    hosts = {ipaddress.ip_address(h["ip"]).packed: h for h in recording.meta["hosts"]}
    assert times
    for address, taken in times.items():
        assert min(taken) >= 2 * hosts[address]["delay_ms"] * 0.99, hosts[address]["name"]


def check_inside(recording):
    """Nothing but the lab's own addresses was ever spoken to."""
    hosts = set(recording.address.values())
    dark = next(host for host in recording.meta["hosts"] if host["role"] == "dark")
    around = ipaddress.ip_network(f"{dark['ip']}/25", strict=False)
    for _, src, _, dst, _, _ in recording.packets():
        for address in (src, dst):
            assert address in hosts or ipaddress.ip_address(address) in around, address


CHECKS = (check_truth, check_labels, check_delay, check_inside)


@pytest.fixture(scope="module", name="small")
def record_small(tmp_path_factory):
    """One run of the small scenario, 40 seconds, with every actor there is."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    out = tmp_path_factory.mktemp("small")
    before = mounts()
    with subprocess.Popen(record(SMALL, "--seed", "5", "-o", str(out))) as child:
        time.sleep(3)
        place = room_of(child.pid)
        assert child.wait(150) == 0
    assert lives_in(place) == 0 and folders(child.pid) == [] and mounts() == before
    return Recording(str(out))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_new_recording(small, check):
    check(small)


def test_every_tool_worked(small):
    used = {(a["scenario"], a["tool"]) for a in small.meta["activities"] if a["result"]["good"]}
    shown = {(row["scenario"], row["tool"]) for row in small.rows}
    assert used == shown == {(a["scenario"], a["tool"]) for a in small.meta["activities"]}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_committed_recording(check):
    check(Recording(DEMO))


def test_the_committed_recording_is_what_it_says():
    """It is small, whole, and made from the scenario that stands here."""
    recording = Recording(DEMO)
    with gzip.open(recording.pcap) as file:
        data = file.read()
    assert hashlib.sha256(data).hexdigest() == recording.meta["capture"]["sha256"]
    with open(os.path.join(HERE, "scenarios", "demo.json"), "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == recording.meta["scenario_sha256"]
    assert sum(os.path.getsize(os.path.join(DEMO, name)) for name in os.listdir(DEMO)) < 3 << 20
    assert {row["scenario"] for row in recording.rows} >= {"web", "dns", "ssh"}


def test_a_wrong_row_is_noticed(tmp_path):
    """The check above can fail: without one row, or with a later start, it does."""
    for name in os.listdir(DEMO):
        shutil.copy(os.path.join(DEMO, name), tmp_path)
    recording = Recording(str(tmp_path))
    lost = recording.rows.pop(len(recording.rows) // 2)
    with pytest.raises(AssertionError, match="no truth for"):
        check_truth(recording)
    recording.rows.insert(len(recording.rows) // 2, dict(lost, start="2100-01-01T00:00:00.000000Z"))
    with pytest.raises(AssertionError, match="no truth for"):
        check_truth(recording)


@NEEDS_ROOT
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_recording_leaves_nothing(tmp_path, number):
    """Not even a killed one leaves a process or a mount; its folder goes with --clean."""
    before = mounts()
    out = tmp_path / "out"
    with subprocess.Popen(record(SMALL, "-o", str(out)), stderr=subprocess.DEVNULL) as child:
        time.sleep(6)
        place = room_of(child.pid)
        assert lives_in(place) > 20 and folders(child.pid)
        child.send_signal(number)
        assert child.wait(20) == (-number if number == signal.SIGKILL else 130)
    deadline = time.monotonic() + 5
    while lives_in(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lives_in(place) == 0
    assert mounts() == before and not out.exists()
    assert bool(folders(child.pid)) == (number == signal.SIGKILL)
    subprocess.run(record("--clean"), check=True, stdout=subprocess.DEVNULL)
    assert folders(child.pid) == []


def test_the_seed_decides():
    plans = [Plan(SMALL, seed) for seed in (4, 4, 5)]
    first, again, other = ((plan.hosts, plan.roles, plan.names) for plan in plans)
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "broken, sentence",
    [
        ('{"name": ', "Expecting value"),
        ({"hosts": [{"name": "x", "colour": 1}]}, "unknown setting 'colour'"),
        ({"hosts": [{"name": "x", "role": "king"}]}, "unknown role 'king'"),
        ({"activities": [{"label": "evil"}]}, "unknown label 'evil'"),
    ],
)
def test_a_broken_scenario_is_a_sentence(tmp_path, broken, sentence):
    if isinstance(broken, dict):
        with open(SMALL, encoding="utf-8") as file:
            broken = json.dumps(json.load(file) | broken)
    path = tmp_path / "broken.json"
    path.write_text(broken, encoding="ascii")
    with pytest.raises(LabError, match=sentence):
        Plan(str(path), 1)
