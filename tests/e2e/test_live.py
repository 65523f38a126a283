"""Live capture on a link between two network namespaces, made and torn down here. Needs root."""

import os
import signal
import subprocess
import time

import pytest
import support
from books import balance
from live import CLIENT, SERVER, Live

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def live(link, tmp_path):
    return Live(link, tmp_path)


def test_a_scan_is_told_while_it_runs_and_the_books_balance(link, live, tmp_path):
    (tmp_path / "page.html").write_text("hello " * 1000)
    link.start(
        link.b,
        *["python3", "-m", "http.server", "80", "--bind", SERVER, "--directory", tmp_path],
        stderr=subprocess.DEVNULL,
    )
    fetch = ["curl", "-sf", f"http://{SERVER}/page.html"]
    support.until("the web server answers", lambda: not _fails(link, *fetch))
    for _ in range(5):
        link.run(link.a, *fetch)
    scan = ["nmap", "-n", "-Pn", "-sS", SERVER]
    slow = link.start(link.a, *scan, "-p", "1-65535", "--max-rate", "50", stdout=subprocess.DEVNULL)
    alert = support.until(
        "an alert", lambda: [a for a in live.of_type("alert") if _is_scan(a)], 60
    )[0]
    assert slow.poll() is None  # it takes 20 minutes
    slow.kill()
    link.run(link.a, *scan, "-p", "1-300")
    assert alert["src_ip"] == CLIENT and alert["in_iface"] == "wb"
    pages = [f for f in live.of_type("flow") if f.get("dest_port") == 80]
    support.until("the web flows", lambda: [f for f in live.of_type("flow") if _is_page(f)], 60)
    assert all(f["src_ip"] == CLIENT for f in pages)

    stats = live.stop()
    assert stats["capture"]["packets"] > 600
    assert stats["capture"]["kernel_packets"] >= stats["capture"]["packets"]
    assert stats["capture"]["kernel_drops"] == 0
    assert stats["flow"]["made"] == len([x for x in live.lines if x["event_type"] == "flow"])


def _fails(link, *words):
    return subprocess.run(link.command(link.a, *words), capture_output=True, check=False).returncode


def _is_scan(alert):
    return alert["wind"]["detector"] == "port_scan"


def _is_page(flow):
    return flow.get("dest_port") == 80 and flow["flow"]["bytes_toclient"] > 6000


def test_flows_end_on_a_silent_link(link, tmp_path):
    live = Live(link, tmp_path, "--set", "flow.idle=2s", "--set", "flow.idle_new=2s")
    link.run(
        link.a,
        "python3",
        "-c",
        f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{SERVER}', 9))",
    )
    flow = support.until(
        "the flow ends by itself",
        lambda: [f for f in live.of_type("flow") if f.get("dest_port") == 9],
        15,
    )[0]
    assert flow["flow"]["reason"] == "timeout"
    live.stop()


def test_a_link_that_goes_down_comes_back(link, live):
    link.b.ip("link", "set", "wb", "down")
    time.sleep(0.5)
    link.b.ip("link", "set", "wb", "up")
    support.until("the cable is in again", lambda: not _fails(link, "ip", "route", "get", SERVER))
    support.until(
        "packets come again",
        lambda: (
            _fails(link, "nmap", "-n", "-Pn", "-sU", "-p", "9", SERVER) == 0
            and [f for f in live.of_type("stats") if f["stats"]["capture"]["packets"] > 0]
        ),
    )
    live.stop()


def test_an_interface_that_is_gone_ends_the_run_and_saves_what_was_seen(link, live):
    link.run(link.a, "nmap", "-n", "-Pn", "-sS", "-p", "1-50", SERVER)
    support.until(
        "it was seen", lambda: live.of_type("stats")[-1]["stats"]["capture"]["packets"] >= 100
    )
    link.b.ip("link", "del", "wb")
    assert live.process.wait(15 * support.SLOW) == 1
    assert "'wb' cannot be listened to any more: the interface is gone" in live.log
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["flow"]["made"] >= 50 and stats["flow"]["live"] == 0
    lost = [a for a in live.lines if a["event_type"] == "anomaly"]
    assert [a["anomaly"]["event"] for a in lost] == ["interface_lost"]


def test_a_killed_analyser_listens_again(link, live):
    supervisor = live.process.pid
    with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as children:
        pids = children.read().split()
    for pid in pids:
        with open(f"/proc/{pid}/comm", encoding="ascii") as name:
            if name.read().strip() == "wind-analyser":
                os.kill(int(pid), signal.SIGKILL)
    support.until("it was noticed", lambda: "starting it again" in live.log)
    time.sleep(1)
    link.run(link.a, "nmap", "-n", "-Pn", "-sS", "-p", "1-100", SERVER)
    support.until("an alert", lambda: [a for a in live.of_type("alert") if _is_scan(a)], 60)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(30 * support.SLOW) == 0, live.log
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["supervisor"]["analyser_restarts"] == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-i", "nosuch0"), "interface 'nosuch0' does not exist"),
        (("-i", "lo", "--set", "capture.filter=udp prt 5"), "filter 'udp prt 5'"),
    ],
)
def test_what_cannot_be_listened_to_says_why(tmp_path, args, words):
    run = support.run("wind-sensor", *args, "-l", tmp_path)
    assert run.returncode == 1
    assert words in run.stderr
