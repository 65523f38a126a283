"""The collector behind Kafka: what sensors put on the bus is in the database, each once."""

import contextlib
import json
import os
import random
import re
import sqlite3
import threading
import time
from pathlib import Path

import bus as bus_module
import kafka_strict
import pytest
import support
from bus import alert, balance, headers, metrics, outcomes


@pytest.fixture
def bus(kafka):
    return bus_module.Bus(kafka)


@pytest.fixture
def start(tmp_path, bus):
    """Starts collectors behind the bus: start("name", setting=value). All are ended."""
    made = []

    def go(name="collector", password=None, **settings):
        folder = tmp_path / name
        folder.mkdir()
        one = support.Collector(folder, **bus.settings, **settings)
        one.password = password
        made.append(one)
        return one.start()

    yield go
    for one in made:
        if one.process.is_running:
            assert one.stop() == 0, one.process.log


@pytest.fixture(params=["sqlite", "postgres"])
def shared_store(request, tmp_path):
    """Settings: a database that several collectors may share."""
    if request.param == "sqlite":
        return {"db__path": tmp_path / "shared.db"}
    return {"db__url": request.getfixturevalue("database")}


def shown(collector):
    """The uids of all alerts; none while the API answers 503: its database may just be back."""
    uids, cursor = [], ""
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        answer = collector.call("GET", f"/api/alerts/?limit=200{more}")
        if answer.status == 503:
            return []
        assert answer.status == 200, answer.text
        uids += [alert["uid"] for alert in answer.json["data"]]
        cursor = answer.json["next_cursor"]
        if not cursor:
            return uids


def until_stored(collector, count, seconds=30):
    """The API shows so many alerts, each once."""
    uids = []

    def are_there():
        uids[:] = shown(collector)
        return metrics(collector).get("wind_bus_lag_sum") == 0 and len(uids) >= count

    support.until(f"{count} alerts are stored", are_there, seconds)
    assert len(uids) == len(set(uids)) == count


def test_alerts_of_the_bus_are_in_the_api(bus, start):
    bus.create()
    collector = start()
    bus.send(range(500))
    until_stored(collector, 500)
    balance(collector)
    assert outcomes(collector)["stored"] == 500
    (sensor,) = collector.call("GET", "/api/sensors/").json["data"]
    assert (sensor["name"], sensor["alerts"], sensor["gaps"]) == ("edge", 500, 0)
    assert collector.call("GET", "/readyz", token="").json == {"status": "ready", "bus": "ok"}


def test_what_comes_twice_is_known_and_a_higher_rev_updates(bus, start):
    bus.create()
    collector = start()
    bus.send(range(100))
    bus.send(range(100))
    with bus.producer() as p:
        p.put(bus.topic("alerts"), json.dumps(alert(7, rev=2)), "10.9.7.66", headers(100))
    support.until("all are there", lambda: outcomes(collector)["fetched"] == 201)
    until_stored(collector, 100)
    said = ("stored", "known", "updated")
    support.until("each has an outcome", lambda: sum(outcomes(collector)[k] for k in said) == 201)
    assert [outcomes(collector)[k] for k in said] == [100, 100, 1]
    balance(collector)
    m = metrics(collector)
    assert (m["wind_bus_duplicates_total"], m["wind_bus_gap_total"]) == (100, 0)


# ---------------------------------------------------------------- what can't be stored


def without(name):
    value = alert(0)
    del value["wind"][name]
    return json.dumps(value)


def with_wind(**more):
    value = alert(0)
    value["wind"] |= more
    return json.dumps(value)


TWICE = json.dumps(alert(0))[:-1] + ', "event_type": "alert"}'

