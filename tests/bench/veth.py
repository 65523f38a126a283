#!/usr/bin/env python3
"""script/bench live [--seconds N] [CASE...]: live capture on a veth pair. Needs root.

Generator and sensor are in two network namespaces, made and removed here, each on a core of its
own (the sensor with all its processes on the last one). First as much as the generator can: what
the sensor takes a second while its ring is full is its capacity; if it does not get full, what it
would take by its CPU time. Then 60 % of that, where the generator can do more, which has to go
without loss. Where the generator can't fill the ring, the sensor is stopped nine tenths of the time
for one more run, with a small ring ("too much"). In each run every packet has to be found:
sent = decoded + dropped by the kernel + left in the ring; `unaccounted` is what is missing there.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import captures

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/e2e"), str(ROOT / "tests/support")]
os.environ.setdefault("WIND_BIN", str(ROOT / "build/release/bin"))

import live  # noqa: E402 (the tests' namespaces)

ENGINE = ["--set", "dpi.enabled=no", "--set", "analysis.level=counters"]
CASES = {
    "wind, mix": ("mix", []),
    "wind-nodpi, mix": ("mix", ["--set", "dpi.enabled=no"]),
    "wind-engine, mix": ("mix", ENGINE),
    "wind, 100k flows": ("flows-100k", []),
    "wind-nodpi, 100k flows": ("flows-100k", ["--set", "dpi.enabled=no"]),
    "wind-engine, 100k flows": ("flows-100k", ENGINE),
    "wind-engine by libpcap, 100k flows": (
        "flows-100k",
        [*ENGINE, "--set", "capture.backend=pcap"],
    ),
}
GENERATOR_CORE, SENSOR_CORE = 0, os.cpu_count() - 1
WARM_S = 2  # not looked at: the ring fills, the table grows


def silent(link):
    """Nobody but the generator says anything on the cable."""
    for space, end in ((link.a, "wa"), (link.b, "wb")):
        space.ip("addr", "flush", "dev", end)
        space.ip("link", "set", end, "down")
        space.ip("link", "set", end, "multicast", "off")
        space.ip("link", "set", end, "addrgenmode", "none")
        space.ip("link", "set", end, "up")


class Sensor(live.Live):
    """On its own core, at the cost of it."""

    def __init__(self, link, folder, *settings):
        super().__init__(link, folder, "-q", *settings)
        self.pids = [self.process.pid, self.child("wind-analyser"), self.child("wind-uplink")]
        for pid in self.pids:
            subprocess.run(
                ["taskset", "-a", "-p", "-c", str(SENSOR_CORE), str(pid)],
                check=True,
                stdout=subprocess.DEVNULL,
            )

    def cpu(self):
        """Seconds of all its processes so far."""
        tasks = [task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    @property
    def lines(self):  # eve.json is large here: the stats alone
        found = []
        if not (self.out / "eve.json").exists():
            return found
        with open(self.out / "eve.json", "rb") as file:
            for line in file:
                if b'"event_type":"stats"' in line and line.endswith(b"\n"):
                    found.append(json.loads(line))
        return found


def send(link, path, rate, seconds):
    command = [captures.program("send"), "wa", path, rate, seconds]
    words = link.command(link.a, "taskset", "-c", GENERATOR_CORE, *command)
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def taken_per_second(lines, started, ended):
    """Packets a second between two stats records that lie within the time of sending."""
    inside = [
        (seconds_of(line["timestamp"]), line["stats"]["capture"]["packets"])
        for line in lines
        if started + WARM_S < seconds_of(line["timestamp"]) < ended
    ]
    if len(inside) < 2:
        raise SystemExit("live: too short for two stats records; give --seconds more")
    return statistics.median(
        (b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(inside, inside[1:], strict=False)
    )


def seconds_of(text):
    """Seconds of 2026-01-02T03:04:05.678901+0000."""
    whole, rest = text.split(".")
    stamp = time.strptime(whole + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    return time.mktime(stamp) - time.timezone + float("0." + rest.split("+")[0].rstrip("Z"))


class Hampered:
    """The sensor gets on in a tenth of the time only: for more than it can take, whatever comes."""

    def __init__(self, pid):
        self.pid, self.is_over = pid, threading.Event()
        self.thread = threading.Thread(target=self.go)

    def go(self):
        while not self.is_over.wait(0.01):
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(0.09)
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


def run(case, path, settings, at, rate, seconds, is_hampered=False):
    """One sensor, one time of sending."""
    link = live.Link()
    try:
        silent(link)
        with tempfile.TemporaryDirectory(prefix="wind-bench-") as folder:
            sensor = Sensor(link, Path(folder), *settings)
            started, cpu = time.time(), sensor.cpu()
            with Hampered(sensor.pids[1]) if is_hampered else contextlib.nullcontext():
                sent = send(link, path, rate, seconds)
            ended = time.time()
            lines = sensor.lines
            time.sleep(0.5)  # for what is in hand
            cpu = sensor.cpu() - cpu
            stats = sensor.stop()
    finally:
        link.close()
    capture = stats["capture"]
    found = capture["packets"] + capture["kernel_drops"] + capture["kernel_left"]
    line = {
        "bench": "live",
        "case": case,
        "at": at,
        "offered": sent["sent"],
        "offered_mpps": round(sent["sent"] / sent["seconds"] / 1e6, 3),
        "generator_cpu_share": round(sent["cpu_s"] / sent["seconds"], 2),
        "taken_mpps": round(taken_per_second(lines, started, ended) / 1e6, 3),
        "mpps_cpu": round(capture["packets"] / max(cpu, 0.01) / 1e6, 3),
        "decoded": sum(stats["decoder"].values()),
        "kernel_drops": capture["kernel_drops"],
        "left": capture["kernel_left"],
        "unaccounted": sent["sent"] - found,
        "flows": stats["flow"]["made"],
        "records_lost": stats["flow"]["lost_ring"],
    }
    return line


def tell(line):
    print(json.dumps(line), flush=True)
    return line


def measure(case, seconds):
    name, settings = CASES[case]
    path = captures.capture(name)
    most = tell(run(case, path, settings, "the generator's best", 0, seconds))
    is_full = most["kernel_drops"] > 0
    capacity = most["taken_mpps"] if is_full else most["mpps_cpu"]
    runs = [most]
    if 0.6 * capacity < most["offered_mpps"]:
        runs.append(tell(run(case, path, settings, "60 %", 0.6e6 * capacity, seconds)))
    if not is_full:
        slow = [*settings, "--set", "capture.buffer=1mb"]
        runs.append(tell(run(case, path, slow, "too much", 0, seconds, is_hampered=True)))
    tell(
        {
            "bench": "live",
            "case": case,
            "capacity_mpps": capacity,
            "capacity_is": "what it took with its ring full" if is_full else "by its CPU time",
            "no_loss_at_mpps": next(
                (r["offered_mpps"] for r in runs if r["kernel_drops"] == 0), None
            ),
            "books_balance": all(r["unaccounted"] == 0 for r in runs),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("case", nargs="*", help=f"of: {'; '.join(CASES)}")
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("live: network namespaces need root")
    if os.cpu_count() < 2:
        raise SystemExit("live: sensor and generator need a core each")
    for case in args.case or CASES:
        if case not in CASES:
            raise SystemExit(f"live: there is no case '{case}'; there are: {'; '.join(CASES)}")
        measure(case, args.seconds)


if __name__ == "__main__":
    main()
