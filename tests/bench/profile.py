#!/usr/bin/env python3
"""script/bench profile [CAPTURE...]: where the time goes, for the engine and for everything on.

    --corpus DIR   the mix is made of a corpus

perf (cpu-clock: it needs no hardware counters) samples all processes of the real sensor;
cachegrind counts instructions and cache misses of the same path in one process (bench.path), on
the first 200,000 packets. A JSON line a symbol above one percent. CAPTURE: mix and flows-1m, unless
told.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import captures

CASES = {
    "wind-engine": ("counters", ["--set", "dpi.enabled=no", "--set", "analysis.level=counters"]),
    "wind-nodpi": ("full", ["--set", "dpi.enabled=no"]),
    "wind": ("dpi", []),
}
SLICE = 200_000
LEAST = 1.0  # percent


def say(tool, capture, case, **more):
    line = {"bench": "profile", "tool": tool, "capture": capture, "case": case}
    print(json.dumps(line | more), flush=True)


def perf(name, capture, case, settings, scratch):
    data = scratch / "perf.data"
    sensor = Path(os.environ["WIND_BIN"]) / "wind-sensor"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-o", data, "--"]
    command = [sensor, "-q", "-r", capture, "-l", scratch, *settings]
    subprocess.run([*record, *command], check=True, stderr=subprocess.DEVNULL)
    report = ["perf", "report", "-i", data, "--sort", "comm,sym", "--stdio", "--percent-limit", "1"]
    done = subprocess.run(report, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        found = re.match(r"\s+([\d.]+)%\s+(\S+)\s+\[(.)\] (\S+)", line)
        if found:
            share, comm, where, symbol = found.groups()
            kernel = " (kernel)" if where == "k" else ""
            say("perf", name, case, process=comm, symbol=symbol + kernel, percent=float(share))


def first_packets(capture, out):
    with open(capture, "rb") as f, open(out, "wb") as to:
        to.write(f.read(24))
        for _ in range(SLICE):
            head = f.read(16)
            if len(head) < 16:
                break
            to.write(head + f.read(int.from_bytes(head[8:12], "little")))


def cachegrind(name, capture, case, level, scratch):
    out = scratch / "cachegrind.out"
    model = Path(os.environ["WIND_BIN"]) / "../models/flow-iforest.model"
    valgrind = ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=yes"]
    valgrind.append(f"--cachegrind-out-file={out}")
    command = [captures.program("path"), capture, level, model]
    if level == "counters":
        command.pop()
    done = subprocess.run(
        [*valgrind, *command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    packets = json.loads(done.stdout)["packets"]
    events, total, by_symbol = read_cachegrind(out)
    wanted = {"Ir": "instructions", "DLmr": "read_misses", "DLmw": "write_misses"}
    per_packet = {
        text: round(total[events.index(event)] / packets, 2) for event, text in wanted.items()
    }
    say("cachegrind", name, case, symbol="all", packets=packets, **per_packet)
    for symbol, counts in sorted(by_symbol.items(), key=lambda x: -x[1][0]):
        share = 100 * counts[0] / total[0]
        if share >= LEAST:
            more = {text: round(counts[events.index(e)] / packets, 2) for e, text in wanted.items()}
            say("cachegrind", name, case, symbol=symbol, percent=round(share, 1), **more)


def read_cachegrind(out):
    """Names of events, their totals, and symbol -> counts."""
    events, symbol, by_symbol, total = [], "", {}, []
    for line in out.read_text().splitlines():
        if line.startswith("events:"):
            events = line.split()[1:]
            total = [0] * len(events)
        elif line.startswith("fn="):
            symbol = line[3:]
        elif line[:1].isdigit():
            counts = [int(n) for n in line.split()[1:]]
            sums = by_symbol.setdefault(symbol, [0] * len(events))
            for i, n in enumerate(counts):
                sums[i] += n
                total[i] += n
    return events, total, by_symbol


def main():
    parser = argparse.ArgumentParser(
        prog="script/bench profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("captures", nargs="*", default=["mix", "flows-1m"])
    parser.add_argument("--corpus", type=Path)
    args = parser.parse_args()
    tools = {tool for tool in ("perf", "valgrind") if shutil.which(tool)}
    for missing in {"perf", "valgrind"} - tools:
        print(f"bench: no {missing} here", file=sys.stderr)
    for name in args.captures:
        capture = captures.capture(name, args.corpus)
        with tempfile.TemporaryDirectory(prefix="wind-bench-") as folder:
            scratch = Path(folder)
            first_packets(capture, scratch / "slice.pcap")
            for case, (level, settings) in CASES.items():
                if "perf" in tools:
                    perf(name, capture, case, settings, scratch)
                if "valgrind" in tools:
                    cachegrind(name, scratch / "slice.pcap", case, level, scratch)


if __name__ == "__main__":
    main()
