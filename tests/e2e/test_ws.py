"""Live events: who may listen, what listeners hear, and what they may not do to others."""

import json
import struct
import time
import uuid

import pytest
import support
from wsclient import BINARY, CLOSE, PING, TEXT, Refused, WebSocket, frame

DRAFT = {"severity": "low", "type": "live", "description": "something"}


def post(collector, **more):
    answer = collector.call("POST", "/api/alerts/", DRAFT | more)
    assert answer.status == 201, answer.text
    return answer.json["id"]


def alerts_until(ws, last_id):
    """The alerts that are told, up to this one."""
    told = []
    while not told or told[-1]["data"]["id"] != last_id:
        message = ws.read()
        assert message is not None, ws.close_code
        if message["type"] == "alert":
            told.append(message)
    return told


def closed(ws):
    """The code that the server closes with; what it says before is dropped."""
    try:
        while ws.read() is not None:
            pass
    except ConnectionError:
        return None
    return ws.close_code


def test_a_listener_hears_what_is_committed(shared):
    with WebSocket(shared) as ws:
        ready = ws.log_in(shared.token())
        assert ready["type"] == "ready"
        id = post(shared)
        first = alerts_until(ws, id)[-1]
        assert (first["op"], first["data"]["id"]) == ("created", id)
        assert first["seq"] > ready["seq"]
        assert first["data"] == shared.call("GET", f"/api/alerts/{id}").json
        incident = ws.read()
        assert (incident["type"], incident["op"]) == ("incident", "created")
        assert incident["data"]["related_alerts"] == [id]
        shared.call("PATCH", f"/api/alerts/{id}", {"status": "closed"})
        update = alerts_until(ws, id)[-1]
        assert (update["op"], update["data"]["status"]) == ("updated", "closed")


def test_who_was_away_hears_what_was_missed(shared):
    with WebSocket(shared) as ws:
        seq = ws.log_in(shared.token())["seq"]
    ids = [post(shared) for _ in range(5)]
    with WebSocket(shared) as ws:
        assert ws.log_in(shared.token(), ["alerts"], seq) == {"type": "ready", "seq": seq}
        told = alerts_until(ws, ids[-1])
        assert [m["data"]["id"] for m in told] == ids
        assert [m["op"] for m in told] == ["created"] * 5
    with WebSocket(shared) as ws:
        ws.log_in(shared.token(), ["alerts"], seq + 10**9)
        assert ws.read()["type"] == "gap"


def test_only_what_was_asked_for(shared):
    with WebSocket(shared) as ws:
        ws.log_in(shared.token(), ["incidents"])
        post(shared)
        assert ws.read()["type"] == "incident"


@pytest.mark.parametrize("token", ["nonsense", "", None, 5])
def test_a_bad_token(shared, token):
    with WebSocket(shared) as ws:
        ws.write({"type": "auth", "token": token})
        assert closed(ws) == 4401


def test_nothing_without_a_token(shared):
    with WebSocket(shared) as ws:
        ws.write({"type": "subscribe", "topics": ["alerts"]})
        assert closed(ws) == 4401
    began = time.monotonic()
    with WebSocket(shared) as known, WebSocket(shared) as silent:
        assert known.log_in(shared.token(), ["incidents"])["type"] == "ready"
        assert closed(silent) == 4401
        assert time.monotonic() - began > 4
        assert not known.has_news  # not even the first ping, after 20 s


def test_a_token_in_the_head_of_the_request(shared):
    with WebSocket(shared, Authorization=f"Bearer {shared.token()}") as ws:
        ws.write({"type": "subscribe", "topics": ["alerts"]})
        assert ws.read()["type"] == "ready"


def test_a_key_hears_only_what_it_may(shared):
    body = {"name": "ear", "scopes": ["alerts:read"]}
    key = shared.call("POST", "/api/keys/", body).json["key"]
    with WebSocket(shared, X_API_Key=key) as ws:
        ws.write({"type": "subscribe", "topics": ["alerts"]})
        assert ws.read()["type"] == "ready"
        ws.write({"type": "subscribe", "topics": ["alerts", "incidents"]})
        assert closed(ws) == 4403


def test_a_connection_stays_with_its_user(shared):
    name = f"w{uuid.uuid4().hex[:8]}"
    body = {"username": name, "password": "a password"}
    assert shared.call("POST", "/api/auth/register", body, token="").status == 201
    form = {"grant_type": "password"} | body
    other = shared.call("POST", "/api/auth/token", form=form, token="").json["access_token"]
    with WebSocket(shared) as ws:
        ws.log_in(shared.token())
        ws.write({"type": "auth", "token": other})
        assert closed(ws) == 1008


