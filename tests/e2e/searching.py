"""Alerts to search in, questions, and what is right: computed here, from the alerts alone."""

import ipaddress
import re
import urllib.parse

SEVERITIES = ["low", "medium", "high", "critical"]
DETECTORS = ["port_scan", "brute_force", "beacon", "anomaly", "dns_tunnel"]
WHAT = [
    "{a} tried {n} ports of {v}",
    "{a} guesses passwords of {v}: scanner-like, {n} attempts",
    "{a} calls evil-c2.example.com every {n} s",
    "unusual flow to www{n}.example.org/path_{n}?x=1 (score rises)",
    "M\u00dcLLER's host asks for x{n}.tunnel.Evil-C2.example.com",
]
PROTOS = ["TCP", "UDP", "ICMP"]
N = 500


def attacker(n):
    return [f"10.9.{n % 4}.{n % 50 + 1}", f"fd00::{n % 9:x}", f"192.0.2.{n % 7}"][n % 3]


def victim(n):
    return [f"10.200.0.{n % 20}", f"fd00:1::{n % 5:x}", "203.0.113.80", "10.9.0.66"][n % 4]


def alert(n):
    """The n-th alert, as a sensor sends it."""
    a, v = attacker(n), victim(n)
    entities = [
        {"kind": "host", "value": a, "role": "attacker"},
        {"kind": "host", "value": v, "role": "victim"},
    ]
    if n % 5 == 2:
        entities.append({"kind": "domain", "value": "evil-c2.example.com", "role": "related"})
    if n % 7 == 0:
        entities.append({"kind": "user", "value": f"o'brien{n % 3}@corp", "role": "related"})
    at = f"2026-03-{n % 28 + 1:02d}T{n % 24:02d}:{n % 60:02d}:00"
    made = {
        "timestamp": f"{at}.000000+0000",
        "event_type": "alert",
        "src_ip": a,
        "src_port": 40000 + n,
        "dest_ip": v,
        "dest_port": [22, 443, 53, 8080][n % 4],
        "proto": PROTOS[n % 3],
        "app_proto": "ssh",
        "alert": {
            "signature": WHAT[n % 5].format(a=a, v=v, n=n),
            "signature_id": 9000001 + n % 5,
            "category": "Network scan",
        },
        "wind": {
            "uid": f"0198f2c4-7a31-7c5e-9d2b-{n:012x}",
            "rev": 1,
            "detector": DETECTORS[n % 5],
            "severity": SEVERITIES[n % 4],
            "first_seen": f"{at}Z",
            "last_seen": f"{at}Z",
            "community_ids": [f"1:{n}"],
            "technique": {"id": "T1046", "name": "Discovery", "tactic": "Discovery"},
            "entities": entities,
        },
    }
    if n % 6:
        made["wind"]["score"] = n % 100 / 100
    return made


ALERTS = {f"0198f2c4-7a31-7c5e-9d2b-{n:012x}": alert(n) for n in range(1, N + 1)}
# What people do to some of them afterwards.
TRIAGE = {
    n: {"status": "closed", "verdict": "duplicate"} if n % 2 else {"tags": ["vip", "lab"]}
    for n in range(10, 60)
}


# ---------------------------------------------------------------- what is right
def number(uid):
    return int(uid[-12:], 16)


def texts(a):
    yield a["alert"]["signature"]
    yield a["wind"]["detector"]
    yield "edge"
    for entity in a["wind"]["entities"]:
        yield entity["value"]


def tokens(text):
    return re.findall(r"[^\W_]+", text.lower())


def has(words, is_prefix=True):
    wanted = tokens(words)

    def fits(found):
        if len(found) < len(wanted):
            return False
        *whole, last = wanted
        end = found[len(whole)]
        return found[: len(whole)] == whole and (end.startswith(last) if is_prefix else end == last)

    def check(n, a):
        return any(
            fits(found[i : i + len(wanted)])
            for found in map(tokens, texts(a))
            for i in range(len(found))
        )

    return check


def exact(words):
    return has(words, is_prefix=False)


def inside(net, *roles):
    net = ipaddress.ip_network(net)

    def check(n, a):
        return any(
            ipaddress.ip_address(entity["value"]) in net
            for entity in a["wind"]["entities"]
            if entity["kind"] == "host" and (not roles or entity["role"] in roles)
        )

    return check


def src(net):
    return lambda n, a: ipaddress.ip_address(a["src_ip"]) in ipaddress.ip_network(net)


def dst(net):
    return lambda n, a: ipaddress.ip_address(a["dest_ip"]) in ipaddress.ip_network(net)


def severity(*words):
    return lambda n, a: a["wind"]["severity"] in words


def detector(*words):
    return lambda n, a: a["wind"]["detector"] in words


def score(check):
    return lambda n, a: "score" in a["wind"] and check(a["wind"]["score"])


def triage(key, check):
    return lambda n, a: check(TRIAGE.get(n, {}).get(key))


def both(*checks):
    return lambda n, a: all(check(n, a) for check in checks)


def no(check):
    return lambda n, a: not check(n, a)