# What it is: the value, the headers that are different, and what the reason says.
POISON = {
    "no JSON": ("out of order", {}, "JSON|object"),
    "cut short": (json.dumps(alert(0))[:-40], {}, "JSON|object"),
    "a number": ("7", {}, "object"),
    "a wrong type": (with_wind(rev="one"), {}, "wind.rev"),
    "no uid": (without("uid"), {}, "wind.uid"),
    "huge": (with_wind(explain=["x" * 300_000]), {}, "bytes, more than"),
    "empty": ("", {}, "empty"),
    "a tombstone": (None, {}, "empty"),
    "binary": (bytes(range(256)) * 4, {}, "JSON|object"),
    "a flow": (json.dumps({"event_type": "flow", "flow_id": 1}), {}, "wind"),
    "a key twice": (TWICE, {}, "JSON|object"),
    "time before all times": (json.dumps(alert(0, timestamp="1492-01-01T00:00:00Z")), {}, "time"),
    "time after all times": (with_wind(last_seen="9999-01-01T00:00:00Z"), {}, "last_seen"),
    "another schema": (json.dumps(alert(0)), {"schema": "2"}, "schema"),
    "no sensor": (json.dumps(alert(0)), {"sensor": None}, "sensor"),
    "a sensor of two lines": (json.dumps(alert(0)), {"sensor": "a\nb"}, "sensor"),
    "a number that is none": (json.dumps(alert(0)), {"seq": "first"}, "seq"),
}


def test_poison_goes_to_the_dlq_with_the_reason_and_the_rest_is_stored(bus, start):
    bus.create(partitions=1)
    with bus.producer() as p:
        for i, (value, more, _) in enumerate(POISON.values()):
            good = json.dumps(alert(1000 + i))
            p.put(bus.topic("alerts"), good, "k", headers(2 * i), 0)
            p.put(bus.topic("alerts"), value, "k", headers(2 * i + 1) | more, 0)
    collector = start()
    support.until("all are done", lambda: outcomes(collector)["fetched"] == 2 * len(POISON))
    support.until("none is in hand", lambda: metrics(collector)["wind_bus_in_hand"] == 0)
    dead = {int(message["headers"]["offset"]): message for message in bus.dead()}
    assert [what for i, what in enumerate(POISON) if 2 * i + 1 not in dead] == []
    assert len(dead) == len(POISON)
    until_stored(collector, len(POISON))
    for i, (what, (value, more, said)) in enumerate(POISON.items()):
        message = dead[2 * i + 1]
        assert re.search(said, message["headers"]["reason"]), (what, message["headers"])
        assert message["headers"]["topic"] == bus.topic("alerts")
        assert message["headers"]["partition"] == "0"
        assert message["headers"]["sensor"] == ("" if "sensor" in more else "edge")
        if isinstance(value, str) and "cut" not in message["headers"]:
            assert (message["payload"] or "") == value, what
    books = outcomes(collector)
    assert (books["stored"], books["dlq"]) == (len(POISON), len(POISON))
    balance(collector)
    (sensor,) = collector.call("GET", "/api/sensors/").json["data"]
    assert sensor["rejected"] >= len(POISON) - 2  # not of those without a sensor


def test_a_message_too_large_for_the_dlq_is_cut(bus, start):
    bus.create(words=("alerts", "health"))
    bus.kafka.create_topic(bus.topic("dlq"), 1, max_message_bytes=100_000)
    value = "x" * 500_000
    with bus.producer() as p:
        p.put(bus.topic("alerts"), value, "k", headers(1))
    collector = start()
    support.until("it is dead", lambda: outcomes(collector)["dlq"] == 1)
    (message,) = bus.dead()
    assert message["headers"]["cut"] == str(len(value))
    assert message["payload"] == value[: len(message["payload"])]


