"""The API's contract, as a client meets it: who is who, what is stored, and what is refused."""

import base64
import concurrent.futures
import hmac
import json
import socket
import sqlite3
import time
import uuid
from pathlib import Path

import pytest
import support

ALERT_FIELDS = set(
    "id uid rev detected_at severity type source description status verdict assigned_to metadata"
    " related_entities related_alerts incident_id tags created_at updated_at".split()
)
INCIDENT_FIELDS = set(
    "id uid title description type status severity created_at updated_at created_by assigned_to"
    " related_alerts related_entities comments tags first_seen last_seen alert_count"
    " version".split()
)
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}


def refused(answer, status, code, *loc):
    """The answer is this problem; for 422 with a fault at this place."""
    assert (answer.status, answer.json["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json.keys() >= PROBLEM_FIELDS
    assert answer.json["status"] == status
    if loc:
        assert list(loc) in [fault["loc"] for fault in answer.json["errors"]], answer.text
        assert all(fault["msg"] for fault in answer.json["errors"])
    return answer


def made(answer, status=201):
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json


def log_in(collector, username="admin", password=None):
    form = {
        "grant_type": "password",
        "username": username,
        "password": password or collector.password,
    }
    return collector.call("POST", "/api/auth/token", form=form, token="")


def new_user(collector, role="viewer"):
    """A user of one test, who is logged in."""
    name = f"u{uuid.uuid4().hex[:12]}"
    body = {"username": name, "password": f"{name}-secret", "role": role}
    user = made(collector.call("POST", "/api/users/", body))
    return user, made(log_in(collector, name, f"{name}-secret"), 200)


def me(collector, token):
    return collector.call("GET", "/api/auth/me", token=token)


def at_once(n, call):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(call, range(n)))


def raw(collector, request, timeout=60):
    """Bytes as they are on the wire, for what clients do not let one send."""
    with socket.create_connection(("127.0.0.1", collector.port), timeout) as s:
        s.sendall(request)
        answer = b""
        while True:
            try:
                got = s.recv(65536)
            except ConnectionResetError:
                break
            if not got:
                break
            answer += got
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, head.decode("latin1"), body


# ------------------------------------------------------------------ tokens


def test_a_login_is_what_oauth2_clients_expect(shared):
    answer = log_in(shared)
    tokens = made(answer, 200)
    assert tokens["token_type"] == "bearer" and tokens["expires_in"] == 900
    assert answer.headers["Cache-Control"] == "no-store"
    user = made(me(shared, tokens["access_token"]), 200)
    assert (user["username"], user["role"], user["is_active"]) == ("admin", "admin", True)
    assert "password" not in json.dumps(user)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert made(shared.call("POST", "/api/auth/token", form=form, token=""), 200)["access_token"]


def test_a_wrong_password_and_an_unknown_user_are_told_alike(shared):
    texts = {log_in(shared, name, "not-the-password").text for name in ("admin", "nobody", "!")}
    assert len(texts) == 1
    refused(log_in(shared, "admin", "x"), 401, "credentials_invalid")


def signing_key(collector):
    with sqlite3.connect(f"file:{collector.settings['db.path']}?mode=ro", uri=True) as db:
        return db.execute("SELECT value FROM secrets WHERE name = 'jwt'").fetchone()[0]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def sign(claims, key, alg="HS256", digest="sha256"):
    head = b64(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    signed = f"{head}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), digest).digest())}"


def test_forged_tokens(shared):
    token = made(log_in(shared), 200)["access_token"]
    key, claims = signing_key(shared), claims_of(token)
    assert me(shared, sign(claims, key)).status == 200, "the test signs as the server does"
    head, body, mac = token.split(".")
    none = b64(b'{"alg":"none","typ":"JWT"}')
    forged = [
        f"{none}.{body}.",
        f"{none}.{body}.{mac}",
        sign(claims, key, alg="none"),
        sign(claims, key, alg="HS512", digest="sha512"),
        sign(claims, key, alg="RS256"),
        sign(claims, b"\0" * 32),
        sign(claims, b""),
        sign(claims | {"use": "refresh"}, key),
        sign(claims | {"iss": "other"}, key),
        sign(claims | {"sub": "1 OR 1=1"}, key),
        sign(claims | {"exp": "9999999999"}, key),
        sign(claims | {"iat": claims["iat"] + 3600}, key),
        f"{head}.{b64(json.dumps(claims | {'sub': '2'}).encode())}.{mac}",
        token[:-1],
        token + "A",
        token + ".",
        f"{token}.{mac}",
        "..",
        "x" * 5000,
    ]
    for bad in forged:
        refused(me(shared, bad), 401, "credentials_invalid")


def test_each_401_has_its_word(shared):
    refused(shared.call("GET", "/api/auth/me", token=""), 401, "token_missing")
    key, tokens = signing_key(shared), made(log_in(shared), 200)
    past = claims_of(tokens["access_token"]) | {"exp": int(time.time()) - 1}
    refused(me(shared, sign(past, key)), 401, "token_expired")
    gone = claims_of(tokens["access_token"]) | {"sid": str(uuid.uuid4())}
    refused(me(shared, sign(gone, key)), 401, "token_revoked")
    for scheme in ("Basic YTpi", "Bearer", "Bearer  ", "Token x"):
        answer = shared.call("GET", "/api/auth/me", token="", headers={"Authorization": scheme})
        refused(answer, 401, "credentials_invalid")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_of_another_server(shared, collector):
    refused(me(shared, collector.token()), 401, "credentials_invalid")


def refresh(collector, token):
    return collector.call("POST", "/api/auth/refresh", {"refresh_token": token}, token="")


def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_session(shared):
    first = made(log_in(shared), 200)
    second = made(refresh(shared, first["refresh_token"]), 200)
    assert me(shared, second["access_token"]).status == 200
    refused(refresh(shared, first["refresh_token"]), 401, "token_revoked")
    refused(me(shared, second["access_token"]), 401, "token_revoked")
    refused(refresh(shared, second["refresh_token"]), 401, "token_revoked")
    refused(refresh(shared, second["access_token"]), 401, "credentials_invalid")
    refused(refresh(shared, "nonsense"), 401, "credentials_invalid")


def test_of_many_who_refresh_at_once_one_gets_tokens(shared):
    token = made(log_in(shared), 200)["refresh_token"]
    answers = at_once(8, lambda _: refresh(shared, token))
    assert sorted(a.status for a in answers) == [200] + 7 * [401]


def test_logout_ends_the_session_and_no_other(shared):
    mine, other = (made(log_in(shared), 200) for _ in range(2))
    assert shared.call("POST", "/api/auth/logout", token=mine["access_token"]).status == 204
    refused(me(shared, mine["access_token"]), 401, "token_revoked")
    refused(refresh(shared, mine["refresh_token"]), 401, "token_revoked")
    assert me(shared, other["access_token"]).status == 200


def test_a_new_password_ends_all_sessions_but_the_one_it_starts(shared):
    user, tokens = new_user(shared)
    name = user["username"]
    old, token = f"{name}-secret", tokens["access_token"]

    def change(current, new):
        body = {"current_password": current, "new_password": new}
        return shared.call("POST", "/api/auth/password", body, token=token)

    refused(change("wrong", "another-secret"), 401, "credentials_invalid")
    refused(change(old, "short"), 422, "validation_failed", "body", "new_password")
    fresh = made(change(old, "another-secret"), 200)
    refused(me(shared, token), 401, "token_revoked")
    refused(refresh(shared, tokens["refresh_token"]), 401, "token_revoked")
    assert me(shared, fresh["access_token"]).status == 200
    assert log_in(shared, name, old).status == 401
    assert log_in(shared, name, "another-secret").status == 200


@pytest.mark.parametrize(
    "password",
    ["", "short", "1234567", "aaaaaaaaaa", "Password", "password", "12345678", "x" * 129, "éééé"],
)
def test_passwords_that_are_none(shared, password):
    body = {"username": f"u{uuid.uuid4().hex[:8]}", "password": password}
    answer = shared.call("POST", "/api/auth/register", body, token="")
    refused(answer, 422, "validation_failed", "body", "password")
    body["username"] = "abcdefgh-9"
    body["password"] = "ABCDEFGH-9"
    answer = shared.call("POST", "/api/auth/register", body, token="")
    refused(answer, 422, "validation_failed", "body", "password")


def test_who_registers_is_a_viewer(shared):
    name = f"R{uuid.uuid4().hex[:8]}"
    body = {"username": name, "password": "long enough"}
    user = made(shared.call("POST", "/api/auth/register", body, token=""))
    assert (user["username"], user["role"]) == (name.lower(), "viewer")
    refused(shared.call("POST", "/api/auth/register", body, token=""), 409, "username_taken")
    more = body | {"username": name + "x", "role": "admin"}
    answer = shared.call("POST", "/api/auth/register", more, token="")
    refused(answer, 422, "validation_failed", "body", "role")
    for bad in ("", "a b", "a/b", "é", "<script>", "x" * 64, "a\r\nSet-Cookie: x"):
        answer = shared.call("POST", "/api/auth/register", body | {"username": bad}, token="")
        refused(answer, 422, "validation_failed", "body", "username")


def test_keys_are_shown_once_and_end(shared):
    body = {"name": "probe", "scopes": ["sensors:read"], "expires_at": "2199-01-01T00:00:00Z"}
    key = made(shared.call("POST", "/api/keys/", body))
    listed = next(k for k in shared.call("GET", "/api/keys/").json["data"] if k["id"] == key["id"])
    assert "key" not in listed
    assert key["key"].startswith(listed["prefix"]) and len(listed["prefix"]) < 16
    headers = {"X-API-Key": key["key"]}
    assert shared.call("GET", "/api/sensors/", token="", headers=headers).status == 200
    wrong = {"X-API-Key": key["key"][:-1] + ("0" if key["key"][-1] != "0" else "1")}
    refused(
        shared.call("GET", "/api/sensors/", token="", headers=wrong), 401, "credentials_invalid"
    )
    assert shared.call("DELETE", f"/api/keys/{key['id']}").status == 204
    refused(shared.call("GET", "/api/sensors/", token="", headers=headers), 401, "token_revoked")

    past = shared.call("POST", "/api/keys/", body | {"expires_at": "2020-01-01T00:00:00Z"})
    refused(past, 422, "validation_failed", "body", "expires_at")
    far = shared.call("POST", "/api/keys/", body | {"expires_at": "2500-01-01T00:00:00Z"})
    refused(far, 422, "validation_failed", "body", "expires_at")
    ids = [k["id"] for k in shared.call("GET", "/api/keys/").json["data"]]
    assert len(ids) == len(set(ids))


def test_a_key_that_has_expired(collector):
    key = collector.create_key("old", "sensors:read").read_text().strip()
    with sqlite3.connect(collector.settings["db.path"]) as db:
        db.execute("UPDATE api_keys SET expires_ns = 1000000000")
    headers = {"X-API-Key": key}
    refused(collector.call("GET", "/api/sensors/", token="", headers=headers), 401, "token_expired")


# ------------------------------------------------------------------ limits


def test_too_many_requests(tmp_path):
    limited = support.Collector(tmp_path, api__rate="60", api__burst="20").start()
    try:
        answers = [limited.call("GET", "/api/openapi.json", token="") for _ in range(30)]
        assert answers[0].headers["RateLimit-Limit"] == "20"
        left = [int(a.headers["RateLimit-Remaining"]) for a in answers]
        assert 0 < left[0] < 20 and left == sorted(left, reverse=True)
        over = refused(answers[-1], 429, "rate_limited")
        assert 1 <= int(over.headers["Retry-After"]) <= 60
        assert over.headers["RateLimit-Remaining"] == "0"
        assert int(over.headers["RateLimit-Reset"]) >= 1
    finally:
        limited.stop()


def test_guessing_a_password_is_slow_however_the_name_is_spelled(tmp_path):
    limited = support.Collector(tmp_path, auth__login_rate="3").start()
    try:
        tries = [log_in(limited, name, "wrong-guess") for name in ("admin", "Admin", "aDmin")]
        assert {a.status for a in tries} == {401}
        for name in ("ADMIN", "admin"):
            answer = refused(log_in(limited, name, "wrong-guess"), 429, "rate_limited")
            assert int(answer.headers["Retry-After"]) >= 1
        refused(log_in(limited, "other", "wrong-guess"), 401, "credentials_invalid")
        text = limited.call("GET", "/metrics", token="").text
        assert "wind_http_rate_limited_total 2\n" in text
        assert "wind_auth_failed_total 4\n" in text
    finally:
        limited.stop()


def test_who_knows_the_password_is_never_limited(tmp_path):
    limited = support.Collector(tmp_path, auth__login_rate="2").start()
    try:
        assert {log_in(limited).status for _ in range(6)} == {200}
    finally:
        limited.stop()


# ------------------------------------------------------------------ alerts and incidents

DRAFT = {"severity": "high", "type": "port_scan", "description": "somebody looked around"}
HOST = {"kind": "host", "value": "10.1.2.3", "role": "attacker"}


def new_alert(collector, **more):
    return made(collector.call("POST", "/api/alerts/", DRAFT | more))


def new_incident(collector, **more):
    body = {"title": "looks bad", "type": "recon", "severity": "low"} | more
    return made(collector.call("POST", "/api/incidents/", body))


def test_an_alert_by_hand(shared):
    answer = shared.call(
        "POST",
        "/api/alerts/",
        DRAFT
        | {
            "detected_at": "2026-01-02T03:04:05.5+01:00",
            "metadata": {"score": 0.5, "deep": {"list": [1, 2.5, None, "é"]}},
            "related_entities": [HOST],
            "tags": ["b", "a", "a"],
            "assigned_to": "ADMIN",
        },
    )
    alert = made(answer)
    assert set(alert) == ALERT_FIELDS
    assert answer.headers["Location"] == f"/api/alerts/{alert['id']}"
    assert alert["detected_at"] == "2026-01-02T02:04:05.500000Z"
    assert uuid.UUID(alert["uid"]).version == 7
    assert (alert["status"], alert["verdict"], alert["source"]) == ("new", None, "admin")
    assert (alert["assigned_to"], alert["tags"]) == ("admin", ["a", "b"])
    assert alert["metadata"]["deep"] == {"list": [1, 2.5, None, "é"]}
    assert alert["related_entities"] == [HOST]
    assert alert["incident_id"] is not None
    assert shared.call("GET", f"/api/alerts/{alert['id']}").json == alert
    assert shared.call("GET", f"/api/alerts/{alert['id']}/").json == alert


def test_triage(shared):
    alert = new_alert(shared)
    path = f"/api/alerts/{alert['id']}"
    change = {
        "status": "closed",
        "verdict": "false_positive",
        "assigned_to": 1,
        "severity": "low",
        "tags": ["seen"],
    }
    after = made(shared.call("PATCH", path, change), 200)
    assert after == alert | change | {"assigned_to": "admin", "updated_at": after["updated_at"]}
    assert after["updated_at"] > alert["updated_at"]
    cleared = made(shared.call("PATCH", path, {"verdict": None, "assigned_to": None}), 200)
    assert (cleared["verdict"], cleared["assigned_to"]) == (None, None)
    for bad, loc in (
        ({"status": "open"}, ["status"]),
        ({"status": None}, ["status"]),
        ({"verdict": "maybe"}, ["verdict"]),
        ({"severity": 3}, ["severity"]),
        ({"assigned_to": "nobody-here"}, ["assigned_to"]),
        ({"assigned_to": {"id": 1}}, ["assigned_to"]),
        ({"assigned_to": True}, ["assigned_to"]),
        ({"tags": "x"}, ["tags"]),
        ({"tags": [1]}, ["tags", 0]),
        ({"tags": [""]}, ["tags"]),
        ({"description": "x"}, ["description"]),
        ({"id": 7}, ["id"]),
    ):
        refused(shared.call("PATCH", path, bad), 422, "validation_failed", "body", *loc)
    assert made(shared.call("GET", path), 200) == cleared
    refused(shared.call("PATCH", "/api/alerts/999999", {"status": "closed"}), 404, "not_found")


def test_an_incident_by_hand(shared):
    alerts = [new_alert(shared)["id"] for _ in range(2)]
    incident = new_incident(
        shared, related_alerts=alerts, description="d", tags=["x"], assigned_to="admin"
    )
    assert set(incident) == INCIDENT_FIELDS | {"history"}
    assert (incident["status"], incident["created_by"]) == ("open", "admin")
    assert incident["related_alerts"] == alerts and incident["alert_count"] == 2
    listed = shared.call("GET", f"/api/incidents/?q=id:{incident['id']}").json["data"]
    assert len(listed) == 1 and set(listed[0]) == INCIDENT_FIELDS
    for id in alerts:
        alert = shared.call("GET", f"/api/alerts/{id}").json
        assert alert["incident_id"] == incident["id"]
        assert alert["related_alerts"] == [other for other in alerts if other != id]
    more = {"title": "t", "type": "recon", "severity": "low", "related_alerts": [999999]}
    answer = shared.call("POST", "/api/incidents/", more)
    refused(answer, 422, "validation_failed", "body", "related_alerts")


def test_two_people_work_on_one_incident(shared):
    incident = new_incident(shared)
    path = f"/api/incidents/{incident['id']}"
    read = shared.call("GET", path)
    tag = {"If-Match": read.headers["ETag"]}
    mine = shared.call("PATCH", path, {"status": "investigating", "comment": "mine"}, headers=tag)
    assert made(mine, 200)["status"] == "investigating"
    assert mine.headers["ETag"] != read.headers["ETag"]
    late = shared.call("PATCH", path, {"status": "resolved"}, headers=tag)
    refused(late, 412, "version_mismatch")
    assert late.headers["ETag"] == mine.headers["ETag"]
    for stale in ('"1-1"', f'"1{incident["id"]}-2"', "x", ""):
        answer = shared.call("PATCH", path, {"title": "x"}, headers={"If-Match": stale})
        refused(answer, 412, "version_mismatch")
    for good in ("*", f'"0-0", {mine.headers["ETag"]}'):
        answer = shared.call("PATCH", path, {"comment": good}, headers={"If-Match": good})
        assert answer.status == 200
        break  # the tag is another one now
    after = shared.call("GET", path).json
    assert [c["text"] for c in after["comments"]] == ["mine", "*"]
    assert after["comments"][0]["author"] == "admin" and after["comments"][0]["edited_at"] is None
    change = after["history"][0]
    assert (change["field"], change["before"], change["after"]) == (
        "status",
        "open",
        "investigating",
    )
    # what was read can be sent back: comments that have an id are no news
    again = made(shared.call("PATCH", path, {"comments": after["comments"] + [{"text": "z"}]}), 200)
    assert [c["text"] for c in again["comments"]] == ["mine", "*", "z"]


def test_of_many_who_patch_one_version_one_wins(shared):
    incident = new_incident(shared)
    path = f"/api/incidents/{incident['id']}"
    tag = {"If-Match": shared.call("GET", path).headers["ETag"]}
    answers = at_once(
        8, lambda i: shared.call("PATCH", path, {"title": f"by {i}"}, headers=tag).status
    )
    assert sorted(answers) == [200] + 7 * [412]


def test_the_same_request_twice(shared):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"title": "once", "type": "other", "severity": "low"}
    first = shared.call("POST", "/api/incidents/", body, headers=key)
    second = shared.call("POST", "/api/incidents/", body, headers=key)
    assert made(first) == made(second)
    assert second.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Location"):
        assert second.headers[name] == first.headers[name]
    other = shared.call("POST", "/api/incidents/", body | {"title": "twice"}, headers=key)
    refused(other, 422, "idempotency_mismatch")
    # somebody else's key of the same name is another key
    _, tokens = new_user(shared, "analyst")
    theirs = shared.call("POST", "/api/incidents/", body, headers=key, token=tokens["access_token"])
    assert made(theirs)["id"] != first.json["id"]
    long = {"Idempotency-Key": "x" * 201}
    refused(shared.call("POST", "/api/incidents/", body, headers=long), 400, "idempotency_key")


def test_the_same_request_at_once(shared):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"title": uuid.uuid4().hex, "type": "other", "severity": "low"}
    answers = at_once(8, lambda _: shared.call("POST", "/api/incidents/", body, headers=key))
    ids = {a.json["id"] for a in answers if a.status == 201}
    assert len(ids) == 1
    assert all(a.status == 201 or a.json["code"] == "idempotency_running" for a in answers)


