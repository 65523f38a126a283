#!/usr/bin/env python3
"""script/bench bus: alerts from Kafka into PostgreSQL, beside COPY of the same rows by psql: those
of the table of alerts, and those of all tables that an alert comes into.

    --alerts N     alerts of 1.7 kB in the topic (100,000)
    --sensors N    who sent them (20)
    --partitions N of the topic (6)
    --scattered    each alert is of anybody on anybody, so that nearly each changes another
                   incident; otherwise 200 attackers at a time send 20 each
    --rounds N     each into a database of its own (1); the median counts
    --set K=V      a setting of the collector, any number of times
    --profile FILE perf record of the collector while it works

The topic is full before the collector starts, and it is measured until all are stored, joined into
incidents, their offsets committed and their words in the text index. It has core 0, the rest of
the servers the others. A JSON line a round, a line a target; the table goes to standard error.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import api_servers
import targets
from api_servers import cpu_seconds, rss_mib

import collector

sys.path.append(str(api_servers.HERE.parent / "support"))
import kafka_admin  # noqa: E402

ROOT = api_servers.HERE.parents[1]
PER_CPU_SECOND, OF_COPY = 30_000, 0.8
# All that an alert becomes, the text index included.
TABLES = ["entities", "incidents", "alerts", "alert_uids", "alert_entities", "incident_entities"]
TABLES += ["outbox", "alert_text", "incident_text"]


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- what is measured


class Kafka:
    def __init__(self, folder):
        words = [ROOT / "script" / "services", "start", "--dir", folder]
        words += ["--owner", str(os.getpid()), "kafka"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        self.brokers = dict(line.split("=", 1) for line in done.stdout.split())["WIND_TEST_KAFKA"]
        self.folder = folder

    def stop(self):
        words = [ROOT / "script" / "services", "stop", "--dir", self.folder, "kafka"]
        subprocess.run(words, check=False, capture_output=True)

    def fill(self, args):
        """The topic wind.alerts, and how many bytes an alert has."""
        with kafka_admin.Admin(self.brokers) as admin:
            for word in ("alerts", "health", "dlq"):
                admin.create(f"wind.{word}", args.partitions, 1, {})
        words = [Path(os.environ["BENCH_BIN"]) / "bench.produce", self.brokers]
        n = size = 0
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as producer:
            for body in collector.batches(args.alerts, 500, not args.scattered):
                for alert in json.loads(body)["alerts"]:
                    value = json.dumps(alert, separators=(",", ":"))
                    key = alert["wind"]["entities"][0]["value"]
                    sensor, seq = f"edge-{n % args.sensors}", str(n // args.sensors)
                    line = "\t".join(("wind.alerts", key, sensor, "run", seq, value)) + "\n"
                    producer.stdin.write(line.encode())
                    n += 1
                    size += len(value)
            producer.stdin.close()
            assert int(producer.stdout.read()) == n
        return size / n


def metrics(base):
    with urllib.request.urlopen(base + "/metrics", timeout=60) as answer:
        found = re.findall(r"^(wind_\S+(?:\{[^}]*\})?) (\S+)$", answer.read().decode(), re.M)
    return {name: float(number) for name, number in found}


def threads(pid):
    """CPU seconds of the process by the names of its threads."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        name = (task / "comm").read_text().strip()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        found[name] = found.get(name, 0) + seconds
    return {name: round(s, 2) for name, s in found.items() if s >= 0.05}


def stored(m):
    return m['wind_bus_messages_total{topic="alerts",outcome="stored"}']


def begun(m):
    return m['wind_bus_fetched_total{topic="alerts"}'] > 0


def wait(base, done, pid):
    """Seconds until then, by the clock and of the process's CPU."""
    while True:
        m = metrics(base)
        if done(m):
            return time.monotonic(), cpu_seconds(pid), m
        time.sleep(0.05)


