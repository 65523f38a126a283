#!/usr/bin/env python3
"""replay.py BIN CAPTURE [RUNS]: packets per CPU-second of replay, beside ndpiReader.

Everything runs on one core, over the same file out of the page cache, in rounds; the median of
the runs is printed, one JSON line a case. CPU time is user + system of the program and all its
children. Ratios count, not absolute values.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CORE = os.cpu_count() - 1
CASES = {
    "wind": [],
    "wind-nomodel": ["--set", "model.path="],
    "wind-nodpi": ["--set", "dpi.enabled=no"],
    "wind-engine": ["--set", "dpi.enabled=no", "--set", "analysis.level=counters"],
}


def measure(command):
    """(CPU seconds, wall seconds, maximum resident KiB of the largest process)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        ["taskset", "-c", str(CORE), *command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    programs, capture = Path(sys.argv[1]), sys.argv[2]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    out = tempfile.mkdtemp(prefix="wind-bench-")
    sensor = [str(programs / "wind-sensor"), "-q", "-r", capture, "-l", out]
    commands = {name: sensor + more for name, more in CASES.items()}
    if shutil.which("ndpiReader"):
        commands["ndpiReader"] = ["ndpiReader", "-q", "-i", capture]
    times = {name: [] for name in commands}
    Path(capture).read_bytes()
    subprocess.run(sensor, check=True, stderr=subprocess.DEVNULL)
    last = (Path(out) / "eve.json").read_text().splitlines()[-1]
    stats = json.loads(last)["stats"]
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(measure(command))
    shutil.rmtree(out)
    packets = stats["capture"]["packets"]
    peer = statistics.median(times["ndpiReader"]) if "ndpiReader" in times else None
    for name, taken in times.items():
        cpu = statistics.median(taken)
        line = {
            "bench": "replay",
            "case": name,
            "packets": packets,
            "flows": stats["flow"]["made"],
            "cpu_s": round(cpu, 3),
            "mpps_cpu": round(packets / cpu / 1e6, 3),
            "x_ndpiReader": round(peer / cpu, 2) if peer else None,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