def test_pages_of_others(tmp_path, shared):
    own = {"Origin": f"http://127.0.0.1:{shared.port}"}
    with WebSocket(shared, **own) as ws:
        assert ws.log_in(shared.token())["type"] == "ready"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{shared.port}.evil.example"):
        with pytest.raises(Refused) as refusal:
            WebSocket(shared, Origin=origin)
        assert refusal.value.args[0] == 403
    open_to = support.Collector(tmp_path, api__origins="https://soc.example").start()
    try:
        with WebSocket(open_to, Origin="https://soc.example") as ws:
            assert ws.log_in(open_to.token())["type"] == "ready"
    finally:
        open_to.stop()


def test_a_request_that_is_no_handshake(shared):
    answer = shared.call("GET", "/api/ws")
    assert (answer.status, answer.json["code"]) == (426, "upgrade_required")
    for broken in ({"Sec_WebSocket_Version": "8"}, {"Sec_WebSocket_Key": "x"}, {"Upgrade": "h2c"}):
        with pytest.raises(Refused) as refusal:
            WebSocket(shared, **broken)
        assert refusal.value.args[0] == 426


def test_who_logs_out_hears_no_more(tmp_path):
    quick = support.Collector(tmp_path, ws__ping="1s").start()
    try:
        with WebSocket(quick) as ws:
            ws.log_in(quick.token())
            assert quick.call("POST", "/api/auth/logout").status == 204
            assert closed(ws) == 4401
    finally:
        quick.stop()


def test_a_place_is_given_back(tmp_path):
    small = support.Collector(tmp_path, ws__clients="2").start()
    try:
        with WebSocket(small) as first, WebSocket(small):
            with pytest.raises(Refused) as refusal:
                WebSocket(small)
            assert refusal.value.args[0] == 503
            first.socket.sendall(frame(struct.pack("!H", 1000), CLOSE))
            assert closed(first) == 1000

            def third():
                try:
                    return WebSocket(small)
                except Refused:
                    return None

            with support.until("a place is free", third) as ws:
                assert ws.log_in(small.token())["type"] == "ready"
    finally:
        small.stop()


def test_a_message_in_pieces(shared):
    with WebSocket(shared) as ws:
        text = json.dumps({"type": "auth", "token": shared.token()}).encode()
        ws.socket.sendall(frame(text[:10], TEXT, fin=False))
        ws.socket.sendall(frame(b"in between", PING))
        ws.socket.sendall(frame(text[10:20], 0, fin=False) + frame(b"", 0, fin=False))
        ws.socket.sendall(frame(text[20:], 0))
        ws.write({"type": "subscribe", "topics": ["alerts"]})
        assert ws.read()["type"] == "ready"


@pytest.mark.parametrize(
    "what",
    {
        "too large": frame(b" " * 5000),
        "very large": b"\x81\xff" + struct.pack("!Q", 2**40) + b"\1\2\3\4" + b"x" * 9000,
        "negative": b"\x81\xff" + b"\xff" * 8 + b"\1\2\3\4",
        "large by pieces": frame(b" " * 3000, TEXT, fin=False) + frame(b" " * 3000, 0, fin=False),
        "not masked": frame(b"{}", masked=False),
        "binary": frame(b"{}", BINARY),
        "no UTF-8": frame(b'"\xff"'),
        "no JSON": frame(b"hello"),
        "no object": frame(b"[1]"),
        "twice": frame(b'{"type":"auth","type":"auth"}'),
        "deep": frame(b"[" * 4000),
        "reserved bits": b"\xf1\x80\1\2\3\4",
        "unknown frame": frame(b"", 5),
        "long ping": frame(b"x" * 200, PING),
        "a piece of nothing": frame(b"x", 0),
        "pings without end": frame(b"x" * 100, PING) * 5000,
        "pieces without end": frame(b"", TEXT, fin=False) + frame(b"", 0, fin=False) * 5000,
        "messages without end": frame(b'{"type":"pong"}') * 5000,
    }.items(),
    ids=lambda what: what[0],
)
def test_what_ends_a_connection(shared, what):
    with WebSocket(shared) as ws:
        try:
            ws.socket.sendall(what[1])
        except OSError:
            pass  # it was closed while we still wrote
        assert closed(ws) in (None, 1002, 1007, 1008, 1009)
    assert shared.call("GET", "/readyz", token="").status == 200


def test_who_does_not_read_delays_nobody(shared):
    with WebSocket(shared) as slow, WebSocket(shared) as quick:
        seq = slow.log_in(shared.token(), ["alerts"])["seq"]
        quick.log_in(shared.token(), ["alerts"])
        ids = [post(shared, metadata={"pad": "x" * 20000}) for _ in range(150)]
        assert [m["data"]["id"] for m in alerts_until(quick, ids[-1])] == ids
        told = alerts_until(slow, ids[-1])  # 3 MB: more than its queue and its socket hold
        assert [m["data"]["id"] for m in told] == ids
        assert [m["seq"] for m in told] == sorted({m["seq"] for m in told})
        assert told[0]["seq"] > seq
