"""The alerts of script/bench collector: the same for every server, and written in bulk.

A million rows in about ten seconds of Python; what a database takes for them comes on top. Indexes
that only make reading fast are made after the rows.
"""

import itertools
import json
import sqlite3
import subprocess
import time

HOSTS, PEERS, NAMES, SENSORS = 20_000, 200_000, 2_000, 40
SPACING_US = 333_000
SEVERITIES = ("low", "medium", "high", "critical")
KINDS = [  # type, tactic, technique, lowest severity, words
    ("scan", "Discovery", "T1046", 1, "{src} tried {n} ports of {dst} in {s} s"),
    ("brute_force", "Credential Access", "T1110", 2, "{n} failed logins from {src} to {dst}"),
    ("dns_tunnel", "Command and Control", "T1071.004", 2, "{src} sent {n} names below one domain"),
    ("beacon", "Command and Control", "T1071.001", 3, "{src} calls {dst} every {s} s"),
    ("exfiltration", "Exfiltration", "T1041", 3, "{src} sent {n} MB to {dst}"),
    ("flood", "Impact", "T1498", 3, "{dst} receives {n} flows a second from many sources"),
    ("anomaly", "Discovery", "T1571", 1, "Flow {src} to {dst} is unusual here"),
    ("anomaly", "Discovery", "T1571", 1, "{src} reached {n} new peers in {s} s"),
]
STATUSES = ("new",) * 6 + ("acknowledged", "closed")
MASK = (1 << 64) - 1


def host(i):
    return f"10.{i // 62_500}.{i // 250 % 250}.{i % 250 + 1}"


def peer(i):
    return f"198.{18 + i // 62_500}.{i // 250 % 250}.{i % 250 + 1}"


HOST_TEXT = [host(i) for i in range(HOSTS)]
PEER_TEXT = [peer(i) for i in range(PEERS)]


def mapped(address):
    return b"\0" * 10 + b"\xff\xff" + bytes(map(int, address.split(".")))


def alerts(count):
    """Dictionaries, the oldest first, three a second until an hour ago."""
    start_us = time.time_ns() // 1000 - 3600 * 1_000_000 - count * SPACING_US
    x = 1
    for i in range(count):
        x = (x * 6364136223846793005 + 1442695040888963407) & MASK
        r, q = x >> 12, x >> 33
        kind, tactic, technique, least, words = KINDS[r & 7]
        at_us = start_us + i * SPACING_US
        h, p, name = r % HOSTS, q % PEERS, q % NAMES
        src, dst, score = HOST_TEXT[h], PEER_TEXT[p], (q % 1_000_000) / 1_000_000
        src_port, dst_port = 1024 + (r >> 5) % 64_000, (22, 53, 80, 443, 445, 3389)[r % 6]
        yield {
            "id": i + 1,
            "uid": f"{at_us // 1000:012x}7{r & 0xFFF:03x}8{x & 0xFFF:03x}{i:012x}",
            "at_us": at_us,
            "severity": min(4, least + (q & 1)),
            "type": kind,
            "tactic": tactic,
            "source": f"sensor-{q % SENSORS:02d}",
            "description": words.format(src=src, dst=dst, n=20 + r % 5000, s=1 + q % 600),
            "status": STATUSES[q >> 3 & 7],
            "score": score,
            "host": h,
            "peer": p,
            "name": name,
            "src_port": src_port,
            "dst_port": dst_port,
            "incident": 1 + i // 1000 if i % 125 == 0 and i // 1000 < count // 1000 else None,
            "metadata": f'{{"model":"iforest-7","score":{score},"p_value":{score / 100:.6f},'
            f'"technique":{{"id":"{technique}","tactic":"{tactic}"}},"community_id":"1:{x:032x}",'
            f'"flow":{{"src_ip":"{src}","src_port":{src_port},"dest_ip":"{dst}",'
            f'"dest_port":{dst_port},"proto":"TCP"}},"explain":['
            f'{{"feature":"iat_mean","value":{q % 9973 / 100},"usual":{r % 997 / 100}}},'
            f'{{"feature":"bytes_out","value":{r % 99_991},"usual":{q % 9973}}},'
            f'{{"feature":"peers_new","value":{q % 97},"usual":{r % 7}}}]}}',
        }


