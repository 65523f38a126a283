"""What an interface delivers, frame by frame: nothing twice, nothing uncounted. Needs root."""

import csv
import os
import signal
import struct
import subprocess
import sys
import time

import pytest
import support
from books import balance
from live import Live, pcap, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OURS = ("--set", "capture.filter=udp port 4001 or vlan")
BACKENDS = ("afpacket", "pcap")


def seen(live, packets):
    """The sensor has taken so many by now."""
    support.until(
        f"{packets} packets are seen", lambda: live.stats()["capture"]["packets"] >= packets
    )


def flows(records):
    return [r for r in records if r["event_type"] == "flow"]


@pytest.mark.parametrize("workers", (1, 2))
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_packet_is_accounted_for(link, tmp_path, backend, workers):
    settings = ("--set", f"capture.backend={backend}", "--set", f"capture.workers={workers}")
    live = Live(link, tmp_path, *OURS, *settings)
    assert f"by {'AF_PACKET' if backend == 'afpacket' else 'libpcap'}" in live.log
    frames = [udp_frame(n) for n in range(100)]
    link.send(frames, times=300)
    seen(live, 30000)
    stats = live.stop()
    assert stats["capture"]["kernel_packets"] == 30000
    assert stats["capture"]["packets"] == 30000
    assert stats["capture"]["bytes"] == 300 * sum(map(len, frames))
    assert stats["capture"]["kernel_drops"] == stats["capture"]["kernel_left"] == 0
    assert stats["decoder"]["ok"] == 30000
    assert stats["flow"]["made"] == 100
    assert {f["flow"]["pkts_toserver"] for f in flows(live.lines)} == {300}
    assert {f["in_iface"] for f in flows(live.lines)} == {"wb"}


def what_was_in_it(records):
    """What must not depend on where the same frames were read."""
    stats = records[-1]["stats"]
    named = [(f["src_ip"], f.get("vlan"), f["flow"]["bytes_toserver"]) for f in flows(records)]
    return stats["decoder"], stats["layer"], stats["capture"]["bytes"], sorted(named, key=str)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("in_key", ("yes", "no"))
def test_tags_are_as_in_a_capture_of_the_same_frames(link, tmp_path, backend, in_key):
    frames = []
    for n in range(20):
        frames += [udp_frame(n, tags=tags) for tags in ((), (101,), (102, 7), (0x6000 | 103,))]
    frames.append(udp_frame(1, tags=(1, 2, 3, 4, 5)))  # too deep
    settings = ("--set", f"flow.vlan_in_key={in_key}")
    live = Live(link, tmp_path, *OURS, *settings, "--set", f"capture.backend={backend}")
    link.send(frames)
    seen(live, len(frames))
    live.stop()
    file = tmp_path / "same.pcap"
    file.write_bytes(pcap(frames))
    same = support.run("wind-sensor", "-q", "-r", file, "-l", tmp_path / "replay", *settings)
    assert same.returncode == 0, same.stderr
    assert what_was_in_it(live.lines) == what_was_in_it(support.eve(tmp_path / "replay"))


def test_a_filter_finds_the_tag_that_the_kernel_took_off(link, tmp_path):
    live = Live(link, tmp_path, "--set", "capture.filter=vlan 101 and udp")
    link.send([udp_frame(1), udp_frame(2, tags=(101,)), udp_frame(3, tags=(102,))], times=50)
    seen(live, 50)
    stats = live.stop()
    assert stats["capture"]["kernel_packets"] == 50
    assert [f["src_ip"] for f in flows(live.lines)] == ["10.9.0.2"]


def test_two_interfaces_are_one_input_and_each_flow_names_its_own(link, tmp_path):
    link.add("wc", "wd")
    live = Live(link, tmp_path, *OURS, interfaces=("wb", "wd"))
    assert "listening on 'wb', 'wd'" in live.log
    here, there = [[udp_frame(n) for n in numbers] for numbers in (range(50), range(50, 100))]
    for _ in range(20):
        link.send(here, "wa", times=10)
        link.send(there, "wc", times=10)
    seen(live, 20000)
    stats = live.stop()
    assert stats["capture"]["kernel_packets"] == stats["decoder"]["ok"] == 20000
    assert stats["flow"]["made"] == 100
    for flow in flows(live.lines):
        number = int(flow["src_ip"].split(".")[-1])
        assert flow["in_iface"] == ("wb" if number < 50 else "wd")
        assert flow["flow"]["pkts_toserver"] == 200


