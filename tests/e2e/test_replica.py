"""Lists come from a streaming replica, and never go back behind what their reader wrote."""

import time

import pytest
import support
from test_api_ingest import Sensor, item

DRAFT = {"severity": "low", "type": "probe"}


@pytest.fixture
def replica(replicated, tmp_path):
    """(server, collector): the collector reads its lists from the standby."""
    url = replicated.database()
    there = replicated.replica_url(url)
    settings = {"db.url": url, "db.replica_url": there, "db.replica_lag": "1s", "api.rate": "0"}
    collector = support.Collector(tmp_path, **settings).start()
    support.until("the standby has the tables", lambda: counted(collector)[0] > 0)
    yield replicated, collector, there
    assert collector.stop() == 0
    replicated.well().drop(url)


def counted(collector):
    """Lists read from the replica, and from the primary instead; one more list was asked for."""
    assert collector.call("GET", "/api/alerts/?limit=1").status == 200
    text = collector.call("GET", "/metrics", token="").text
    names = ("wind_db_replica_reads_total", "wind_db_replica_passed_total")
    return [int(text.split(f"\n{name} ")[1].split("\n")[0]) for name in names]


def newest(collector):
    answer = collector.call("GET", "/api/alerts/?limit=1")
    assert answer.status == 200, answer.text
    return answer.json["data"][0] if answer.json["data"] else None


def post(collector, text):
    answer = collector.call("POST", "/api/alerts/", DRAFT | {"description": text})
    assert answer.status == 201, answer.text
    return answer.json["id"]


def test_a_replica_without_the_tables_is_not_asked(replicated, tmp_path):
    url = replicated.database()
    there = replicated.replica_url(url)
    support.until("the standby has the database", lambda: replicated.has(url))
    replicated.sql("SELECT pg_wal_replay_pause()", there)
    collector = support.Collector(tmp_path, **{"db.url": url, "db.replica_url": there}).start()
    for _ in range(10):
        assert counted(collector)[0] == 0
    replicated.sql("SELECT pg_wal_replay_resume()", there)
    support.until("it is read", lambda: counted(collector)[0] > 0)
    assert collector.stop() == 0
    replicated.drop(url)


def test_who_writes_sees_it(replica):
    _, collector, _ = replica
    before = counted(collector)
    for i in range(100):
        key = post(collector, f"alert {i}")
        assert newest(collector)["description"] == f"alert {i}"
        changed = collector.call("PATCH", f"/api/alerts/{key}", {"status": "closed"})
        assert changed.status == 200
        assert newest(collector)["status"] == "closed"
    support.until("it is read again", lambda: counted(collector)[0] > before[0] + 10)


def test_a_replica_that_stands_still(replica):
    server, collector, there = replica
    sensor = Sensor(collector)
    server.sql("SELECT pg_wal_replay_pause()", there)
    key = post(collector, "of a person")
    assert newest(collector)["description"] == "of a person"
    assert collector.call("GET", f"/api/alerts/{key}").status == 200
    server.sql("SELECT pg_wal_replay_resume()", there)
    reads = counted(collector)[0]
    support.until("it is read", lambda: counted(collector)[0] > reads)

    server.sql("SELECT pg_wal_replay_pause()", there)
    sensor.post(item(1))
    support.until("it shows", lambda: newest(collector)["source"] == "edge", 4)
    reads, passed = counted(collector)
    for _ in range(20):
        assert newest(collector)["source"] == "edge"
    assert counted(collector)[0] == reads and counted(collector)[1] > passed + 20
    server.sql("SELECT pg_wal_replay_resume()", there)
    support.until("it is read again", lambda: counted(collector)[0] > reads)


def test_a_replica_that_is_killed(replica):
    server, collector, _ = replica
    post(collector, "before")
    server.kill("replica")
    time.sleep(0.1)
    for _ in range(50):
        answer = collector.call("GET", "/api/alerts/?limit=1")
        assert answer.status == 200 and answer.json["data"][0]["description"] == "before"
    reads = counted(collector)[0]
    server.start()
    support.until("it is read again", lambda: counted(collector)[0] > reads, 30)
    assert collector.process.is_running


def test_a_replica_that_is_none(replicated, tmp_path):
    url = replicated.database()
    collector = support.Collector(tmp_path, **{"db.url": url, "db.replica_url": url}).start()
    post(collector, "x")
    assert newest(collector)["description"] == "x"
    assert counted(collector)[0] == 0
    assert collector.stop() == 0
    replicated.drop(url)
