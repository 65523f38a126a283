"""A disk that fills up: there is a warning, old alerts go, and in the end nothing new is taken; who
reads and who works on what is there goes on. With room all of it ends by itself."""

import pytest
import support
from books import balance

MB = 1_000_000
DRAFT = {"severity": "low", "type": "probe", "description": "something"}
QUICK = {"retention__interval": "1s", "api__rate": "0"}


@pytest.fixture
def disk(small_disk):
    return small_disk("60m")


@pytest.fixture
def server(disk, collector_of):
    made = collector_of(db__path=disk.folder / "wind.db", **QUICK).start()
    made.token()
    return made


def metric(server, name):
    lines = server.call("GET", "/metrics", token="").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split()[0] == name)


def reaches(server, stage):
    support.until(f"stage {stage}", lambda: metric(server, "wind_disk_stage") == stage)


def post(server, **more):
    return server.call("POST", "/api/alerts/", DRAFT | more)


def batch(server, key, *alerts):
    body = {"sensor": "edge", "version": "1", "alerts": list(alerts)}
    headers = {"X-API-Key": key.read_text().strip()}
    return server.call("POST", "/api/ingest", body, token="", headers=headers)


def refused(answer):
    assert (answer.status, answer.json["code"]) == (503, "storage"), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    return True


def test_nothing_new_is_taken_and_all_else_works(disk, server):
    key = server.create_key()
    alert = post(server).json
    incident = server.call(
        "POST",
        "/api/incidents/",
        {"title": "bad", "type": "recon", "severity": "low", "related_alerts": [alert["id"]]},
    ).json
    assert metric(server, "wind_disk_stage") == 0

    disk.fill(leave=2 * MB)
    reaches(server, 3)
    refused(post(server))
    refused(batch(server, key, {"any": "thing"}))
    assert metric(server, "wind_disk_refused_total") == 2
    assert batch(server, key).status == 200, "a sensor that is alive may say so"
    assert server.call("GET", "/api/alerts/?limit=5").status == 200
    assert server.call("GET", "/readyz", token="").status == 200
    triage = server.call("PATCH", f"/api/alerts/{alert['id']}", {"status": "acknowledged"})
    assert triage.status == 200, triage.text
    comment = f"/api/incidents/{incident['id']}/comments"
    assert server.call("POST", comment, {"text": "the disk is full"}).status == 201
    log_in = {"grant_type": "password", "username": "admin", "password": server.password}
    assert server.call("POST", "/api/auth/token", form=log_in, token="").status == 200

    disk.empty()
    reaches(server, 0)
    assert post(server).status == 201
    log = server.process.log
    assert "taking nothing new until there is room" in log
    assert "there is room again" in log


def test_old_alerts_make_room(disk, collector_of):
    """The database fills the disk; what nobody works on goes, and what somebody does stays."""
    stages = {"retention__disk_low": 50, "retention__disk_high": 60, "retention__disk_flood": 80}
    stages["retention__disk_keep"] = "0s"
    server = collector_of(db__path=disk.folder / "wind.db", **QUICK, **stages).start()
    pad = {"metadata": {"pad": "x" * 50_000}}
    kept = post(server, description="mine", **pad).json
    patch = {"assigned_to": "admin", "status": "investigating"}
    assert server.call("PATCH", f"/api/alerts/{kept['id']}", patch).status == 200
    last = None
    for i in range(1000):
        answer = post(server, description=f"number {i}", **pad)
        if answer.status == 503:
            break
        assert answer.status == 201
        last = answer.json["id"]
        closed = server.call("PATCH", f"/api/alerts/{last}", {"status": "closed"})
        assert closed.status == 200, closed.text
        if metric(server, "wind_disk_stage") >= 2:
            break
    assert metric(server, "wind_disk_stage") >= 2, "36 MB fit on the disk"
    support.until("there is room", lambda: metric(server, "wind_disk_stage") < 2, 60)
    assert post(server).status == 201
    stored = {alert["id"] for alert in server.all("alerts")}
    assert kept["id"] in stored and last in stored
    assert kept["id"] + 1 not in stored, "the oldest went first"
    assert len(stored) > 100, "not more than needed"


def test_a_sensor_keeps_what_is_not_taken(disk, server, tmp_path):
    key = server.create_key()
    out = tmp_path / "sensor"
    disk.fill(leave=2 * MB)
    reaches(server, 3)
    args = support.sensor_args(server, key, out, uplink__drain="3s", spool__dir=tmp_path / "spool")
    run = support.run("wind-sensor", *args, "--run-id", "full")
    assert run.returncode == 0, run.stderr
    stats = support.eve(out)[-1]["stats"]
    balance(stats)
    assert stats["alert"]["spooled"] > 0
    uids = {line["wind"]["uid"] for line in support.eve(out) if line["event_type"] == "alert"}
    assert server.all("alerts") == []

    disk.empty()
    reaches(server, 0)
    run = support.run("wind-sensor", *args, "--run-id", "room")
    assert run.returncode == 0, run.stderr
    stored = {alert["uid"] for alert in server.all("alerts")}
    assert uids <= stored
