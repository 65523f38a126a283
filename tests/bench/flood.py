#!/usr/bin/env python3
"""script/bench flood: does the cost of a packet stay, and does memory, while a flood comes?

    --packets N     of each flood (10000000)
    --cases A,B     only these: syn syn-slow collide-v4 collide-v6
    --levels A,B    only these: table (the flow table alone, how long a batch of 64 packets takes),
                    engine (decode, flows, counters), full (everything on, as it comes)

Floods come by standard input (bench.floodgen says what they are). After each million packets the
CPU time of all processes of the sensor and the anonymous memory of its analyser are read; eve.json
is emptied then, as logrotate does. A JSON line a case, and first one a kind of keys: how many
buckets do they fill? `ok`: the last million costs at most half more a packet than the second (the
first one fills the table), no million twice as much, and memory grows by less than 5 % after it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import captures
from memory import analyser_of, anonymous_kib

CASES = ["syn", "syn-slow", "collide-v4", "collide-v6"]
LEVELS = {
    "table": None,
    "engine": ["--set", "dpi.enabled=no", "--set", "analysis.level=counters"],
    "full": [],
}
MILLION = 1_000_000
PIECE = 1 << 20


def family(pid):
    """The process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def cpu_ns(pid):
    """Of all threads of the sensor's processes, in nanoseconds."""
    total = 0
    for process in family(pid):
        for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total


class Windows:
    """What was used at the end of each million packets."""

    def __init__(self, sensor, eve):
        self.sensor, self.eve = sensor, eve
        self.samples = []

    def read(self):
        analyser = analyser_of(self.sensor.pid)
        self.samples.append((cpu_ns(self.sensor.pid), anonymous_kib(analyser)))
        if self.eve.exists():
            os.truncate(self.eve, 0)

    def costs(self):
        """Nanoseconds a packet, a million after the other."""
        taken = [cpu for cpu, _ in self.samples]
        return [(b - a) / MILLION for a, b in zip(taken, taken[1:], strict=False)]


def feed(case, packets, sensor, windows):
    """Hand the flood on, in pieces that end with each million."""
    generator = subprocess.Popen(
        [captures.program("floodgen"), case, str(packets)], stdout=subprocess.PIPE
    )
    head = generator.stdout.read(24)
    size = 16 + (62 if case.endswith("v6") else 42 if case.endswith("v4") else 54)
    sensor.stdin.write(head)
    for _ in range(packets // MILLION):
        left = MILLION * size
        while left > 0:
            data = generator.stdout.read(min(left, PIECE))
            if not data:
                raise SystemExit(f"flood: the generator of {case} ended early")
            sensor.stdin.write(data)
            left -= len(data)
        windows.read()
    sensor.stdin.close()
    generator.stdout.close()
    generator.wait()


def stats_at_end(eve):
    with open(eve, "rb") as f:
        f.seek(0, os.SEEK_END)
        f.seek(max(0, f.tell() - 65536))
        return json.loads(f.read().splitlines()[-1])["stats"]


def run_table(case, packets):
    """In a process that has nothing but the table; the longest batch must not get longer."""
    command = [captures.program("floodgen"), "latency", case, str(packets)]
    line = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return line | {"ok": line["last"]["longest"] <= 1.5 * line["second"]["longest"]}


def run(case, level, packets):
    if level == "table":
        return run_table(case, packets)
    with tempfile.TemporaryDirectory(prefix="wind-bench-") as out:
        program = Path(os.environ["WIND_BIN"]) / "wind-sensor"
        sensor = subprocess.Popen(
            [program, "-q", "-r", "-", "-l", out, *LEVELS[level]],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        windows = Windows(sensor, Path(out) / "eve.json")
        feed(case, packets, sensor, windows)
        if sensor.wait() != 0:
            raise SystemExit(f"flood: wind-sensor ended with {sensor.returncode}")
        stats = stats_at_end(Path(out) / "eve.json")
    costs, memory = windows.costs(), [kib for _, kib in windows.samples]
    first = windows.samples[0][0] / MILLION
    flow = stats["flow"]
    is_even = costs[-1] <= 1.5 * costs[0] and max(costs) <= 2 * statistics.median(costs)
    return {
        "bench": "flood",
        "case": case,
        "level": level,
        "packets": stats["capture"]["packets"],
        "flows": flow["made"],
        "evicted": flow["ended_evicted"],
        "idle": flow["ended_idle"],
        "ns_first": round(first),
        "ns_second": round(costs[0]),
        "ns_last": round(costs[-1]),
        "ns_most": round(max(costs)),
        "anon_mib_second": round(memory[1] / 1024),
        "anon_mib_last": round(memory[-1] / 1024),
        "ok": is_even and memory[-1] <= 1.05 * memory[1],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=10 * MILLION)
    parser.add_argument("--cases", type=lambda t: t.split(","), default=CASES)
    parser.add_argument("--levels", type=lambda t: t.split(","), default=list(LEVELS))
    args = parser.parse_args()
    if args.packets < 3 * MILLION:
        parser.error("--packets: at least 3000000, or there is nothing to compare")
    check = subprocess.run([captures.program("floodgen"), "check"], check=False)
    is_fine = check.returncode == 0
    for level in args.levels:
        for case in args.cases:
            line = run(case, level, args.packets)
            is_fine = is_fine and line["ok"]
            print(json.dumps(line), flush=True)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
