"""Alerts reach the API once, whatever is killed on the way, and the books balance."""

import json
import random
import time

import pytest
import support
from books import balance


def eve(folder):
    return [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]


def last_revisions(folder):
    """uid -> the alert as it was last told, by the sensor's own log."""
    return {a["wind"]["uid"]: a for a in eve(folder) if a["event_type"] == "alert"}


def assert_delivered_once(collector, folder):
    told = last_revisions(folder)
    stored = collector.all("alerts")
    assert len(stored) == len({a["uid"] for a in stored}), "an alert is stored twice"
    assert {a["uid"]: (a["rev"], a["metadata"]["count"]) for a in stored} == {
        uid: (a["wind"]["rev"], a["wind"]["count"]) for uid, a in told.items()
    }
    assert len(told) >= 3


def start_sensor(collector, key, out, *more):
    return support.Process(
        "wind-sensor",
        *support.sensor_args(collector, key, out),
        *more,
        log=out.with_suffix(".log"),
    )


def test_every_alert_arrives_once(replayed):
    balance(eve(replayed.sensor_out)[-1]["stats"])
    assert_delivered_once(replayed, replayed.sensor_out)
    incidents = replayed.all("incidents")
    joined = [a for i in incidents for a in i["related_alerts"]]
    assert sorted(joined) == sorted(a["id"] for a in replayed.all("alerts"))


def test_the_collector_killed_in_mid_replay(collector, sensor_key, tmp_path):
    out = tmp_path / "sensor"
    sensor = start_sensor(collector, sensor_key, out, "--speed", "60", "--run-id", "killed")
    choose = random.Random(3)
    for _ in range(3):
        time.sleep(0.5 + choose.random())
        collector.kill()
        time.sleep(choose.random())
        collector.start()
    assert sensor.wait() == 0, sensor.log
    balance(eve(out)[-1]["stats"])
    assert eve(out)[-1]["stats"]["alert"]["spooled"] == 0, sensor.log
    assert_delivered_once(collector, out)


def test_a_collector_that_is_away_costs_nothing(collector, sensor_key, tmp_path):
    """The whole replay without a collector, and the next run delivers what it left."""
    out = tmp_path / "sensor"
    collector.kill()
    args = support.sensor_args(collector, sensor_key, out)
    first = support.run("wind-sensor", *args, "--set", "uplink.drain=1s", "--run-id", "away")
    assert first.returncode == 0, first.stderr
    assert "left in the spool" in first.stderr
    stats = eve(out)[-1]["stats"]
    balance(stats)
    assert stats["alert"]["spooled"] == stats["alert"]["published"] > 0

    told = last_revisions(out)
    collector.start()
    second = support.run("wind-sensor", *args, "--run-id", "back")
    assert second.returncode == 0, second.stderr
    stored = {a["uid"]: a["rev"] for a in collector.all("alerts")}
    told.update(last_revisions(out))
    assert stored == {uid: a["wind"]["rev"] for uid, a in told.items()}


def test_sending_twice_changes_nothing(replayed, sensor_key, tmp_path):
    """The same run id makes the same uids: a replay of the replay is no news."""
    before = replayed.all("alerts")
    out = tmp_path / "again"
    args = support.sensor_args(replayed, sensor_key, out)
    again = support.run("wind-sensor", *args, "--run-id", "e2e")
    assert again.returncode == 0, again.stderr
    assert replayed.all("alerts") == before


@pytest.mark.parametrize("key", ["wind_999_" + "0" * 40, "nonsense"])
def test_a_wrong_key_is_said_and_nothing_is_lost(collector, tmp_path, key):
    path = tmp_path / "wrong.key"
    path.touch(mode=0o600)
    path.write_text(key + "\n")
    out = tmp_path / "sensor"
    args = support.sensor_args(collector, path, out)
    run = support.run("wind-sensor", *args, "--set", "uplink.drain=5s")
    assert "key" in run.stderr
    assert key not in run.stderr
    assert collector.all("alerts") == []
    if run.returncode == 0:  # the collector refused it: the alerts wait
        stats = eve(out)[-1]["stats"]
        balance(stats)
        assert stats["alert"]["spooled"] == stats["alert"]["published"] > 0
    else:  # no key at all: said before anything was done
        assert run.returncode in (1, 3)
        assert not (out / "eve.json").exists()


def test_another_sensors_key_is_said_and_nothing_is_lost(collector, tmp_path):
    key = collector.create_key("edge", "ingest", "--sensor", "edge")
    args = support.sensor_args(collector, key, tmp_path / "sensor", sensor__name="fake")
    run = support.run("wind-sensor", *args, "--set", "uplink.drain=5s", "--run-id", "bound")
    assert run.returncode == 0
    assert "this key speaks for the sensor 'edge'" in run.stderr
    assert collector.all("alerts") == []
    assert collector.call("GET", "/api/sensors/").json["data"] == []
    args = support.sensor_args(collector, key, tmp_path / "sensor")
    run = support.run("wind-sensor", *args, "--run-id", "bound")
    assert run.returncode == 0, run.stderr
    assert_delivered_once(collector, tmp_path / "sensor")
    assert {a["source"] for a in collector.all("alerts")} == {"edge"}
