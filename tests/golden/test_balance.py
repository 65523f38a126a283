"""The three sums of the design, over every recording: packets, flows and alerts, none unaccounted.

Counters are held against each other (books.py), against the records in eve.json, and against the
capture file itself, whose packets are counted here without the sensor's code.

Without more: the recordings under tests/data. WIND_CAPTURES=DIR takes all captures below DIR
(.pcap, .pcapng, .cap, also .gz and .zst) instead: script/test balance.
"""

import gzip
import os
import pathlib
import struct
import subprocess

import pytest
from books import balance
from conftest import ROOT

ENDINGS = (".pcap", ".pcapng", ".cap")


def captures():
    folder = pathlib.Path(os.environ.get("WIND_CAPTURES") or ROOT / "tests/data")
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.name.removesuffix(".gz").removesuffix(".zst")
        if path.is_file() and name.endswith(ENDINGS):
            found.append(pytest.param(path, id=str(path.relative_to(folder))))
    assert found, f"no captures below {folder}"
    return found


def content(path):
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(
            ["zstd", "-q", "-dc", "--long=31", path], check=True, stdout=subprocess.PIPE
        ).stdout
    return path.read_bytes()


def packets_of_pcap(data, order):
    n, at = 0, 24
    while at + 16 <= len(data):
        (captured,) = struct.unpack_from(order + "I", data, at + 8)
        at += 16 + captured
        n += at <= len(data)
    return n


def packets_of_pcapng(data):
    n, at, order = 0, 0, "<"
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, length = struct.unpack_from(order + "II", data, at)
        at += length
        n += kind in (2, 3, 6) and at <= len(data)
    return n


def packets_in(path):
    data = content(path)
    if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return packets_of_pcap(data, "<")
    if data[:4] in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        return packets_of_pcap(data, ">")
    return packets_of_pcapng(data)


@pytest.mark.parametrize("capture", captures())
def test_nothing_is_unaccounted(sensor, capture):
    run = sensor("-r", capture)
    assert run.code == 0, run.stderr
    stats = run.stats
    balance(stats)
    assert stats["capture"]["packets"] == packets_in(capture)
    assert stats["flow"]["live"] == 0 and stats["flow"]["lost_ring"] == 0

    flows = run.of_type("flow")
    assert len(flows) == stats["flow"]["made"]
    assert len({f["flow_id"] for f in flows}) == len(flows)
    counted = sum(f["flow"]["pkts_toserver"] + f["flow"]["pkts_toclient"] for f in flows)
    assert counted == stats["decoder"]["ok"]

    alerts = run.of_type("alert")
    assert len(alerts) == stats["alert"]["published"] == stats["alert"]["logged"]
    assert len({(a["wind"]["uid"], a["wind"]["rev"]) for a in alerts}) == len(alerts)
    assert len(run.of_type("anomaly")) == stats["anomaly"]["raised"]
    assert stats["uplink"]["bad_records"] == 0
    assert len(run.lines) == stats["uplink"]["lines"] + 1
