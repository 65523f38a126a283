"""/api/users/ and /api/keys/: passwords, registration, keys that end."""

import uuid

import pytest
from apiclient import made, refused


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


def test_a_key_speaks_for_its_sensor_alone(shared):
    scopes = ["ingest", "alerts:write", "keys:write"]
    bound = made(
        shared.call("POST", "/api/keys/", {"name": "b", "scopes": scopes, "sensor": "é-1"})
    )
    free = made(shared.call("POST", "/api/keys/", {"name": "f", "scopes": scopes}))
    assert (bound["sensor"], free["sensor"]) == ("é-1", None)

    def post(key, path, body):
        return shared.call("POST", path, body, token="", headers={"X-API-Key": key["key"]})

    for key, sensor, status in ((bound, "é-1", 200), (free, "é-1", 200), (free, "e2", 200)):
        assert post(key, "/api/ingest", {"sensor": sensor, "alerts": []}).status == status
    for sensor in ("e2", "é-", "é-11", "É-1"):
        answer = post(bound, "/api/ingest", {"sensor": sensor, "alerts": []})
        refused(answer, 403, "sensor_foreign")
        assert "'é-1'" in answer.json["detail"]

    alert = {"severity": "low", "type": "x", "description": "y"}
    assert made(post(bound, "/api/alerts/", alert))["source"] == "é-1"
    other = post(bound, "/api/alerts/", alert | {"source": "e2"})
    refused(other, 422, "validation_failed", "body", "source")

    more = {"name": "more", "scopes": ["ingest"]}
    for sensor in ({}, {"sensor": None}, {"sensor": "e2"}):
        refused(post(bound, "/api/keys/", more | sensor), 403, "permission_missing")
    assert made(post(bound, "/api/keys/", more | {"sensor": "é-1"}))["sensor"] == "é-1"
    assert made(post(free, "/api/keys/", more | {"sensor": "e2"}))["sensor"] == "e2"
    for bad in ("", "x" * 129, 7):
        answer = shared.call("POST", "/api/keys/", more | {"sensor": bad})
        refused(answer, 422, "validation_failed", "body", "sensor")


def test_a_key_that_has_expired(collector):
    key = collector.create_key("old", "sensors:read").read_text().strip()
    collector.sql("UPDATE api_keys SET expires_ns = 1000000000")
    headers = {"X-API-Key": key}
    refused(collector.call("GET", "/api/sensors/", token="", headers=headers), 401, "token_expired")
