"""Is my SPAN right? What a mirror port spoils is told once, the same in each run."""

import gzip

import captures
import pytest
from conftest import DEMO


@pytest.fixture(scope="module")
def packets():
    return captures.read_pcap(DEMO / "capture.pcap.gz")


def told(run):
    assert run.code == 0, run.stderr
    return [
        (line["anomaly"]["event"], line["wind"]["text"])
        for line in run.of_type("anomaly")
        if line["anomaly"]["type"] == "capture"
    ]


def test_a_good_recording_has_no_finding(sensor):
    run = sensor("-r", DEMO / "capture.pcap.gz")
    assert told(run) == []
    assert run.stats["span"]["sampled"] > 200 and run.stats["span"]["tcp_flows"] > 100


def test_a_mirror_of_both_sides_is_told_once_and_the_same_in_each_form(sensor, tmp_path, packets):
    twice = [packet for packet in packets for _ in range(2)]
    (tmp_path / "twice.pcap").write_bytes(captures.pcap(twice))
    (tmp_path / "twice.pcap.gz").write_bytes(gzip.compress(captures.pcapng(twice)))
    plain = sensor("-r", tmp_path / "twice.pcap")
    ((event, text),) = told(plain)
    assert event == "span_duplicates"
    assert "of the packets come twice" in text
    span = plain.stats["span"]
    assert 0.45 < span["duplicates"] / span["sampled"] < 0.55
    assert told(sensor("-r", tmp_path / "twice.pcap.gz")) == told(plain)
    assert sensor("-r", tmp_path / "twice.pcap").eve == plain.eve
    assert told(sensor("-r", tmp_path / "twice.pcap", "--set", "capture.span_check=no")) == []


def test_a_mirror_of_one_direction_is_told(sensor, tmp_path, packets):
    """Only what comes from the lower address, as one side of a tap would have it."""
    half = [p for p in packets if p[1][12:14] == b"\x08\x00" and p[1][26:30] < p[1][30:34]]
    (tmp_path / "half.pcap").write_bytes(captures.pcap(half))
    run = sensor("-r", tmp_path / "half.pcap")
    assert [event for event, _ in told(run)] == ["span_one_way"]
    assert run.stats["span"]["tcp_one_way"] == run.stats["span"]["tcp_flows"] >= 50
