"""One grammar, several indexes: SQLite's FTS5, PostgreSQL's tsvector, Elasticsearch, OpenSearch.

The same questions over the same alerts are put to each; what is right is computed here, from the
alerts alone.
"""

import ipaddress
import os
import re
import subprocess
import time
import urllib.parse

import pytest
import services
import support
from test_api_ingest import Sensor

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


# ---------------------------------------------------------------- who is asked
def post(sensor, alerts):
    for some in pieces(alerts):
        answer = sensor.post(*some)
        assert answer.status == 200 and not answer.json["rejected"], answer.text


def pieces(alerts, size=100):
    alerts = list(alerts)
    return [alerts[i : i + size] for i in range(0, len(alerts), size)]


def settings_of(name, servers):
    if name == "sqlite":
        return {}
    if name == "postgres":
        return {"db__url": servers.get(services.Postgres, "postgres").database()}
    server = servers.get(services.Search, name)
    server.clear()
    return {"search__url": server.url, "search__gzip": "yes" if name == "opensearch" else "no"}


INDEXES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.services),
    pytest.param("elasticsearch", marks=pytest.mark.services),
    pytest.param("opensearch", marks=pytest.mark.services),
]


@pytest.fixture(scope="module", params=INDEXES)
def filled(request, servers, tmp_path_factory):
    """A collector with all alerts, some of them triaged."""
    made = support.Collector(
        tmp_path_factory.mktemp(request.param),
        api__rate="0",
        correlate__alerts="50",
        **settings_of(request.param, servers),
    ).start()
    post(Sensor(made), ALERTS.values())
    ids = {number(row["uid"]): row["id"] for row in made.all("alerts")}
    assert len(ids) == N
    support.until("the index is warm", lambda: is_settled(made))
    for n, change in TRIAGE.items():
        assert made.call("PATCH", f"/api/alerts/{ids[n]}", change).status == 200
    yield made
    assert made.stop() == 0, made.process.log


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


def test_the_questions_tell_apart():
    """An index that finds all or nothing answers few of them."""
    counts = [len(right(q)) for q in QUESTIONS]
    assert len(counts) >= 40
    assert sum(0 < n < N for n in counts) >= len(counts) - 6
    assert len(set(map(tuple, map(right, QUESTIONS)))) >= len(counts) - 15


@pytest.mark.parametrize("q", QUESTIONS)
def test_every_index_answers_the_same(filled, q):
    assert ask(filled, q) == right(q)


@pytest.mark.parametrize("sort", ORDERS)
def test_pages_follow_each_other_in_every_order(filled, sort):
    wanted = sorted(
        right("evil-c2.example.com"),
        key=lambda n: ORDERS[sort](n, ALERTS[list(ALERTS)[n - 1]]),
    )
    assert ask(filled, "evil-c2.example.com", sort, limit=7) == wanted


def test_lists_ask_the_index_for_words_and_the_database_for_the_rest(filled):
    for q in ("evil-c2 severity:high", "severity:>=high port:53"):
        wanted = ask(filled, q)
        assert wanted and ask(filled, q, path="/api/alerts/") == wanted


def test_a_change_is_found_at_once(filled):
    ids = {number(row["uid"]): row["id"] for row in filled.all("alerts", "id:<=400")}
    for n in (300, 301):
        before = ask(filled, "tag:moved")
        path = f"/api/alerts/{ids[n]}"
        assert filled.call("PATCH", path, {"tags": ["moved"]}).status == 200
        assert ask(filled, "tag:moved") == [*before, n]
    grown = alert(302)
    grown["wind"]["rev"] = 2
    grown["alert"]["signature"] = "a quite different sentence"
    assert Sensor(filled).post(grown).json["updated"] == 1
    assert ask(filled, '"quite different"') == [302]
    assert 302 not in ask(filled, "example tunnel evil calls www302")


def test_incidents_are_found_too(filled):
    rows = filled.all("incidents")
    title = next(row for row in rows if row["alert_count"] > 1)
    first = title["related_entities"][0]["value"]
    for path in ("/api/search/incidents", "/api/incidents/"):
        query = urllib.parse.urlencode({"q": f'"{first}" alerts:>1', "limit": 200})
        answer = filled.call("GET", f"{path}?{query}")
        assert answer.status == 200, answer.text
        assert title["id"] in [row["id"] for row in answer.json["data"]]
    query = urllib.parse.urlencode({"q": "severity:>=low status:open", "limit": 200})
    answer = filled.call("GET", f"/api/search/incidents?{query}")
    assert len(answer.json["data"]) == min(200, len(rows))


def status(collector):
    answer = collector.call("GET", "/api/search/status")
    assert answer.status == 200, answer.text
    return answer.json


def is_settled(collector):
    found = status(collector)
    return found["behind"] == 0 and found["rebuild"] is None