# ------------------------------------------------------------------ lists and searches


@pytest.fixture(scope="module")
def filled(shared):
    """Sixty alerts of a kind of their own."""
    for i in range(60):
        new_alert(
            shared,
            type="paged",
            severity=("low", "medium", "high", "critical")[i % 4],
            detected_at=f"2026-02-01T00:{i // 2:02d}:00Z",
            metadata={"score": i / 60},
        )
    return shared


def pages(collector, query):
    found, cursor, n = [], "", 0
    while cursor is not None:
        part = f"&cursor={cursor}" if cursor else ""
        answer = made(collector.call("GET", f"/api/alerts/?{query}{part}"), 200)
        assert set(answer) == {"data", "next_cursor"}
        found += answer["data"]
        cursor, n = answer["next_cursor"], n + 1
    return found, n


@pytest.mark.parametrize("sort", ["id", "-id", "time", "-time", "severity", "-score", "score"])
def test_pages_have_each_row_once_and_in_order(filled, sort):
    found, n = pages(filled, f"q=type:paged&limit=7&sort={sort}")
    assert n == 9 and len({a["id"] for a in found}) == len(found) == 60
    order = {"low": 1, "medium": 2, "high": 3, "critical": 4}
    value = {
        "id": lambda a: a["id"],
        "time": lambda a: a["detected_at"],
        "severity": lambda a: order[a["severity"]],
        "score": lambda a: a["metadata"]["score"],
    }[sort.lstrip("-")]
    values = [value(a) for a in found]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_cursors_that_were_touched(filled):
    good = filled.call("GET", "/api/alerts/?limit=1&q=type:paged").json["next_cursor"]
    plain = base64.urlsafe_b64decode(good + "==").decode()
    bad = [
        "",
        "AAAA",
        "!",
        good + "A",
        b64(plain.replace("id", "time").encode()),
        b64(b"-id|1|1; DROP TABLE alerts"),
        b64(b"-id|x|1"),
        b64(b"-id|1"),
        b64(b"-id|1|99999999999999999999"),
        b64(b"id|1|1"),
        "A" * 500,
        "%FF",
    ]
    for cursor in bad:
        answer = filled.call("GET", f"/api/alerts/?limit=1&cursor={cursor}")
        refused(answer, 422, "validation_failed", "query", "cursor")
    answer = filled.call("GET", f"/api/alerts/?limit=1&sort=time&cursor={good}")
    refused(answer, 422, "validation_failed", "query", "cursor")


