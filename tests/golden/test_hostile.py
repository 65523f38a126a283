"""Hostile and broken input: one clear sentence and the right exit code, or the right records."""

import random

import captures
import pytest
from books import balance
from conftest import DEMO

YEAR = 365 * 24 * 3600 * 10**9
START = 1_700_000_000 * 10**9


@pytest.fixture(scope="module")
def demo():
    return captures.read_pcap(DEMO / "capture.pcap.gz")


def write(tmp_path, data, name="input.pcap"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def the_sentence(run, code):
    """Exactly one sentence on stderr, and the exit code."""
    assert run.code == code, run.stderr
    assert len(run.messages) == 1, run.stderr
    return run.messages[0]


def test_an_empty_file(sensor, tmp_path):
    path = write(tmp_path, b"")
    assert "is empty" in the_sentence(sensor("-r", path), 1)


def test_random_bytes(sensor, tmp_path):
    path = write(tmp_path, random.Random(7).randbytes(100_000))
    assert "is not a capture file" in the_sentence(sensor("-r", path), 1)


def test_a_reversed_file(sensor, tmp_path, demo):
    path = write(tmp_path, captures.pcap(demo)[::-1])
    assert "is not a capture file" in the_sentence(sensor("-r", path), 1)


def test_no_such_file(sensor):
    assert "No such file" in the_sentence(sensor("-r", "/nowhere/at/all.pcap"), 1)


def test_a_capture_without_packets(sensor, tmp_path):
    run = sensor("-r", write(tmp_path, captures.pcap([])))
    assert run.code == 0
    assert [line["event_type"] for line in run.lines] == ["stats"]


@pytest.mark.parametrize("make", [captures.pcap, captures.pcapng])
def test_a_truncated_file_keeps_what_is_whole(sensor, tmp_path, demo, make):
    run = sensor("-r", write(tmp_path, make(demo[:1000])[:-30]))
    assert run.code == 0
    assert any("cut short" in m for m in run.messages), run.stderr
    assert run.stats["capture"]["packets"] == 999
    assert [a["anomaly"]["event"] for a in run.of_type("anomaly")] == ["file_truncated"]
    balance(run.stats)


def test_every_length_of_a_truncated_file(sensor, tmp_path, demo):
    whole = captures.pcap(demo[:4])
    for length in range(0, len(whole), 7):
        run = sensor("-r", write(tmp_path, whole[:length]), "-q", "--set", "dpi.enabled=no")
        assert run.code in (0, 1), (length, run.stderr)
        assert (run.code == 0) == (length >= 24), (length, run.stderr)


def test_a_gap_of_fifty_years(sensor, tmp_path):
    first = captures.conversation(START, "10.0.0.1", "10.0.0.2", 40000, 80)
    open_flow = [(START + 10**9, captures.udp("10.0.0.1", "10.0.0.3", 5000, 5001, b"x"), 43)]
    later = captures.conversation(START + 50 * YEAR, "10.0.0.1", "10.0.0.2", 40000, 80)
    run = sensor("-r", write(tmp_path, captures.pcap(first + open_flow + later)))
    assert run.code == 0
    flows = run.of_type("flow")
    assert len(flows) == 3
    assert [f["flow"]["start"][:4] for f in flows] == ["2023", "2023", "2073"]
    assert all(f["flow"]["age"] <= 1 for f in flows)
    balance(run.stats)


def test_at_its_own_speed_a_gap_is_waited_for_no_longer_than_a_moment(sensor, tmp_path):
    first = captures.conversation(START, "10.0.0.1", "10.0.0.2", 40000, 80)
    later = captures.conversation(START + YEAR, "10.0.0.1", "10.0.0.2", 40000, 80)
    run = sensor("-r", write(tmp_path, captures.pcap(first + later)), "--speed", "1")
    assert run.code == 0  # and this test has ended
    assert len(run.of_type("flow")) == 2


def test_time_that_runs_backwards(sensor, tmp_path):
    packets = captures.conversation(START, "10.0.0.1", "10.0.0.2", 40000, 80, gap_ns=-2 * 10**9)
    run = sensor("-r", write(tmp_path, captures.pcap(packets)))
    assert run.code == 0
    (flow,) = run.of_type("flow")
    assert flow["flow"]["pkts_toserver"] + flow["flow"]["pkts_toclient"] == 8
    assert flow["flow"]["start"] < flow["flow"]["end"]
    assert flow["flow"]["age"] == 14
    assert run.stats["capture"]["time_backwards"] == 7
    assert [a["anomaly"]["event"] for a in run.of_type("anomaly")] == ["time_backwards"]
    balance(run.stats)


def test_mutated_captures_never_break_the_books(sensor, tmp_path, demo):
    choose = random.Random(11)
    whole = captures.pcap(demo[:600])
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(choose.randrange(1, 60)):
            data[choose.randrange(24, len(data))] = choose.randrange(256)
        run = sensor("-r", write(tmp_path, bytes(data)), "-q")
        assert run.code == 0, run.stderr
        balance(run.stats)
        assert run.stats["supervisor"]["analyser_restarts"] == 0, run.stderr


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"WINDMODL" + bytes(100), bytes(1000)], ids=range(4)
)
def test_a_broken_model_file_is_refused(sensor, tmp_path, data):
    model = write(tmp_path, data, "broken.model")
    run = sensor("-r", DEMO / "capture.pcap.gz", "--set", f"model.path={model}")
    assert "model" in the_sentence(run, 1)


