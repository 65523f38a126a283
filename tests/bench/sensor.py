#!/usr/bin/env python3
"""script/bench sensor: the packet path beside what people would run instead, on the same files.

    --corpus DIR    the mix is made of a corpus (manifest.csv) instead of the lab's recordings
    --runs N        rounds (3); the median counts. Slow peers run once unless --slow-runs says so
    --captures A,B  only these: mix flows-100k flows-1m flows-100k-new flows-1m-new
    --tools A,B     only these (wind, wind-nodpi, wind-engine, peers), on every capture; else a peer
                    runs where a target names it
    --lines FILE    no run: the table of lines that an earlier run printed

One core, the files in the page cache, packets per CPU-second (user + system, all processes). A JSON
line a case with its ratios to the peers, a line a target of the table; the table itself goes to
standard error. Peers are what is on PATH (ndpiReader, softflowd, nfpcapd, argus, suricata), and
NFStream when NFSTREAM_PYTHON names a Python that has it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import captures
import peers
import targets

CAPTURES = ["mix", "flows-100k", "flows-1m", "flows-100k-new", "flows-1m-new"]
ALWAYS = ("null-mmap", "null-flow", "softflowd")
NO_DPI = ["--set", "dpi.enabled=no"]
WIND = {"wind": [], "wind-nodpi": NO_DPI}
WIND["wind-engine"] = [*NO_DPI, "--set", "analysis.level=counters"]


def wind(settings):
    sensor = str(Path(os.environ["WIND_BIN"]) / "wind-sensor")
    return lambda pcap, out: [sensor, "-r", pcap, "-l", out, *settings]


def stats_of(folder):
    with open(Path(folder) / "eve.json", "rb") as f:
        f.seek(0, os.SEEK_END)
        f.seek(max(0, f.tell() - (64 << 10)))
        return json.loads(f.read().splitlines()[-1])["stats"]


def one_run(tool, command, pcap, scratch):
    folder = tempfile.mkdtemp(dir=scratch)
    try:
        used = peers.measure(command(str(pcap), folder), folder)
        if tool in WIND:
            stats = stats_of(folder)
            used |= {"packets": stats["capture"]["packets"], "flows": stats["flow"]["made"]}
    finally:
        shutil.rmtree(folder)
    return used | {"load": os.getloadavg()[0]}


def median(runs, key):
    return statistics.median(r[key] for r in runs)


def case_line(capture, tool, runs, packets, flows):
    cpu = statistics.median(r["user"] + r["sys"] for r in runs)
    line = {"bench": "sensor", "capture": capture, "case": tool, "packets": packets}
    if tool in WIND:
        line["flows"] = flows
    return line | {
        "cpu_s": round(cpu, 3),
        "user_s": round(median(runs, "user"), 3),
        "sys_s": round(median(runs, "sys"), 3),
        "wall_s": round(median(runs, "wall"), 3),
        "mpps_cpu": round(packets / cpu / 1e6, 4),
        "ns_packet": round(cpu / packets * 1e9, 1),
        "rss_mib": round(median(runs, "rss_kib") / 1024),
        "runs": len(runs),
        "load": round(median(runs, "load"), 1),
    }


def with_ratios(lines):
    """Wind's lines say how many times as fast as each peer of the same capture it is."""
    for line in lines:
        if line["case"] in WIND:
            beside = [x for x in lines if x["capture"] == line["capture"] and x["case"] not in WIND]
            line["x"] = {p["case"]: round(line["mpps_cpu"] / p["mpps_cpu"], 3) for p in beside}
    return lines


def is_wanted(tool, capture, args):
    named = {t for _, where, _, rivals, _, _ in targets.SPEED if where == capture for t in rivals}
    return bool(args.tools) or tool in WIND or tool in named or tool in ALWAYS