# ---------------------------------------------------------------- the peer


def peer_alert(a):
    src, dst = HOST_TEXT[a["host"]], PEER_TEXT[a["peer"]]
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(a["at_us"] // 1_000_000))
    return (
        f"{a['uid']}\t{at}.{a['at_us'] % 1_000_000:06d}+00\t{SEVERITIES[a['severity'] - 1]}\t"
        f"{a['type']}\t{a['source']}\t{a['description']}\t"
        f"{a['status']}\t{a['metadata']}\t"
        f'[{{"type":"ip","value":"{src}"}},{{"type":"ip","value":"{dst}"}},'
        f'{{"type":"host","value":"ws-{a["name"]:04d}"}}]\n'
    ).encode()


def copy_in(psql, sql, lines):
    """psql's COPY FROM STDIN of text lines."""
    process = subprocess.Popen([*psql, "-c", sql], stdin=subprocess.PIPE)
    for block in iter(lambda: b"".join(itertools.islice(lines, 2000)), b""):
        process.stdin.write(block)
    process.stdin.close()
    if process.wait() != 0:
        raise RuntimeError("psql failed: " + sql)


def seed_peer(psql, count):
    columns = "uid, detected_at, severity, type, source, description, status, metadata"
    copy_in(
        psql,
        f"COPY alerts ({columns}, related_entities) FROM STDIN",
        map(peer_alert, alerts(count)),
    )
    for sql in (
        "INSERT INTO incidents (uid, title, severity, summary, created_at)"
        " SELECT gen_random_uuid(), type || ' by ' || source, severity, description, detected_at"
        " FROM alerts WHERE id % 1000 = 1 ORDER BY id",
        "INSERT INTO incident_alerts SELECT 1 + (id - 1) / 1000, id FROM alerts"
        f" WHERE id % 125 = 1 AND (id - 1) / 1000 < {count // 1000}",
        "VACUUM ANALYZE",
    ):
        subprocess.run([*psql, "-c", sql], check=True, stdout=subprocess.DEVNULL)


# ---------------------------------------------------------------- Wind


def entity_rows():
    """id, kind, value, addr: hosts, then peers, then names."""
    for i, text in enumerate(itertools.chain(HOST_TEXT, PEER_TEXT), 1):
        yield i, "host", text, mapped(text)
    for i in range(NAMES):
        yield HOSTS + PEERS + 1 + i, "host", f"ws-{i:04d}", None


def entities_of(a):
    """(entity id, value, role) of one alert, in order."""
    return (
        (1 + a["host"], HOST_TEXT[a["host"]], "attacker"),
        (1 + HOSTS + a["peer"], PEER_TEXT[a["peer"]], "victim"),
        (1 + HOSTS + PEERS + a["name"], f"ws-{a['name']:04d}", "related"),
    )


def entities_json(a):
    return json.dumps(
        [{"kind": "host", "value": v, "role": role} for _, v, role in entities_of(a)],
        separators=(",", ":"),
    )


ALERT_COLUMNS = (
    "id uid rev detected_at severity type source description status tactic score first_seen"
    " last_seen src dst src_port dst_port proto metadata incident_id created_at updated_at entities"
).split()
INCIDENT_COLUMNS = (
    "id uid title description type status severity created_at updated_at created_by first_seen"
    " last_seen alert_count"
).split()


def alert_row(a):
    ns = a["at_us"] * 1000
    return (
        *(a["id"], bytes.fromhex(a["uid"]), 1, ns, a["severity"], a["type"], a["source"]),
        *(a["description"], a["status"], a["tactic"], a["score"], ns, ns),
        *(mapped(HOST_TEXT[a["host"]]), mapped(PEER_TEXT[a["peer"]])),
        *(a["src_port"], a["dst_port"], "TCP", a["metadata"], a["incident"], ns, ns),
        entities_json(a),
    )


def alert_entity_rows(a):
    return [(a["id"], pos, e, role) for pos, (e, _, role) in enumerate(entities_of(a))]


def incident_row(a, i):
    """Of its first alert; its eight alerts follow, 125 apart."""
    ns = a["at_us"] * 1000
    end = ns + 875 * SPACING_US * 1000
    uid = bytes.fromhex(a["uid"][:20] + f"{i:012x}")
    title = f"{a['type']} by {a['source']}"
    return i, uid, title, "", "recon", "open", a["severity"], ns, end, "wind", ns, end, 8


INCIDENT_ENTITY_COLUMNS = ["entity_id", "role", "alert_type", "incident_id"]


def incident_entity_rows(count):
    """What correlation asks. Without them the planner would take the table for an empty one."""
    joined = (a for a in alerts(count) if a["incident"])
    return sorted(
        {(e, role, a["type"], a["incident"]) for a in joined for e, _, role in entities_of(a)}
    )


def incident_rows(count):
    step = (a for a in alerts(count) if a["id"] % 1000 == 1)
    return [incident_row(a, i) for i, a in enumerate(step, 1) if i <= count // 1000]


def insert(db, table, columns, rows):
    marks = ", ".join("?" * len(columns))
    db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def seed_sqlite(path, count):
    """Into the file that wind-collector has made."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA synchronous=OFF; PRAGMA cache_size=-500000")
    db.execute("BEGIN")
    there = {row[1] for row in db.execute("PRAGMA table_info(alerts)")}
    columns = [c for c in ALERT_COLUMNS if c in there]
    indexes = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name IN ('alerts', 'alert_entities', 'entities')"
    ).fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    insert(db, "entities", ["id", "kind", "value", "addr"], entity_rows())
    insert(db, "incidents", INCIDENT_COLUMNS, incident_rows(count))
    insert(db, "incident_entities", INCIDENT_ENTITY_COLUMNS, incident_entity_rows(count))
    rows = alerts(count)
    while block := list(itertools.islice(rows, 5000)):
        insert(db, "alerts", columns, [alert_row(a)[: len(columns)] for a in block])
        of_block = itertools.chain.from_iterable(map(alert_entity_rows, block))
        insert(db, "alert_entities", ["alert_id", "pos", "entity_id", "role"], of_block)
    for _, sql in indexes:
        db.execute(sql)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def copy_text(value):
    """A column of COPY's text form; none of ours has a tab, a line's end or a backslash."""
    if value is None:
        return "\\N"
    return "\\\\x" + value.hex() if isinstance(value, bytes) else str(value)


def copy_line(row):
    return ("\t".join(map(copy_text, row)) + "\n").encode()


def copy_start(psql, table, columns):
    command = [*psql, "-c", f"COPY {table} ({', '.join(columns)}) FROM STDIN"]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def copy_end(process):
    process.stdin.close()
    if process.wait() != 0:
        raise RuntimeError("psql failed: " + process.args[-1])


def copy_rows(psql, table, columns, rows):
    process = copy_start(psql, table, columns)
    process.stdin.writelines(map(copy_line, rows))
    copy_end(process)


def seed_postgres(psql, count):
    """Into the database whose schema wind-collector has made."""

    def run(sql):
        subprocess.run([*psql, "-c", sql], check=True, stdout=subprocess.DEVNULL)

    run(f"SELECT wind_reserve('alerts_id_seq', {count})")
    copy_rows(psql, "entities", ["id", "kind", "value", "addr"], entity_rows())
    copy_rows(psql, "incidents", INCIDENT_COLUMNS, incident_rows(count))
    rows = incident_entity_rows(count)
    copy_rows(psql, "incident_entities", INCIDENT_ENTITY_COLUMNS, rows)
    into = copy_start(psql, "alerts", ALERT_COLUMNS)
    beside = copy_start(psql, "alert_entities", ["alert_id", "pos", "entity_id", "role"])
    for a in alerts(count):
        into.stdin.write(copy_line(alert_row(a)))
        beside.stdin.writelines(map(copy_line, alert_entity_rows(a)))
    copy_end(into)
    copy_end(beside)
    run("INSERT INTO alert_uids SELECT uid, id FROM alerts")
    for table in ("entities", "incidents"):
        run(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}")
    run("VACUUM ANALYZE")