def test_a_rebuild_finds_everything_again(filled):
    taken = status(filled)["taken"]
    assert filled.call("POST", "/api/search/rebuild").status == 202
    support.until("the index is filled anew", lambda: is_settled(filled))
    assert status(filled)["taken"] >= taken + N
    assert ask(filled, "evil-c2.example.com") == right("evil-c2.example.com")
    metrics = filled.call("GET", "/metrics").text
    assert "\nwind_search_behind 0\n" in metrics and "\nwind_search_refused_total 0\n" in metrics


# ---------------------------------------------------------------- search servers
@pytest.fixture
def beside(search_server, tmp_path):
    """A collector, and its search server."""
    made = support.Collector(tmp_path, search__url=search_server.url).start()
    yield made, search_server
    assert made.stop() == 0, made.process.log


def documents(server, q="*"):
    server.request("POST", "/wind-*/_refresh")
    found = server.request("GET", f"/wind-alerts/_search?size=100&q={urllib.parse.quote(q)}")[1]
    return [hit["_source"] for hit in found.get("hits", {}).get("hits", [])]


def test_documents_speak_ecs(beside):
    collector, server = beside
    post(Sensor(collector), [alert(7)])
    support.until("it is indexed", lambda: is_settled(collector) and documents(server))
    query = 'event.kind:alert AND threat.technique.id:T1046 AND source.ip:"fd00::/64"'
    (found,) = documents(server, query)
    assert found["event"]["severity"] == 4 and found["event"]["risk_score"] == 99
    assert found["event"]["id"] == alert(7)["wind"]["uid"]
    assert found["observer"]["name"] == "edge"
    assert found["network"] == {"transport": "udp", "protocol": "ssh", "community_id": ["1:7"]}
    assert found["destination"] == {"ip": "10.9.0.66", "port": 8080}
    assert found["rule"]["id"] == 9000003 and found["rule"]["category"] == "Network scan"
    assert set(found["related"]["ip"]) == {attacker(7), victim(7)}
    month = time.strftime("%Y.%m", time.gmtime())
    assert f"wind-alerts-{month}" in server.indices()


def test_the_server_is_away_and_alerts_flow(beside):
    collector, server = beside
    sensor = Sensor(collector)
    post(sensor, [alert(n) for n in range(1, 51)])
    support.until("the first are indexed", lambda: is_settled(collector))
    server.kill()
    post(sensor, [alert(n) for n in range(51, 201)])
    answer = collector.call("GET", "/api/alerts/?q=evil-c2")
    assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1, answer.text
    assert len(ask(collector, "severity:>=low", path="/api/alerts/")) == 200
    assert status(collector)["behind"] > 0
    server.start()
    wanted = [n for n in right("evil-c2.example.com") if n <= 200]
    support.until("it catches up", lambda: is_settled(collector), seconds=90)
    assert ask(collector, "evil-c2.example.com") == wanted
    assert status(collector)["trouble"] is None
    log = collector.process.log
    assert "does not answer" in log and "is it running, and is search.url right?" in log


def test_the_collector_dies_and_goes_on_where_it_was(beside):
    collector, server = beside
    sensor = Sensor(collector)
    for some in pieces([alert(n) for n in range(1, 401)], 40):
        post(sensor, some)
        collector.kill()
        collector.start()
    support.until("all are indexed", lambda: is_settled(collector))
    wanted = [n for n in right("evil-c2.example.com") if n <= 400]
    assert ask(collector, "evil-c2.example.com") == wanted
    assert len(ask(collector, "")) == 400


def test_an_index_of_another_database_is_not_taken_over(beside, tmp_path):
    """Ids mean something else there."""
    collector, server = beside
    post(Sensor(collector), [alert(n) for n in range(1, 21)])
    support.until("they are indexed", lambda: is_settled(collector))
    folder = tmp_path / "other"
    folder.mkdir()
    other = support.Collector(folder, search__url=server.url).start()
    try:
        post(Sensor(other), [alert(n) for n in range(300, 305)])
        support.until("they are indexed", lambda: is_settled(other))
        assert ask(other, "") == [300, 301, 302, 303, 304]
    finally:
        assert other.stop() == 0


def test_what_the_server_refuses_is_counted_and_skipped(beside):
    collector, server = beside
    post(Sensor(collector), [alert(1)])
    support.until("it is indexed", lambda: is_settled(collector))
    (index,) = [name for name in server.indices() if name.startswith("wind-alerts")]
    limit = {"index.mapping.total_fields.limit": 1, "index.blocks.write": True}
    assert server.request("PUT", f"/{index}/_settings", limit)[0] == 200
    post(Sensor(collector), [alert(2)])
    support.until("it is held up", lambda: status(collector)["trouble"])
    assert status(collector)["behind"] > 0
    assert server.request("PUT", f"/{index}/_settings", {"index.blocks.write": None})[0] == 200
    support.until("it goes on", lambda: is_settled(collector), seconds=60)
    assert ask(collector, "") == [1, 2]