def measure_all(args, tools, scratch):
    """Rounds go round everything, so that a busy minute hits one run of each."""
    files = {name: captures.capture(name, args.corpus) for name in args.captures}
    runs = {}
    for turn in range(args.runs):
        for capture, pcap in files.items():
            for tool, command in tools.items():
                if not is_wanted(tool, capture, args) or (
                    tool in peers.SLOW and turn >= args.slow_runs
                ):
                    continue
                peers.preload(str(pcap))
                try:
                    used = one_run(tool, command, pcap, scratch)
                except RuntimeError as e:
                    print(f"bench: {capture}: {e}", file=sys.stderr)
                    continue
                runs.setdefault(capture, {}).setdefault(tool, []).append(used)
                cpu = used["user"] + used["sys"]
                print(f"bench: {turn + 1}: {capture} {tool}: {cpu:.2f} s", file=sys.stderr)
    lines = []
    for capture, by_tool in runs.items():
        packets, flows = (
            next((r[0][k] for t, r in by_tool.items() if t in WIND), None)
            for k in ("packets", "flows")
        )
        if packets is None:
            done = subprocess.run(
                [captures.program("nullread"), "mmap", files[capture]],
                check=True,
                capture_output=True,
            )
            packets = json.loads(done.stdout)["packets"]
        lines += [case_line(capture, t, r, packets, flows) for t, r in by_tool.items()]
    return with_ratios(lines)


def wall(commands, scratch):
    """Seconds until all of them, started together without being pinned, are through."""
    start = time.monotonic()
    running = [
        subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scratch)
        for c in commands
    ]
    for process in running:
        if process.wait() != 0:
            raise RuntimeError(f"{process.args[0]} failed")
    return time.monotonic() - start


def two_workers(args, scratch):
    """What a second worker brings, against what a second null-flow on the same file brings."""
    if (os.cpu_count() or 1) < 2 or "flows-1m" not in args.captures or args.tools:
        return []
    lines = []
    for name in ("flows-100k", "flows-1m"):
        pcap = str(captures.capture(name))
        peers.preload(pcap)
        null = [captures.program("nullread"), "flow", pcap]
        spin = [captures.program("nullread"), "mmap", pcap]
        engine = wind(WIND["wind-engine"])(pcap, scratch)
        two = [*engine, "--set", "capture.workers=2"]
        runs = [
            (wall([null], scratch), wall([null, null], scratch))
            + (wall([engine], scratch), wall([two], scratch))
            + (wall([spin], scratch), wall([spin, spin], scratch))
            for _ in range(args.runs)
        ]
        one_null, two_null, one, both, one_spin, two_spin = map(min, zip(*runs, strict=True))
        gain, null_gain = one / both, 2 * one_null / two_null
        lines.append(
            {
                "bench": "workers",
                "capture": name,
                "case": f"two workers, {name}",
                "gain": round(gain, 3),
                "null_gain": round(null_gain, 3),
                "x": round(gain / null_gain, 3),
                "load": round(os.getloadavg()[0], 1),
                "are_cores_free": 2 * one_spin / two_spin > 1.8,
            }
        )
    return lines


def other_lines(args):
    """What other benchmarks measure for the same table."""
    if args.captures != CAPTURES or args.tools:
        return []
    lines = []
    for program in ("flow.py", "memory.py"):
        script = Path(__file__).parent / program
        if script.exists():
            done = subprocess.run(
                [sys.executable, "-B", script], check=False, stdout=subprocess.PIPE, text=True
            )
            lines += [json.loads(line) for line in done.stdout.splitlines()]
    return lines


def main():
    parser = argparse.ArgumentParser(
        prog="script/bench sensor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", "3")))
    parser.add_argument("--slow-runs", type=int, default=1)
    parser.add_argument("--captures", type=lambda s: s.split(","), default=CAPTURES)
    parser.add_argument("--tools", type=lambda s: s.split(","))
    parser.add_argument("--lines", type=Path)
    args = parser.parse_args()
    if args.lines:
        lines = [json.loads(line) for line in args.lines.read_text().splitlines()]
        lines = [line for line in lines if "target" not in line]
    else:
        tools = {name: wind(settings) for name, settings in WIND.items()}
        tools |= peers.peers(os.environ.get("NFSTREAM_PYTHON"))
        tools = {n: t for n, t in tools.items() if not args.tools or n in args.tools}
        with tempfile.TemporaryDirectory(prefix="wind-bench-") as scratch:
            lines = measure_all(args, tools, scratch)
            lines += two_workers(args, scratch)
        lines += other_lines(args)
    verdicts = targets.verdicts(lines)
    for line in lines + verdicts:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    print(targets.tables(lines, verdicts), file=sys.stderr)


if __name__ == "__main__":
    main()
