"""What the tests of the API share: how an answer should look, and how its objects are made."""

import base64
import concurrent.futures
import socket
import uuid

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


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


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


DRAFT = {"severity": "high", "type": "port_scan", "description": "somebody looked around"}
HOST = {"kind": "host", "value": "10.1.2.3", "role": "attacker"}


def new_alert(collector, **more):
    return made(collector.call("POST", "/api/alerts/", DRAFT | more))


def new_incident(collector, **more):
    body = {"title": "looks bad", "type": "recon", "severity": "low"} | more
    return made(collector.call("POST", "/api/incidents/", body))
