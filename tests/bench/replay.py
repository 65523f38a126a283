#!/usr/bin/env python3
"""replay.py [CAPTURE]: packets per CPU-second of replay, beside ndpiReader where it is installed.

Without CAPTURE: COPIES (80) copies of the committed recording, side by side. RUNS=3.
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

ROOT = Path(__file__).resolve().parents[2]
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


def mix():
    capture = ROOT / "build/bench-mix.pcap"
    if not capture.exists():
        script = ROOT / "tests/bench/make_mix.py"
        new = capture.with_suffix(".new")
        subprocess.run(
            [sys.executable, script, new, os.environ.get("COPIES", "80")],
            check=True,
        )
        new.rename(capture)
    return str(capture)


def main():
    programs, capture = Path(os.environ["WIND_BIN"]), sys.argv[1] if len(sys.argv) > 1 else mix()
    runs = int(os.environ.get("RUNS", "3"))
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
