"""The sensor in bad company: closed descriptors, process 1, other users, full disks, signals."""

import collections
import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import support

SENSOR = str(support.BIN / "wind-sensor")
QUICK = ["--set", "dpi.enabled=no", "--set", "model.path="]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def open_folder(tmp_path):
    """A folder that any user can reach."""
    for part in [tmp_path, *tmp_path.parents[:-2]]:
        part.chmod(part.stat().st_mode | 0o055)
    return tmp_path


def eve(folder):
    return [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]


def replay(out, *more, **options):
    return support.run("wind-sensor", "-r", support.CAPTURE, "-l", out, *QUICK, *more, **options)


def start(out, *more, **options):
    return support.Process(
        "wind-sensor", "-r", support.CAPTURE, "-l", out, *QUICK, *more, log=f"{out}.log", **options
    )


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return line.split(":")[1].strip()
    raise KeyError(field)


def is_alive(pid):
    try:
        return status(pid, "State")[0] not in "ZX"
    except OSError:
        return False


def close_all():
    for fd in range(3):
        os.close(fd)


def test_closed_descriptors_leave_the_output_alone(tmp_path):
    usual, closed = tmp_path / "usual", tmp_path / "closed"
    assert replay(usual).returncode == 0
    args = [SENSOR, "-r", support.CAPTURE, "-l", closed, *QUICK]
    done = subprocess.run(args, preexec_fn=close_all, timeout=60 * support.SLOW, check=False)
    assert done.returncode == 0
    assert (closed / "eve.json").read_bytes() == (usual / "eve.json").read_bytes()


def test_a_closed_standard_input_is_empty(tmp_path):
    args = [SENSOR, "-r", "-", "-l", tmp_path / "out", *QUICK]
    done = subprocess.run(
        args,
        preexec_fn=lambda: os.close(0),
        stderr=subprocess.PIPE,
        timeout=60 * support.SLOW,
        check=False,
    )
    assert (done.returncode, b"is empty" in done.stderr) == (1, True)


def test_a_terminal_is_no_capture(tmp_path):
    master, slave = os.openpty()
    done = support.run("wind-sensor", "-r", "-", "-l", tmp_path / "out", *QUICK, stdin=slave)
    os.close(master)
    os.close(slave)
    assert done.returncode == 1
    assert "is a terminal" in done.stderr


def test_standard_output_that_is_full(tmp_path):
    for args in (["--print-config"], ["-r", support.CAPTURE, "-l", tmp_path / "out", *QUICK]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [SENSOR, *args], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
            )
        assert done.returncode == 1
        assert b"standard output" in done.stderr


def test_a_reader_who_has_had_enough(tmp_path):
    read, write = os.pipe()
    os.close(read)
    args = [SENSOR, "-r", support.CAPTURE, "-l", tmp_path / "out", *QUICK]
    assert subprocess.run(args, stdout=write, timeout=60, check=False).returncode == 0
    os.close(write)


def secrets_in(pid, secret):
    """How often `secret` stands in the process's memory."""
    found = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            first, last = (int(n, 16) for n in span.split("-"))
            if rights[0] == "r" and "[v" not in line and last - first < 1 << 28:
                memory.seek(first)
                try:
                    found += memory.read(last - first).count(secret)
                except OSError:
                    pass
    return found


@as_root
def test_the_analyser_never_has_the_key(tmp_path):
    key = tmp_path / "key"
    secret = "4c1d7f" * 7
    key.write_text("wind_1_" + secret)
    values = {"uplink.url": f"http://127.0.0.1:{support.free_port()}", "uplink.key_file": key}
    sensor = start(tmp_path / "out", "--speed", "1", *support.settings(values))
    support.until("it runs", lambda: (tmp_path / "out" / "eve.json").exists())
    by_name = {status(p, "Name"): p for p in children(sensor.popen.pid)}
    support.until("the door is shut", lambda: status(by_name["wind-analyser"], "Seccomp") == "2")
    assert secrets_in(by_name["wind-uplink"], secret.encode()) > 0  # or the test sees nothing
    assert secrets_in(by_name["wind-analyser"], secret.encode()) == 0
    sensor.stop()