@pytest.mark.sqlite
def test_what_the_database_refuses_is_found_and_the_rest_is_stored(bus, start, tmp_path):
    """A table that lets one sensor's alerts not in, as a full table or a broken trigger would."""
    bus.create()
    collector = start()
    assert collector.stop() == 0
    uid = alert(77)["wind"]["uid"].replace("-", "")
    sqlite(
        collector,
        f"CREATE TRIGGER refuse BEFORE INSERT ON alerts WHEN new.uid = x'{uid}' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    )
    bus.send(range(200))
    collector.start()
    until_stored(collector, 199)
    support.until("the one is dead", lambda: outcomes(collector)["dlq"] == 1)
    (message,) = bus.dead()
    assert "the database refuses it" in message["headers"]["reason"]
    assert json.loads(message["payload"])["wind"]["uid"] == alert(77)["wind"]["uid"]
    assert metrics(collector)["wind_bus_splits_total"] > 0
    balance(collector)


def sqlite(collector, script):
    with contextlib.closing(sqlite3.connect(collector.settings["db.path"])) as db:
        db.executescript(script)


# ---------------------------------------------------------------- what comes late or goes away


def test_topics_that_are_made_late_and_partitions_that_are_added(bus, start):
    collector = start()
    support.until(
        "the group is there",
        lambda: collector.call("GET", "/readyz", token="").json["bus"] != "away",
    )
    assert collector.process.is_running
    bus.create(partitions=1)
    bus.send(range(100))
    until_stored(collector, 100, 20)
    bus.kafka.grow_topic(bus.topic("alerts"), 4)
    bus.send(range(100, 1100))
    until_stored(collector, 1100, 20)
    m = metrics(collector)
    assert m["wind_bus_partitions"] == 5
    assert 'wind_bus_lag{topic="alerts",partition="3"}' in m
    balance(collector)


@pytest.mark.sqlite
def test_a_locked_database_stops_the_bus_and_loses_nothing(bus, start):
    """Longer than max.poll.interval.ms: it keeps its place in the group all the same."""
    bus.create()
    collector = start(kafka__options="max.poll.interval.ms=15000")
    bus.send(range(100))
    until_stored(collector, 100)
    lock = sqlite3.connect(collector.settings["db.path"], isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    bus.send(range(100, 1000))

    def waits():
        return collector.call("GET", "/metrics", token="").text.count('state="database"} 1')

    support.until("it says so", waits, 40)
    rebalances = metrics(collector)["wind_bus_rebalances_total"]
    before = cpu_seconds(collector)
    time.sleep(2)
    assert cpu_seconds(collector) - before < 0.5, "it does not wait, it spins"
    support.until(
        "it has tried again",
        lambda: metrics(collector)["wind_bus_database_failures_total"] >= 2,
        40,
    )
    assert metrics(collector)["wind_bus_rebalances_total"] == rebalances
    lock.execute("ROLLBACK")
    lock.close()
    until_stored(collector, 1000)
    assert "messages wait, trying again" in collector.process.log
    assert metrics(collector)['wind_bus_state{state="ok"}'] == 1
    balance(collector)


def cpu_seconds(collector):
    fields = Path(f"/proc/{collector.process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_postgresql_that_dies_and_comes_back(bus, postgres, database, start):
    bus.create()
    collector = start(db__url=database)
    bus.send(range(100))
    until_stored(collector, 100)
    postgres.kill()
    bus.send(range(100, 500))

    def waits():
        return 'state="database"} 1' in collector.call("GET", "/metrics", token="").text

    support.until("it says so", waits, 40)
    time.sleep(3)
    assert collector.call("GET", "/readyz", token="").status == 503
    postgres.start()
    until_stored(collector, 500, 40)
    assert metrics(collector)["wind_bus_rejected_total"] == 0
    balance(collector)


def test_without_a_dlq_no_offset_goes_by(bus, start):
    bus.create(words=("alerts", "health"))
    bus.kafka.create_topic(bus.topic("dlq"), 1, max_message_bytes=100)  # it takes nothing
    collector = start()
    bus.send(range(50))
    until_stored(collector, 50)
    with bus.producer() as p:
        p.put(bus.topic("alerts"), "no JSON", "k", headers(50))
    bus.send(range(51, 60))
    state = 'state="dlq"} 1'
    support.until("it waits", lambda: state in collector.call("GET", "/metrics", token="").text, 40)
    assert "dlq does not take 1 of 1" in collector.process.log
    support.until("it shows", lambda: metrics(collector)["wind_bus_lag_sum"] > 0)
    bus.kafka.delete_topic(bus.topic("dlq"))
    bus.kafka.create_topic(bus.topic("dlq"), 1)
    until_stored(collector, 59, 60)
    support.until("the one is dead", lambda: outcomes(collector)["dlq"] == 1)
    assert len(bus.dead()) == 1
    balance(collector)


def doctor(collector, folder):
    password = folder / "password"
    password.write_text(collector.password)
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder)}
    words = ["login", collector.url, "--password-file", password]
    assert support.run("windctl", *words, env=env).returncode == 0
    done = support.run("windctl", "doctor", "-o", "json", env=env)
    return {row["check"]: row for row in json.loads(done.stdout)}


def test_a_broker_that_goes_away_and_comes_back(bus, start, tmp_path):
    bus.create()
    collector = start()
    bus.send(range(100))
    until_stored(collector, 100)
    bus.kafka.kill()
    support.until(
        "it says so", lambda: collector.call("GET", "/readyz", token="").json["bus"] == "away"
    )
    assert collector.call("GET", "/api/alerts/?limit=1").status == 200
    assert doctor(collector, tmp_path)["bus"]["state"] == "fail"
    bus.kafka.start()
    bus.send(range(100, 200))
    until_stored(collector, 200, 60)
    support.until(
        "it is well", lambda: collector.call("GET", "/readyz", token="").json["bus"] == "ok"
    )
    balance(collector)


def test_it_stops_while_the_broker_is_away(bus, start):
    bus.create()
    collector = start()
    bus.send(range(10))
    until_stored(collector, 10)
    bus.kafka.kill()
    assert collector.process.stop() == 0  # within 20 s
    bus.kafka.start()


# ---------------------------------------------------------------- kills


def test_killed_at_random_each_alert_is_there_once(bus, shared_store, start):
    bus.create()
    collector = start(**shared_store)
    total, choose = 6000, random.Random(5)
    sender = threading.Thread(target=trickle, args=(bus, total))
    sender.start()
    for _ in range(6):
        time.sleep(0.2 + choose.random())
        collector.kill()
        collector.start()
    sender.join()
    until_stored(collector, total, 60)
    assert incidents_agree(collector)
    (sensor,) = collector.call("GET", "/api/sensors/").json["data"]
    assert (sensor["alerts"], sensor["missing"]) == (total, 0)
    balance(collector)


def trickle(bus, total):
    """Several thousand alerts over several seconds."""
    with bus.producer() as p:
        for n in range(total):
            value = alert(n)
            p.put(bus.topic("alerts"), json.dumps(value), value["src_ip"], headers(n))
            if n % 10 == 0:
                time.sleep(0.01)


def incidents_agree(collector):
    return sum(i["alert_count"] for i in collector.all("incidents")) == len(shown(collector))


def test_when_one_of_two_dies_the_other_takes_over_within_ten_seconds(bus, shared_store, start):
    """Both on one database, as SQLite too allows on one machine."""
    bus.create(partitions=4)
    one = start("one", **shared_store)
    two = start("two", one.password, **shared_store)

    def shares():
        both = [metrics(c)["wind_bus_partitions"] for c in (one, two)]
        return sum(both) == 8 and min(both) > 0

    support.until("they share", shares, 30)
    bus.send(range(500))
    until_stored(one, 500)
    assert outcomes(two)["stored"] > 0, "the other had nothing to do"
    one.kill()
    began = time.monotonic()
    bus.send(range(500, 1000))
    support.until("all are there", lambda: len(shown(two)) == 1000, 30)
    assert time.monotonic() - began < 10
    balance(two)
    one.start()
    support.until("they share again", shares, 30)
    bus.send(range(1000, 1500))
    until_stored(two, 1500)
    assert metrics(two)["wind_bus_gap_total"] == 0


# ---------------------------------------------------------------- numbers and signs of life


def test_a_gap_is_noticed_told_and_taken_off_when_it_comes_after_all(bus, start, tmp_path):
    bus.create()
    collector = start(kafka__gap_wait="2s")
    bus.send([*range(100), *range(120, 200), *range(201, 300)])
    until_stored(collector, 279)

    def sensor():
        return collector.call("GET", "/api/sensors/").json["data"][0]

    support.until("it is noticed", lambda: sensor()["missing"] == 21, 30)
    assert sensor()["gaps"] == 2
    assert "21 messages of 'edge' never came" in doctor(collector, tmp_path)["sensors"]["text"]
    log = collector.process.log
    assert "sensor 'edge': alerts 100 to 119 of run 'run-1' did not come, 20 are lost" in log
    m = metrics(collector)
    assert (m["wind_bus_gap_total"], m["wind_bus_missing_total"]) == (2, 21)
    bus.send(range(100, 110))
    support.until("it is taken off", lambda: sensor()["missing"] == 11, 30)
    assert metrics(collector)["wind_bus_found_total"] == 10


def test_signs_of_life(bus, start):
    bus.create()
    collector = start()
    beat = {"event_type": "stats", "stats": {"uptime": 5}, "wind": {"version": "9.8.7"}}
    with bus.producer() as p:
        p.put(bus.topic("health"), json.dumps(beat), "edge", headers(0, run="start-1"))
        p.put(bus.topic("health"), json.dumps({"event_type": "stats"}), "edge", headers(1))
    sensors = lambda: collector.call("GET", "/api/sensors/").json["data"]  # noqa: E731
    (sensor,) = support.until("it is known", sensors)
    assert (sensor["state"], sensor["version"], sensor["stats"]) == (
        "online",
        "9.8.7",
        {"uptime": 5},
    )
    support.until("the other is dead", lambda: outcomes(collector, "health")["dlq"] == 1)
    assert "heartbeat" in bus.dead()[0]["headers"]["reason"]
    balance(collector)


def test_a_wrong_property_is_named_when_the_configuration_is_tested(tmp_path):
    for option, said in (
        ("acks=none", "acks"),
        ("nonsense=1", "'nonsense' is no property"),
        ("enable.auto.commit=true", "'enable.auto.commit' can't be changed"),
        ("sasl.password=x", "kafka.password_file"),
        ("ssl.ca.location=/nowhere,security.protocol=ssl", "ssl.ca.location"),
    ):
        values = {"kafka.brokers": "127.0.0.1:1", "kafka.options": option}
        done = support.run("wind-collector", "-T", *support.settings(values))
        assert done.returncode == 3, (option, done.stderr)
        assert said in done.stderr


strict_kafka = kafka_strict.strict_kafka


def test_tls_and_a_password(strict_kafka, tmp_path):
    """Refused without the right one, which is said; the right one is taken with the next start."""
    there = bus_module.Bus(strict_kafka).create()
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("hunter2\n")
    options = {
        "security.protocol": "sasl_ssl",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "edge",
        "ssl.ca.location": strict_kafka.certificate,
    }
    settings = there.settings | {
        "kafka__brokers": strict_kafka.tls_brokers,
        "kafka__options": ",".join(f"{k}={v}" for k, v in options.items()),
        "kafka__password_file": secret,
    }
    collector = support.Collector(tmp_path, **settings).start()
    there.send(range(50))
    with there.producer() as p:
        p.put(there.topic("alerts"), "no JSON", "k", headers(50))
    try:
        support.until("it is refused", lambda: "Authentication failed" in collector.process.log)
        assert collector.call("GET", "/readyz", token="").json["bus"] == "away"
        assert "hunter2" not in collector.process.log
        assert collector.stop() == 0
        secret.write_text(kafka_strict.PASSWORD + "\n")
        collector.start()
        until_stored(collector, 50)
        support.until("one is dead", lambda: outcomes(collector)["dlq"] == 1)
        assert len(there.dead()) == 1
    finally:
        collector.stop()
