"""The wall clock jumps by an hour, forwards and back: nobody is locked out, nothing is lost."""

import datetime
import gzip
import struct
import time

import pytest
import support
from books import balance
from wallclock import HOUR, WallClock
from wsclient import WebSocket

DRAFT = {"severity": "low", "type": "probe", "description": "something"}


@pytest.fixture
def clock(tmp_path):
    return WallClock(tmp_path)


def log_in(server):
    form = {"grant_type": "password", "username": "admin", "password": server.password}
    answer = server.call("POST", "/api/auth/token", form=form, token="")
    assert answer.status == 200, answer.text
    return answer.json


def me(server, token):
    answer = server.call("GET", "/api/auth/me", token=token)
    return answer.status, answer.json.get("code")


def refresh(server, tokens):
    body = {"refresh_token": tokens["refresh_token"]}
    return server.call("POST", "/api/auth/refresh", body, token="")


def post(server, token):
    answer = server.call("POST", "/api/alerts/", DRAFT, token=token)
    assert answer.status == 201, answer.text
    return answer.json


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_the_collectors_clock_jumps_and_comes_back(clock, collector_of, jump):
    server = collector_of(env=clock.env).start()
    before = log_in(server)
    first = post(server, before["access_token"])

    clock.set(jump)
    known = [(200, None)] if jump < 0 else []  # for the ten seconds that it is kept in mind
    assert me(server, before["access_token"]) in [(401, "token_expired"), *known]
    renewed = refresh(server, before)
    assert renewed.status == 200, renewed.text
    during = log_in(server)
    second = post(server, during["access_token"])
    moved = time_of(second["created_at"]) - time_of(first["created_at"])
    assert abs(moved.total_seconds() - jump) < 60

    clock.set(0)
    after = log_in(server)
    assert me(server, during["access_token"]) == (401, "token_expired")
    assert me(server, after["access_token"]) == (200, None)
    third = post(server, after["access_token"])
    found = server.call("GET", "/api/alerts/?sort=id", token=after["access_token"]).json["data"]
    assert [a["id"] for a in found] == [first["id"], second["id"], third["id"]]
    assert refresh(server, renewed.json).status == 200


def test_what_was_revoked_stays_so(clock, collector_of):
    server = collector_of(env=clock.env).start()
    gone = log_in(server)
    assert server.call("POST", "/api/auth/logout", token=gone["access_token"]).status < 300
    assert me(server, gone["access_token"]) == (401, "token_revoked")
    clock.set(HOUR)
    log_in(server)  # old revocations are cleaned up on this occasion
    clock.set(0)
    assert me(server, gone["access_token"]) == (401, "token_revoked")
    assert refresh(server, gone).status == 401


def time_of(text):
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_listener_and_a_limit_do_not_notice(clock, collector_of, jump):
    """Pings and request limits go by the monotonic clock."""
    server = collector_of(env=clock.env, ws__ping="1s", api__rate="60", api__burst="20").start()
    token = log_in(server)["access_token"]
    key = server.create_key("reader", "alerts:read").read_text().strip()

    def read():
        return server.call("GET", "/api/alerts/", token="", headers={"X-API-Key": key}).status

    with WebSocket(server, X_API_Key=key) as ws:
        ws.write({"type": "subscribe", "topics": ["alerts"]})
        assert ws.read()["type"] == "ready"
        clock.set(jump)
        statuses = [read() for _ in range(40)]
        assert statuses[0] == 200 and statuses[-1] == 429
        clock.set(0)
        time.sleep(2.5)
        assert read() == 200
        post(server, token)
        assert ws.read()["type"] == "alert"


def shifted(capture, out, seconds):
    """The capture with the middle third of its packets `seconds` later."""
    data = bytearray(gzip.open(capture).read())
    starts, at = [], 24
    while at < len(data):
        starts.append(at)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    for at in starts[len(starts) // 3 : 2 * len(starts) // 3]:
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + seconds)
    out.write_bytes(data)
    return len(starts)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_sensor_whose_clock_jumps_delivers_all(clock, collector_of, tmp_path, jump):
    """Its own clock, while it replays; the time of the packets is another one."""
    server = collector_of().start()
    out = tmp_path / "sensor"
    args = support.sensor_args(server, server.create_key(), out, uplink__heartbeat="1s")
    sensor = support.Process(
        *["wind-sensor", *args, "--speed", "60", "--run-id", "jump"],
        log=tmp_path / "sensor.log",
        env=clock.env,
    )
    for seconds in (jump, 0, jump):
        time.sleep(1.5)
        clock.set(seconds)
    assert sensor.wait() == 0, sensor.log
    stats = support.eve(out)[-1]["stats"]
    balance(stats)
    assert stats["alert"]["spooled"] == stats["alert"]["lost_spool"] == 0
    told = {a["wind"]["uid"] for a in support.eve(out) if a["event_type"] == "alert"}
    assert {a["uid"] for a in server.all("alerts")} == told


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_packets_that_jump_and_come_back(tmp_path, jump):
    capture = tmp_path / "jump.pcap"
    packets = shifted(support.CAPTURE, capture, jump)
    run = support.run("wind-sensor", "-r", capture, "-l", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    lines = support.eve(tmp_path / "out")
    stats = lines[-1]["stats"]
    balance(stats)
    assert stats["capture"]["packets"] == packets
    assert stats["capture"]["time_backwards"] > 0
    flows = [line["flow"] for line in lines if line["event_type"] == "flow"]
    assert len(flows) == stats["flow"]["made"]
    assert all(flow["age"] >= 0 for flow in flows)
