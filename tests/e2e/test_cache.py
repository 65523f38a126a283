"""Two collectors on one database and one Redis are like one."""

import statistics
import time

import pytest
import support
from apiclient import log_in, made, me, new_alert, new_user, refused
from wsclient import WebSocket


@pytest.fixture(params=["sqlite", "postgres"])
def pair(redis, tmp_path, request):
    collectors, shared = [], {"db__path": tmp_path / "wind.db", "cache__url": redis.url}
    if request.param == "postgres":
        shared["db__url"] = request.getfixturevalue("database")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        collectors.append(support.Collector(tmp_path / name, **shared, auth__login_rate="8"))
    first, second = collectors
    first.start()
    second.password = first.password
    second.start()
    for server in collectors:
        server.token()
        support.until("they hear each other", lambda s=server: metric(s, "wind_cache_current") == 1)
    yield first, second
    for server in collectors:
        assert server.stop() == 0, server.process.log


def metric(server, name):
    lines = server.call("GET", "/metrics", token="").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split()[0] == name)


def test_who_logs_out_at_one_is_out_at_the_other_with_the_answer(pair):
    first, second = pair
    _, tokens = new_user(first)
    for i in range(50):
        token = tokens["access_token"]
        for _ in range(3):
            assert me(second, token).status == 200, "believed without asking the database"
        here, there = (first, second) if i % 2 else (second, first)
        assert me(there, token).status == 200
        assert here.call("POST", "/api/auth/logout", token=token).status == 204
        refused(me(there, token), 401, "token_revoked")
        name = f"u{i}-{time.monotonic_ns()}"
        made(
            first.call(
                "POST",
                "/api/users/",
                {"username": name, "password": f"{name}-secret", "role": "viewer"},
            )
        )
        tokens = made(log_in(first, name, f"{name}-secret"), 200)


def test_a_role_taken_at_one_is_gone_at_the_other(pair):
    first, second = pair
    for _ in range(10):
        user, tokens = new_user(first, "analyst")
        token = tokens["access_token"]
        assert me(second, token).json["role"] == "analyst"
        change = first.call("PATCH", f"/api/users/{user['id']}", {"role": "viewer"})
        assert change.status == 200, change.text
        refused(me(second, token), 401, "token_revoked")


def test_failed_logins_count_for_both(pair):
    first, second = pair
    answers = [log_in(pair[i % 2], "admin", "wrong").status for i in range(12)]
    assert answers == [401] * 8 + [429] * 4
    later = log_in(second, "admin", "wrong")
    refused(later, 429, "rate_limited")
    assert int(later.headers["Retry-After"]) in (7, 8)
    assert log_in(first, "nobody", "wrong").status == 401, "another user is not locked out"


def test_an_alert_at_one_is_live_at_the_other_at_once(pair):
    first, second = pair
    took = []
    with WebSocket(second) as ws:
        assert ws.log_in(second.token())["type"] == "ready"
        for _ in range(30):
            began = time.monotonic()
            alert = new_alert(first)
            while (news := ws.read())["type"] != "alert":
                pass
            took.append(time.monotonic() - began)
            assert news["data"]["id"] == alert["id"]
            time.sleep(0.01)
    assert statistics.median(took) < 0.2, "not the poll of once a second"


def test_everything_in_redis_ends(pair, redis):
    first, second = pair
    new_user(first)
    new_alert(second)
    first.call("GET", "/api/stats/")
    keys = redis.cli("KEYS", "*").splitlines()
    assert len(keys) >= 3
    for key in keys:
        assert key.startswith("wind:")
        assert int(redis.cli("TTL", key)) != -1, f"{key} is for ever"
        assert "admin" not in key and "127.0.0.1" not in key


def test_kept_answers_are_those_of_now(pair, redis):
    first, second = pair

    def totals(server):
        stats = server.call("GET", "/api/stats/").json
        return stats["alerts"]["total"], stats["alerts"]["by_status"], stats["incidents"]["total"]

    for i in range(1, 20):
        alert = new_alert(first)
        assert totals(second) == totals(first) == (i, {"new": 1} | closed(i - 1), i)
        patch = {"status": "closed"}
        assert second.call("PATCH", f"/api/alerts/{alert['id']}", patch).status == 200
        assert totals(first) == totals(second) == (i, closed(i), i)
    before = metric(second, "wind_cache_hits_total")
    for _ in range(5):
        totals(second)
    assert metric(second, "wind_cache_hits_total") == before + 5
    redis.kill()
    new_alert(first)
    assert totals(second)[0] == totals(first)[0] == 20
    redis.well()


def test_a_list_at_one_has_what_was_done_at_the_other(pair):
    first, second = pair
    for i in range(60):
        here, there = (first, second) if i % 2 else (second, first)
        for _ in range(2):
            there.call("GET", "/api/alerts/?limit=5")
        alert = new_alert(here)
        seen = there.call("GET", "/api/alerts/?limit=5").json["data"]
        assert alert["id"] in [one["id"] for one in seen], f"round {i}"
        assert here.call("PATCH", f"/api/alerts/{alert['id']}", {"status": "closed"}).status == 200
        (same,) = [
            one
            for one in there.call("GET", "/api/alerts/?limit=5").json["data"]
            if one["id"] == alert["id"]
        ]
        assert same["status"] == "closed", f"round {i}"


def closed(n):
    return {"closed": n} if n else {}
