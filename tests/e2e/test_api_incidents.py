"""/api/incidents/: several people, several times, at once."""

import uuid

from apiclient import INCIDENT_FIELDS, at_once, made, new_alert, new_incident, new_user, refused


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
