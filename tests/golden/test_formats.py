"""The same packets in every format give the same records."""

import gzip
import json
import shutil
import subprocess

import captures
import pytest
from conftest import DEMO


def filtered(data, *command):
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def zstd(data):
    return filtered(data, "zstd", "-q", "-c")


def lz4(data):
    return filtered(data, "lz4", "-q", "-c")


def in_two(compress, data):
    """Two members or frames, cut at a place that is no border of anything."""
    cut = len(data) // 3 + 5
    return compress(data[:cut]) + compress(data[cut:])


VARIANTS = {
    "micro": lambda p: captures.pcap(p),
    "micro_big_endian": lambda p: captures.pcap(p, order=">"),
    "nano": lambda p: captures.pcap(p, nanoseconds=True),
    "nano_big_endian": lambda p: captures.pcap(p, order=">", nanoseconds=True),
    "pcapng": lambda p: captures.pcapng(p),
    "pcapng_big_endian": lambda p: captures.pcapng(p, order=">"),
    "gzip": lambda p: gzip.compress(captures.pcap(p)),
    "gzip_pcapng": lambda p: gzip.compress(captures.pcapng(p)),
    "gzip_members": lambda p: in_two(gzip.compress, captures.pcap(p)),
    "zstd": lambda p: zstd(captures.pcap(p)),
    "zstd_frames": lambda p: in_two(zstd, captures.pcapng(p)),
    "lz4": lambda p: lz4(captures.pcap(p)),
    "lz4_pcapng": lambda p: lz4(captures.pcapng(p, order=">")),
    "lz4_frames": lambda p: in_two(lz4, captures.pcap(p)),
}


def records(run):
    """What must not depend on the container: all of flows, and of alerts all but their ids."""
    kept = []
    for line in run.lines:
        if line["event_type"] == "alert":
            line["wind"].pop("uid")  # derives from the input's bytes
        line.pop("pcap_filename", None)
        kept.append(json.dumps(line))
    return kept


@pytest.fixture(scope="module")
def packets():
    return captures.read_pcap(DEMO / "capture.pcap.gz")


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "micro"])
def test_every_format_gives_the_same_records(sensor, tmp_path, packets, variant):
    for name in ("micro", variant):
        (tmp_path / name).write_bytes(VARIANTS[name](packets))
    expected = sensor("-r", tmp_path / "micro")
    found = sensor("-r", tmp_path / variant)
    assert found.code == 0, found.stderr
    assert expected.stats["capture"]["packets"] == len(packets)
    assert records(found) == records(expected)


def make_pieces(folder, packets):
    """A folder of pieces in as many formats; their names say nothing about their order."""
    names = ["m", "z", "a.gz", "k", "b", "0", "y.zst", "x.lz4"]
    makers = ["micro", "nano_big_endian", "gzip", "pcapng", "pcapng_big_endian", "lz4_frames"]
    makers += ["zstd", "lz4_pcapng"]
    folder.mkdir()
    step = len(packets) // len(names) + 1
    for number, (name, maker) in enumerate(zip(names, makers, strict=True)):
        piece = packets[number * step : (number + 1) * step]
        (folder / name).write_bytes(VARIANTS[maker](piece))
    return len(names)


def test_a_folder_of_pieces_gives_the_same_records(sensor, tmp_path, packets):
    (tmp_path / "file").write_bytes(captures.pcap(packets))
    expected = sensor("-r", tmp_path / "file")
    count = make_pieces(tmp_path / "pieces", packets)
    found = sensor("-r", f"{tmp_path}/pieces/")
    assert found.code == 0, found.stderr
    assert found.stderr == ""
    assert found.stats["capture"] == expected.stats["capture"] | {"files": count}
    assert records(found)[:-1] == records(expected)[:-1]
    assert {line["pcap_filename"] for line in found.of_type("flow")} == {"pieces"}
    assert sensor("-r", tmp_path / "pieces").eve == found.eve, "two replays of a folder differ"


def test_a_pipe_gives_the_same_records(sensor, tmp_path, packets):
    (tmp_path / "file").write_bytes(captures.pcap(packets))
    expected = sensor("-r", tmp_path / "file")
    found = sensor("-r", "-", stdin=captures.pcap(packets))
    assert found.code == 0
    assert records(found) == records(expected)


def test_two_replays_give_identical_bytes(sensor, tmp_path):
    shutil.copy(DEMO / "capture.pcap.gz", tmp_path / "a.pcap")
    first = sensor("-r", tmp_path / "a.pcap", "--features", tmp_path / "rows1")
    second = sensor("-r", tmp_path / "a.pcap", "--features", tmp_path / "rows2")
    assert first.code == second.code == 0
    assert first.eve == second.eve
    assert (tmp_path / "rows1").read_bytes() == (tmp_path / "rows2").read_bytes()


def test_a_run_id_makes_other_ids_and_nothing_else(sensor):
    first = sensor("-r", DEMO / "capture.pcap.gz")
    other = sensor("-r", DEMO / "capture.pcap.gz", "--run-id", "again")
    uids = [{a["wind"]["uid"] for a in run.of_type("alert")} for run in (first, other)]
    assert len(uids[0]) == len(uids[1]) > 0
    assert not uids[0] & uids[1]
    assert records(first) == records(other)