@pytest.mark.parametrize(
    "query, n",
    [
        ("type:paged", 60),
        ("type:paged severity:critical", 15),
        ("type:paged severity:>=high", 30),
        ("type:paged severity:low,critical", 30),
        ("type:paged -severity:low", 45),
        ("type:paged score:>0.9", 5),
        ("type:paged time:>=2026-02-01T00:29:00Z", 2),
        ("type:paged looked AROUND", 60),
        ('type:paged "looked around"', 60),
        ('type:paged "around looked"', 0),
        ("type:paged status:closed", 0),
        ("type:paged '; DROP TABLE alerts; --", 0),
        ("type:paged %", 0),
        ("type:paged _ooked", 0),
        ("type:paged \\", 0),
        ("type:paged src:10.0.0.0/8", 0),
        ("type:paged tag:none", 60),
        ("type:paged incident:none", 0),
    ],
)
def test_searches(filled, query, n):
    quoted = support.urllib.parse.quote(query)
    assert len(pages(filled, f"limit=200&q={quoted}")[0]) == n


@pytest.mark.parametrize(
    "query",
    [
        "colour:red",
        "severity:worst",
        "status:open",
        "score:>high",
        "time:yesterday",
        "time:<2500-01-01",
        "src:10.0.0.0/33",
        "id:1e5",
        "uid:1",
        "severity:",
        '"open',
        "sort:beauty",
        "-",
        "x" * 300,
        " ".join(["x"] * 400),
        "x" * 1100,
    ],
)
def test_searches_that_are_none(shared, query):
    answer = shared.call("GET", f"/api/alerts/?q={support.urllib.parse.quote(query)}")
    refused(answer, 422, "validation_failed", "query", "q")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=", "limit=%205", "limit=1e1", "limit=%2B5"]
    + ["sort=beauty", "sort=", "sort=%FF", "sort=id%00", "q=%FF", "q=severity:%C3"],
)
def test_query_values_that_are_none(shared, query):
    answer = shared.call("GET", f"/api/alerts/?{query}")
    refused(answer, 422, "validation_failed", "query", query.partition("=")[0])


