"""Folders of captures, and captures that grow: one run, whatever lies in the folder."""

import gzip
import json
import os
import resource
import signal
import subprocess
import time

import captures
import pytest
from books import balance
from conftest import BIN, DEMO, FIXED, Run

START = 1_700_000_000 * 10**9
SECOND = 10**9
SLOW = 4 if "san" in BIN.parent.name else 1


@pytest.fixture(scope="module")
def demo():
    return captures.read_pcap(DEMO / "capture.pcap.gz")


def talk(number, minute=0):
    """A connection of its own: number n runs n seconds after START."""
    return captures.conversation(
        START + number * SECOND + minute * 60 * SECOND, "10.0.0.1", "10.0.0.2", 40000 + number, 80
    )


def flow_ports(run):
    return [f["src_port"] for f in sorted(run.of_type("flow"), key=lambda f: f["flow"]["start"])]


# ---------------------------------------------------------------- whole folders


def test_flows_go_on_across_files(sensor, tmp_path):
    packets = talk(0)
    folder = tmp_path / "in"
    folder.mkdir()
    for number, packet in enumerate(packets):  # in the reverse order of their names
        (folder / f"{9 - number}.pcap").write_bytes(captures.pcap([packet]))
    run = sensor("-r", folder)
    (flow,) = run.of_type("flow")
    assert flow["flow"]["pkts_toserver"] + flow["flow"]["pkts_toclient"] == len(packets)
    assert run.stats["capture"]["time_backwards"] == 0
    assert run.stats["capture"]["files"] == len(packets)