def test_retention_drops_whole_months(search_server, tmp_path):
    old = {"index": {"_index": "wind-alerts-2020.01", "_id": "x"}}
    collector = support.Collector(
        tmp_path, search__url=search_server.url, search__retention="30d"
    ).start()
    post(Sensor(collector), [alert(1)])
    support.until("it is indexed", lambda: is_settled(collector))
    added = search_server.request("POST", "/_bulk?refresh=true", [old, {"wind": {"id": 0}}])
    assert added[0] == 200
    collector.stop()
    collector.start()
    support.until(
        "the old month is gone", lambda: "wind-alerts-2020.01" not in search_server.indices()
    )
    assert ask(collector, "") == [1]
    assert collector.stop() == 0


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; client_max_body_size 40k;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        auth_basic search; auth_basic_user_file {folder}/users;
        location / {{ proxy_pass {url}; proxy_set_header Authorization ""; }}
    }}
}}
"""


@pytest.fixture
def guarded(elasticsearch, tmp_path):
    """The server behind TLS, a password, and a limit for bodies: (folder, url)."""
    folder = tmp_path / "guard"
    folder.mkdir(mode=0o755)
    port = support.free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext"]
        + ["subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", "s3cret word"], check=True, capture_output=True, text=True
    )
    (folder / "users").write_text(f"wind:{hashed.stdout}")
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text("s3cret word\n")
    (folder / "wrong").touch(mode=0o600)
    (folder / "wrong").write_text("wrong\n")
    config = NGINX.format(folder=folder, port=port, url=elasticsearch.url)
    if os.geteuid() == 0:
        config = "user root;" + config
    (folder / "nginx.conf").write_text(config)
    nginx = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"])
    yield folder, f"https://127.0.0.1:{port}"
    nginx.terminate()
    nginx.wait(20)


def test_a_password_and_an_authority_of_our_own(guarded, tmp_path):
    folder, url = guarded
    settings = {"search__url": url, "search__ca_file": folder / "cert.pem"}
    good = {"search__user": "wind", "search__password_file": folder / "password"}
    collector = support.Collector(tmp_path, **settings, **good).start()
    post(Sensor(collector), [alert(n) for n in range(1, 101)])  # at once they are too much
    support.until("they are indexed", lambda: is_settled(collector))
    wanted = [n for n in right("evil-c2.example.com") if n <= 100]
    assert ask(collector, "evil-c2.example.com") == wanted
    with open(f"/proc/{collector.process.popen.pid}/cmdline", encoding="utf-8") as line:
        assert "s3cret" not in line.read()
    assert status(collector)["taken"] >= 100 and status(collector)["failed"] == 0
    assert collector.stop() == 0
    assert "s3cret" not in collector.process.log


@pytest.mark.parametrize(
    "change, said",
    [
        ({"search__ca_file": ""}, "search.ca_file"),
        ({"search__password_file": "wrong"}, "check search.user and search.password_file"),
        ({"search__user": "", "search__password_file": ""}, "it wants search.user"),
    ],
)
def test_what_keeps_us_out_is_named(guarded, change, said, tmp_path):
    folder, url = guarded
    settings = {
        "search__url": url,
        "search__ca_file": folder / "cert.pem",
        "search__user": "wind",
        "search__password_file": folder / "password",
    }
    for key, value in change.items():
        settings[key] = folder / value if value == "wrong" else value
    collector = support.Collector(tmp_path, **settings).start()
    support.until("it says so", lambda: status(collector)["trouble"])
    assert said in status(collector)["trouble"]
    assert "s3cret" not in collector.process.log
    assert collector.stop() == 0


@pytest.mark.parametrize(
    "url, said",
    [
        ("http://127.0.0.1:1", "is it running, and is search.url right?"),
        ("https://127.0.0.1:1", "is it running, and is search.url right?"),
    ],
)
def test_a_server_that_never_was_is_named(url, said, tmp_path):
    collector = support.Collector(tmp_path, search__url=url).start()
    support.until("it says so", lambda: status(collector)["trouble"])
    assert said in status(collector)["trouble"]
    assert collector.stop() == 0


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"search__url": "localhost:9200"}, "is not an address like"),
        ({"search__url": "http://u:p@127.0.0.1:9200"}, "belong into search.user"),
        ({"search__url": "http://127.0.0.1:9200", "search__user": "u"}, "need each other"),
        ({"search__url": "http://127.0.0.1:9200", "search__index": "Wind*"}, "no name of an index"),
    ],
)
def test_settings_that_do_not_do_are_told_at_the_start(settings, said, tmp_path):
    collector = support.Collector(tmp_path, **settings)
    done = support.run("wind-collector", *support.settings(collector.settings))
    assert done.returncode == 1 and said in done.stderr, done.stderr