# ------------------------------------------------------------------ bodies

SEND = "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"


def send(collector, body, path="/api/alerts/", content_type="application/json"):
    head = SEND.format(path=path, token=collector.token())
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    status, _, answer = raw(collector, head.encode() + body)
    return status, json.loads(answer)


@pytest.mark.parametrize(
    "body, code",
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b"{}}", "json_invalid"),
        (b"nope", "json_invalid"),
        (b'{"a":1,"a":2}', "json_invalid"),
        (b'{"type":"a\\u0000b"}', "json_invalid"),
        (b'{"type":"\xff"}', "json_invalid"),
        ('{"type":ééééééééééééééééééééééééééé'.encode(), "json_invalid"),
        (b'{"type":1e999}', "json_invalid"),
        (b'{"type":' + b"9" * 40 + b"}", "json_invalid"),
        (b'{"type":NaN}', "json_invalid"),
        (b"[" * 60000, "json_invalid"),
        (b'{"metadata":' + b"[" * 40 + b"]" * 40 + b"}", "json_invalid"),
        (b"\xef\xbb\xbf{}", "json_invalid"),
    ],
)
def test_bodies_that_are_no_json(shared, body, code):
    status, problem = send(shared, body)
    assert (status, problem["code"]) == (400, code)
    assert problem["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonx", "multipart/form-data"])
