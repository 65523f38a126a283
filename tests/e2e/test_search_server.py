"""The search server behind a collector: what is in it, and what happens while it is away."""

import os
import subprocess
import time
import urllib.parse

import pytest
import support
from searching import alert, ask, attacker, is_settled, pieces, post, right, status, victim
from test_api_ingest import Sensor


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
