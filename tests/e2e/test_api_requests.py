"""Any request: bodies, paths, methods, headers, and the document about all of them."""

import json

import pytest
import support
from apiclient import ALERT_FIELDS, DRAFT, HOST, INCIDENT_FIELDS, made, raw, refused

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