def test_a_body_of_another_type(shared, content_type):
    status, problem = send(shared, json.dumps(DRAFT).encode(), content_type=content_type)
    assert (status, problem["code"]) == (415, "content_type")


def test_a_type_may_have_parameters(shared):
    status, _ = send(shared, json.dumps(DRAFT).encode(), content_type="Application/JSON;charset=x")
    assert status == 201


@pytest.mark.parametrize(
    "change, loc",
    [
        ({"severity": None}, ["severity"]),
        ({"severity": "worst"}, ["severity"]),
        ({"type": ""}, ["type"]),
        ({"type": "x" * 49}, ["type"]),
        ({"description": "x" * 4097}, ["description"]),
        ({"detected_at": "yesterday"}, ["detected_at"]),
        ({"detected_at": "1969-12-31T23:59:59Z"}, ["detected_at"]),
        ({"detected_at": "2262-04-11T23:47:16Z"}, ["detected_at"]),
        ({"detected_at": "2500-01-01T00:00:00Z"}, ["detected_at"]),
        ({"metadata": []}, ["metadata"]),
        ({"metadata": {"x": "y" * 70000}}, ["metadata"]),
        ({"related_entities": [{"kind": "host"}]}, ["related_entities", 0, "value"]),
        ({"related_entities": [HOST | {"kind": "ghost"}]}, ["related_entities", 0, "kind"]),
        ({"related_entities": [HOST] * 33}, ["related_entities"]),
        ({"related_alerts": ["1"]}, ["related_alerts", 0]),
        ({"related_alerts": [999999]}, ["related_alerts"]),
        ({"tags": ["x" * 65]}, ["tags"]),
        ({"colour": "red"}, ["colour"]),
    ],
)
def test_each_fault_has_its_place(shared, change, loc):
    before = len(shared.all("alerts", "type:port_scan"))
    answer = shared.call("POST", "/api/alerts/", DRAFT | change)
    refused(answer, 422, "validation_failed", "body", *loc)
    assert len(shared.all("alerts", "type:port_scan")) == before, "and nothing was stored"


