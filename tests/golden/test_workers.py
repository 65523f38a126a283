"""One capture, one worker or several: the same flows, the same alerts; every run the same bytes.

Flows that are over in the same second (a turn of the flow table's wheel) are told by one worker in
the order in which they lie there; by several, worker by worker. So what a flow's host did before it
may count one flow more or less: its score, and which of an attack's flows tipped the alert.
"""

import collections
import gzip

import captures
import pytest
from books import balance
from conftest import DEMO

CAPTURE = DEMO / "capture.pcap.gz"


def flows(run):
    """All of the flow records but what depends on the number of workers."""
    out = []
    for f in run.of_type("flow"):
        f = dict(f, wind=dict(f["wind"]), flow=dict(f["flow"]))
        del f["flow_id"], f["wind"]["score"], f["wind"]["p_value"], f["flow"]["alerted"]
        out.append(f)
    return sorted(out, key=lambda f: (f["flow"]["start"], f["community_id"], f["timestamp"]))


def alerts(run):
    """The last word of each alert: who, what, how bad; and how many revisions it took."""
    last = {a["wind"]["uid"]: a for a in run.of_type("alert")}
    return {
        uid: (
            a["wind"]["detector"],
            a["wind"]["entities"][0]["value"],
            a["wind"]["severity"],
            a["wind"]["count"],
            a["wind"]["rev"],
            a["timestamp"],
        )
        for uid, a in last.items()
    }


def summed(stats):
    """Counters but those of scores."""
    stats = {group: dict(values) for group, values in stats.items()}
    del stats["analysis"]["unusual"]
    return stats


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The recording, not compressed."""
    path = tmp_path_factory.mktemp("plain") / "capture.pcap"
    path.write_bytes(gzip.decompress(CAPTURE.read_bytes()))
    return path


@pytest.mark.parametrize("workers", [2, 4, 7])
def test_several_workers_find_what_one_does(sensor, plain, workers):
    one = sensor("-r", plain, "--set", "capture.workers=1")
    several = sensor("-r", plain, "--set", f"capture.workers={workers}")
    assert several.code == 0, several.stderr
    balance(several.stats)
    assert flows(several) == flows(one)
    assert alerts(several) == alerts(one)
    assert summed(several.stats) == summed(one.stats)
    tally = collections.Counter(f["flow_id"] >> 48 for f in several.of_type("flow"))
    assert len(tally) == workers, "each has a part"
    assert min(tally.values()) > 0.5 * len(flows(one)) / workers
    ids = [f["flow_id"] for f in several.of_type("flow")]
    assert len(ids) == len(set(ids)) and max(ids) < 2**53
    alerted = [sum(f["flow"]["alerted"] for f in run.of_type("flow")) for run in (one, several)]
    assert abs(alerted[0] - alerted[1]) <= alerted[0] / 100


def test_a_compressed_file_is_read_by_several_too(sensor, plain):
    """But for the name of the input, which is in its records."""
    runs = [sensor("-r", file, "--set", "capture.workers=2") for file in (plain, CAPTURE)]
    texts = [run.eve.replace(b"capture.pcap.gz", b"capture.pcap") for run in runs]
    assert texts[0] == texts[1]


def test_a_folder_is_read_by_several_too(sensor, plain, tmp_path):
    packets = captures.read_pcap(CAPTURE)
    folder = tmp_path / plain.name  # the name of the input is in its records
    folder.mkdir()
    step = len(packets) // 9 + 1
    for number in range(9):
        piece = captures.pcap(packets[number * step : (number + 1) * step])
        (folder / f"{number}").write_bytes(gzip.compress(piece) if number % 2 else piece)
    (folder / "notes").write_text("no capture")
    (folder / "cut").write_bytes(captures.pcap(packets[-1:])[:-5])
    several = ["--set", "capture.workers=3"]
    whole, found, again = (sensor("-r", i, *several) for i in (plain, folder, folder))
    assert found.code == 0, found.stderr
    balance(found.stats)
    assert flows(found) == flows(whole)
    capture = {"files": 10, "skipped_files": 1, "damaged_files": 1}
    assert found.stats["capture"] == whole.stats["capture"] | capture
    assert [a["anomaly"]["event"] for a in found.of_type("anomaly")] == ["file_truncated"]
    assert len(found.messages) == 2
    assert found.eve == again.eve


def test_a_folder_without_captures_is_refused_with_one_sentence(sensor, tmp_path):
    (tmp_path / "in").mkdir()
    run = sensor("-r", tmp_path / "in", "--set", "capture.workers=3")
    assert run.code == 1
    assert len(run.messages) == 1 and "has no capture file in it" in run.messages[0]


def test_every_run_gives_the_same_bytes(sensor, plain):
    runs = [sensor("-r", plain, "--set", "capture.workers=3").eve for _ in range(4)]
    assert runs[0] == runs[1] == runs[2] == runs[3]


def test_a_pipe_is_read_by_several_too(sensor, plain):
    """Its bytes don't stay: they are copied for who is behind."""
    file = sensor("-r", plain, "--set", "capture.workers=4")
    pipe = sensor("-r", "-", "--set", "capture.workers=4", stdin=plain.read_bytes())
    assert pipe.code == 0, pipe.stderr
    assert {f["flow_id"] >> 48 for f in pipe.of_type("flow")} == {0, 1, 2, 3}
    assert pipe.eve.replace(b'"pcap_filename":"-"', b'"pcap_filename":"capture.pcap"') == file.eve


def test_a_damaged_file_is_reported_once(sensor, plain, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(plain.read_bytes()[:-7])
    run = sensor("-r", cut, "--set", "capture.workers=3")
    assert run.code == 0
    assert run.stats["capture"]["damaged_files"] == 1
    assert [a["anomaly"]["event"] for a in run.of_type("anomaly")] == ["file_truncated"]
    balance(run.stats)


def test_what_is_no_capture_is_refused_with_one_sentence(sensor, tmp_path):
    (tmp_path / "nonsense").write_bytes(b"this is not a capture file at all")
    run = sensor("-r", tmp_path / "nonsense", "--set", "capture.workers=3")
    assert run.code == 1
    assert len(run.messages) == 1 and "is not a capture file" in run.messages[0]


def test_all_workers_together_keep_to_the_limits(sensor, plain):
    run = sensor("-r", plain, "--set", "capture.workers=4", "--set", "flow.max=1024")
    assert run.stats["flow"]["ended_evicted"] > 0
    balance(run.stats)
