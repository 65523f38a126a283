"""A disk that is full: what was confirmed stays, what is refused is said, and room heals it."""

import support
from books import balance

PAD = "x" * 20_000


def uids(alerts):
    return {alert["wind"]["uid"] for alert in alerts}


def post(server, text):
    body = {"severity": "low", "type": "probe", "description": text, "metadata": {"pad": PAD}}
    return server.call("POST", "/api/alerts/", body)


def test_sqlite_on_a_full_disk(small_disk, collector_of):
    disk = small_disk("24m")
    server = collector_of(db__path=disk.folder / "wind.db", api__rate="0").start()
    server.token()
    confirmed = []
    for i in range(20):
        assert post(server, f"before {i}").status == 201
        confirmed.append(f"before {i}")
    disk.fill(leave=200_000)
    refused = 0
    for i in range(600):
        answer = post(server, f"full {i}")
        if answer.status == 201:
            confirmed.append(f"full {i}")
            continue
        refused += 1
        assert (answer.status, answer.json["code"]) == (503, "storage"), answer.text
        assert answer.headers["Retry-After"]
        if refused == 5:
            break
    assert refused == 5, "the disk was never full"
    assert server.call("GET", "/api/alerts/?limit=5").status == 200, "who reads goes on"
    assert server.call("GET", "/healthz", token="").status == 200

    disk.empty()
    support.until("it stores again", lambda: post(server, "after").status == 201)
    confirmed.append("after")
    server.kill()
    server.start()
    stored = [a["description"] for a in server.all("alerts")]
    assert sorted(stored) == sorted(confirmed)


def test_a_spool_on_a_full_disk(small_disk, collector_of, tmp_path):
    """The collector is away, the disk takes next to nothing: eve.json has all alerts, and the books
    balance. With room again, and the collector, all goes on."""
    disk = small_disk("2m")
    server = collector_of().start()
    key = server.create_key()
    server.kill()
    out = tmp_path / "sensor"
    disk.fill(leave=4096)
    args = support.sensor_args(server, key, out, spool__dir=disk.folder, uplink__drain="1s")
    run = support.run("wind-sensor", *args, "--run-id", "full")
    assert run.returncode == 0, run.stderr
    lines = support.eve(out)
    stats = lines[-1]["stats"]
    balance(stats)
    told = [line for line in lines if line["event_type"] == "alert"]
    assert stats["alert"]["published"] == len(told)
    assert stats["alert"]["lost_spool"] + stats["alert"]["spooled"] == len(told)

    disk.empty()
    server.start()
    again = support.run("wind-sensor", *args, "--run-id", "room")
    assert again.returncode == 0, again.stderr
    late = support.eve(out)[-1]["stats"]
    balance(late)
    assert late["alert"]["lost_spool"] == 0 and late["alert"]["spooled"] == 0
    second = [line for line in support.eve(out) if line["event_type"] == "alert"]
    stored = {a["uid"] for a in server.all("alerts")}
    assert uids(second) <= stored <= uids(told) | uids(second)