def test_all_faults_at_once(shared):
    answer = shared.call("POST", "/api/incidents/", {"title": "", "type": "x", "more": 1})
    places = {tuple(fault["loc"]) for fault in answer.json["errors"]}
    assert places == {("body", name) for name in ("title", "type", "severity", "more")}
    assert shared.call("POST", "/api/incidents/", []).json["errors"][0]["loc"] == ["body"]


@pytest.mark.parametrize("id", ["0", "-1", "x", "1.5", "9" * 19, "1%00", "%31%FF"])
def test_ids_that_are_none(shared, id):
    answer = shared.call("GET", f"/api/alerts/{id}")
    refused(answer, 422, "validation_failed", "path", "id")


def test_bodies_that_are_too_large(shared):
    head = SEND.format(path="/api/incidents/", token=shared.token())
    head += "Content-Type: application/json\r\n"
    status, _, answer = raw(shared, f"{head}Content-Length: 99999999\r\n\r\n".encode())
    assert (status, json.loads(answer)["code"]) == (413, "body_too_large")
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    chunked = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    status, _, answer = raw(shared, chunked + chunk * 3 + b"0\r\n\r\n")
    assert (status, json.loads(answer)["code"]) == (413, "body_too_large")
    body = json.dumps({"title": "chunked", "type": "other", "severity": "low"}).encode()
    status, _, _ = raw(shared, chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert status == 201


# ------------------------------------------------------------------ HTTP itself


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 2\r\nContent-Length: 2\r\nHost: x",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\nHost: x",
        "Transfer-Encoding: xchunked\r\nHost: x",
        "Transfer-Encoding: chunked, identity\r\nHost: x",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nHost: x",
        "Content-Length: -2\r\nHost: x",
        "Content-Length: 2",
        "Content-Length: 2\r\nHost: x\r\nHost: y",
    ],
)
def test_requests_that_two_programs_read_in_two_ways(shared, headers):
    request = (
        f"POST /api/auth/refresh HTTP/1.1\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
        "{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    status, _, rest = raw(shared, request.encode())
    assert status == 400
    assert b'"ok"' not in rest, "what follows is no request"


def get(collector, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, _, body = raw(collector, request.encode())
    return status, body


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nothing", "/api//alerts", "/api/alerts/1/"]
)
def test_paths_that_lead_nowhere(shared, path):
    status, body = get(shared, path)
    expected = (401, "token_missing") if path.endswith("1/") else (404, "not_found")
    assert (status, json.loads(body)["code"]) == expected


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2f..%2fetc/passwd"]
    + ["//etc/passwd", "/etc/passwd%00.js", "/assets/%00", "/..\\..\\etc\\passwd", "/%FF"],
)
def test_paths_that_leave_the_page(shared, path):
    """Nothing, or (where there is one) the page itself: it makes its paths in the browser."""
    status, body = get(shared, path)
    assert b"root:" not in body
    assert status == 404 or (status == 200 and body == get(shared, "/")[1])


