"""/api/ingest: what sensors send is stored once, and what is wrong with it is said."""

from pathlib import Path

import pytest
import support
from apiclient import INCIDENT_FIELDS, at_once, made, raw, refused
from bus import alert


def item(n, rev=1, at="2026-03-01T00:00:00Z", sig="10.9.0.66 tried ports", **wind):
    """An alert as sensors send it; `n` makes the uid."""
    said = {"signature": sig, "signature_id": 9000001, "category": "Network scan"}
    one = alert(n, rev, "10.9.0.66", timestamp=at.replace("Z", ".000000+0000"), alert=said)
    one["wind"] |= {"first_seen": at, "last_seen": at} | wind
    return one


class Sensor:
    def __init__(self, collector):
        self.collector = collector
        self.key = Path(collector.create_key()).read_text().strip()

    def post(self, *alerts, **more):
        body = {"sensor": "edge", "version": "0.1.0", "alerts": list(alerts)} | more
        headers = {"X-API-Key": self.key}
        return self.collector.call("POST", "/api/ingest", body, token="", headers=headers)


@pytest.fixture
def sensor(collector):
    return Sensor(collector)


def only(collector):
    (alert,) = collector.all("alerts")
    return alert


def test_an_alert_is_stored_once_and_grows_by_revision(sensor):
    counts = {"accepted": 0, "updated": 0, "unchanged": 0, "rejected": []}
    assert made(sensor.post(item(1)), 200) == counts | {"accepted": 1}
    assert made(sensor.post(item(1)), 200) == counts | {"unchanged": 1}
    first = only(sensor.collector)
    assert (first["source"], first["type"], first["rev"]) == ("edge", "port_scan", 1)
    assert first["metadata"]["flow"]["dest_port"] == 22
    assert first["metadata"]["explain"][0]["name"] == "distinct_ports"

    grown = item(1, rev=3, count=99, severity="critical", sig="10.9.0.66 tried more")
    assert made(sensor.post(grown), 200) == counts | {"updated": 1}
    late = item(1, rev=2, count=50)
    assert made(sensor.post(late), 200) == counts | {"unchanged": 1}
    after = only(sensor.collector)
    assert (after["rev"], after["metadata"]["count"], after["severity"]) == (3, 99, "critical")
    assert (after["id"], after["uid"], after["created_at"]) == (
        first["id"],
        first["uid"],
        first["created_at"],
    )


def test_what_an_analyst_set_stays(sensor):
    sensor.post(item(1))
    collector = sensor.collector
    path = f"/api/alerts/{only(collector)['id']}"
    set_by_hand = {
        "status": "closed",
        "verdict": "benign_true_positive",
        "assigned_to": "admin",
        "severity": "low",
        "tags": ["known"],
    }
    made(collector.call("PATCH", path, set_by_hand), 200)
    assert made(sensor.post(item(1, rev=9, severity="critical", count=77)), 200)["updated"] == 1
    after = only(collector)
    assert after["metadata"]["count"] == 77
    assert {name: after[name] for name in set_by_hand} == set_by_hand


def test_bad_alerts_are_rejected_one_by_one(sensor):
    bad = [
        1,
        None,
        {},
        {"wind": []},
        item(2) | {"wind": {}},
        item(2, uid="x"),
        item(2, uid=5),
        item(2, rev=0),
        item(2, rev=2**31),
        item(2, rev="1"),
        item(2, score=1.5),
        item(2, score="high"),
        item(2, severity="worst"),
        item(2, detector=""),
        item(2, detector="x" * 49),
        item(2, entities={}),
        item(2, entities=[{"kind": "ghost", "value": "x"}]),
        item(2, entities=[{"kind": "host", "value": "x"}] * 33),
        item(2, first_seen="2026-03-02T00:00:00Z"),
        item(2, last_seen="2262-04-11T23:47:16Z"),
        item(2, last_seen="9999-01-01T00:00:00Z"),
        item(2, explain=["x" * 70000]),
        item(2) | {"timestamp": "now"},
        item(2) | {"src_ip": "10.0.0.256"},
        item(2) | {"dest_port": 65536},
        item(2) | {"alert": {"signature": ""}},
        item(2) | {"alert": {"signature": "x" * 5000}},
    ]
    answer = made(sensor.post(item(1), *bad, item(3)), 200)
    assert answer["accepted"] == 2
    assert [r["index"] for r in answer["rejected"]] == list(range(1, len(bad) + 1))
    assert all(r["detail"] for r in answer["rejected"])
    assert answer["rejected"][7]["uid"] == item(2)["wind"]["uid"]
    assert len(sensor.collector.all("alerts")) == 2
    text = sensor.collector.call("GET", "/metrics", token="").text
    assert f"wind_ingest_rejected_total {len(bad)}\n" in text


