"""Redis away, or there and silent: nobody gets in who shouldn't, and work goes on."""

import time

import pytest
import support
from wsclient import WebSocket

DRAFT = {"severity": "low", "type": "probe", "description": "something"}
LIMITS = {"auth__login_rate": "5", "api__rate": "0"}


@pytest.fixture
def pair(collector_of, redis, tmp_path):
    """Two collectors on one database and one Redis."""
    shared = {"db__path": tmp_path / "wind.db", "cache__url": redis.url, **LIMITS}
    first = collector_of("first", **shared).start()
    second = collector_of("second", **shared)
    second.password = first.password
    return first, second.start()


def log_in(server, password=None):
    form = {"grant_type": "password", "username": "admin", "password": password or server.password}
    return server.call("POST", "/api/auth/token", form=form, token="")


def me(server, token):
    answer = server.call("GET", "/api/auth/me", token=token)
    return answer.status, answer.json.get("code")


away = pytest.mark.parametrize("how", ["kill", "pause"])


@away
def test_who_was_told_to_leave_stays_out(pair, redis, how):
    first, second = pair
    early, late = log_in(first).json["access_token"], log_in(first).json["access_token"]
    for server in pair:
        assert me(server, early) == me(server, late) == (200, None)
    assert first.call("POST", "/api/auth/logout", token=early).status < 300
    support.until("the other one hears it", lambda: me(second, early) == (401, "token_revoked"))

    getattr(redis, how)()
    assert me(first, early) == me(second, early) == (401, "token_revoked")
    assert first.call("POST", "/api/auth/logout", token=late).status < 300
    assert me(first, late) == me(second, late) == (401, "token_revoked"), "at once, everywhere"
    assert log_in(second).status == 200

    redis.well()
    for server in pair:
        assert me(server, early) == me(server, late) == (401, "token_revoked")


@away
def test_who_guesses_passwords_is_not_forgiven(pair, redis, how):
    first, second = pair
    for _ in range(30):
        if log_in(first, "wrong").status == 429:
            break
    assert log_in(first, "wrong").status == log_in(first).status == 429
    assert log_in(second).status == 429, "counted for both"
    getattr(redis, how)()
    assert log_in(first).status == 429
    redis.well()
    assert log_in(first).status == 429


@away
def test_work_goes_on_and_is_quick(pair, redis, how):
    first, second = pair
    token = log_in(first).json["access_token"]
    with WebSocket(second) as ws:
        assert ws.log_in(token, topics=["alerts"])["type"] == "ready"
        getattr(redis, how)()
        began = time.monotonic()
        for server in pair * 20:
            assert server.call("POST", "/api/alerts/", DRAFT, token=token).status == 201
            assert server.call("GET", "/api/alerts/?limit=1", token=token).status == 200
        assert time.monotonic() - began < 10, "each request waits for Redis"
        news = [ws.read() for _ in range(40)]
        assert {message["type"] for message in news} == {"alert"}

        redis.well()
        assert first.call("POST", "/api/alerts/", DRAFT, token=token).status == 201
        assert ws.read()["type"] == "alert"


def test_a_collector_starts_without_redis(collector_of, redis):
    redis.kill()
    server = collector_of(cache__url=redis.url).start()
    token = log_in(server).json["access_token"]
    assert me(server, token) == (200, None)
    assert server.call("POST", "/api/alerts/", DRAFT, token=token).status == 201