@as_root
def test_process_1_of_a_container(tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    args = ["unshare", "-pf", SENSOR, "-r", support.CAPTURE]
    done = subprocess.run(
        [*args, "-l", tmp_path / "out", *QUICK], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert eve(tmp_path / "out")[-1]["event_type"] == "stats"


@as_root
@pytest.mark.parametrize("user", [[], ["--user", "nobody"]])
def test_nobody_outlives_a_killed_supervisor(open_folder, user):
    out = open_folder / "out"
    sensor = start(out, "--speed", "1", *user)
    pid = sensor.popen.pid
    support.until("it runs", lambda: (out / "eve.json").exists() and len(children(pid)) == 2)
    left = children(pid)
    os.kill(pid, signal.SIGKILL)
    sensor.popen.wait()
    support.until("its children end", lambda: not any(is_alive(p) for p in left))


@as_root
def test_what_the_children_may_still_do(open_folder):
    out = open_folder / "out"
    sensor = start(out, "--speed", "1")
    support.until("it runs", lambda: (out / "eve.json").exists())
    by_name = {status(p, "Name"): p for p in children(sensor.popen.pid)}
    analyser, uplink = by_name["wind-analyser"], by_name["wind-uplink"]
    support.until("the door is shut", lambda: status(analyser, "Seccomp") == "2")
    for field in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status(analyser, field), 16) == 0
        assert int(status(uplink, field), 16) & ~(1 << 1) == 0  # CAP_DAC_OVERRIDE
    assert status(analyser, "NoNewPrivs") == status(uplink, "NoNewPrivs") == "1"
    assert sensor.stop() == 0


@as_root
def test_a_new_folder_belongs_to_the_user_who_writes_there(open_folder):
    out = open_folder / "made" / "here"
    done = replay(out, "--user", "nobody")
    assert done.returncode == 0, done.stderr
    assert out.owner() == (out / "eve.json").owner() == "nobody"


def test_an_unknown_user_is_said_once(tmp_path):
    done = replay(tmp_path / "out", "--user", "no-such-user")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no user 'no-such-user'" in done.stderr


def test_two_sensors_do_not_write_into_one_file(tmp_path):
    out = tmp_path / "out"
    first = start(out, "--speed", "50")
    support.until("it writes", lambda: (out / "eve.json").exists())
    second = replay(out)
    assert second.returncode == 1
    assert "another sensor writes there" in second.stderr
    assert first.stop() == 0
    assert eve(out)[-1]["event_type"] == "stats"


def test_a_path_that_is_too_long_is_refused_not_cut(tmp_path):
    out = "/".join([str(tmp_path), *["x" * 200] * 6])
    done = replay(out)
    assert done.returncode == 1
    assert "-l: the path is longer" in done.stderr
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_an_empty_folder_name_is_refused():
    done = replay("")
    assert (done.returncode, "-l: the path is empty" in done.stderr) == (1, True)


def test_a_pipe_into_which_nobody_writes_can_be_left(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    log = tmp_path / "log"
    sensor = support.Process("wind-sensor", "-r", pipe, "-l", tmp_path / "out", *QUICK, log=log)
    support.until("it runs", lambda: (tmp_path / "out" / "eve.json").exists())
    assert sensor.stop() == 0, sensor.log
    assert eve(tmp_path / "out")[-1]["stats"]["capture"]["packets"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_wish_to_stop_may_come_twice(tmp_path, number):
    """timeout(1) and service managers tell the process and its group."""
    out = tmp_path / "out"
    sensor = start(out, "--speed", "1")
    support.until("it writes", lambda: (out / "eve.json").exists())
    time.sleep(0.3)
    os.kill(sensor.popen.pid, number)
    time.sleep(0.005)
    try:
        os.killpg(sensor.popen.pid, number)
    except ProcessLookupError:
        pass
    assert sensor.wait() == 0, sensor.log
    stats = eve(out)[-1]["stats"]
    assert 0 < stats["capture"]["packets"] == sum(stats["decoder"].values())


def test_a_file_size_limit_is_said(tmp_path):
    script = 'ulimit -f 40; exec "$@"'
    args = ["sh", "-c", script, "sh", SENSOR, "-r", support.CAPTURE, "-l", tmp_path / "out", *QUICK]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_log_that_cannot_be_reopened_goes_on(tmp_path):
    out = tmp_path / "out"
    sensor = start(out, "--speed", "200")
    support.until("it writes", lambda: (out / "eve.json").exists())
    out.rename(tmp_path / "moved")
    sensor.popen.send_signal(signal.SIGUSR1)
    support.until("it says so", lambda: "going on with the old file" in sensor.log)
    assert sensor.wait() == 0, sensor.log
    assert eve(tmp_path / "moved")[-1]["event_type"] == "stats"


def test_logrotate_takes_what_is_written_and_nothing_is_lost(tmp_path):
    """With the file that packages install, but for the names of the folder and of the process."""
    out, rules = tmp_path / "out", tmp_path / "rules"
    text = (support.ROOT / "packaging/logrotate/wind-sensor").read_text()
    sensor = start(out, "--speed", "200")
    text = text.replace("/var/log/wind/eve.json /var/log/wind/*/eve.json", f"{out}/eve.json")
    rules.write_text(text.replace("pkill -USR1 -x wind-sensor", f"kill -USR1 {sensor.popen.pid}"))
    support.until("it writes", lambda: (out / "eve.json").exists() and eve_size(out) > 0)
    words = ["/usr/sbin/logrotate", "-f", "-s", tmp_path / "state", rules]
    for count in (1, 2):
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        names = [out / "eve.json.1", out / "eve.json.2.gz"][:count]
        assert all(name.exists() for name in names), list(out.iterdir())
        support.until("the new file is written", lambda: eve_size(out) > 0)
    assert sensor.wait() == 0, sensor.log
    with gzip.open(out / "eve.json.2.gz", "rt", encoding="utf-8") as first:
        lines = first.readlines()
    lines += (out / "eve.json.1").read_text(encoding="utf-8").splitlines()
    lines += (out / "eve.json").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    whole = tmp_path / "whole"
    done = support.run("wind-sensor", "-r", support.CAPTURE, "-l", whole, *QUICK)
    assert done.returncode == 0, done.stderr
    kinds = [record["event_type"] for record in records if record["event_type"] != "stats"]
    again = [record["event_type"] for record in eve(whole) if record["event_type"] != "stats"]
    assert collections.Counter(kinds) == collections.Counter(again)


def eve_size(out):
    path = out / "eve.json"
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"uplink.url": "ftp://x", "uplink.key_file": "KEY"}, "neither https nor http"),
        ({"uplink.url": "https://x/y", "uplink.key_file": "KEY"}, "only scheme, host and port"),
        ({"uplink.url": "https://x", "uplink.key_file": "/nowhere"}, "uplink.key_file '/nowhere'"),
        ({"uplink.url": "http://192.0.2.1", "uplink.key_file": "KEY"}, "plain http"),
    ],
)
def test_a_wrong_uplink_is_a_wrong_configuration(tmp_path, settings, words):
    key = tmp_path / "key"
    key.write_text("wind_1_" + "0" * 40)
    values = {k: key if v == "KEY" else v for k, v in settings.items()}
    for args in (["-T"], ["-r", support.CAPTURE, "-l", tmp_path / "out"]):
        done = support.run("wind-sensor", *args, *support.settings(values))
        assert done.returncode == 3, done.stderr
        assert words in done.stderr
        assert "0000" not in done.stderr


def test_a_speed_is_for_captures():
    done = support.run("wind-sensor", "-i", "lo", "--speed", "2")
    assert (done.returncode, "--speed is for" in done.stderr) == (2, True)