def test_a_missing_model_file(sensor):
    run = sensor("-r", DEMO / "capture.pcap.gz", "--set", "model.path=/nowhere.model")
    assert "/nowhere.model" in the_sentence(run, 1)


def test_a_typo_in_the_configuration(sensor, tmp_path):
    conf = write(tmp_path, b"flow:\n  maxx: 5000\n", "sensor.yaml")
    sentence = the_sentence(sensor("-c", conf, "-r", DEMO / "capture.pcap.gz"), 3)
    assert "sensor.yaml:2" in sentence
    assert "flow.max" in sentence.split("did you mean")[1]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("flow.max=7", "flow.max"),
        ("flow.idle=30", "flow.idle"),
        ("analysis.level=all", "counters"),
        ("home_nets=10.0.0.0/33", "home_nets"),
        ("anomaly.p_max=2", "0 to 1"),
        ("ring.flows=100kb", "power of two"),
        ("uplink.url=http://127.0.0.1:1", "uplink.key_file"),
    ],
)
def test_a_wrong_value(sensor, setting, words):
    run = sensor("--set", setting, "-r", DEMO / "capture.pcap.gz")
    assert words in the_sentence(run, 3)


@pytest.mark.parametrize(
    "args, words",
    [
        ([], "see --help"),
        (["--nonsense"], "see wind-sensor --help"),
        (["file.pcap"], "-r file.pcap"),
        (["-r"], "see wind-sensor --help"),
    ],
)
def test_wrong_usage(sensor, args, words):
    assert words in the_sentence(sensor(*args), 2)


def test_packets_that_make_no_sense_are_told_at_a_capped_rate(sensor, tmp_path):
    """In the order of the input, with their addresses, and not one line more than asked for."""
    frame = bytes(12) + b"\x08\0\x45\0\0\x18\0\1\0\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2abcd"
    packets = [(START + i * 10**6, frame, len(frame)) for i in range(50)]
    packets.append((START + 60 * 10**6, frame[:20], len(frame)))
    run = sensor("-r", write(tmp_path, captures.pcap(packets)), "--set", "decode.anomalies=4")
    assert run.code == 0
    found = [(a["anomaly"]["event"], a.get("src_ip")) for a in run.of_type("anomaly")]
    assert found == [("tcp_malformed", "10.0.0.1")] * 4 + [("ipv4_truncated", None)]
    assert all(a["anomaly"]["type"] == "decode" for a in run.of_type("anomaly"))
    assert run.stats["anomaly"] == {"capped": 46, "raised": 5, "lost": 0}
    assert run.stats["decoder"]["malformed"] == 50
    balance(run.stats)
