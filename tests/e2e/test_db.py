"""windctl db: schema, backup, restore and prune, on both databases; and what an upgrade keeps."""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest
import support

SQL = support.ROOT / "sql"
DRAFT = {"severity": "low", "type": "probe"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def place(request, tmp_path):
    """Settings of a new database, and a way to make more of them."""
    if request.param == "sqlite":
        numbers = iter(range(100))
        yield lambda: {"db.path": tmp_path / f"wind-{next(numbers)}.db"}
        return
    server = request.getfixturevalue("postgres")
    urls = []

    def make():
        urls.append(server.database())
        return {"db.url": urls[-1]}

    yield make
    for url in urls:
        server.drop(url)


def db(verb, settings, *more, code=0, **options):
    done = support.run("windctl", "db", verb, *more, *support.settings(settings), **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def status(settings):
    return json.loads(db("status", settings, "-o", "json"))


def serve(folder, settings):
    folder.mkdir()
    made = support.Collector(folder, **settings | {"api.rate": "0"})
    if "db.url" not in settings:
        made.settings.pop("db.url", None)
    return made


def shown(collector):
    """All that the API has to say of alerts and incidents."""
    keys = {a["id"]: a for a in collector.all("alerts")}
    return keys, {i["id"]: i for i in collector.all("incidents")}


def test_a_database_is_made_and_described(place):
    settings = place()
    assert "windctl db migrate" in db("status", settings, code=1)
    newest = len(list((SQL / "sqlite").glob("*.sql")))
    assert f"schema 0 -> {newest}" in db("migrate", settings)
    assert "nothing to do" in db("migrate", settings)
    told = status(settings)
    assert told["schema"] == told["newest"] == newest and told["alerts"] == 0 < told["bytes"]
    assert all(m["applied_at"] for m in told["migrations"])
    assert "0001_core" in db("status", settings)


def test_what_is_copied_while_it_is_written_is_whole(place, tmp_path):
    settings = place()
    collector = serve(tmp_path / "one", settings).start()
    token = collector.token()
    is_over, posted = threading.Event(), []

    def write():
        while not is_over.is_set():
            body = DRAFT | {"description": f"alert {len(posted)}"}
            assert collector.call("POST", "/api/alerts/", body, token=token).status == 201
            posted.append(body["description"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        support.until("some are there", lambda: len(posted) > 30)
        before = len(posted)
        db("backup", settings, tmp_path / "copy")
    finally:
        is_over.set()
        writer.join()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert "is there already" in db("backup", settings, tmp_path / "copy", code=1)
    assert "stop wind-collector" in db("restore", settings, tmp_path / "copy", "--force", code=1)
    assert collector.stop() == 0

    other = place()
    db("restore", other, tmp_path / "copy")
    again = serve(tmp_path / "two", other)
    again.password = collector.password
    again.start()
    stored = [a["description"] for a in again.all("alerts")]
    assert stored == [f"alert {i}" for i in reversed(range(len(stored)))]
    assert before <= len(stored) <= len(posted)
    assert sum(len(i["related_alerts"]) for i in again.all("incidents")) == len(stored)
    assert again.call("POST", "/api/alerts/", DRAFT | {"description": "goes on"}).status == 201
    assert again.stop() == 0


def test_a_restore_replaces_only_when_it_is_told_to(place, tmp_path):
    settings = place()
    collector = serve(tmp_path / "one", settings).start()
    assert collector.call("POST", "/api/alerts/", DRAFT | {"description": "kept"}).status == 201
    db("backup", settings, tmp_path / "copy")
    assert collector.call("POST", "/api/alerts/", DRAFT | {"description": "later"}).status == 201
    assert collector.stop() == 0
    assert "--force" in db("restore", settings, tmp_path / "copy", code=1)
    assert status(settings)["alerts"] == 2

    (tmp_path / "junk").write_bytes(b"no backup at all" * 1000)
    db("restore", settings, tmp_path / "junk", "--force", code=1)
    db("restore", settings, tmp_path / "missing", "--force", code=1)
    cut = (tmp_path / "copy").read_bytes()
    (tmp_path / "cut").write_bytes(cut[: len(cut) // 2])
    db("restore", settings, tmp_path / "cut", "--force", code=1)
    assert status(settings)["alerts"] == 2, "what was there stays when it fails"

    db("restore", settings, tmp_path / "copy", "--force")
    assert status(settings)["alerts"] == 1
    collector.start()
    assert [a["description"] for a in collector.all("alerts")] == ["kept"]
    assert collector.stop() == 0


def test_prune_deletes_by_the_settings(place, tmp_path):
    settings = place()
    collector = serve(tmp_path / "one", settings).start()
    for text in ("closed", "assigned"):
        made = collector.call("POST", "/api/alerts/", DRAFT | {"description": text}).json
        patch = {"status": "closed"} if text == "closed" else {"assigned_to": "admin"}
        assert collector.call("PATCH", f"/api/alerts/{made['id']}", patch).status == 200
    for incident in collector.all("incidents"):
        path = f"/api/incidents/{incident['id']}"
        assert collector.call("PATCH", path, {"status": "resolved"}).status == 200
    assert db("prune", settings).split("alerts")[1].split()[0] == "0", "nothing is that old"
    rows = json.loads(db("prune", settings | {"retention.alerts": "1s"}, "-o", "json"))
    support.until(
        "it is older than a second",
        lambda: (
            [a["description"] for a in collector.all("alerts")] == ["assigned"]
            or not db("prune", settings | {"retention.alerts": "1s"})
        ),
    )
    assert {row["table"] for row in rows} >= {"alerts", "incidents", "sessions"}
    assert collector.stop() == 0


@pytest.mark.services
def test_the_password_is_on_no_command_line(postgres, tmp_path):
    """pg_dump is asked by a wrapper that writes down what everybody on the machine could see."""
    url = postgres.database()
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    settings = {"db.url": url.replace("//wind@", "//wind_secret@"), "db.password_file": secret}
    db("migrate", settings)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        program = programs / name
        program.write_text(
            f"#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ >>'{tmp_path}/seen'\n"
            f'PATH=${{PATH#*:}} exec {name} "$@"\n'
        )
        program.chmod(0o755)
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    db("backup", settings, tmp_path / "copy", env=env)
    db("restore", settings, tmp_path / "copy", "--force", env=env)
    seen = (tmp_path / "seen").read_text()
    assert "pg_dump" in seen and "pg_restore" in seen and "PGPASSFILE" in seen
    assert "correct horse" not in seen
    assert not list(tmp_path.glob("windctl-*")), "its file is gone"
    assert status(settings)["schema"] > 0
    postgres.drop(url)


@pytest.mark.services
def test_two_that_start_at_once_make_one_schema(postgres, tmp_path):
    url = postgres.database()
    one, two = (serve(tmp_path / name, {"db.url": url}) for name in ("one", "two"))
    one.password = two.password = "of whoever was first"
    threads = [threading.Thread(target=c.start) for c in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((one.process.log + two.process.log).split("admin password: ")) == 2
    assert one.stop() == 0 and two.stop() == 0
    postgres.drop(url)


# ---------------------------------------------------------------- from an older release

KEY = "5e" * 20  # the secret of its API key, which is in the database as a digest
FACTS = """
INSERT INTO incidents (id, uid, title, type, severity, created_at, updated_at, created_by,
    first_seen, last_seen, alert_count, kept)
VALUES (3, x'0198f2c47a317c5e9d2b000000000003', 'Named by people', 'recon', 3, 1000000000,
    1000000000, 'wind', 5000000000, 9000000000, 2, 1);
INSERT INTO alerts (id, uid, rev, detected_at, severity, type, source, description, status,
    assigned_to, score, first_seen, last_seen, src, dst, src_port, dst_port, proto, metadata,
    incident_id, created_at, updated_at)
VALUES (7, x'0198f2c47a317c5e9d2b000000000007', 2, 5000000000, 3, 'port_scan', 'edge',
    'tried ports', 'acknowledged', 'admin', 0.75, 5000000000, 9000000000,
    x'00000000000000000000ffff0a090042', x'00000000000000000000ffff0a090005', 4242, 22, 'TCP',
    '{"count":10}', 3, 1000000000, 2000000000),
  (9, x'0198f2c47a317c5e9d2b000000000009', 1, 6000000000, 2, 'beacon', 'edge', 'calls home',
    'new', NULL, NULL, 6000000000, 6000000000, NULL, NULL, NULL, NULL, NULL, '{}', 3,
    1000000000, 1000000000);
INSERT INTO entities (id, kind, value, addr)
VALUES (1, 'host', '10.9.0.66', x'00000000000000000000ffff0a090042'),
    (2, 'user', 'say "hi"', NULL);
INSERT INTO alert_entities VALUES (7, 0, 1, 'attacker'), (7, 1, 2, 'victim'), (9, 0, 1, 'related');
INSERT INTO incident_entities VALUES (1, 'attacker', 'port_scan', 3);
INSERT INTO comments (incident_id, author, text, created_at) VALUES (3, 'admin', 'look', 7);
INSERT INTO tags VALUES ('alerts', 7, 'vip'), ('incidents', 3, 'lab');
INSERT INTO history (topic, object_id, at, actor, field, old, new)
VALUES ('alerts', 7, 2000000000, 'admin', 'status', 'new', 'acknowledged');
INSERT INTO sensors (name, version, first_seen, last_seen, alerts) VALUES ('edge', '0.1', 1, 2, 2);
INSERT INTO outbox (seq, topic, object_id, op, at) VALUES (40, 'alerts', 9, 'created', 1);
"""


def make_old(path, newest):
    """A database as a release with migrations 1 to `newest` left it."""
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        old.execute(
            "CREATE TABLE schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "sha256 TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        for file in sorted((SQL / "sqlite").glob("*.sql"))[:newest]:
            text = file.read_bytes()
            old.executescript(text.decode())
            row = (int(file.stem[:4]), file.stem, hashlib.sha256(text).hexdigest(), 1)
            old.execute("INSERT INTO schema_migrations VALUES (?, ?, ?, ?)", row)
        old.executescript(FACTS)
        old.execute(
            "INSERT INTO api_keys (id, name, prefix, secret_hash, scopes, created_ns) "
            "VALUES (4, 'old', 'wind_4_5e5e', ?, 'alerts:read alerts:write incidents:read "
            "sensors:read', 1)",
            (hashlib.sha256(KEY.encode()).digest(),),
        )


def test_an_upgrade_keeps_what_the_first_release_wrote(tmp_path):
    """Schema 4 is what the first release made; its files are never changed (their digests say)."""
    settings = {"db.path": tmp_path / "wind.db"}
    make_old(settings["db.path"], 4)
    assert status(settings)["schema"] == 4
    collector = serve(tmp_path / "new", settings).start()
    headers = {"X-API-Key": f"wind_4_{KEY}"}

    def get(path):
        answer = collector.call("GET", path, token="", headers=headers)
        assert answer.status == 200, answer.text
        return answer.json

    alert = get("/api/alerts/7")
    assert alert["related_entities"] == [
        {"kind": "host", "value": "10.9.0.66", "role": "attacker"},
        {"kind": "user", "value": 'say "hi"', "role": "victim"},
    ]
    assert alert["tags"] == ["vip"] and alert["related_alerts"] == [9]
    assert (alert["status"], alert["assigned_to"]) == ("acknowledged", "admin")
    assert (alert["uid"], alert["rev"]) == ("0198f2c4-7a31-7c5e-9d2b-000000000007", 2)
    assert alert["metadata"] == {"count": 10} and alert["incident_id"] == 3
    incident = get("/api/incidents/3")
    assert incident["title"] == "Named by people" and incident["tags"] == ["lab"]
    assert incident["related_alerts"] == [7, 9] and incident["comments"][0]["text"] == "look"
    assert [s["name"] for s in get("/api/sensors/")["data"]] == ["edge"]
    for query, found in (
        ("src:10.9.0.0/16", [7]),
        ("uid:0198f2c4-7a31-7c5e-9d2b-000000000009", [9]),
        ("tag:vip", [7]),
        ("host:10.9.0.66", [9, 7]),
    ):
        assert [a["id"] for a in get(f"/api/alerts/?q={query}")["data"]] == found, query
    support.until("old words are found", lambda: len(get("/api/alerts/?q=home")["data"]) == 1)
    made = collector.call("POST", "/api/alerts/", DRAFT | {"description": "new"}).json
    assert made["id"] == 10
    assert collector.stop() == 0
    assert status(settings)["schema"] == len(list((SQL / "sqlite").glob("*.sql")))


def test_a_file_of_a_newer_release_is_refused(tmp_path):
    settings = {"db.path": tmp_path / "wind.db"}
    db("migrate", settings)
    with contextlib.closing(sqlite3.connect(settings["db.path"])) as newer, newer:
        newer.execute("INSERT INTO schema_migrations VALUES (999, '0999_x', '', 1)")
    db("backup", settings, tmp_path / "copy", code=1)
    assert "newer" in db("migrate", settings, code=1)
    os.rename(settings["db.path"], tmp_path / "newer.db")
    assert "schema 999" in db("restore", settings, tmp_path / "newer.db", code=1)
    assert not Path(settings["db.path"]).exists()