def test_the_name_decides_when_times_are_equal(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    first, second = talk(0)[:4], talk(0)[4:]
    second = [(first[0][0], *second[0][1:]), *second[1:]]
    (folder / "b").write_bytes(captures.pcap(second))
    (folder / "a").write_bytes(captures.pcap(first))
    run = sensor("-r", folder)
    (flow,) = run.of_type("flow")
    assert flow["flow"]["state"] == "closed"


def test_a_folder_without_captures(sensor, tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.pcap").write_bytes(captures.pcap(talk(0)))
    (folder / ".hidden").write_bytes(captures.pcap(talk(0)))
    run = sensor("-r", folder)
    assert run.code == 1
    assert run.messages == [f"'{folder}' has no capture file in it"]


def test_what_is_no_capture_is_skipped_and_counted(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.pcap").write_bytes(captures.pcap(talk(0)))
    (folder / "a.txt").write_bytes(b"hello there")
    (folder / "empty").write_bytes(b"")
    (folder / "half").write_bytes(captures.pcap([])[:20])
    (folder / "loop").symlink_to("pool")
    (folder / "pool").symlink_to("loop")
    (folder / "up").symlink_to("..")
    (folder / "nowhere").symlink_to("/nowhere/at/all")
    (folder / "link").symlink_to("b.pcap")
    (folder / "unpacked.gz").write_bytes(gzip.compress(b"no capture either"))
    os.mkfifo(folder / "pipe")
    run = sensor("-r", folder)
    assert run.code == 0
    assert flow_ports(run) == [40000] * 2  # the link is read as well
    capture = run.stats["capture"]
    assert (capture["files"], capture["skipped_files"]) == (2, 9)
    for word in ("a.txt", "empty", "half", "loop", "pool", "up", "nowhere", "unpacked.gz", "pipe"):
        assert any(m.startswith(f"'{word}' ") for m in run.messages), (word, run.messages)
    assert len(run.messages) == 9
    balance(run.stats)


def test_many_files_that_are_none_do_not_flood_the_log(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "z.pcap").write_bytes(captures.pcap(talk(0)))
    for number in range(300):
        (folder / f"{number}.txt").write_bytes(b"no capture")
    run = sensor("-r", folder)
    assert run.stats["capture"]["skipped_files"] == 300
    assert len(run.messages) == 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(sensor, tmp_path):
    unreadable(sensor, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_unreadable_file_for_somebody_else(tmp_path):
    """The same as nobody, who has no right to the file."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    (folder / "a").write_bytes(captures.pcap(talk(0)))
    (folder / "b").write_bytes(captures.pcap(talk(1)))
    (folder / "a").chmod(0)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 65534, 65534)
    process = subprocess.run(
        [BIN / "wind-sensor", "-l", out, *FIXED, "-r", folder],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        cwd="/",
        timeout=60 * SLOW,
        check=False,
    )
    process.stdout, process.stderr = process.stdout.decode(), process.stderr.decode()
    run = Run(out, process)
    assert run.code == 0, run.stderr
    assert run.messages == ["'a' can't be opened: Permission denied, skipping"]
    assert flow_ports(run) == [40001]


def unreadable(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_bytes(captures.pcap(talk(0)))
    (folder / "b").write_bytes(captures.pcap(talk(1)))
    (folder / "a").chmod(0)
    run = sensor("-r", folder)
    assert run.code == 0
    assert run.messages == ["'a' can't be opened: Permission denied, skipping"]
    assert flow_ports(run) == [40001]


@pytest.mark.parametrize("what", ["truncated", "corrupt", "gzip"])
def test_a_damaged_file_in_the_middle_is_told_and_the_next_goes_on(sensor, tmp_path, what):
    folder = tmp_path / "in"
    folder.mkdir()
    whole = captures.pcap(talk(1))
    damaged = {
        "truncated": whole[:-20],
        "corrupt": whole + b"\xff" * 16,
        "gzip": gzip.compress(whole)[:-12],
    }[what]
    (folder / "2").write_bytes(captures.pcap(talk(2)))
    (folder / "1").write_bytes(damaged)
    (folder / "0").write_bytes(captures.pcap(talk(0)))
    run = sensor("-r", folder)
    assert run.code == 0
    assert flow_ports(run) == [40000, 40001, 40002]
    (anomaly,) = run.of_type("anomaly")
    event = "file_corrupt" if what == "corrupt" else "file_truncated"
    assert anomaly["anomaly"]["event"] == event
    assert "'1' is " in json.dumps(anomaly)
    assert run.stats["capture"]["damaged_files"] == 1
    assert run.stats["capture"]["files"] == 3
    assert len(run.messages) == 1
    balance(run.stats)
    assert sensor("-r", folder).eve == run.eve


@pytest.fixture
def few_descriptors():
    """A limit for what is started; ours is put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_more_files_than_may_be_open(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2500):
        piece = captures.pcap([talk(number)[0]])
        (folder / f"{number}").write_bytes(gzip.compress(piece) if number % 3 == 0 else piece)
    run = sensor("-r", folder, "--set", "dpi.enabled=no")
    assert run.code == 0, run.stderr
    assert run.stats["capture"]["packets"] == run.stats["capture"]["files"] == 2500
    assert run.stats["capture"]["time_backwards"] == 0


def test_more_files_than_are_kept_in_mind(sensor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}").write_bytes(captures.pcap(talk(number)))
    run = sensor("-r", folder, "--set", "capture.files=5")
    assert (run.stats["capture"]["files"], run.stats["capture"]["skipped_files"]) == (5, 2)
    assert "2 files more than capture.files allows" in run.messages[0]


# ---------------------------------------------------------------- what grows


class Following:
    """wind-sensor --follow, until it is told to end."""

    def __init__(self, folder, what, *more):
        self.out = folder / "out"
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [BIN / "wind-sensor", "-q", "-l", self.out, *FIXED, "-r", what, "--follow", *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def flows(self):
        try:
            lines = (self.out / "eve.json").read_text().splitlines(keepends=True)
        except OSError:
            return []
        lines = [json.loads(line) for line in lines if line.endswith("\n")]
        return [line for line in lines if line["event_type"] == "flow"]

    def until(self, what, condition, seconds=20):
        end = time.monotonic() + seconds * SLOW
        while not condition():
            assert time.monotonic() < end, f"{what}: in vain; {self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        """Ended as asked."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        assert self.process.wait(30 * SLOW) == 0, self.log.read_text()
        self.process.stdout = ""
        self.process.stderr = self.log.read_text()
        return Run(self.out, self.process)


@pytest.fixture
def follow(tmp_path):
    started = []

    def start(what, *more):
        folder = tmp_path / f"following{len(started)}"
        folder.mkdir()
        started.append(Following(folder, what, *more))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def records(run):
    kept = []
    for line in run.lines[:-1]:
        line.get("wind", {}).pop("uid", None)
        line.pop("pcap_filename", None)
        kept.append(json.dumps(line))
    return kept


def is_seen(following, port):
    ends = ("10.0.0.1", port)
    return lambda: any((f["src_ip"], f.get("src_port")) == ends for f in following.flows())


PACK = {
    "pcap": captures.pcap,
    "pcapng": captures.pcapng,
    "gzip": lambda p: gzip.compress(captures.pcap(p)),
    "lz4": lambda p: (
        (
            subprocess.run(
                ["lz4", "-q", "-c"], input=captures.pcap(p), capture_output=True, check=True
            )
        ).stdout
    ),
}


@pytest.mark.parametrize("pack", PACK)
def test_a_file_that_grows_gives_the_same_records(sensor, follow, tmp_path, demo, pack):
    last = [(p[0] + demo[-1][0] - START + 600 * SECOND, *p[1:]) for p in talk(0)]
    after = [(last[-1][0] + 600 * SECOND, *talk(1)[0][1:])]  # ends the flow before it
    data = PACK[pack](demo + last + after)
    (tmp_path / "whole").write_bytes(data)
    path = tmp_path / "growing"
    path.write_bytes(b"")
    following = follow(path)
    with open(path, "ab", buffering=0) as growing:
        step = len(data) // 40 + 1
        for at in range(0, len(data), step):
            growing.write(data[at : at + step])  # records are cut anywhere
            time.sleep(0.01)
    following.until("all of it is seen", is_seen(following, 40000))
    found = following.stop()
    expected = sensor("-r", tmp_path / "whole")
    assert records(found) == records(expected)
    assert not found.of_type("anomaly")
    balance(found.stats)


def test_a_half_written_record_is_waited_for(follow, tmp_path):
    data = captures.pcap(talk(0) + talk(1, minute=10))
    path = tmp_path / "growing"
    path.write_bytes(data[:-7])
    following = follow(path)
    following.until("the first flow has ended", is_seen(following, 40000))
    time.sleep(0.3)
    found = following.stop(signal.SIGINT)
    assert found.messages[0].startswith(f"following '{path}', writing to ")
    assert found.stats["capture"]["packets"] == 15
    assert not found.of_type("anomaly")
    assert found.stats["capture"]["damaged_files"] == 0


def test_nothing_ends_while_nothing_comes(follow, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(captures.pcap(talk(0) + talk(1, minute=10)[:3]))
    following = follow(path, "--set", "flow.idle_new=1s", "--set", "flow.idle=1s")
    following.until("the first flow has ended", is_seen(following, 40000))
    time.sleep(2.5)
    assert len(following.flows()) == 1
    found = following.stop()
    assert [f["flow"]["reason"] for f in found.of_type("flow")] == ["closed", "shutdown"]


def test_a_file_that_shrinks_is_told(follow, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(captures.pcap(talk(0) + talk(1, minute=10)))
    following = follow(path)
    following.until("the first flow has ended", is_seen(following, 40000))
    os.truncate(path, 100)
    found = following.ended()
    (anomaly,) = found.of_type("anomaly")
    assert anomaly["anomaly"]["event"] == "file_corrupt"
    assert "was cut while it was followed" in found.stderr
    assert found.stats["capture"]["packets"] == 16
    assert found.stats["supervisor"]["analyser_restarts"] == 0


def test_a_followed_file_that_is_no_capture(follow, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(b"hello there")
    following = follow(path)
    assert following.process.wait(20 * SLOW) == 1
    assert "is not a capture file" in following.log.read_text()


@pytest.mark.parametrize("args", [["-r", "-"], ["-i", "lo"]])
def test_what_cannot_be_followed(sensor, args):
    run = sensor(*args, "--follow")
    assert run.code == 2
    assert "--follow is for" in run.messages[0]


def test_a_pipe_cannot_be_followed(sensor, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    run = sensor("-r", tmp_path / "pipe", "--follow")
    assert run.code == 1
    assert "--follow is for what grows" in run.messages[0]


def test_a_folder_in_which_files_appear(sensor, follow, tmp_path):
    """As capture tools rotate them: each grows, is closed, and the next one begins."""
    folder, whole = tmp_path / "in", tmp_path / "whole"
    folder.mkdir()
    whole.mkdir()
    (folder / "old.pcap").write_bytes(captures.pcap(talk(0)))
    (folder / "notes.txt").write_bytes(b"not a capture")
    following = follow(folder)
    for number in range(1, 6):
        data = captures.pcap(talk(number, minute=number * 10))
        with open(folder / f"{9 - number}.pcap", "wb", buffering=0) as growing:
            for at in range(0, len(data), 100):
                growing.write(data[at : at + 100])
                time.sleep(0.01)
        following.until("it is read", is_seen(following, 40000 + number - 1))
    found = following.stop()
    for path in folder.iterdir():
        (whole / path.name).write_bytes(path.read_bytes())
    expected = sensor("-r", whole)
    assert records(found) == records(expected)
    assert flow_ports(found) == [40000 + number for number in range(6)]
    assert found.stats["capture"]["files"] == 5, "the last one is not over"
    assert found.stats["capture"]["skipped_files"] == 1
    assert found.stats["capture"]["time_backwards"] == 0
    assert not found.of_type("anomaly")
    balance(found.stats)


def test_an_empty_folder_is_waited_in(follow, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    following = follow(folder)
    time.sleep(0.3)
    (folder / "a").write_bytes(captures.pcap(talk(0) + talk(1, minute=10)))
    following.until("it is read", is_seen(following, 40000))
    assert flow_ports(following.stop()) == [40000, 40001]


def test_a_followed_file_of_a_folder_that_is_never_finished(follow, tmp_path):
    """Cut short for good: told, once a later file is there and nobody writes to it."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_bytes(captures.pcap(talk(0))[:-5])
    following = follow(folder)
    time.sleep(0.5)
    (folder / "b").write_bytes(captures.pcap(talk(1, minute=10) + talk(2, minute=20)))
    following.until("the next one is read", is_seen(following, 40001))
    found = following.stop()
    assert [a["anomaly"]["event"] for a in found.of_type("anomaly")] == ["file_truncated"]
    assert flow_ports(found) == [40000, 40001, 40002]
