#!/usr/bin/env python3
"""quality.py [--corpus DIR] [--recordings DIR...]: which alerts are raised, and on whom?

One JSON line a family of captures (or a recording of the lab): how many captures, in how many of
them an alert names the malicious side, and every alert on somebody who did nothing. Settings are
the defaults; --set changes them. --keep FILE writes all alerts for reading.

A corpus has manifest.csv with the columns file, role, family, truth and duration_s. truth is
"benign", "malicious" (any alert is right), "host=IP" (an alert on that address is right, others
are wrong) or "dns=A|B" (hosts that ask for names below these domains are malicious).
"""

import argparse
import collections
import concurrent.futures
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "data/lab-demo"
ATTACKS = ("port_scan", "brute_force", "beacon")


def replay(sensor, capture, settings):
    """(final alerts, sources of flows, names asked for by whom, scored flows)."""
    with tempfile.TemporaryDirectory(prefix="wind-quality-") as out:
        command = [sensor, "-q", "-r", str(capture), "-l", out]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{capture}: {done.stderr.strip()}", file=sys.stderr)
        alerts, sources, asked = {}, set(), collections.defaultdict(set)
        flows = 0
        with open(Path(out) / "eve.json") as lines:
            for line in lines:
                record = json.loads(line)
                if record["event_type"] == "alert":
                    alerts[record["wind"]["uid"]] = record
                elif record["event_type"] == "flow":
                    flows += 1
                    sources.add(record["src_ip"])
                    name = record.get("ndpi", {}).get("hostname", "")
                    if name and record.get("dest_port") in (53, 5353):
                        asked[record["src_ip"]].add(name)
    return list(alerts.values()), sources, asked, flows


def culprits(alert):
    """Whom the alert accuses; an anomaly accuses the host it is about."""
    return {e["value"] for e in alert["wind"]["entities"] if e["role"] != "victim"}


def is_right(alert, truth, asked):
    """Whether the alert is about the malicious side; None: nobody is malicious."""
    if truth == "malicious":
        return True
    kind, _, value = truth.partition("=")
    if kind == "host":
        return value in culprits(alert)
    if kind == "dns":
        below = tuple(value.split("|"))
        return any(n.endswith(below) for c in culprits(alert) for n in asked.get(c, ()))
    return False


class Tally:
    def __init__(self):
        self.captures = self.malicious = self.found = self.hosts = self.flows = 0
        self.hours = 0.0
        self.right = collections.Counter()
        self.wrong = collections.Counter()

    def add(self, row, result):
        alerts, sources, asked, flows = result
        right = [a for a in alerts if is_right(a, row["truth"], asked)]
        self.captures += 1
        self.malicious += row["truth"] != "benign"
        self.found += bool(right)
        self.hosts += len(sources)
        self.flows += flows
        self.hours += float(row["duration_s"] or 0) / 3600
        for alert in alerts:
            side = self.right if alert in right else self.wrong
            side[alert["wind"]["detector"]] += 1

    def line(self):
        return {
            "captures": self.captures,
            "malicious": self.malicious,
            "found": self.found,
            "alerts_right": dict(sorted(self.right.items())),
            "alerts_wrong": dict(sorted(self.wrong.items())),
            "hours": round(self.hours, 1),
            "hosts": self.hosts,
            "flows": self.flows,
        }


def corpus_rows(folder, role):
    with open(folder / "manifest.csv", newline="") as f:
        return [r for r in csv.DictReader(f) if r["file"].startswith("pcap/") and r["role"] in role]


def run_corpus(args, keep):
    rows = corpus_rows(args.corpus, args.role.split(","))
    tallies = collections.defaultdict(Tally)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        work = [pool.submit(replay, args.sensor, args.corpus / r["file"], args.set) for r in rows]
        for row, job in zip(rows, work, strict=True):
            result = job.result()
            family = row["family"] if args.fine else row["family"].partition(":")[0]
            side = "benign" if row["truth"] == "benign" else "attack"
            tallies[row["role"], side, family].add(row, result)
            tallies[row["role"], side, "ALL"].add(row, result)
            keep(row["file"], row["truth"], result[0])
    for (role, side, family), tally in sorted(tallies.items()):
        line = {"bench": "quality", "role": role, "side": side, "family": family}
        print(json.dumps(line | tally.line()), flush=True)


def run_recording(args, folder, keep):
    """A recording of the lab: every attack has a host, a label and a detector of that name."""
    meta = json.loads((folder / "meta.json").read_text())
    capture = next(p for p in (folder / "capture.pcap", folder / "capture.pcap.gz") if p.exists())
    alerts, sources, _, flows = replay(args.sensor, capture, args.set)
    address = {h["name"]: h["ip"] for h in meta["hosts"]}
    attacks = {
        (address[a["host"]], a["label"]) for a in meta["activities"] if a["label"] in ATTACKS
    }
    bad = {host for host, _ in attacks}
    found = {
        (host, label)
        for host, label in attacks
        for a in alerts
        if a["wind"]["detector"] == label and host in culprits(a)
    }
    wrong = collections.Counter(a["wind"]["detector"] for a in alerts if not culprits(a) & bad)
    line = {
        "bench": "quality",
        "recording": folder.name,
        "scenario": meta["scenario"],
        "seed": meta["seed"],
        "attacks": len(attacks),
        "found": len(found),
        "missed": sorted(f"{label} {host}" for host, label in attacks - found),
        "alerts_right": dict(
            collections.Counter(a["wind"]["detector"] for a in alerts if culprits(a) & bad)
        ),
        "alerts_wrong": dict(wrong),
        "hosts": len(sources),
        "flows": flows,
    }
    print(json.dumps(line), flush=True)
    keep(folder.name, "lab", alerts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="folder with manifest.csv")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    parser.add_argument("--role", default="val", help="roles of the corpus, by comma")
    parser.add_argument("--fine", action="store_true", help="whole family names, not their kind")
    parser.add_argument("--set", action="append", default=[], help="a setting of the sensor")
    parser.add_argument("--keep", type=Path, help="write every alert there")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.sensor = str(Path(os.environ["WIND_BIN"]) / "wind-sensor")
    if args.corpus is None and not args.recordings:
        args.recordings = [DEMO]
    kept = open(args.keep, "w") if args.keep else None

    def keep(name, truth, alerts):
        for alert in alerts if kept else ():
            print(json.dumps({"file": name, "truth": truth, "alert": alert}), file=kept)

    if args.corpus:
        run_corpus(args, keep)
    for folder in args.recordings:
        run_recording(args, folder, keep)


if __name__ == "__main__":
    main()
