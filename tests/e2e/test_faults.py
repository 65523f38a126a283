"""The collector when something is wrong: settings, ports, files, locks, and sudden ends."""

import concurrent.futures
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import uuid

import pytest
import support

DRAFT = {"severity": "low", "type": "probe", "description": "something"}


def fails_to_start(server, *words):
    """It ends with 1 and one sentence that says why; returns all it said."""
    done = support.run("wind-collector", *support.settings(server.settings))
    assert done.returncode == 1, done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def test_a_port_that_is_taken_costs_no_password(tmp_path):
    server = support.Collector(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        assert "password" not in fails_to_start(server, "cannot listen", str(server.port))
    server.start()
    assert server.token()
    assert server.stop() == 0


def test_a_bad_certificate_costs_no_password(tmp_path):
    (tmp_path / "bad.pem").write_text("not a certificate")
    server = support.Collector(tmp_path)
    server.settings |= {
        "api.tls_cert": tmp_path / "bad.pem",
        "api.tls_key": tmp_path / "bad.pem",
    }
    assert "password" not in fails_to_start(server, "api.tls_cert")
    del server.settings["api.tls_cert"], server.settings["api.tls_key"]
    server.start()
    assert server.token()
    assert server.stop() == 0


def test_plain_http_for_everybody_is_refused(tmp_path):
    server = support.Collector(tmp_path)
    server.settings["api.listen"] = f"0.0.0.0:{server.port}"
    fails_to_start(server, "api.insecure")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
def test_tls(tmp_path):
    server = support.Collector(tmp_path)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    subprocess.run(
        [*command.split(), "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    server.settings |= {"api.tls_cert": cert, "api.tls_key": key}
    process = support.Process(
        "wind-collector", *support.settings(server.settings), log=tmp_path / "log"
    )
    support.until(
        "it listens", lambda: f"serving on https://127.0.0.1:{server.port}" in process.log
    )
    url = f"https://localhost:{server.port}/healthz"
    curl = ["curl", "-s", "-i", "--resolve", f"localhost:{server.port}:127.0.0.1", "--cacert", cert]
    answer = subprocess.run([*curl, url], check=True, capture_output=True, text=True).stdout
    assert " 200 " in answer and "Strict-Transport-Security" in answer
    old = subprocess.run([*curl, "--tls-max", "1.1", url], capture_output=True)
    assert old.returncode != 0
    assert process.stop() == 0


@pytest.mark.sqlite
def test_files_that_are_no_database(tmp_path):
    server = support.Collector(tmp_path)
    path = server.settings["db.path"]
    path.write_bytes(b"not a database at all, but long enough to look" * 100)
    fails_to_start(server, "database", "wind.db")
    path.unlink()
    path.mkdir()
    fails_to_start(server, "not a plain file")
    server.settings["db.path"] = tmp_path / "nowhere" / "wind.db"
    fails_to_start(server, "nowhere")


@pytest.mark.sqlite
def test_a_database_that_is_damaged_in_the_middle(collector):
    for _ in range(20):
        collector.call("POST", "/api/alerts/", DRAFT | {"metadata": {"pad": "x" * 5000}})
    assert collector.stop() == 0
    path = collector.settings["db.path"]
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 2))
    process = support.Process(
        "wind-collector", *support.settings(collector.settings), log=collector.folder / "again.log"
    )

    def is_over():
        try:
            return collector.call("GET", "/healthz", token="").status == 200
        except OSError:
            return not process.is_running

    support.until("it serves, or says why not", is_over)
    if process.is_running:  # what is broken is told, and nothing falls over
        collector.call("GET", "/api/alerts/?q=something")
        assert collector.call("GET", "/healthz", token="").status == 200
        assert process.stop() == 0
    else:
        assert process.wait() == 1 and "database" in process.log
    collector.process = process


@pytest.mark.sqlite
def test_somebody_else_holds_the_database(collector):
    token = collector.token()
    other = sqlite3.connect(collector.settings["db.path"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waits = pool.submit(collector.call, "POST", "/api/alerts/", DRAFT)
            time.sleep(1)
            assert collector.call("GET", "/api/alerts/").status == 200, "readers go on"
            assert collector.call("GET", "/healthz", token="").status == 200
            other.execute("ROLLBACK")
            assert waits.result().status == 201

            other.execute("BEGIN IMMEDIATE")
            waits = pool.submit(collector.call, "POST", "/api/alerts/", DRAFT)
            ready = pool.submit(collector.call, "GET", "/readyz", token="")
            busy = waits.result()
            assert (busy.status, busy.json["code"]) == (503, "busy")
            assert busy.headers["Retry-After"]
            assert ready.result().status == 503
    finally:
        other.close()
    assert collector.call("GET", "/readyz", token="").status == 200
    assert collector.call("POST", "/api/alerts/", DRAFT, token=token).status == 201


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_confirmed_is_there_after_any_end(collector, how):
    token = collector.token()
    confirmed, asked = [], []

    def work():
        for _ in range(1000):
            key = uuid.uuid4().hex
            asked.append(key)
            body = DRAFT | {"description": key}
            try:
                answer = collector.call("POST", "/api/alerts/", body, token=token)
            except (OSError, ValueError):
                return
            if answer.status != 201:
                return
            confirmed.append(key)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        support.until("some are stored", lambda: len(confirmed) > 40)
        code = collector.process.stop(how)
        for worker in workers:
            worker.result()
    assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    collector.start()
    stored = [a["description"] for a in collector.all("alerts")]
    assert len(stored) == len(set(stored))
    assert set(confirmed) <= set(stored) <= set(asked)
    if support.server is None:
        assert collector.sql("PRAGMA integrity_check") == [["ok"]]
    incidents = [a for i in collector.all("incidents") for a in i["related_alerts"]]
    assert len(incidents) == len(stored)


def test_an_end_waits_for_nobody(tmp_path):
    server = support.Collector(tmp_path, api__timeout="1h").start()
    held = []
    for head in (b"GET /api/alerts/ HTTP/1.1\r\nHost: x\r\nX-A: ", b"POST /api/auth/refresh HTTP"):
        for _ in range(20):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(head)
            held.append(s)
    assert server.stop() == 0  # they could stay for an hour
    for s in held:
        s.close()


def test_printed_settings_are_settings(tmp_path):
    changed = ["--set", "ws.ping=7s", "--set", "db.path=/x/y.db", "--set", "api.body_memory=3mb"]
    changed += ["--set", "api.origins=https://a.example, https://b.example"]
    first = support.run("wind-collector", *changed, "--print-config")
    assert first.returncode == 0
    file = tmp_path / "collector.yaml"
    file.write_text(first.stdout)
    again = support.run("wind-collector", "-c", file, "--print-config")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert support.run("wind-collector", "-c", file, "-T").returncode == 0


@pytest.mark.parametrize(
    "args",
    [
        ["--create-key", "x"],
        ["--create-key", "x", "--scope", "everything"],
        ["--create-key", "", "--scope", "ingest"],
        ["--create-key", "x" * 64, "--scope", "ingest"],
        ["--scope", "ingest"],
        ["--sensor", "x"],
        ["--create-key", "x", "--scope", "ingest", "--sensor", ""],
        ["--create-key", "x", "--scope", "ingest", "--sensor", "x" * 129],
        ["--set"],
        ["--nothing"],
        ["stray"],
    ],
)
def test_ways_to_call_that_are_none(args, tmp_path):
    done = support.run("wind-collector", "--set", f"db.path={tmp_path}/wind.db", *args)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not (tmp_path / "wind.db").exists()


def test_a_key_from_the_command_line_works_at_once(collector):
    key = collector.create_key("two", "alerts:read,sensors:read").read_text().strip()
    for path, status in (("alerts", 200), ("sensors", 200), ("incidents", 403)):
        answer = collector.call("GET", f"/api/{path}/", token="", headers={"X-API-Key": key})
        assert answer.status == status
    assert key not in collector.process.log


def test_one_address_cannot_take_all_connections(tmp_path):
    limits = {"api__connections": "64", "api__connections_each": "16", "api__threads": "1"}
    server = support.Collector(tmp_path, api__timeout="1h", **limits).start()
    held = []
    try:
        for _ in range(100):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            held.append(s)
        with socket.create_connection(
            ("127.0.0.1", server.port), timeout=30 * support.SLOW, source_address=("127.0.0.2", 0)
        ) as other:
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for s in held:
            s.close()
        assert server.stop() == 0
