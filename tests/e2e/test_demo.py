"""script/demo as a newcomer runs it: what it finds in the lab's recording, and what it leaves."""

import glob
import json
import os
import re
import socket
import subprocess
import tempfile

import pytest
import support

DEMO = support.ROOT / "script" / "demo"
PATIENCE_S = 300


def left_behind(folder):
    """Files and processes that a demo with TMPDIR=folder did not take with it."""
    processes = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words):
            processes.append(words)
    return os.listdir(folder), processes


@pytest.fixture
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


full = pytest.param(["--full"], marks=pytest.mark.services, id="full")


@pytest.fixture(scope="module", params=[pytest.param([], id="embedded"), full])
def demo(request, tmp_path_factory):
    """script/demo --once, without a terminal, as in CI; the page's usual port is taken."""
    folder = tmp_path_factory.mktemp("once")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        done = subprocess.run(
            [DEMO, "--once", *request.param],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "CI": "true", "TMPDIR": str(folder)},
            timeout=PATIENCE_S,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    done.folder, done.is_full = folder, request.param == ["--full"]
    done.report = json.loads(done.stdout.splitlines()[-1])
    return done


def test_once_ends_with_one_json_object(demo):
    assert list(demo.report) == ["packets", "flows", "alerts", "incidents", "url"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", demo.report["url"])
    assert not demo.report["url"].endswith(":8080")  # it was taken
    with open(support.LAB_DEMO / "meta.json", encoding="utf-8") as f:
        meta = json.load(f)
    assert demo.report["packets"] >= meta["capture"]["packets"]
    assert demo.report["flows"] > 1000
    assert 3 <= demo.report["alerts"] <= 5
    assert 1 <= demo.report["incidents"] <= demo.report["alerts"]


def test_it_says_what_was_found_and_why(demo):
    assert "\033" not in demo.stdout
    assert "port_scan" in demo.stdout
    assert "brute_force" in demo.stdout
    assert "beacon" in demo.stdout
    assert demo.stdout.count("because") >= 3
    assert "Incidents" in demo.stdout


def test_the_full_set_up_has_it_everywhere(demo):
    if not demo.is_full:
        assert "Where it is" not in demo.stdout
        return
    found = dict(re.findall(r"^(Kafka|PostgreSQL|Elasticsearch|Redis) +(\d+) ", demo.stdout, re.M))
    assert int(found["Kafka"]) >= demo.report["alerts"], "revisions are messages of their own"
    assert int(found["PostgreSQL"]) == int(found["Elasticsearch"]) == demo.report["alerts"]
    assert int(found["Redis"]) > 0


def test_it_leaves_nothing_behind(demo):
    assert left_behind(demo.folder) == ([], [])
    port = int(demo.report["url"].rsplit(":", 1)[1])
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) != 0


def test_each_attack_of_the_recording_and_few_others(replayed):
    """One alert at least for each attack scenario, at most 2 on hosts that do no harm."""
    with open(support.LAB_DEMO / "meta.json", encoding="utf-8") as f:
        meta = json.load(f)
    address = {host["name"]: host["ip"] for host in meta["hosts"]}
    attacks = {
        (activity["label"], address[activity["host"]])
        for activity in meta["activities"]
        if activity["label"] != "benign"
    }
    assert {label for label, _ in attacks} == {"port_scan", "brute_force", "beacon"}

    found = [
        (alert["type"], entity["value"])
        for alert in replayed.all("alerts")
        for entity in alert["related_entities"]
        if entity["role"] == "attacker"
    ]
    for attack in attacks:
        assert attack in found, f"{attack} raised no alert; there are {found}"
    attackers = {host for _, host in attacks}
    assert len([host for _, host in found if host not in attackers]) <= 2, found


@pytest.mark.parametrize(
    ("until", "code"), [("Ctrl-C ends it", 0), ("replaying", 130)], ids=["at the end", "meanwhile"]
)
def test_ctrl_c_leaves_nothing_behind(until, code, scratch):
    speed = "40" if code == 0 else "2"
    terminal = support.Terminal(DEMO, "--speed", speed, TMPDIR=str(scratch))
    terminal.read_until(until)
    url = re.search(r"http://127\.0\.0\.1:(\d+)", terminal.output)
    assert url, terminal.output
    assert "Password" in terminal.output
    terminal.type(b"\x03")
    assert terminal.wait() == code, terminal.output
    assert left_behind(scratch) == ([], [])
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", int(url.group(1)))) != 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--frob"], 2, "no such option '--frob'"),
        (["--port"], 2, "--port needs a value"),
        (["--port", "99999"], 2, "is no port"),
        (["--speed", "fast"], 2, "is not a number above 0"),
        (["--pcap", "/nowhere.pcap"], 1, "cannot be read"),
    ],
)
def test_a_wrong_call_says_so_at_once(words, code, says):
    done = subprocess.run([DEMO, *words], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert says in done.stderr


def test_a_file_that_is_no_capture_is_a_sentence(scratch):
    with tempfile.NamedTemporaryFile(suffix=".pcap") as f:
        f.write(b"this is no capture, whatever its name says\n" * 10)
        f.flush()
        done = subprocess.run(
            [DEMO, "--once", "--pcap", f.name],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(scratch)},
            timeout=PATIENCE_S,
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the replay failed" in done.stderr
    assert left_behind(scratch) == ([], [])
