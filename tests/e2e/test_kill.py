"""Whatever is killed costs a moment, never the run, and the books balance."""

import gzip
import json
import os
import random
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
import support
from books import balance

SPEED = "60"  # the recording's six minutes in six seconds


def children(pid):
    """{name: pid} of a process's children that are no zombies."""
    found = {}
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in pids:
        try:
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:
            continue
        if "\nState:\tZ" not in status:
            found[status.split("\n", 1)[0].split("\t")[1]] = int(child)
    return found


class Replay:
    """wind-sensor on the committed recording, at a pace that leaves time to do harm."""

    def __init__(self, folder, *more, capture=support.CAPTURE):
        self.folder = folder / "out"
        self.sensor = support.Process(
            "wind-sensor",
            *["-r", capture, "-l", self.folder, "--set", "sensor.name=edge"],
            *["--run-id", "kill", *more],
            log=folder / "sensor.log",
        )
        self.pid = self.sensor.popen.pid

    def child(self, name, other_than=None):
        def find():
            pid = children(self.pid).get(name)
            return pid if pid != other_than else None

        assert self.sensor.is_running, self.sensor.log
        return support.until(f"there is a {name}", find)

    def analyser_at_once(self):
        while self.sensor.is_running:
            if pid := children(self.pid).get("wind-analyser"):
                return pid
        raise AssertionError(self.sensor.log)

    def until_it_writes(self):
        eve = self.folder / "eve.json"
        support.until("flows come out", lambda: eve.exists() and eve.stat().st_size > 10_000)

    @property
    def lines(self):
        return [json.loads(line) for line in (self.folder / "eve.json").read_text().splitlines()]

    @property
    def stats(self):
        return self.lines[-1]["stats"]


@pytest.fixture
def replay(tmp_path):
    started = []

    def start(*more, **options):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Replay(folder, *more, **options))
        return started[-1]

    yield start
    for made in started:
        if made.sensor.is_running:
            made.sensor.stop(signal.SIGKILL)


several = pytest.mark.parametrize("workers", [1, 2])


def by(workers):
    return ["--set", f"capture.workers={workers}"]


def flow_ends(lines):
    return [line["flow"]["end"] for line in lines if line["event_type"] == "flow"]


@several
def test_an_analyser_that_dies_costs_what_it_held(replay, workers):
    whole = replay()
    assert whole.sensor.wait() == 0, whole.sensor.log
    choose = random.Random(11)
    hurt = replay("--speed", SPEED, *by(workers))
    hurt.until_it_writes()
    victim = None
    for _ in range(3):
        time.sleep(0.2 + choose.random())
        victim = hurt.child("wind-analyser", other_than=victim)
        os.kill(victim, signal.SIGKILL)
    assert hurt.sensor.wait() == 0, hurt.sensor.log
    stats = hurt.stats
    balance(stats)
    assert stats["supervisor"]["analyser_restarts"] == 3
    assert stats["capture"]["packets"] == whole.stats["capture"]["packets"]
    assert stats["decoder"]["lost"] <= 3 * workers  # at a pace, packets are taken one by one
    assert stats["flow"]["ended_crashed"] > 0
    assert max(flow_ends(hurt.lines)) == max(flow_ends(whole.lines))
    ids = [line["flow_id"] for line in hurt.lines if line["event_type"] == "flow"]
    assert len(ids) == len(set(ids)), "a flow id came twice"
    uids = {(a["wind"]["uid"], a["wind"]["rev"]) for a in hurt.lines if a["event_type"] == "alert"}
    assert len(uids) == stats["alert"]["published"]


@several
def test_at_full_speed_too(replay, workers):
    whole = replay()
    assert whole.sensor.wait() == 0, whole.sensor.log
    hurt = replay(*by(workers))
    os.kill(hurt.analyser_at_once(), signal.SIGKILL)
    assert hurt.sensor.wait() == 0, hurt.sensor.log
    balance(hurt.stats)
    assert hurt.stats["supervisor"]["analyser_restarts"] == 1
    assert hurt.stats["capture"]["packets"] == whole.stats["capture"]["packets"]