QUESTIONS = {
    "": lambda n, a: True,
    "severity:high": severity("high"),
    "severity:>=high": severity("high", "critical"),
    "severity:<medium": severity("low"),
    "severity:low,critical": severity("low", "critical"),
    "-severity:low type:beacon,anomaly": both(no(severity("low")), detector("beacon", "anomaly")),
    "status:closed": triage("status", lambda s: s == "closed"),
    "-status:closed severity:critical": both(
        triage("status", lambda s: s != "closed"), severity("critical")
    ),
    "verdict:none type:port_scan": both(triage("verdict", lambda v: not v), detector("port_scan")),
    "-verdict:duplicate type:beacon": both(triage("verdict", lambda v: not v), detector("beacon")),
    "tag:vip": triage("tags", bool),
    "tag:none severity:low": both(triage("tags", lambda t: not t), severity("low")),
    "source:edge port:53": lambda n, a: a["dest_port"] == 53,
    "port:>=443": lambda n, a: a["dest_port"] >= 443,
    "proto:UDP": lambda n, a: a["proto"] == "UDP",
    "-proto:tcp,udp": lambda n, a: a["proto"] == "ICMP",
    "score:>0.9": score(lambda s: s > 0.9),
    "score:<=0.05": score(lambda s: s <= 0.05),
    "score:0.25,0.5": score(lambda s: s in (0.25, 0.5)),
    "score:none": lambda n, a: "score" not in a["wind"],
    "-score:>0.1": lambda n, a: not a["wind"].get("score", 0) > 0.1,
    "src:10.0.0.0/8": src("10.0.0.0/8"),
    "src:10.9.1.0/24,fd00::/112": lambda n, a: src("10.9.1.0/24")(n, a) or src("fd00::/112")(n, a),
    "dst:::/0 -dst:0.0.0.0/0": lambda n, a: ":" in a["dest_ip"],
    "dst:203.0.113.80 -src:10.0.0.0/8": both(dst("203.0.113.80"), no(src("10.0.0.0/8"))),
    "host:10.9.0.66": inside("10.9.0.66"),
    "10.9.0.0/24": inside("10.9.0.0/24"),
    "attacker:fd00::/64": inside("fd00::/64", "attacker"),
    "victim:10.200.0.0/28 severity:low": both(inside("10.200.0.0/28", "victim"), severity("low")),
    "entity:evil-c2.example.com": lambda n, a: any(
        entity["value"] == "evil-c2.example.com" for entity in a["wind"]["entities"]
    ),
    "time:>=2026-03-20": lambda n, a: a["timestamp"] >= "2026-03-20",
    "time:>2026-03-05T04:04:00Z time:<2026-03-07": lambda n, a: (
        "2026-03-05T04:04:00.000000+0000" < a["timestamp"] < "2026-03-07"
    ),
    "uid:0198f2c4-7a31-7c5e-9d2b-000000000011": lambda n, a: n == 0x11,
    "evil-c2.example.com": has("evil c2 example com"),
    "EVIL-C2 -tunnel": both(has("evil c2"), no(has("tunnel"))),
    '"evil-c2.example.com" type:dns_tunnel': both(
        exact("evil c2 example com"), detector("dns_tunnel")
    ),
    "c2.example.c": has("c2 example c"),
    "c2.example.c.": exact("c2 example c"),
    "scan": has("scan"),
    '"scan"': exact("scan"),
    "scanner like": both(has("scanner"), has("like")),
    '"scanner like"': exact("scanner like"),
    '"like scanner"': exact("like scanner"),
    "-guess -ports -calls": both(no(has("guess")), no(has("ports")), no(has("calls"))),
    "tried ports": both(has("tried"), has("ports")),
    '"tried 105 ports"': exact("tried 105 ports"),
    "brute": has("brute"),
    "m\u00fcller": has("m\u00fcller"),
    "M\u00dc -x9": both(has("m\u00fc"), no(has("x9"))),
    "fd00:1:": exact("fd00 1"),
    "10.200.0.4": inside("10.200.0.4"),
    '"10.200.0.4"': exact("10 200 0 4"),
    "10.200.0.1*": has("10 200 0 1"),
    "o'brien1": has("o brien1"),
    "path_3": has("path 3"),
    "example severity:high src:10.0.0.0/8 -evil": both(
        has("example"), severity("high"), src("10.0.0.0/8"), no(has("evil"))
    ),
    "score rises": both(has("score"), has("rises")),
    "nothing-like-this": has("nothing like this"),
    "evil-port": has("evil port"),
}

ORDERS = {
    "-id": lambda n, a: (-n,),
    "time": lambda n, a: (a["timestamp"], n),
    "-time": lambda n, a: (tuple(-ord(c) for c in a["timestamp"]), -n),
    "-severity": lambda n, a: (-SEVERITIES.index(a["wind"]["severity"]), -n),
    "score": lambda n, a: (a["wind"].get("score", -1), n),
    "-score": lambda n, a: (-a["wind"].get("score", -1), -n),
}


# ---------------------------------------------------------------- asking
def post(sensor, alerts):
    for some in pieces(alerts):
        answer = sensor.post(*some)
        assert answer.status == 200 and not answer.json["rejected"], answer.text


def pieces(alerts, size=100):
    alerts = list(alerts)
    return [alerts[i : i + size] for i in range(0, len(alerts), size)]


def ask(collector, q, sort="id", path="/api/search/", limit=200):
    """The numbers of the alerts found, page by page."""
    found, cursor = [], None
    while True:
        query = {"q": q, "sort": sort, "limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = collector.call("GET", f"{path}?{urllib.parse.urlencode(query)}")
        assert answer.status == 200, answer.text
        assert "Wind-Search-Behind" not in answer.headers
        found += [number(row["uid"]) for row in answer.json["data"]]
        cursor = answer.json["next_cursor"]
        if not cursor:
            return found


def right(q):
    return [n for n in range(1, N + 1) if QUESTIONS[q](n, ALERTS[list(ALERTS)[n - 1]])]


def status(collector):
    answer = collector.call("GET", "/api/search/status")
    assert answer.status == 200, answer.text
    return answer.json


def is_settled(collector):
    found = status(collector)
    return found["behind"] == 0 and found["rebuild"] is None
