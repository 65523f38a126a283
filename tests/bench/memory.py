#!/usr/bin/env python3
"""script/bench memory: anonymous memory of the analyser with 1 M live flows, and whether it stays.

A capture opens 1 M flows first and then goes on: old ones talk, and new ones come, so that the
table (flow.max = 1 M) is full from the first eighth of the packets to the end. RssAnon of the
analyser is read all the time: what it is when the table has filled, at its highest, and at the end.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import captures

CASES = {
    "wind-nodpi": ["--set", "dpi.enabled=no"],
    "wind": [],
}
LIMITS = [
    "--set",
    "flow.max=1000000",
    "--set",
    "flow.idle_new=120s",
    "--set",
    "flow.idle_udp=120s",
]  # nobody idles out


def analyser_of(parent):
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in task.read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text().startswith("wind-analyser"):
                    return child
            except OSError:
                pass
    return None


def anonymous_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def watch(process):
    """[(seconds, KiB)] of the analyser."""
    start, pid, samples = time.monotonic(), None, []
    while process.poll() is None:
        try:
            pid = pid or analyser_of(process.pid)
            if pid:
                samples.append((time.monotonic() - start, anonymous_kib(pid)))
        except OSError:
            break  # it is over
        time.sleep(0.02)
    process.wait()
    return [s for s in samples if s[1] > 0]


def run(name, settings, capture):
    with tempfile.TemporaryDirectory(prefix="wind-bench-") as out:
        sensor = Path(os.environ["WIND_BIN"]) / "wind-sensor"
        process = subprocess.Popen(
            [sensor, "-q", "-r", capture, "-l", out, *LIMITS, *settings],
            stderr=subprocess.DEVNULL,
        )
        samples = watch(process)
        if process.returncode != 0:
            raise SystemExit(f"memory: wind-sensor ended with {process.returncode}")
        with open(Path(out) / "eve.json", "rb") as f:
            f.seek(-65536, os.SEEK_END)
            stats = json.loads(f.read().splitlines()[-1])["stats"]
    ended = samples[-1][0]
    middle = next(kib for at, kib in samples if at >= ended / 2)
    last = next(kib for at, kib in samples if at >= ended * 0.9)
    return {
        "bench": "memory",
        "case": name,
        "flows": stats["flow"]["made"],
        "evicted": stats["flow"]["ended_evicted"],
        "anon_mib": round(max(kib for _, kib in samples) / 1024),
        "anon_mib_half": round(middle / 1024),
        "anon_mib_late": round(last / 1024),
        "growth": round(last / middle, 3),
        "samples": len(samples),
    }


def main():
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return
    capture = captures.capture("live-1m")
    for name, settings in CASES.items():
        print(json.dumps(run(name, settings, capture)), flush=True)


if __name__ == "__main__":
    main()
