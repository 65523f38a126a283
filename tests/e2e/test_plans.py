"""Every statement of the API has an index: what the database really did, over many rows.

PostgreSQL writes down each plan with what it read (auto_explain), SQLite what it read from end to
end. WIND_ROWS=1000000 for many more rows than in an ordinary run.
"""

import base64
import contextlib
import json
import os
import re
import sqlite3
import time

import pytest
import support
from test_api_ingest import Sensor, item

ROWS = int(os.environ.get("WIND_ROWS") or 50_000)
# At most so many rows of a large table for one page. What a thousandth of them has PostgreSQL
# finds among the newest (51 in 51,000), what is rarer by its own index.
READ = max(10_000, ROWS // 15)

# The seed is of 1970: nothing is too old here.
SETTINGS = {"api.rate": "0"} | {
    f"retention.{what}": "0" for what in ("alerts", "incidents", "open")
}

LARGE = re.compile(r"^(alerts|alert_entities|alert_uids|alert_text|history|outbox)(_\d+)?$")

# $: 1..ROWS. Alerts of a thousand hosts, a tenth of them in incidents of a hundred; one host is the
# victim in nearly all of them, and attacks five times; many others have one alert.
SEED = """
INSERT INTO entities (id, kind, value, addr)
SELECT g, 'host', '10.1.' || (g / 256) || '.' || (g % 256), ADDR(g) FROM SERIES(21000);
INSERT INTO incidents (id, uid, title, type, severity, created_at, updated_at, created_by,
    first_seen, last_seen, alert_count)
SELECT g, UID(g), 'incident ' || g, 'recon', g % 4 + 1, g, g, 'wind', g * 1000, g * 2000, 100
FROM SERIES(ROWS / 1000);
INSERT INTO alerts (id, uid, rev, detected_at, severity, type, source, description, status,
    score, first_seen, last_seen, src, dst, src_port, dst_port, proto, metadata, entities,
    incident_id, created_at, updated_at)
SELECT g, UID(g), 1, g * 1000000, g % 4 + 1, 'type_' || (g % 7), 'sensor_' || (g % 20),
    'alert probe' || (g % 500), CASE WHEN g % 10 = 0 THEN 'closed' ELSE 'new' END,
    (g % 100) / 100.0,
    g * 1000000, g * 1000000, ADDR(g % 1000 + 1), ADDR((g + 7) % 1000 + 1), 4242, g % 50, 'TCP',
    '{"pad":"' || 'PAD' || '"}', '[]', CASE WHEN g % 10 = 0 THEN (g / 10) % (ROWS / 1000) + 1 END,
    g, g
FROM SERIES(ROWS);
INSERT INTO alert_entities SELECT g, 0, g % 1000 + 1, 'attacker' FROM SERIES(ROWS);
INSERT INTO alert_entities SELECT g, 1, (g + 7) % 1000 + 1, 'victim' FROM SERIES(ROWS);
INSERT INTO alert_entities
SELECT g, 2, 1001, CASE WHEN g % (ROWS / 5) = 0 THEN 'attacker' ELSE 'victim' END
FROM SERIES(ROWS);
INSERT INTO alert_entities SELECT g, 3, g + 1001, 'related' FROM SERIES(19999);
INSERT INTO incident_entities
SELECT g % 1000 + 1, 'attacker', 'type_1', g FROM SERIES(ROWS / 1000);
INSERT INTO tags SELECT 'alerts', g * 100, 'vip' FROM SERIES(ROWS / 1000);
INSERT INTO history (topic, object_id, at, actor, field, old, new)
SELECT 'alerts', g, g, 'admin', 'status', 'new', 'closed' FROM SERIES(ROWS / 10);
"""

# What is not rare by itself (type, source, port, proto) has no index: a page of it is found among
# the newest.
SEARCHES = [
    *("", "sort:id", "sort:-time", "sort:time", "sort:-severity", "sort:severity", "sort:-score"),
    *("sort:-created", "sort:-updated", "sort:score", "status:closed", "severity:critical"),
    *("severity:>=high", "type:type_3", "source:sensor_4", "src:10.1.0.7", "dst:10.1.0.0/30"),
    *("host:10.1.0.9", "attacker:10.1.0.9", "victim:10.1.0.9", "10.1.0.9", "entity:10.1.0.9"),
    *("incident:3", "incident:none", "tag:vip", "tag:none", "port:22", "score:>0.9", "id:77"),
    *("proto:tcp", "time:>1970-01-01", "created:>1970-01-01", "-status:closed", "assigned:admin"),
    *("verdict:duplicate", "assigned:none", "verdict:none", "type:type_3 severity:low -port:7"),
    *("uid:0198f2c4-7a31-7c5e-9d2b-00000000004d", "status:new sort:-time", "probe77"),
    *("src:10.200.0.1", "dst:10.200.0.0/24", "host:10.200.0.1", "src:10.200.0.1 sort:-time"),
    *("incident:999999999", "tag:nobody", "assigned:nobody", "probe99999"),
    *("10.0.0.0/8", "attacker:10.0.0.0/8 severity:critical", "victim:10.1.0.0/16 sort:-score"),
    *("src:10.0.0.0/8 dst:10.0.0.0/8", "src:10.0.0.0/8 sort:-time", "-host:10.7.0.0/16"),
    *("probe 10.0.0.0/8", "probe sort:-severity", "alert probe77 10.1.0.9", "-probe77"),
    *("time:>1970-01-01T00:00:09Z time:<1970-01-01T00:00:10Z", "id:<100 sort:-time"),
    *("status:new severity:critical sort:-time", "host:10.1.0.9,10.1.0.10 severity:high"),
    *("10.1.3.233", "attacker:10.1.3.233", "victim:10.1.3.233", "10.1.3.233 tag:vip"),
    *("10.1.3.233 port:22", "10.1.3.233 severity:high sort:id", "attacker:10.1.3.233 sort:-time"),
    *("alert probe 10.1.3.233", "alert 10.1.0.9 probe", "alert probe 10.1.0.9 severity:critical"),
    *("10.1.3.233 id:<100 sort:-id", "10.1.3.233 id:>77 sort:id", "10.1.3.233 10.1.0.9"),
    *("10.1.0.9 10.1.3.233", "10.1.0.9 -10.1.3.233"),
    *("nothing", "-nothing", "time:>1970-01-01T00:00:40Z sort:-severity", "tag:vip,none"),
]


POSTGRES = {
    r"ADDR\(((?:[^()]|\([^()]*\))*)\)": r"decode('00000000000000000000ffff' || "
    r"lpad(to_hex(\1 + 167837696), 8, '0'), 'hex')",
    r"UID\(g\)": "decode('0198f2c47a317c5e9d2b' || lpad(to_hex(g), 12, '0'), 'hex')",
    r"SERIES\(([^()]*)\)": r"generate_series(1::bigint, \1) g",
}
SQLITE = {
    r"SERIES\(([^()]*)\)": r"(WITH RECURSIVE s(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s "
    r"WHERE g < \1) SELECT g FROM s)",
}


def statements(words):
    """The seed in the words of a database."""
    text = SEED.replace("PAD", "x" * 600).replace("ROWS", str(ROWS))
    for found, written in words.items():
        text = re.sub(found, written, text)
    return [statement for statement in text.split(";\n") if statement.strip()]


def seed_postgres(server, url):
    for first in range(10**6, ROWS + 1, 10**6):
        server.sql(f"SELECT wind_make_partition({first})", url)
    patience = 120 + ROWS / 500
    for statement in statements(POSTGRES):
        server.sql(statement, url, patience)
    server.sql("INSERT INTO alert_uids SELECT uid, id FROM alerts", url, patience)
    counters = {"alerts": ROWS, "entities": 21000, "incidents": ROWS // 1000}
    for table, last in counters.items():
        server.sql(f"SELECT setval('{table}_id_seq', {last})", url)
    server.sql("VACUUM ANALYZE", url, patience)


def seed_sqlite(path):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.create_function("UID", 1, lambda n: bytes.fromhex(f"0198f2c47a317c5e9d2b{n:012x}"))
        db.create_function(
            "ADDR", 1, lambda n: bytes(10) + b"\xff\xff" + (n + 167837696).to_bytes(4, "big")
        )
        for statement in statements(SQLITE):
            db.execute(statement)


def ask(collector, path):
    answer = collector.call("GET", path)
    assert answer.status == 200, (path, answer.text)
    return answer.json


def wait_for_words(collector):
    """Until all alerts are in the text index."""

    def is_there():
        answer = collector.call("GET", "/api/alerts/?q=probe77")
        assert answer.status == 200, answer.text
        return "Wind-Search-Behind" not in answer.headers

    support.until("words are searched", is_there, 60 + ROWS / 1000)


def quoted(text):
    return support.urllib.parse.quote(text)


def moment(part):
    """When this part of the rows was seen."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(ROWS * part / 1000)))


def use(collector):
    """All that people and sensors do."""
    for search in SEARCHES:
        page = ask(collector, f"/api/alerts/?q={quoted(search)}&limit=50")
        if page["next_cursor"]:
            ask(collector, f"/api/alerts/?q={quoted(search)}&limit=50&cursor={page['next_cursor']}")
    for search in (f"time:<{moment(0.9)}", f"time:<{moment(0.9)} severity:critical", "sort:-time"):
        deep = base64.urlsafe_b64encode(
            f"-time|{ROWS * 300_000}|{ROWS * 3 // 10}".encode()
        ).decode().rstrip("=")  # fmt: skip
        ask(collector, f"/api/alerts/?q={quoted(search)}&limit=50&cursor={deep}")
    for search in (
        "",
        "status:open",
        "host:10.1.0.9",
        "sort:-severity",
        "sort:-updated",
        "incident",
    ):
        ask(collector, f"/api/incidents/?q={quoted(search)}")
    for path in ("alerts/77", "alerts/10", "incidents/3", "sensors/", "users/", "keys/", "auth/me"):
        ask(collector, f"/api/{path}")
    made = collector.call(
        "POST", "/api/alerts/",
        {"severity": "low", "type": "probe", "description": "x",
         "related_entities": [{"kind": "host", "value": "10.1.0.9", "role": "attacker"}]},
    )  # fmt: skip
    assert made.status == 201, made.text
    for number in (made.json["id"], 77):
        patch = {"status": "closed", "verdict": "duplicate", "tags": ["seen"]}
        assert collector.call("PATCH", f"/api/alerts/{number}", patch).status == 200
    incident = collector.call(
        "POST", "/api/incidents/",
        {"title": "x", "type": "recon", "severity": "low", "related_alerts": [77, 78]},
    )  # fmt: skip
    assert incident.status == 201, incident.text
    path = f"/api/incidents/{incident.json['id']}"
    assert collector.call("PATCH", path, {"status": "resolved"}).status == 200
    assert collector.call("POST", path + "/comments", {"text": "x"}).status in (200, 201, 404)
    feed(collector)


def feed(collector):
    sensor = Sensor(collector)
    host = [{"kind": "host", "value": "10.1.0.9", "role": "attacker"}]
    for rev in (1, 1, 2):
        batch = [item(10**9 + n, rev=rev, entities=host) for n in range(50)]
        assert sensor.post(*batch).status == 200


# ---------------------------------------------------------------- PostgreSQL


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def plans(log):
    """(statement, plan) of each that auto_explain wrote."""
    for found in re.finditer(r"duration: [\d.]+ ms  plan:\n(\t?\{.*?\n\t?\})\n", log, re.DOTALL):
        told = json.loads(found.group(1))
        yield told["Query Text"], told["Plan"]


def read_of(node):
    loops = node.get("Actual Loops", 1)
    rows = sum(
        node.get(k, 0)
        for k in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    return rows * loops


@pytest.mark.services
def test_postgresql_finds_all_by_an_index(postgres, tmp_path):
    url = postgres.database()
    name = url.rsplit("/", 1)[1]
    collector = support.Collector(tmp_path, **{"db.url": url}, **SETTINGS)
    done = support.run("windctl", "db", "migrate", *support.settings(collector.settings))
    assert done.returncode == 0, done.stderr
    seed_postgres(postgres, url)
    settings = {
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_analyze": "on",
        "auto_explain.log_timing": "off",
        "auto_explain.log_format": "json",
    }
    if ROWS < 500_000:  # the planner's own choice for small tables is no news
        settings["enable_seqscan"] = "off"
    log = next(postgres.folder.glob("**/log"))
    start = log.stat().st_size
    for key, value in settings.items():
        postgres.sql(f"ALTER DATABASE {name} SET {key} = '{value}'")
    collector.start()
    wait_for_words(collector)
    postgres.sql("ANALYZE alert_text", url)  # as autovacuum does after a minute
    start = log.stat().st_size
    use(collector)
    assert collector.stop() == 0
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        told = list(plans(file.read()))
    postgres.drop(url)
    assert len(told) > 200, "auto_explain did not speak"
    bad = []
    for statement, plan in told:
        for node in nodes(plan):
            if not LARGE.match(node.get("Relation Name", "")):
                continue
            # How common a word is, is a guess; but a walk asks for the words of each row.
            is_walk = "OFFSET 0" in statement or "IS TRUE" in statement
            is_guess = node["Relation Name"] == "alert_text" and not is_walk
            if node["Node Type"] == "Seq Scan" or (read_of(node) > READ and not is_guess):
                bad.append((node["Node Type"], node["Relation Name"], read_of(node), statement))
    assert not bad, "\n".join(sorted({f"{t} {r} {n}: {s}" for t, r, n, s in bad}))


# ---------------------------------------------------------------- SQLite


@pytest.mark.sqlite
def test_sqlite_finds_all_by_an_index(tmp_path):
    collector = support.Collector(tmp_path)
    collector.settings |= SETTINGS
    collector.words = ["-v"]
    done = support.run("windctl", "db", "migrate", *support.settings(collector.settings))
    assert done.returncode == 0, done.stderr
    seed_sqlite(collector.settings["db.path"])
    collector.start()
    wait_for_words(collector)
    use(collector)
    assert collector.stop() == 0
    told = re.findall(r"(?:were read one by one|were made): ([^\n]*)", collector.process.log)
    assert not told, "\n".join(sorted(set(told)))
