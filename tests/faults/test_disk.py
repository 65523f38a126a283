"""A disk that is full: what was confirmed stays, what is refused is said, and room heals it."""

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest
import support
from books import balance

PAD = "x" * 20_000


def uids(alerts):
    return {alert["wind"]["uid"] for alert in alerts}


def post(server, text):
    body = {"severity": "low", "type": "probe", "description": text, "metadata": {"pad": PAD}}
    return server.call("POST", "/api/alerts/", body)


def test_sqlite_on_a_full_disk(small_disk, collector_of):
    disk = small_disk("24m")
    server = collector_of(db__path=disk.folder / "wind.db", api__rate="0").start()
    server.token()
    confirmed = []
    for i in range(20):
        assert post(server, f"before {i}").status == 201
        confirmed.append(f"before {i}")
    disk.fill(leave=200_000)
    refused = 0
    for i in range(600):
        answer = post(server, f"full {i}")
        if answer.status == 201:
            confirmed.append(f"full {i}")
            continue
        refused += 1
        assert (answer.status, answer.json["code"]) == (503, "storage"), answer.text
        assert answer.headers["Retry-After"]
        if refused == 5:
            break
    assert refused == 5, "the disk was never full"
    assert server.call("GET", "/api/alerts/?limit=5").status == 200, "who reads goes on"
    assert server.call("GET", "/healthz", token="").status == 200

    disk.empty()
    support.until("it stores again", lambda: post(server, "after").status == 201)
    confirmed.append("after")
    server.kill()
    server.start()
    stored = [a["description"] for a in server.all("alerts")]
    assert sorted(stored) == sorted(confirmed)


def test_a_spool_on_a_full_disk(small_disk, collector_of, tmp_path):
    """The collector is away, the disk takes next to nothing: eve.json has all alerts, and the books
    balance. With room again, and the collector, all goes on."""
    disk = small_disk("2m")
    server = collector_of().start()
    key = server.create_key()
    server.kill()
    out = tmp_path / "sensor"
    disk.fill(leave=4096)
    args = support.sensor_args(server, key, out, spool__dir=disk.folder, uplink__drain="1s")
    run = support.run("wind-sensor", *args, "--run-id", "full")
    assert run.returncode == 0, run.stderr
    lines = support.eve(out)
    stats = lines[-1]["stats"]
    balance(stats)
    told = [line for line in lines if line["event_type"] == "alert"]
    assert stats["alert"]["published"] == len(told)
    assert stats["alert"]["lost_spool"] + stats["alert"]["spooled"] == len(told)

    disk.empty()
    server.start()
    again = support.run("wind-sensor", *args, "--run-id", "room")
    assert again.returncode == 0, again.stderr
    late = support.eve(out)[-1]["stats"]
    balance(late)
    assert late["alert"]["lost_spool"] == 0 and late["alert"]["spooled"] == 0
    second = [line for line in support.eve(out) if line["event_type"] == "alert"]
    stored = {a["uid"] for a in server.all("alerts")}
    assert uids(second) <= stored <= uids(told) | uids(second)


# ---------------------------------------------------------------- alerts go on without a disk
@pytest.fixture
def follow(tmp_path):
    """Live, as far as the disk is concerned: a recording that is followed, in two pieces."""
    made = []

    def make(server, out, **more):
        whole = gzip.decompress(support.CAPTURE.read_bytes())
        grows = tmp_path / "grows.pcap"
        first = len(whole) // 4
        grows.write_bytes(whole[:first])
        args = support.sensor_args(server, server.create_key(), out, capture=grows, **more)
        sensor = support.Process("wind-sensor", *args, "--follow", log=tmp_path / "sensor.log")
        made.append(sensor)
        support.until("it has begun", lambda: (out / "eve.json").exists() and support.eve(out))
        return sensor, lambda: append(grows, whole[first:])

    yield make
    for sensor in made:
        sensor.stop(9)


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def alerts_at(server):
    return {a["type"]: a["rev"] for a in server.all("alerts")}


def test_alerts_go_on_while_the_disk_is_full(small_disk, collector_of, follow):
    disk = small_disk("8m")
    server = collector_of().start()
    sensor, grow = follow(server, disk.folder / "out", stats__interval="1s")
    disk.fill(leave=100_000)
    grow()
    support.until("all are there", lambda: len(alerts_at(server)) == 3, seconds=40)
    assert "lines of eve.json are lost from now on" in sensor.log
    disk.empty()
    support.until("lines again", lambda: has_stats(disk.folder / "out"))
    assert sensor.stop() == 0, sensor.log
    lines = support.eve(disk.folder / "out")
    stats = lines[-1]["stats"]
    balance(stats)
    assert stats["uplink"]["lines_lost"] > 100
    assert stats["uplink"]["lines"] == len(lines) - 1, "whole lines, and as many as are counted"
    assert stats["alert"]["delivered"] == stats["alert"]["published"]
    assert stats["alert"]["lost_spool"] == 0


def has_stats(folder):
    return support.eve(folder)[-1]["event_type"] == "stats"


class FailingDisk:
    """A file system that the kernel makes read-only, under whatever is open. Needs root."""

    def __init__(self, folder):
        self.folder = folder / "failing"
        self.folder.mkdir()
        self.image = folder / "image"
        with open(self.image, "wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        options = "loop,errors=remount-ro"
        done = subprocess.run(
            ["mount", "-o", options, self.image, self.folder], capture_output=True
        )
        if done.returncode != 0:
            pytest.skip("no loop device")

    def fail(self):
        source = subprocess.run(
            ["findmnt", "-no", "SOURCE", self.folder], capture_output=True, text=True, check=True
        )
        name = Path(source.stdout.strip()).name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    def close(self):
        subprocess.run(["umount", "-l", self.folder], check=False)


@pytest.fixture
def failing_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = FailingDisk(tmp_path)
    yield disk
    disk.close()


def test_alerts_go_on_when_the_spool_s_disk_turns_read_only(
    failing_disk, collector_of, follow, tmp_path
):
    """And what nobody has taken by the end is counted as lost."""
    server = collector_of().start()
    spool = failing_disk.folder / "spool"
    sensor, grow = follow(server, tmp_path / "out", spool__dir=spool)
    failing_disk.fail()
    grow()
    support.until("all are there", lambda: len(alerts_at(server)) == 3)
    assert "Read-only file system; alerts are kept in memory" in sensor.log
    server.kill()
    append(tmp_path / "grows.pcap", shifted(gzip.decompress(support.CAPTURE.read_bytes())))
    time.sleep(2)
    assert sensor.stop() == 0, sensor.log
    stats = support.eve(tmp_path / "out")[-1]["stats"]
    balance(stats)
    assert stats["alert"]["spooled"] == stats["spool"]["held"] == 0
    assert stats["alert"]["lost_spool"] > 0
    assert "alerts are lost: the spool can't be written, and nobody took them" in sensor.log


def shifted(pcap, seconds=3600):
    """The packets of a classic pcap, an hour later."""
    out, at = bytearray(), 24
    while at < len(pcap):
        sec = int.from_bytes(pcap[at : at + 4], "little")
        size = int.from_bytes(pcap[at + 8 : at + 12], "little")
        out += (sec + seconds).to_bytes(4, "little") + pcap[at + 4 : at + 16 + size]
        at += 16 + size
    return bytes(out)