def test_methods(shared):
    for method in ("PUT", "DELETE", "OPTIONS"):
        answer = refused(shared.call(method, "/api/alerts/1"), 405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, PATCH"
    answer = shared.call("HEAD", "/api/alerts/")
    assert (answer.status, answer.text) == (200, "")
    assert shared.call("TRACE", "/").status in (404, 405)


def test_every_answer_is_safe_to_look_at(shared):
    for path, status in (("/api/auth/me", 200), ("/api/nothing", 404), ("/healthz", 200)):
        answer = shared.call("GET", path)
        assert answer.status == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Access-Control-Allow-Origin"] is None


def test_the_page_runs_only_its_own_scripts(tmp_path):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>hello")
    (page / "assets" / "x.js").write_text("1")
    (tmp_path / "secret.txt").write_text("no")
    (page / "link.txt").symlink_to(tmp_path / "secret.txt")
    server = support.Collector(tmp_path, dashboard__dir=str(page)).start()
    try:
        answer = server.call("GET", "/", token="")
        assert (answer.status, answer.text) == (200, "<!doctype html>hello")
        policy = answer.headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy and "*" not in policy
        script = server.call("GET", "/assets/x.js", token="")
        assert "immutable" in script.headers["Cache-Control"]
        tag = {"If-None-Match": script.headers["ETag"]}
        assert server.call("GET", "/assets/x.js", token="", headers=tag).status == 304
        for path in ("/link.txt", "/../secret.txt", "/assets/../../secret.txt", "/assets/"):
            status, _, body = raw(
                server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert body != b"no", path
    finally:
        server.stop()


# ------------------------------------------------------------------ sensors


def item(n, rev=1, at="2026-03-01T00:00:00Z", sig="10.9.0.66 tried ports", **wind):
    """An alert as sensors send it; `n` makes the uid."""
    return {
        "timestamp": at.replace("Z", ".000000+0000"),
        "event_type": "alert",
        "flow_id": 7,
        "src_ip": "10.9.0.66",
        "src_port": 4242,
        "dest_ip": "10.9.0.5",
        "dest_port": 22,
        "proto": "TCP",
        "alert": {"signature": sig, "signature_id": 9000001, "category": "Network scan"},
        "wind": {
            "uid": f"0198f2c4-7a31-7c5e-9d2b-{n:012x}",
            "rev": rev,
            "detector": "port_scan",
            "severity": "high",
            "score": 0.9,
            "count": 10,
            "first_seen": at,
            "last_seen": at,
            "entities": [{"kind": "host", "value": "10.9.0.66", "role": "attacker"}],
            "explain": [{"name": "distinct_ports", "text": "many", "value": 10}],
        }
        | wind,
    }


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


# ------------------------------------------------------------------ the document


def test_the_document_is_whole(shared):
    document = made(shared.call("GET", "/api/openapi.json", token=""), 200)
    assert document["openapi"].startswith("3.1")
    operations = [o for path in document["paths"].values() for o in path.values()]
    names = [o["operationId"] for o in operations]
    assert len(names) == len(set(names))
    schemas = document["components"]["schemas"]
    assert set(schemas["Alert"]["properties"]) == ALERT_FIELDS
    assert set(schemas["Incident"]["properties"]) == INCIDENT_FIELDS | {"history"}
    patch = document["paths"]["/api/incidents/{id}"]["patch"]
    assert "If-Match" in [p["name"] for p in patch["parameters"]]
    post = document["paths"]["/api/incidents/"]["post"]
    assert "Idempotency-Key" in [p["name"] for p in post["parameters"]]