def test_two_workers_share_two_interfaces(link, tmp_path):
    link.add("wc", "wd")
    two = ("--set", "capture.workers=2", "--set", "capture.buffer=1mb")
    live = Live(link, tmp_path, *OURS, *two, interfaces=("wb", "wd"))
    frames = [udp_frame(n, b"x" * 1000) for n in range(100)]
    analyser = live.child("wind-analyser")
    os.kill(analyser, signal.SIGSTOP)
    link.send(frames, "wa", times=100)
    link.send(frames, "wc", times=100)
    os.kill(analyser, signal.SIGCONT)
    stats = live.stop()
    capture = stats["capture"]
    assert capture["kernel_packets"] == 20000
    assert capture["kernel_drops"] > 0
    assert capture["packets"] + capture["kernel_drops"] == 20000
    # both directions' worth of one address pair is one flow, whichever interface it came by first
    assert stats["flow"]["made"] == 100


def test_one_of_two_interfaces_goes_and_the_other_stays(link, tmp_path):
    link.add("wc", "wd")
    live = Live(link, tmp_path, *OURS, interfaces=("wb", "wd"))
    link.send([udp_frame(1)], "wc", times=100)
    link.b.ip("link", "del", "wd")
    lost = support.until("it is told", lambda: live.of_type("anomaly"))
    assert [a["anomaly"]["event"] for a in lost] == ["interface_lost"]
    assert "'wd' cannot be listened to any more: the interface is gone" in lost[0]["wind"]["text"]
    support.until("people are told", lambda: "going on with the others" in live.log)
    link.send([udp_frame(2)], "wa", times=100)
    seen(live, 200)
    stats = live.stop()
    assert stats["capture"]["kernel_packets"] == stats["decoder"]["ok"] == 200
    assert len([x for x in live.lines if x["event_type"] == "anomaly"]) == 1


def test_the_last_packets_of_an_interface_that_goes_are_seen(link, tmp_path):
    live = Live(link, tmp_path, *OURS)
    link.send([udp_frame(n) for n in range(100)], times=20)
    link.b.ip("link", "del", "wb")
    assert live.process.wait(15 * support.SLOW) == 1
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["capture"]["packets"] == 2000


@pytest.mark.parametrize("words", ("", "udp port 4001"))
def test_an_interface_that_is_down_is_waited_for(link, tmp_path, words):
    link.add("wc", "wd")
    link.b.ip("link", "set", "wd", "down")
    live = Live(link, tmp_path, "--set", f"capture.filter={words}", interfaces=("wd",))
    assert "'wd' is down: waiting for it" in live.log
    link.b.ip("link", "set", "wd", "up")
    link.send([udp_frame(1)], "wc", times=10)
    support.until("its packets come", lambda: live.stats()["capture"]["packets"] >= 10)
    live.stop()


def test_what_a_stopped_analyser_leaves_behind_is_dropped_and_counted(link, tmp_path):
    live = Live(link, tmp_path, *OURS, "--set", "capture.buffer=1mb")
    frames = [udp_frame(n, b"x" * 1000) for n in range(50)]
    analyser = live.child("wind-analyser")
    os.kill(analyser, signal.SIGSTOP)
    link.send(frames, times=100)  # five times what the buffer holds
    os.kill(analyser, signal.SIGCONT)
    support.until("drops are told", lambda: live.stats()["capture"]["kernel_drops"] > 0)
    link.send(frames, times=2)
    time.sleep(0.2)
    stats = live.stop()
    capture = stats["capture"]
    assert capture["kernel_packets"] == 5100
    assert capture["packets"] + capture["kernel_drops"] == 5100  # nothing is left
    assert 500 <= capture["packets"] < 2500 and capture["kernel_freezes"] >= 1
    assert stats["decoder"]["ok"] == capture["packets"]


def test_what_is_in_the_ring_when_it_is_asked_to_stop_is_still_taken(link, tmp_path):
    live = Live(link, tmp_path, *OURS)
    analyser = live.child("wind-analyser")
    os.kill(analyser, signal.SIGSTOP)
    link.send([udp_frame(n) for n in range(100)], times=100)
    live.process.send_signal(signal.SIGTERM)
    support.until("it was asked", lambda: "stopping" in live.log)
    os.kill(analyser, signal.SIGCONT)
    assert live.process.wait(30 * support.SLOW) == 0, live.log
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["capture"]["packets"] == stats["capture"]["kernel_packets"] == 10000


