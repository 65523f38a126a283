"""Kafka between sensor and collector: brokers that go away, messages that are nothing, collectors
that die, topics that change. All that was told is stored, once; what can't be is in wind.dlq."""

import json
import time

import pytest
import support
from story import Sensor, Story


class Bus:
    """Topics of one test, and the settings of who uses them."""

    def __init__(self, kafka):
        self.kafka, self.prefix = kafka, kafka.prefix()
        self.settings = {"kafka.brokers": kafka.brokers, "kafka.prefix": self.prefix}
        self.collector = {"kafka__brokers": kafka.brokers, "kafka__prefix": self.prefix}
        self.collector["kafka__group"] = self.prefix + "group"

    def topic(self, name):
        return self.prefix + name


@pytest.fixture
def bus(kafka):
    return Bus(kafka)


@pytest.fixture
def sensor(bus, tmp_path):
    made = []

    def make(name="edge", options="", **more):
        settings = bus.settings | ({"kafka.options": options} if options else {})
        made.append(Sensor(tmp_path / name, name, settings, **more))
        return made[-1]

    yield make
    for one in made:
        if one.process.is_running:
            one.process.stop(9)


def stored(server):
    alerts = server.all("alerts")
    found = {a["uid"]: (a["rev"], a["metadata"]["count"]) for a in alerts}
    assert len(found) == len(alerts), "an alert is stored twice"
    return found


def arrives(server, *sensors, seconds=60):
    told = {uid: last for sensor in sensors for uid, last in sensor.told.items()}
    assert len(told) >= 3 * len(sensors)
    support.until("all that was told is stored", lambda: stored(server) == told, seconds)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_broker_that_goes_away_and_comes_back(kafka, bus, collector_of, sensor, how):
    server = collector_of(**bus.collector).start()
    first = sensor("first")
    first.wait()
    arrives(server, first)
    getattr(kafka, how)()
    later = sensor("later", options="message.timeout.ms=2000")
    assert server.call("GET", "/healthz", token="").status == 200
    assert stored(server) == first.told, "who reads goes on"
    time.sleep(5)
    kafka.well()
    later.wait()
    arrives(server, first, later)


def test_a_collector_that_starts_without_broker_and_topics(kafka, bus, collector_of, sensor):
    kafka.kill()
    server = collector_of(**bus.collector).start()
    kafka.start()
    edge = sensor()
    edge.wait()
    arrives(server, edge)


def test_one_of_two_collectors_dies(bus, collector_of, sensor, tmp_path):
    """The other one has all partitions within 10 s."""
    shared = bus.collector | {"db__path": tmp_path / "wind.db"}
    first = collector_of("first", **shared).start()
    second = collector_of("second", **shared)
    second.password = first.password
    second.start()
    before = sensor("before")
    before.wait()
    arrives(second, before)
    first.kill()
    died = time.monotonic()
    after = sensor("after")
    after.wait()
    arrives(second, before, after)
    assert time.monotonic() - died < 10 + 5, "the replay itself takes three seconds and more"


def counted(server, name, word=""):
    """Sum of a metric over its labels, of those with `word`."""
    lines = server.call("GET", "/metrics", token="").text.splitlines()
    return sum(int(s.split()[-1]) for s in lines if s.startswith(name + "{") and word in s)


def alert_of(tmp_path):
    run = support.run("wind-sensor", "-r", support.CAPTURE, "-l", tmp_path / "eve")
    assert run.returncode == 0, run.stderr
    return next(line for line in support.eve(tmp_path / "eve") if line["event_type"] == "alert")


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(bus, collector_of, tmp_path):
    good = alert_of(tmp_path)
    text = json.dumps(good)
    wind = good["wind"]
    poison = {
        "nothing": "",
        "words": "this is no JSON",
        "half": text[: len(text) // 2],
        "twice": text + text,
        "a list": f"[{text}]",
        "a number": "17",
        "no uid": json.dumps(good | {"wind": {k: v for k, v in wind.items() if k != "uid"}}),
        "a wrong uid": json.dumps(good | {"wind": wind | {"uid": "me"}}),
        "a time that is none": json.dumps(good | {"timestamp": "yesterday"}),
        "a number for a text": json.dumps(good | {"alert": 7}),
        "no UTF-8": text.encode().replace(b"edge", b"\xff\xfe") + b"\xff",
        "NUL": text.encode().replace(b"{", b"{\0", 1),
        "a pit": "[" * 100_000,
        "a megabyte": json.dumps(good | {"padding": "x" * 900_000}),
    }
    headers = {"schema": "1", "sensor": "edge", "run": "r"}
    server = collector_of(**bus.collector).start()
    number = 0

    def send(value, **more):
        nonlocal number
        given = {**headers, "seq": str(number), **more}
        number += 1
        given = {name: word for name, word in given.items() if word is not None}
        bus.kafka.produce(bus.topic("alerts"), [value], key="10.0.0.1", headers=given)

    for value in poison.values():
        send(value)
    for more in ({"schema": "2"}, {"schema": None}, {"sensor": None}, {"seq": "many"}):
        send(text, **more)
    send(text)
    support.until("the good one is stored", lambda: len(stored(server)) == 1)
    assert stored(server).keys() == {wind["uid"]}
    expected = len(poison) + 4

    def dead():
        return bus.kafka.consume(bus.topic("dlq"))

    support.until("the others are told", lambda: len(dead()) >= expected)
    letters = dead()
    assert len(letters) == expected
    for letter in letters:
        assert letter["headers"]["reason"] and letter["headers"]["topic"] == bus.topic("alerts")
    assert "this is no JSON" in [letter["payload"] for letter in letters]
    assert counted(server, "wind_bus_fetched_total") == expected + 1
    assert counted(server, "wind_bus_messages_total", "stored") == 1
    assert counted(server, "wind_bus_messages_total") == expected + 1, "the books of the bus"
    # what was taken is not taken again
    assert server.stop() == 0
    server.start()
    send(json.dumps(good | {"wind": wind | {"rev": wind["rev"] + 1}}))
    support.until("it goes on", lambda: stored(server)[wind["uid"]][0] == wind["rev"] + 1)
    assert len(dead()) == expected


def restart(collector):
    collector.kill()
    collector.start()


def test_kills_at_random(kafka, bus, collector_of, tmp_path, rounds):
    """Broker, collector, analyser, uplink; alerts in SQLite."""
    server = collector_of(**bus.collector).start()
    story = Story(tmp_path, bus.settings, seed=rounds)
    story.victims["collector"] = lambda: restart(server)
    story.add_server("broker", kafka)
    try:
        story.play(rounds)
        story.check(server)
    finally:
        story.end()