def consume(servers, kafka, number, args):
    """One round: a new database, a new group, the topic from its beginning."""
    name = f"wind{number}"
    servers.sql("postgres", f"CREATE DATABASE {name}")
    settings = {
        "db.url": servers.dsn(name),
        "kafka.brokers": kafka.brokers,
        "kafka.group": name,
    } | dict(word.split("=", 1) for word in args.set)
    servers.key({"db.url": servers.dsn(name)})  # makes the schema
    pg = cpu_seconds(servers.pids["pg"])
    base = servers.wind(name, settings)
    pid = servers.pids[name]
    start, _, _ = wait(base, begun, pid)  # joining the group takes Kafka its time
    if args.profile:
        words = ["perf", "record", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,8192"]
        perf = subprocess.Popen(
            [*words, "-o", args.profile, "-p", str(pid)], stderr=subprocess.PIPE
        )
    end, cpu, m = wait(base, lambda m: stored(m) >= args.alerts and not m["wind_bus_lag_sum"], pid)
    assert m["wind_bus_rejected_total"] == 0 and m["wind_bus_gap_total"] == 0, m
    found, with_search, m = wait(base, lambda m: m["wind_search_behind"] == 0, pid)
    line = {"bench": "bus", "alerts": args.alerts, "seconds": round(end - start, 2)}
    line |= {"rows_s": round(args.alerts / (end - start))}
    line |= {"cpu_us": round(cpu / args.alerts * 1e6, 1)}
    line |= {"with_search_us": round(with_search / args.alerts * 1e6, 1)}
    line |= {"found_after": round(found - end, 2), "indexed": int(m["wind_search_taken_total"])}
    line |= {"pg_us": round((cpu_seconds(servers.pids["pg"]) - pg) / args.alerts * 1e6, 1)}
    line |= {"batches": int(m["wind_bus_batches_total"]), "peak_mib": round(rss_mib(pid, "VmHWM"))}
    line |= {"scattered": args.scattered, "threads": threads(pid)}
    line |= {"load": round(os.getloadavg()[0], 1)}
    servers.end(name)
    if args.profile:
        perf.wait()
    return line


def copy(servers, number, args, what, tables):
    """Seconds that psql takes to COPY the rows of that round into the same tables, empty."""
    source, name = f"wind{number}", f"{what}{number}"
    into = []
    for table in tables:
        file = servers.folder / f"rows-{table}"
        dump = f"\\copy (SELECT * FROM {table} ORDER BY 1) TO '{file}'"
        subprocess.run([*servers.psql(source), "-c", dump], check=True)
        into += ["-c", f"\\copy {table} FROM '{file}'"]
    servers.sql("postgres", f"CREATE DATABASE {name}")
    servers.key({"db.url": servers.dsn(name)})
    servers.sql(name, f"SELECT wind_reserve('alerts_id_seq', {args.alerts})")
    servers.sql(name, "CHECKPOINT")
    pg, start = cpu_seconds(servers.pids["pg"]), time.monotonic()
    subprocess.run([*servers.psql(name), *into], check=True)
    seconds = time.monotonic() - start
    spent = cpu_seconds(servers.pids["pg"]) - pg
    for table in tables:
        (servers.folder / f"rows-{table}").unlink()
    servers.sql("postgres", f"DROP DATABASE {name}")
    return {
        f"{what}_rows_s": round(args.alerts / seconds),
        f"{what}_pg_us": round(spent / args.alerts * 1e6, 1),
    }


# ---------------------------------------------------------------- all of it


def verdicts(lines):
    """Of the median round."""
    line = sorted(lines, key=lambda x: x["with_search_us"])[len(lines) // 2]
    ratio = statistics.median(x["rows_s"] / x["copy_rows_s"] for x in lines)
    of_all = statistics.median(x["rows_s"] / x["copy_all_rows_s"] for x in lines)
    say(f"durable rows a second are {of_all:.2f} of COPY into all tables")
    judged = [
        ("Kafka to PostgreSQL, alerts a CPU-second", 1e6 / line["cpu_us"], PER_CPU_SECOND),
        ("and search", 1e6 / line["with_search_us"], PER_CPU_SECOND),
        ("durable rows a second, × COPY by psql", round(ratio, 2), OF_COPY),
    ]
    made = [targets.judged(name, got, want, None, True) for name, got, want in judged]
    return [x | {"bench": "bus"} for x in made]


def run(args):
    lines = []
    with tempfile.TemporaryDirectory(prefix="wind-bench-") as folder:
        servers = api_servers.Servers(folder)
        kafka = None
        try:
            servers.postgres()
            kafka = Kafka(folder)
            size = kafka.fill(args)
            say(f"{args.alerts:,} alerts of {size:.0f} bytes are in the topic")
            for number in range(args.rounds):
                line = consume(servers, kafka, number, args) | {"bytes": round(size)}
                line |= copy(servers, number, args, "copy", ["alerts"])
                lines.append(line | copy(servers, number, args, "copy_all", TABLES))
                say(f"{number + 1}: {lines[-1]}")
        finally:
            if kafka is not None:
                kafka.stop()
            servers.stop()
    return lines


def main():
    parser = argparse.ArgumentParser(
        prog="script/bench bus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--sensors", type=int, default=20)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--scattered", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--profile")
    args = parser.parse_args()
    lines = run(args)
    judgements = verdicts(lines)
    for line in lines + judgements:
        print(json.dumps(line), flush=True)
    print("\n".join(targets.verdict_table(judgements)), file=sys.stderr)


if __name__ == "__main__":
    main()
