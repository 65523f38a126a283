"""The collector behind Kafka: what sensors put on the bus is in the database, each once."""

import json

import bus as bus_module
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

    def go(name="collector", **settings):
        folder = tmp_path / name
        folder.mkdir()
        one = support.Collector(folder, **bus.settings, **settings)
        made.append(one)
        return one.start()

    yield go
    for one in made:
        if one.process.is_running:
            assert one.stop() == 0, one.process.log


def stored(collector):
    return collector.call("GET", "/api/alerts/?limit=1").json and len(collector.all("alerts"))


def until_stored(collector, count, seconds=30):
    """The API shows so many alerts, each once."""

    def are_there():
        return metrics(collector).get("wind_bus_lag_sum") == 0 and stored(collector) >= count

    support.until(f"{count} alerts are stored", are_there, seconds)
    uids = [a["uid"] for a in collector.all("alerts")]
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
    found = outcomes(collector)
    assert (found["stored"], found["known"], found["updated"]) == (100, 100, 1)
    balance(collector)
    m = metrics(collector)
    assert (m["wind_bus_duplicates_total"], m["wind_bus_gap_total"]) == (100, 0)