def test_what_is_wrong_with_a_whole_batch(sensor):
    refused(sensor.post(*[1] * 1001), 422, "validation_failed", "body", "alerts")
    refused(sensor.post(sensor=""), 422, "validation_failed", "body", "sensor")
    refused(sensor.post(alerts=None), 422, "validation_failed", "body", "alerts")
    head = f"POST /api/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {sensor.key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 4194305\r\n\r\n"
    assert raw(sensor.collector, head.encode())[0] == 413
    assert made(sensor.post(future_field={"kept": "out"}), 200)["accepted"] == 0
    (seen,) = sensor.collector.call("GET", "/api/sensors/").json["data"]
    assert (seen["name"], seen["state"], seen["alerts"]) == ("edge", "online", 0)


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE alerts; --",
    "\x1b[31mred\x07",
    "a\r\nSet-Cookie: x=y",
    "\u202eevil\ufeff",
    "%s%n%d" * 20,
    "é" * 2000,
    "\U0001f600" * 500,
    '"}],"x":[{"',
]


def test_hostile_texts_come_back_as_they_went(sensor):
    entities = [[{"kind": "user", "value": t[:60], "role": "attacker"}] for t in HOSTILE]
    batch = [
        item(n, sig=text, entities=entities[n], detector=f"d{n}" + text[:8])
        for n, text in enumerate(HOSTILE)
    ]
    assert made(sensor.post(*batch, sensor='<b>"\\\n'), 200)["accepted"] == len(HOSTILE)
    stored = {a["description"]: a for a in sensor.collector.all("alerts")}
    assert set(stored) == set(HOSTILE)
    for incident in sensor.collector.all("incidents"):
        assert set(incident) == INCIDENT_FIELDS
        assert incident["title"] and len(incident["title"].encode()) <= 200
    for line in sensor.collector.call("GET", "/metrics", token="").text.splitlines():
        assert line.startswith("#") or line.rsplit(" ", 1)[1].replace(".", "").isdigit(), line
    assert made(sensor.collector.call("GET", "/api/stats/"), 200)["alerts"]["total"] == len(HOSTILE)


def test_times_far_away(sensor):
    ends = ["1970-01-01T00:00:00Z", "2261-12-31T23:59:59Z"]
    assert made(sensor.post(*[item(n, at=at) for n, at in enumerate(ends)]), 200)["accepted"] == 2
    stats = made(sensor.collector.call("GET", "/api/stats/"), 200)
    assert stats["extent"] == {
        "first": "1970-01-01T00:00:00.000000Z",
        "last": "2261-12-31T23:59:59.000000Z",
    }
    assert stats["alerts"]["total"] == 2
    counted = sum(bucket["high"] for bucket in stats["timeline"]["buckets"])
    assert counted == 2 and len(stats["timeline"]["buckets"]) <= 200
    assert len(sensor.collector.all("incidents")) == 2


def test_counts_that_overflow(sensor):
    assert made(sensor.post(item(1, count=2**63 - 1)), 200)["accepted"] == 1
    assert only(sensor.collector)["metadata"]["count"] == 2**63 - 1
    refused(sensor.post(item(2, count=2**64 - 1)), 400, "json_invalid")


def test_two_sensors_at_once_lose_nothing(sensor):
    answers = at_once(8, lambda i: sensor.post(*[item(1000 * (i % 4) + n) for n in range(50)]).json)
    assert sum(a["accepted"] for a in answers) == 200
    assert sum(a["unchanged"] for a in answers) == 200
    assert len(sensor.collector.all("alerts")) == 200


def test_an_incident_has_an_end(tmp_path):
    small = support.Collector(tmp_path, correlate__alerts="10").start()
    try:
        sensor = Sensor(small)
        made(sensor.post(*[item(n) for n in range(35)]), 200)
        sizes = sorted(i["alert_count"] for i in small.all("incidents"))
        assert sizes == [5, 10, 10, 10]
    finally:
        small.stop()


def test_the_collector_counts_what_it_takes(sensor):
    sensor.post(item(1), item(2, severity="low", detector='a"\\b\n'))
    sensor.post(item(1), item(2, rev=2, severity="low", detector='a"\\b\n'))
    text = sensor.collector.call("GET", "/metrics", token="").text
    for line in (
        'wind_alerts_total{detector="port_scan",severity="high",outcome="new"} 1',
        'wind_alerts_total{detector="port_scan",severity="high",outcome="unchanged"} 1',
        'wind_alerts_total{detector="a\\"\\\\b ",severity="low",outcome="updated"} 1',
        "wind_ingest_batches_total 2",
    ):
        assert line in text.splitlines(), text
    assert int(text.split("\nwind_db_file_bytes ")[1].split("\n")[0]) >= 4096