@pytest.mark.parametrize(("backend", "workers"), (("afpacket", 1), ("afpacket", 2), ("pcap", 1)))
def test_a_killed_analyser_is_replaced_with_its_books_in_order(link, tmp_path, backend, workers):
    settings = {"capture.backend": backend, "capture.workers": workers}
    live = Live(link, tmp_path, *OURS, *support.settings(settings))
    link.send([udp_frame(n) for n in range(100)], times=10)
    seen(live, 1000)
    os.kill(live.child("wind-analyser"), signal.SIGKILL)
    support.until("it was noticed", lambda: "starting it again" in live.log)
    support.until("another one", lambda: live.child("wind-analyser"))
    time.sleep(1)
    link.send([udp_frame(n) for n in range(100)], times=10)
    seen(live, 2000)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(30 * support.SLOW) == 0, live.log
    stats = live.lines[-1]["stats"]
    balance(stats)
    assert stats["supervisor"]["analyser_restarts"] == 1
    assert stats["capture"]["packets"] == 2000


def test_without_the_right_to_listen_it_says_so(link, tmp_path):
    run = subprocess.run(
        link.command(
            link.b,
            *["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"],
            *[support.BIN / "wind-sensor", "-i", "wb", "-l", tmp_path],
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert "'wb': no right to listen (CAP_NET_RAW)" in run.stderr


def test_a_card_that_puts_packets_together_is_told_with_the_remedy(link, tmp_path):
    set_gro = (
        "import fcntl, socket, struct, ctypes; value = struct.pack('II', 0x2C, 1);"
        "buffer = ctypes.create_string_buffer(value);"
        "request = struct.pack('16sP16x', b'wb', ctypes.addressof(buffer));"
        "fcntl.ioctl(socket.socket(), 0x8946, request)"
    )
    subprocess.run(link.command(link.b, sys.executable, "-c", set_gro), check=True)
    live = Live(link, tmp_path)
    assert "'wb' puts packets together before they are seen (GRO)" in live.log
    assert "ethtool -K wb gro off" in live.log
    assert live.stop()["span"]["offloads"] == 1


def test_a_mirror_of_both_sides_is_told_while_it_listens(link, tmp_path):
    live = Live(link, tmp_path, *OURS)
    assert "puts packets together" not in live.log
    link.send([udp_frame(n) for n in range(1, 6000) for _ in range(2)])
    found = support.until("it is told", lambda: live.of_type("anomaly"))
    assert [a["anomaly"]["event"] for a in found] == ["span_duplicates"]
    span = live.stop()["span"]
    assert span["offloads"] == 0
    assert span["others"] > 200 and span["own"] == 0  # to a card that is not there


def test_what_a_mirror_spoils_is_missing_from_the_features(link, tmp_path):
    rows = tmp_path / "rows.csv"
    live = Live(link, tmp_path, *OURS, "--features", rows, "--set", "flow.idle_new=1s")
    first = [udp_frame(n) for n in range(1, 100)]
    link.send(first)
    support.until("they ended", lambda: len(live.of_type("flow")) == 99)
    link.send([udp_frame(n) for n in range(1000, 7000) for _ in range(2)])
    support.until("it is told", lambda: live.of_type("anomaly"))
    link.send([udp_frame(n) for n in range(20000, 20100)])
    seen(live, 99 + 12000 + 100)
    live.stop()
    with open(rows, encoding="utf-8") as table:
        next(table)  # the schema
        found = list(csv.DictReader(table))
    counts = [row["pkts_fwd"] for row in found]
    assert counts[:99] == ["1"] * 99 and counts[-100:] == [""] * 100
    assert all(row["payload_mean_fwd"] == "20" for row in found)


def in_fragments(n):
    """A datagram of udp_frame() that is longer than a frame, and comes in two of them."""
    whole = udp_frame(n, b"x" * 2000)
    ip, body = bytearray(whole[14:34]), whole[34:]
    pieces = []
    for at, piece in ((0, body[:1200]), (1200, body[1200:])):
        word = at // 8 | (0x2000 if at == 0 else 0)
        ip[2:8] = struct.pack("!HHH", 20 + len(piece), 1 + n, word)
        ip[10:12] = bytes(2)
        total = sum(struct.unpack("!10H", ip))
        total = (total & 0xFFFF) + (total >> 16)
        ip[10:12] = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
        pieces.append(whole[:14] + bytes(ip) + piece)
    return pieces


def test_what_the_kernel_defragments_for_us_is_no_offload_of_the_card(link, tmp_path):
    live = Live(link, tmp_path, "--set", "capture.workers=2", "--set", "capture.filter=udp")
    link.send([piece for n in range(1200) for piece in in_fragments(n)])
    seen(live, 1200)
    live_anomalies = live.of_type("anomaly")
    stats = live.stop()
    assert stats["defrag"]["started"] == 0, "the kernel did it"
    assert stats["capture"]["packets"] == stats["flow"]["made"] == 1200
    assert stats["span"]["oversized"] == 0 and live_anomalies == []


def test_own_packets_are_told_from_those_of_others(link, tmp_path):
    address = link.run(link.b, "ip", "-br", "link", "show", "wb").split()[2]
    live = Live(link, tmp_path, *OURS)
    ours = bytes.fromhex(address.replace(":", ""))
    link.send([ours + udp_frame(n)[6:] for n in range(1, 6000)])
    seen(live, 5999)
    span = live.stop()["span"]
    assert span["own"] > 100 and span["others"] == 0


TUN = """
import fcntl, struct, sys, time
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"wt", 0x1001))  # IFF_TUN, IFF_NO_PI
print("made", flush=True)
for line in sys.stdin:
    tun.write(bytes.fromhex(line))
"""


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interface_without_a_link_layer(link, tmp_path, backend):
    tun = link.start(
        link.b, sys.executable, "-c", TUN, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert tun.stdout.readline() == b"made\n"
    link.b.ip("link", "set", "wt", "up")
    how = ("--set", f"capture.backend={backend}", "--set", "capture.filter=udp port 4001")
    live = Live(link, tmp_path, *how, interfaces=("wt",))
    assert ("AF_PACKET" in live.log) == (backend == "afpacket")
    for n in range(200):
        tun.stdin.write(udp_frame(n)[14:].hex().encode() + b"\n")
    tun.stdin.flush()
    seen(live, 200)
    stats = live.stop()
    assert stats["decoder"]["ok"] == stats["layer"]["raw"] == stats["flow"]["made"] == 200


def test_all_interfaces_at_once_are_left_to_libpcap(link, tmp_path):
    live = Live(link, tmp_path, "--set", "capture.filter=udp port 4001", interfaces=("any",))
    assert "by libpcap" in live.log
    link.send([udp_frame(n) for n in range(50)], times=4)
    seen(live, 200)
    stats = live.stop()
    assert stats["flow"]["made"] == 50
    assert {f["in_iface"] for f in flows(live.lines)} == {"any"}
    refused = support.run(
        "wind-sensor", "-i", "any", "-l", tmp_path, "--set", "capture.backend=afpacket"
    )
    assert refused.returncode == 1 and "'any' is left to libpcap" in refused.stderr


def in_vxlan(inner, hosts, port):
    """The frame between two ends of a tunnel, whose source port depends on what is in it."""
    udp = struct.pack("!HHHHII", port, 4789, 16 + len(inner), 0, 0x08000000, 42 << 8) + inner
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    return bytes.fromhex("0200000000020200000000010800") + head + b"".join(hosts) + udp


def turned(frame):
    """The answer to a frame of udp_frame()."""
    ends = frame[30:34] + frame[26:30] + frame[36:38] + frame[34:36]
    return frame[:26] + ends + frame[38:]


def test_both_directions_in_a_tunnel_are_one_workers(link, tmp_path):
    settings = {"capture.workers": 2, "capture.fanout": "hosts", "capture.filter": "udp port 4789"}
    live = Live(link, tmp_path, *support.settings(settings))
    frames = []
    for n in range(60):
        ends = [bytes([10, 99, 0, 1]), bytes([10, 99, n // 3, 2])]
        frames.append(in_vxlan(udp_frame(n), ends, 20000 + n))
        frames.append(in_vxlan(turned(udp_frame(n)), ends[::-1], 40000 + 7 * n))
    link.send(frames, times=5)
    seen(live, 600)
    stats = live.stop()
    assert stats["layer"]["vxlan"] == stats["decoder"]["ok"] == 600
    found = flows(live.lines)
    assert len(found) == 60
    assert all(f["flow"]["pkts_toserver"] == f["flow"]["pkts_toclient"] == 5 for f in found)
    assert len({f["flow_id"] >> 48 for f in found}) == 2, "both workers have some"
