"""Several workers on one interface: the kernel shares out the flows. Needs root."""

import collections
import os
import signal
import struct

import pytest
import support
from books import balance
from live import CLIENT, SERVER, Live, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OURS = ("--set", "capture.filter=udp port 4001")
BACKENDS = ("afpacket", "pcap")


def by(workers):
    return ("--set", f"capture.workers={workers}")


def seen(live, packets):
    """The sensor has taken so many by now."""
    support.until(
        f"{packets} packets are seen", lambda: live.stats()["capture"]["packets"] >= packets
    )


def flows(records):
    return [r for r in records if r["event_type"] == "flow"]


def answer(frame):
    """The same datagram, the other way."""
    ip = frame[14:]
    ports = struct.unpack("!HH", ip[20:24])
    return frame[:14] + ip[:12] + ip[16:20] + ip[12:16] + struct.pack("!HH", *ports[::-1]) + ip[24:]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("workers", (2, 5))
def test_every_packet_comes_to_one_worker_and_every_flow_is_whole(link, tmp_path, backend, workers):
    live = Live(link, tmp_path, *OURS, *by(workers), "--set", f"capture.backend={backend}")
    questions = [udp_frame(n) for n in range(200)]
    link.send([f for question in questions for f in (question, answer(question))], times=50)
    seen(live, 20000)
    stats = live.stop()
    assert stats["capture"]["kernel_packets"] == stats["capture"]["packets"] == 20000
    assert stats["decoder"]["ok"] == 20000
    assert stats["flow"]["made"] == 200
    counted = {(f["flow"]["pkts_toserver"], f["flow"]["pkts_toclient"]) for f in flows(live.lines)}
    assert counted == {(50, 50)}
    tally = collections.Counter(f["flow_id"] >> 48 for f in flows(live.lines))
    assert len(tally) == workers, tally
    assert len({f["flow_id"] for f in flows(live.lines)}) == 200


def test_a_scan_is_one_alert_however_many_saw_it(link, tmp_path):
    live = Live(link, tmp_path, *by(3), "--set", "capture.filter=tcp")
    for port in range(8000, 8060):
        link.run(
            link.a,
            "python3",
            "-c",
            f"import socket; socket.socket().connect_ex(({SERVER!r}, {port}))",
        )
    support.until("the scan is told", lambda: live.of_type("alert"), 30)
    live.stop()
    alerts = [line for line in live.lines if line["event_type"] == "alert"]
    assert {a["wind"]["detector"] for a in alerts} == {"port_scan"}
    assert {a["wind"]["entities"][0]["value"] for a in alerts} == {CLIENT}
    assert len({a["wind"]["uid"] for a in alerts}) == 1
    assert len({f["flow_id"] >> 48 for f in flows(live.lines)}) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_analyser_takes_all_its_workers_and_is_replaced(link, tmp_path, backend):
    live = Live(link, tmp_path, *OURS, *by(2), "--set", f"capture.backend={backend}")
    frames = [udp_frame(n) for n in range(100)]
    link.send(frames, times=20)
    seen(live, 2000)
    first = live.child("wind-analyser")
    os.kill(first, signal.SIGKILL)
    support.until(
        "it is replaced", lambda: live.stats()["supervisor"]["analyser_restarts"] == 1, 30
    )
    before = live.stats()["capture"]["packets"]
    support.until("the new one listens", lambda: live.child("wind-analyser") not in (first, None))

    def goes_on():
        link.send(frames)
        return live.stats()["capture"]["packets"] > before

    support.until("packets come again", goes_on, 30)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(30 * support.SLOW) == 0, live.log
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["flow"]["ended_crashed"] == 100
    ids = [f["flow_id"] for f in flows(live.lines)]
    assert len(ids) == len(set(ids)) == 100
    assert {i >> 48 for i in ids} == {0, 1}


def test_a_stopped_sensor_ends_what_all_workers_have(link, tmp_path):
    live = Live(link, tmp_path, *OURS, *by(4))
    link.send([udp_frame(n) for n in range(500)])
    seen(live, 500)
    stats = live.stop()
    assert stats["flow"]["ended_flushed"] == 500
    assert len(flows(live.lines)) == 500
