#!/usr/bin/env python3
"""script/bench collector: the API beside what a team would write instead, in the same run.

    --alerts N     alerts in each database (1,000,000)
    --seconds N    of load a case (6)
    --cases A,B    only these of: list50 pages get me post mix
    --servers A,B  only these of: peer wind-sqlite wind-postgres
    --growth A,B   sizes of the growth table (10000,100000 and --alerts); "no" for none
    --rounds N     rounds over all servers (1); the median counts
    --lines FILE   no run: the tables of lines that an earlier run printed

The peer is FastAPI, asyncpg, Redis and argon2, tuned (tests/bench/api_peer); its packages come from
PyPI at the first run. Both services have core 0, PostgreSQL, Redis and wrk the others. CPU time a
request counts, of the service and of PostgreSQL: requests a second depend on who else is there.
list50 is the newest 50 again and again, which Wind keeps in memory until the next commit
(cache.lists); pages are 50 anywhere, each time others. A JSON line a case, a line a target; tables
go to standard error.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import api_rows
import api_servers
import api_targets
from api_servers import call, cpu_seconds, rss_mib, token

CASES = ["list50", "pages", "get", "me", "post", "mix"]
SERVERS = ["peer", "wind-sqlite", "wind-postgres"]
CONNECTIONS, MANY = 64, 2000
LIST = "/api/alerts/?limit=50"
LUA = str(api_servers.HERE / "api_load.lua")
ALERT = {"severity": "low", "type": "scan", "source": "bench", "description": "preflight"}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def dialect(server):
    return "peer" if server == "peer" else "wind"


def preflight(server, base, bearer):
    """Do both answer what was agreed? Returns the highest id that may be asked for."""
    listed = call(base, "GET", "/api/alerts/?limit=50", 200, None, bearer)
    assert len(listed["data"]) == 50 and listed["next_cursor"], "fewer than 50 alerts"
    cursor = urllib.parse.quote(listed["next_cursor"])
    second = call(base, "GET", f"/api/alerts/?limit=50&cursor={cursor}", 200, None, bearer)["data"]
    assert not {a["id"] for a in second} & {a["id"] for a in listed["data"]}, "a cursor repeats"
    for alert in listed["data"]:
        assert len(alert["related_entities"]) >= 2 and len(alert["metadata"]) >= 5, alert
    words = "severity=high" if server == "peer" else "q=severity:high"
    high = call(base, "GET", f"/api/alerts/?limit=50&{words}", 200, None, bearer)["data"]
    assert {a["severity"] for a in high} == {"high"}
    assert call(base, "GET", "/api/auth/me", 200, None, bearer)["username"] == api_servers.USER
    call(base, "GET", "/api/auth/me", 401)
    call(base, "POST", "/api/alerts/", 422, {}, bearer)
    made = call(base, "POST", "/api/alerts/", 201, ALERT | {"metadata": {"x": 1}}, bearer)
    highest = min(alert["id"] for alert in listed["data"])
    for alert in (1, highest, made["id"]):
        assert call(base, "GET", f"/api/alerts/{alert}", 200, None, bearer)["id"] == alert
    return highest


def pages(server, base, bearer, highest, file):
    """Paths of pages that end at 4,096 different alerts, in the server's own cursors."""
    step, first = max(highest // 4096, 1), call(base, "GET", LIST, 200, None, bearer)
    with open(file, "w") as f:
        if server == "peer":  # microseconds and id; the alerts are evenly spaced
            stamp, last = base64.urlsafe_b64decode(first["next_cursor"]).split(b".")
            of = {i: int(stamp) - (int(last) - i) * api_rows.SPACING_US for i in range(1, highest)}
            texts = (f"{of[i]}.{i}" for i in range(100, highest, step))
        else:
            texts = (f"-id|{i}|{i}" for i in range(100, highest, step))
        for text in texts:
            cursor = base64.urlsafe_b64encode(text.encode()).decode()
            cursor = cursor if server == "peer" else cursor.rstrip("=")
            f.write(f"{LIST}&cursor={urllib.parse.quote(cursor)}\n")
    with open(file) as f:
        for line in (f.readline(), f.readlines()[-1]):
            assert len(call(base, "GET", line.strip(), 200, None, bearer)["data"]) == 50, line


def wrk(server, base, case, bearer, highest, seconds, connections=CONNECTIONS, paths=""):
    command = ["taskset", "-c", api_servers.others(), "wrk", "-t1", f"-c{connections}"]
    command += [f"-d{seconds}s", "--timeout", "60s", "-s", LUA, base, "--"]
    done = subprocess.run(
        [*command, dialect(server), case, bearer, str(highest), str(paths)],
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")


def measure(servers, server, base, case, bearer, highest, seconds):
    """One case: a second to warm up, then the load."""
    watched = {"service": servers.pids[server]}
    if server != "wind-sqlite":
        watched |= {name: servers.pids[name] for name in ("pg", "redis")}
    paths = servers.folder / f"pages-{server}"
    if case == "pages" and not paths.exists():
        pages(server, base, bearer, highest, paths)
    wrk(server, base, case, bearer, highest, 1, paths=paths)
    before = {name: cpu_seconds(pid) for name, pid in watched.items()}
    got = wrk(server, base, case, bearer, highest, seconds, paths=paths)
    spent = {name: cpu_seconds(pid) - before[name] for name, pid in watched.items()}
    n = max(got["requests"], 1)
    line = {"bench": "collector", "server": server, "case": case, "requests": got["requests"]}
    line |= {"rps": round(n / got["seconds"]), "bytes": round(got["bytes"] / n)}
    line |= {f"{p}_ms": round(got[f"{p}_us"] / 1000, 2) for p in ("p50", "p99", "max")}
    line |= {f"{name}_us": round(s / n * 1e6, 1) for name, s in spent.items()}
    bad = {k: got[k] for k in ("non_2xx", "socket_errors", "timeouts") if got[k]}
    return line | bad | {"load": round(os.getloadavg()[0], 1)}


def median_of(lines):
    """Of the same case in several rounds."""
    middle = sorted(lines, key=lambda x: x["service_us"])[len(lines) // 2]
    ms = {k: round(statistics.median(x[k] for x in lines), 2) for k in ("p50_ms", "p99_ms")}
    return middle | ms | {"rounds": len(lines)}


def load_all(servers, bases, args):
    """Rounds go round the servers, so that a busy minute hits one run of each."""
    bearers = {server: token(base) for server, base in bases.items()}
    highest = {s: preflight(s, base, bearers[s]) for s, base in bases.items()}
    lines = {}
    for turn in range(args.rounds):
        for case in args.cases:
            for server, base in bases.items():
                line = measure(
                    servers, server, base, case, bearers[server], highest[server], args.seconds
                )
                lines.setdefault((server, case), []).append(line)
                say(f"{turn + 1}: {case} {server}: {line['service_us']} us, {line['rps']} / s")
    return [median_of(x) for x in lines.values()]


def with_ratios(lines):
    """Wind's lines say how many times less CPU than the peer's they took, and of its p99."""
    peer = {x["case"]: x for x in lines if x.get("server") == "peer"}
    for line in lines:
        rival = peer.get(line.get("case"))
        if rival is None or line is rival or "service_us" not in line:
            continue
        whole, rival_whole = (x["service_us"] + x.get("pg_us", 0) for x in (line, rival))
        line["x"] = {
            "service": round(rival["service_us"] / max(line["service_us"], 0.1), 2),
            "with_pg": round(rival_whole / max(whole, 0.1), 2),
            "p99": round(rival["p99_ms"] / max(line["p99_ms"], 0.01), 2),
        }
    return lines


# ---------------------------------------------------------------- memory


def memory(servers, server, base, alerts):
    """Resident memory while 2,000 connections ask for lists."""
    bearer = token(base)
    pid = servers.pids[server]
    before = rss_mib(pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    got = wrk(server, base, "list50", bearer, 1, 5, MANY)
    line = {"bench": "memory", "server": server, "alerts": alerts, "connections": MANY}
    line |= {"before_mib": round(before), "peak_mib": round(rss_mib(pid, "VmHWM"))}
    bad = {k: got[k] for k in ("non_2xx", "socket_errors", "timeouts") if got[k]}
    return line | {"rps": round(got["requests"] / got["seconds"])} | bad


# ---------------------------------------------------------------- growth


def burst(n):
    """Attacker and victim of alert n: 200 attackers at a time, 20 alerts each, on 2,000 hosts."""
    return n // 4000 * 200 + n % 200, n * 40_503 % 2000


def batches(alerts, size, in_bursts=False):
    """Bodies of /api/ingest as a sensor sends them, 1.6 kB an alert; else of anybody on anybody."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    made = []
    for n, a in enumerate(api_rows.alerts(alerts)):
        metadata = json.loads(a["metadata"])
        if in_bursts:
            a["host"], a["peer"] = burst(n)
        explain = [
            e | {"why": "above what is usual for this host", "percentile": 0.999}
            for e in metadata["explain"] * 3
        ]
        uid = f"{a['uid'][:12]}7fff8{n >> 12 & 0xFFF:03x}{n:012x}"
        src, dst = api_rows.HOST_TEXT[a["host"]], api_rows.PEER_TEXT[a["peer"]]
        made.append(
            {
                "timestamp": f"{now}.{n % 1_000_000:06d}+0000",
                "event_type": "alert",
                "src_ip": src,
                "src_port": a["src_port"],
                "dest_ip": dst,
                "dest_port": a["dst_port"],
                "proto": "TCP",
                "app_proto": "tls",
                "community_id": metadata["community_id"],
                "alert": {
                    "signature": a["description"],
                    "category": a["type"],
                    "severity": 2,
                    "signature_id": 9000001,
                    "rev": 1,
                    "gid": 1,
                    "action": "allowed",
                },
                "wind": {
                    "uid": f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}",
                    "rev": 1,
                    "detector": a["type"],
                    "score": a["score"],
                    "severity": api_rows.SEVERITIES[a["severity"] - 1],
                    "p_value": 0.001,
                    "model": "iforest-7",
                    "explain": explain,
                    "technique": metadata["technique"],
                    "entities": json.loads(api_rows.entities_json(a)),
                },
            }
        )
    return [
        json.dumps({"sensor": "bench", "alerts": made[i : i + size]}).encode()
        for i in range(0, len(made), size)
    ]


def ingest(servers, server, base, key, alerts):
    size = 500
    bodies = batches(alerts, size, True)
    before, start = cpu_seconds(servers.pids[server]), time.monotonic()
    for body in bodies:
        request = urllib.request.Request(
            base + "/api/ingest", body, {"X-API-Key": key, "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["accepted"] == size
    wall = time.monotonic() - start
    spent = cpu_seconds(servers.pids[server]) - before
    return {"ingest_us": round(spent / alerts * 1e6, 1), "ingest_s": round(alerts / wall)}


def growth(servers, name, settings, alerts, args):
    """What list, search and ingest cost with so many alerts there."""
    base = servers.wind(name, settings)
    servers.wait_for_index(settings)
    if "db.url" in settings:  # what autovacuum would do now, beside what is measured
        servers.sql(settings["db.url"].rsplit("/", 1)[1], "VACUUM ANALYZE")
    bearer = token(base)
    line = {"bench": "growth", "server": name, "alerts": alerts}
    for case in ("list50", "search", "words"):
        x = measure(servers, name, base, case, bearer, 1, max(2, args.seconds // 2))
        line |= {f"{case}_us": x["service_us"], f"{case}_p99_ms": x["p99_ms"]}
        line |= {f"{case}_pg_us": x["pg_us"]} if "pg_us" in x else {}
        assert "non_2xx" not in x, x
    line |= ingest(servers, name, base, servers.key(settings), 10_000)
    servers.end(name)
    say(f"growth: {line}")
    return line


def grow_all(servers, settings, args):
    """The database of the load is one of the sizes already."""
    lines = []
    for alerts in args.growth:
        if "wind-sqlite" in args.servers:
            known = settings.get("wind-sqlite") if alerts == args.alerts else None
            grown = known or make_sqlite(servers, "grown", alerts)
            lines.append(growth(servers, "wind-sqlite", grown, alerts, args))
            for file in servers.folder.glob("grown.db*"):
                file.unlink()
        if "wind-postgres" in args.servers:
            known = settings.get("wind-postgres") if alerts == args.alerts else None
            grown = known or make_postgres(servers, "grown", alerts)
            lines.append(growth(servers, "wind-postgres", grown, alerts, args))
            if known is None:
                servers.sql("postgres", "DROP DATABASE grown WITH (FORCE)")
    return lines


# ---------------------------------------------------------------- all of it


def seeded(what, alerts, seed, *args):
    start = time.monotonic()
    seed(*args, alerts)
    say(f"{alerts:,} alerts in {what} after {time.monotonic() - start:.0f} s")


def make_sqlite(servers, name, alerts):
    """A seeded database; returns the settings of the collector on it."""
    settings = {"db.path": str(servers.folder / f"{name}.db")}
    servers.key(settings)  # makes the file and its schema
    seeded("SQLite", alerts, api_rows.seed_sqlite, settings["db.path"])
    return settings


def make_postgres(servers, name, alerts):
    settings = {
        "db.url": servers.dsn(name),
        "cache.url": f"redis://127.0.0.1:{servers.redis_port}/1",
    }
    servers.sql("postgres", f"CREATE DATABASE {name}")
    servers.key(settings)
    seeded("PostgreSQL", alerts, api_rows.seed_postgres, servers.psql(name))
    return settings


def start_all(servers, args):
    """server -> base URL, and the settings of Wind's."""
    bases, settings = {}, {}
    if "wind-sqlite" in args.servers:
        settings["wind-sqlite"] = make_sqlite(servers, "wind-sqlite", args.alerts)
        bases["wind-sqlite"] = servers.wind("wind-sqlite", settings["wind-sqlite"])
    if set(args.servers) & {"peer", "wind-postgres"}:
        servers.postgres()
        servers.redis()
    if "wind-postgres" in args.servers:
        settings["wind-postgres"] = make_postgres(servers, "wind", args.alerts)
        bases["wind-postgres"] = servers.wind("wind-postgres", settings["wind-postgres"])
    if "peer" in args.servers:
        python = api_servers.peer_python()
        servers.make_peer(python)
        seeded("the peer's", args.alerts, api_rows.seed_peer, servers.psql("peer"))
        bases["peer"] = servers.peer(python)
    for name, of in settings.items():
        servers.wait_for_index(of)
        say(f"{name}: the text index is filled")
    if "pg" in servers.running:
        servers.sql("postgres", "CHECKPOINT")
    return bases, settings


def run(args):
    lines = []
    with tempfile.TemporaryDirectory(prefix="wind-bench-") as folder:
        servers = api_servers.Servers(folder)
        try:
            bases, settings = start_all(servers, args)
            lines += with_ratios(load_all(servers, bases, args))
            for server in list(bases):
                if server != "peer":
                    lines.append(memory(servers, server, bases[server], args.alerts))
                    say(f"memory: {lines[-1]}")
                servers.end(server)
            lines += grow_all(servers, settings, args)
        finally:
            servers.stop()
    return lines


def names(every):
    def read(text):
        chosen = text.split(",")
        if set(chosen) - set(every):
            raise argparse.ArgumentTypeError(f"there are: {' '.join(every)}")
        return chosen

    return read


def sizes(text):
    return [] if text == "no" else [int(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(
        prog="script/bench collector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--alerts", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--cases", type=names(CASES), default=CASES)
    parser.add_argument("--servers", type=names(SERVERS), default=SERVERS)
    parser.add_argument("--growth", type=sizes)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--lines", type=Path)
    args = parser.parse_args()
    if args.growth is None:
        args.growth = [n for n in (10_000, 100_000, 1_000_000) if n <= args.alerts]
    if args.lines:
        lines = [json.loads(line) for line in args.lines.read_text().splitlines()]
        lines = [line for line in lines if "target" not in line]
    else:
        lines = run(args)
    verdicts = api_targets.verdicts(lines)
    for line in lines + verdicts:
        print(json.dumps(line), flush=True)
    print(api_targets.tables(lines, verdicts), file=sys.stderr)


if __name__ == "__main__":
    main()