def write_pieces(folder, count):
    """The recording as a folder of captures, every third of them compressed."""
    data = gzip.open(support.CAPTURE).read()
    starts, at = [], 24
    while at < len(data):
        starts.append(at)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    starts.append(len(data))
    folder.mkdir()
    step = (len(starts) - 1) // count + 1
    for number in range(count):
        first, last = number * step, min((number + 1) * step, len(starts) - 1)
        piece = data[:24] + data[starts[first] : starts[last]]
        piece = gzip.compress(piece) if number % 3 == 0 else piece
        (folder / f"{count - number}").write_bytes(piece)


def test_a_file_of_a_folder_that_is_cut_while_it_is_read(replay, tmp_path):
    """It is mapped, so that costs a crash: the rest of it is lost, the next file is read."""
    folder = tmp_path / "in"
    write_pieces(folder, 2)  # "2", compressed, comes before "1"
    (folder / "2").write_bytes(gzip.decompress((folder / "2").read_bytes()))
    hurt = replay("-r", folder, "--speed", SPEED)
    hurt.until_it_writes()
    os.truncate(folder / "2", 1000)
    assert hurt.sensor.wait() == 0, hurt.sensor.log
    assert "signal 7" in hurt.sensor.log
    assert "'2' is cut short" in hurt.sensor.log
    stats = hurt.stats
    balance(stats)
    assert stats["supervisor"]["analyser_restarts"] == 1
    assert (stats["capture"]["files"], stats["capture"]["damaged_files"]) == (2, 1)
    anomalies = [a["anomaly"]["event"] for a in hurt.lines if a["event_type"] == "anomaly"]
    assert "file_truncated" in anomalies
    whole = replay()
    assert whole.sensor.wait() == 0, whole.sensor.log
    assert max(flow_ends(hurt.lines)) == max(flow_ends(whole.lines))


@several
def test_an_analyser_that_dies_in_the_middle_of_a_folder(replay, tmp_path, workers):
    """Another goes on in the same file, behind the packets that were taken."""
    whole = replay()
    assert whole.sensor.wait() == 0, whole.sensor.log
    write_pieces(tmp_path / "pieces", 40)
    hurt = replay("-r", tmp_path / "pieces", "--speed", SPEED, *by(workers))
    hurt.until_it_writes()
    choose = random.Random(3)
    victim = None
    for _ in range(4):
        time.sleep(0.1 + choose.random())
        victim = hurt.child("wind-analyser", other_than=victim)
        os.kill(victim, signal.SIGKILL)
    assert hurt.sensor.wait() == 0, hurt.sensor.log
    stats = hurt.stats
    balance(stats)
    assert stats["supervisor"]["analyser_restarts"] == 4
    assert stats["capture"]["files"] == 40
    assert stats["capture"]["packets"] == whole.stats["capture"]["packets"]
    assert stats["capture"]["time_backwards"] == 0
    assert stats["decoder"]["lost"] <= 4 * workers
    assert max(flow_ends(hurt.lines)) == max(flow_ends(whole.lines))
    ids = [line["flow_id"] for line in hurt.lines if line["event_type"] == "flow"]
    assert len(ids) == len(set(ids)), "a flow id came twice"


def test_workers_that_die_at_different_places_lose_no_packet(replay, tmp_path):
    """At full speed, in whatever batches: who has a packet in hand that nobody counts?"""
    capture = gzip.open(support.CAPTURE).read()
    long = tmp_path / "long.pcap"
    long.write_bytes(capture[:24] + 3 * capture[24:])
    whole = replay(capture=long)
    assert whole.sensor.wait() == 0, whole.sensor.log
    choose = random.Random(23)
    in_hand = 0
    for _ in range(6):
        # Rings so small that the workers have to wait for room, with packets in hand.
        hurt = replay("--set", "dpi.enabled=no", "--set", "ring.flows=64kb", *by(4), capture=long)
        victim = hurt.analyser_at_once()
        eve = hurt.folder / "eve.json"
        while hurt.sensor.is_running and not (eve.exists() and eve.stat().st_size > 0):
            pass
        time.sleep(choose.random() * 0.05)
        if victim in children(hurt.pid).values():
            os.kill(victim, signal.SIGKILL)
        assert hurt.sensor.wait() == 0, hurt.sensor.log
        balance(hurt.stats)
        assert hurt.stats["capture"]["packets"] == whole.stats["capture"]["packets"]
        in_hand += hurt.stats["decoder"]["lost"]
    assert in_hand > 0, "all of them were killed too early or too late"


