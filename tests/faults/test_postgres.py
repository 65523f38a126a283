"""PostgreSQL restarted, out of connections, read-only, its standby behind: 503 with Retry-After,
and recovery alone. What was confirmed is there, once."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import support

DRAFT = {"severity": "low", "type": "probe"}


@pytest.fixture
def server(collector_of, database):
    return collector_of(db__url=database, api__rate="0").start()


def post(server, text):
    return server.call("POST", "/api/alerts/", DRAFT | {"description": text})


def says_later(answer):
    return answer.status == 503 and int(answer.headers["Retry-After"]) > 0


def status(server, path):
    return server.call("GET", path, token="").status


class Writer(threading.Thread):
    """Posts without a pause; `confirmed` is what it was told is stored."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.confirmed, self.refused, self.strange = server, [], 0, []
        self.is_over = False
        server.token()
        self.start()

    def run(self):
        number = 0
        while not self.is_over:
            number += 1
            answer = post(self.server, f"alert {number}")
            if answer.status == 201:
                self.confirmed.append(f"alert {number}")
            elif says_later(answer):
                self.refused += 1
                time.sleep(0.01)
            else:
                self.strange.append(answer.text)

    def end(self):
        self.is_over = True
        self.join(60)
        assert self.strange == []
        stored = [alert["description"] for alert in self.server.all("alerts")]
        assert len(stored) == len(set(stored))
        assert set(self.confirmed) <= set(stored)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_restarted(server, postgres, how):
    writer = Writer(server)
    support.until("it stores", lambda: len(writer.confirmed) > 20)
    getattr(postgres, how)()
    assert says_later(post(server, "away")) and says_later(server.call("GET", "/api/alerts/"))
    assert status(server, "/readyz") == 503 and status(server, "/healthz") == 200
    before = len(writer.confirmed)
    postgres.start()
    support.until("it stores again", lambda: len(writer.confirmed) > before + 20)
    assert status(server, "/readyz") == 200
    writer.end()


@pytest.mark.skipif(not os.environ.get("WIND_ROUNDS"), reason="takes minutes: WIND_ROUNDS=50")
def test_silent(server, postgres):
    """The machine is there and does not answer; whoever asks is not kept for ever."""
    assert post(server, "before").status == 201
    everyone = [*postgres.pids("primary"), *children(postgres.pids("primary")[0])]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = server.call("GET", "/readyz", token="", patience=90)
        assert answer.status == 503
        assert says_later(server.call("POST", "/api/alerts/", DRAFT, patience=90))
        assert status(server, "/healthz") == 200
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
    support.until("it stores again", lambda: post(server, "after").status == 201)


def children(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.fixture
def limited(postgres, database):
    """A URL whose user may have limited(n) connections; those there are, end."""
    name = database.rsplit("/", 1)[1]
    postgres.sql(f"CREATE ROLE {name} LOGIN; ALTER DATABASE {name} OWNER TO {name}")

    def limit(count):
        postgres.sql(
            f"ALTER ROLE {name} CONNECTION LIMIT {count};"
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"
        )

    limit.url = database.replace("//wind@", f"//{name}@")
    yield limit
    limit(0)
    postgres.sql(f"REASSIGN OWNED BY {name} TO wind; DROP OWNED BY {name}", database)
    postgres.sql(f"ALTER DATABASE {name} OWNER TO wind; DROP ROLE {name}")


def test_out_of_connections(collector_of, limited):
    server = collector_of(db__url=limited.url, api__rate="0").start()
    writer = Writer(server)
    support.until("it stores", lambda: len(writer.confirmed) > 20)
    limited(0)
    support.until("it is refused", lambda: writer.refused > 5)
    assert says_later(server.call("GET", "/api/alerts/"))
    assert status(server, "/healthz") == 200
    limited(-1)
    before = len(writer.confirmed)
    support.until("it stores again", lambda: len(writer.confirmed) > before + 20)
    writer.end()


def test_few_connections_are_enough(collector_of, limited):
    """The pool wants more than there are: who gets none waits or comes back, nothing breaks."""
    limited(3)
    server = collector_of(db__url=limited.url, api__rate="0", api__threads="8").start()
    writers = [Writer(server) for _ in range(2)]
    for _ in range(60):
        answer = server.call("GET", "/api/alerts/?limit=5")
        assert answer.status == 200 or says_later(answer), answer.text
    for writer in writers:
        support.until("it stores", lambda w=writer: len(w.confirmed) > 20)
    for writer in writers:
        writer.is_over = True
        writer.join(60)
        assert writer.strange == []


def test_read_only(server, postgres):
    writer = Writer(server)
    support.until("it stores", lambda: len(writer.confirmed) > 20)
    read_only(postgres, "on")
    try:
        support.until("it is refused", lambda: writer.refused > 5)
        assert says_later(post(server, "refused"))
        assert server.call("GET", "/api/alerts/?limit=5").status == 200, "who reads goes on"
        assert status(server, "/healthz") == 200
    finally:
        read_only(postgres, "off")
    before = len(writer.confirmed)
    support.until("it stores again", lambda: len(writer.confirmed) > before + 20)
    writer.end()


def read_only(postgres, word):
    postgres.sql(
        "SET default_transaction_read_only = off;"
        f"ALTER SYSTEM SET default_transaction_read_only = {word}; SELECT pg_reload_conf()"
    )


def test_a_collector_that_starts_before_its_database_says_so(collector_of, postgres, database):
    postgres.kill()
    server = collector_of(db__url=database)
    run = support.run("wind-collector", *support.settings(server.settings), timeout=60)
    assert run.returncode == 1 and "refused" in run.stderr
    postgres.start()
    assert post(server.start(), "now").status == 201
