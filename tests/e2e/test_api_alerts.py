"""/api/alerts/: made by hand, triaged, listed and searched."""

import base64
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import support
from apiclient import ALERT_FIELDS, DRAFT, HOST, b64, made, new_alert, refused


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
        ("type:paged 'DROP TABLE alerts;", 0),
        ("type:paged look", 60),
        ("type:paged look.", 0),
        ("type:paged ooked", 0),
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
        "%",
        "type:paged '; DROP TABLE alerts; --",
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


def kept_lists(server):
    text = server.call("GET", "/metrics", token="").text
    return int(re.search(r"^wind_http_lists_kept_total (\d+)", text, re.M)[1])


def is_kept(server, path):
    before = kept_lists(server)
    server.call("GET", path)
    return kept_lists(server) > before


@pytest.mark.sqlite  # several collectors may share a PostgreSQL: without a Redis none keeps a list
def test_a_list_is_kept_until_something_is_committed(collector):
    body = {"severity": "low", "type": "report", "description": "first"}
    paths = ("/api/alerts/?limit=7", "/api/alerts/?limit=7&sort=id", "/api/incidents/?limit=7")
    first = made(collector.call("POST", "/api/alerts/", body))
    for path in paths:
        support.until("the list is kept", lambda path=path: is_kept(collector, path))
        assert len(collector.call("GET", path).json["data"]) == 1
    second = made(collector.call("POST", "/api/alerts/", body))
    listed = collector.call("GET", paths[0]).json["data"]
    assert [a["id"] for a in listed] == [second["id"], first["id"]]
    collector.call("PATCH", f"/api/alerts/{first['id']}", {"status": "closed"})
    listed = collector.call("GET", paths[1]).json["data"]
    assert [a["status"] for a in listed] == ["closed", "new"]


def test_a_list_shows_the_first_related_alerts_of_each(collector):
    for i in range(26):
        host = HOST | {"value": f"10.9.0.{i % 2}"}
        alert = DRAFT | {"description": f"number {i}", "related_entities": [host]}
        made(collector.call("POST", "/api/alerts/", alert))
    listed = collector.call("GET", "/api/alerts/?limit=50").json["data"]
    assert len(listed) == 26 and len({alert["incident_id"] for alert in listed}) == 2
    for alert in listed:
        whole = collector.call("GET", f"/api/alerts/{alert['id']}").json["related_alerts"]
        assert len(whole) == 12
        assert alert["related_alerts"] == whole[:10]


def test_many_posts_at_once_each_get_their_own_answer(collector):
    def body(i):
        alert = DRAFT | {"description": f"number {i}", "related_entities": [HOST]}
        extra = {
            1: {"tags": ["b", f"t{i}"]},
            2: {"related_alerts": [999_999]},
            3: {"severity": "none"},
            4: {"assigned_to": "admin"},
        }
        return alert | extra.get(i % 10, {})

    def post(i):
        headers = {"Idempotency-Key": f"key {i // 2}"} if i % 10 == 5 else {}
        return collector.call("POST", "/api/alerts/", body(i), headers=headers)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(post, range(300)))
    for i, answer in enumerate(answers):
        assert answer.status == (422 if i % 10 in (2, 3) else 201), answer.text
        if answer.status == 201:
            alert = answer.json
            assert alert["description"] == f"number {i}"
            assert answer.headers["Location"] == f"/api/alerts/{alert['id']}"
            assert alert["tags"] == (["b", f"t{i}"] if i % 10 == 1 else [])
            assert alert["assigned_to"] == ("admin" if i % 10 == 4 else None)
            assert alert["incident_id"]
            now = collector.call("GET", answer.headers["Location"]).json
            assert now | {"related_alerts": 0} == alert | {"related_alerts": 0}
    ids = [a.json["id"] for a in answers if a.status == 201]
    assert len(set(ids)) == 240
    text = collector.call("GET", "/metrics", token="").text
    counts = dict(re.findall(r"^(wind_http_(?:commits|writes)_total) (\d+)", text, re.M))
    # what is refused for its form is not written
    assert int(counts["wind_http_writes_total"]) == 270
    assert int(counts["wind_http_commits_total"]) < 270