@several
def test_an_uplink_that_dies_changes_no_byte(replay, workers):
    whole = replay(*by(workers))
    assert whole.sensor.wait() == 0, whole.sensor.log
    choose = random.Random(5)
    hurt = replay("--speed", SPEED, *by(workers))
    hurt.until_it_writes()
    victim = None
    for _ in range(4):
        time.sleep(choose.random())
        victim = hurt.child("wind-uplink", other_than=victim)
        os.kill(victim, signal.SIGKILL)
    assert hurt.sensor.wait() == 0, hurt.sensor.log
    assert hurt.sensor.log.count("the uplink was killed by signal 9") == 4
    balance(hurt.stats)
    assert (hurt.folder / "eve.json").read_bytes() == (whole.folder / "eve.json").read_bytes()


@several
def test_sigterm_finishes_what_is_in_hand(replay, workers):
    stopped = replay("--speed", SPEED, *by(workers))
    stopped.until_it_writes()
    stopped.sensor.popen.send_signal(signal.SIGTERM)
    assert stopped.sensor.wait(10) == 0, stopped.sensor.log
    balance(stopped.stats)
    assert stopped.stats["flow"]["live"] == 0
    assert stopped.stats["flow"]["ended_flushed"] > 0
    assert len(flow_ends(stopped.lines)) == stopped.stats["flow"]["made"]


def test_two_interrupts_end_at_once(replay):
    stopped = replay("--speed", "1")
    family = [stopped.child("wind-analyser"), stopped.child("wind-uplink")]
    os.kill(family[0], signal.SIGSTOP)  # an analyser that hangs
    stopped.sensor.popen.send_signal(signal.SIGINT)
    support.until("it was heard", lambda: "once more to stop at once" in stopped.sensor.log)
    time.sleep(1.1)  # sooner, it would be taken for the first one's echo
    assert stopped.sensor.is_running
    stopped.sensor.popen.send_signal(signal.SIGINT)
    assert stopped.sensor.wait(5) == 1
    assert "asked twice to stop" in stopped.sensor.log
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)


def test_a_killed_supervisor_leaves_nobody(replay):
    orphaned = replay("--speed", "1")
    family = [orphaned.child("wind-analyser"), orphaned.child("wind-uplink")]
    orphaned.sensor.popen.kill()
    orphaned.sensor.popen.wait()

    def gone():
        for pid in family:
            try:
                if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                    return False
            except OSError:
                pass
        return True

    support.until("both are gone", gone)


def test_an_analyser_that_never_gets_on_ends_the_run(replay):
    doomed = replay()
    end = time.monotonic() + 20 * support.SLOW
    while doomed.sensor.is_running and time.monotonic() < end:
        victim = children(doomed.pid).get("wind-analyser")
        if victim is not None:  # still loading: no packet was taken
            os.kill(victim, signal.SIGKILL)
        time.sleep(0.001)
    assert doomed.sensor.wait(5) == 1
    assert "at the same place: giving up" in doomed.sensor.log


def test_a_pipe_cannot_be_read_again(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with open(tmp_path / "log", "wb") as log:
        sensor = subprocess.Popen(
            [support.BIN / "wind-sensor", "-r", "-", "-l", out],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    sensor.stdin.write(gzip.open(support.CAPTURE).read(100_000))
    sensor.stdin.flush()
    pid = support.until("it analyses", lambda: children(sensor.pid).get("wind-analyser"))
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    assert sensor.wait(20 * support.SLOW) == 1
    sensor.stdin.close()
    assert "pipe" in (tmp_path / "log").read_text()
    stats = support.eve(out)[-1]["stats"]
    balance(stats)
    assert stats["capture"]["packets"] > 0
