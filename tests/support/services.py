"""Real servers for tests, by script/services: each is started when the first test asks for it, and
ends with the run. A test may kill, pause or stop what it gets; the next one finds it well again.

Fixtures (a conftest takes them with globals().update(services.FIXTURES)):

  kafka           one broker: .brokers, .topic(), .create_topic(), .produce(), .consume()
  kafka_cluster   the same with three
  postgres        the server: .sql(), .kill(), .start(); database: URL of an empty one on it
  replicated      a server with a streaming standby: .database(), .replica_url(url)
  redis           empty: .url, .cli()
  elasticsearch, opensearch   without indices: .url, .request()
  search_server   each of the two in turn: the test runs twice
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import kafka_admin
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "script" / "services"


class Service:
    """One server in a folder of its own. kill() and start() again keep port and data."""

    def __init__(self, name, folder, option=""):
        self.name, self.folder = name, Path(folder) / name
        self.wanted = f"{name}={option}" if option else name
        self.address = {}

    def _call(self, command, name):
        words = [SERVICES, command, "--dir", self.folder.parent, "--owner", str(os.getpid()), name]
        done = subprocess.run(words, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{command} {name}: {done.stderr}"
        return done.stdout

    def start(self):
        lines = self._call("start", self.wanted).splitlines()
        self.address = dict(line.split("=", 1) for line in lines)
        return self

    def stop(self):
        self._call("stop", self.name)

    def pids(self, part=""):
        """Of its processes; `part` = "1" (a broker), "primary", "replica"."""
        files = self.folder.glob(f"{part or '**'}/pid")
        return [int(file.read_text()) for file in files]

    def signal(self, number, part=""):
        for pid in self.pids(part):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, part=""):
        """As a power cut would; returns when it is gone."""
        self.signal(signal.SIGKILL, part)
        for pid in self.pids(part):
            wait_for_end(pid)

    def pause(self, part=""):
        """It is there, and does not answer."""
        self.signal(signal.SIGSTOP, part)

    def resume(self, part=""):
        self.signal(signal.SIGCONT, part)

    def well(self):
        """Whatever the test before did to it."""
        self.resume()
        return self.start()


def wait_for_end(pid):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        if "\nState:\tZ" in status:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} does not end")


class Kafka(Service):
    _numbers = itertools.count(1)

    def extra(self, **settings):
        """Settings of its brokers from the next start on; a_b=1 is a.b=1."""
        self.folder.mkdir(exist_ok=True)
        lines = [f"{name.replace('_', '.')}={value}\n" for name, value in settings.items()]
        (self.folder / "extra.properties").write_text("".join(lines))

    @property
    def brokers(self):
        return self.address["WIND_TEST_KAFKA"]

    def topic(self, name="topic"):
        """A name that no other test has."""
        return f"{name}.{next(self._numbers)}"

    def prefix(self):
        """For kafka.prefix: topics that no other test has."""
        return self.topic("t") + "."

    def create_topic(self, name, partitions=3, replicas=1, **config):
        """config: retention_ms=1000 is retention.ms."""
        with kafka_admin.Admin(self.brokers) as admin:
            admin.create(name, partitions, replicas, config)

    def grow_topic(self, name, partitions):
        with kafka_admin.Admin(self.brokers) as admin:
            admin.grow(name, partitions)

    def delete_topic(self, *names):
        """Those that are not there are no error."""
        with kafka_admin.Admin(self.brokers) as admin:
            for name in names:
                admin.delete(name)

    def partitions(self, topic):
        """How many the topic has; 0 = it is not there."""
        done = self._kcat("-L", "-J")
        for found in json.loads(done.stdout)["topics"]:
            if found["topic"] == topic:
                return len(found["partitions"])
        return 0

    def produce(self, topic, values, key=None, headers=None, partition=None):
        """values: texts or bytes, one message each; an empty one has no value at all."""
        words = ["-P", "-t", topic, "-X", "acks=all"]
        words += ["-k", key] if key else []
        words += ["-p", str(partition)] if partition is not None else []
        for name, value in (headers or {}).items():
            words += ["-H", f"{name}={value}"]
        files = []
        with tempfile.TemporaryDirectory() as folder:
            for i, value in enumerate(filter(None, values)):
                file = Path(folder) / str(i)
                file.write_bytes(value.encode() if isinstance(value, str) else value)
                files.append(file)
            if files:
                self._kcat(*words, *files)
        for _ in range(len(values) - len(files)):
            self._kcat(*words, "-Z", "-K\t", input=f"{key or 0}\t\n")

    def consume(self, topic):
        """All that is in the topic: [{"key", "payload", "headers": {}, "partition", "offset"}]."""
        if self.partitions(topic) == 0:
            return []
        done = self._kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        for message in found:
            pairs = message.get("headers") or []
            message["headers"] = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return found

    def _kcat(self, *words, input=""):
        done = subprocess.run(
            ["kcat", "-b", self.brokers, *map(str, words)],
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # a message may be anything
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done


class Postgres(Service):
    _numbers = itertools.count(1)

    @property
    def url(self):
        return self.address["WIND_TEST_POSTGRES"]

    def replica_url(self, url):
        """Where the standby has the database of that URL."""
        there = self.address["WIND_TEST_POSTGRES_REPLICA"]
        return there.rsplit("/", 1)[0] + "/" + url.rsplit("/", 1)[1]

    def has(self, url):
        """Has the standby the database of that URL?"""
        name = url.rsplit("/", 1)[1]
        known = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"
        return self.sql(known, self.replica_url(self.url)) != []

    def database(self):
        """The URL of a new empty database."""
        name = f"wind_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url.rsplit("/", 1)[0] + "/" + name

    def drop(self, url):
        self.sql(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def sql(self, statement, url=None, patience=120):
        """The rows: a list of texts a row."""
        done = subprocess.run(
            ["psql", url or self.url, "-XAtq", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"],
            input=statement,
            capture_output=True,
            text=True,
            timeout=patience,
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\x1f") for line in done.stdout.splitlines()]


class Redis(Service):
    @property
    def url(self):
        return self.address["WIND_TEST_REDIS"]

    def cli(self, *words):
        port = self.url.rsplit(":", 1)[1].split("/")[0]
        done = subprocess.run(
            ["redis-cli", "-p", port, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()


class Search(Service):
    @property
    def url(self):
        return self.address[f"WIND_TEST_{self.name.upper()}"]

    def request(self, method, path, body=None):
        """(status, answer). A list as body is sent as _bulk wants it."""
        data, kind = None, "application/json"
        if isinstance(body, list):
            data = "".join(json.dumps(line) + "\n" for line in body).encode()
            kind = "application/x-ndjson"
        elif body is not None:
            data = json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": kind}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read() or b"null")

    def indices(self):
        return [found["index"] for found in self.request("GET", "/_cat/indices?format=json")[1]]

    def clear(self):
        if found := self.indices():
            self.request("DELETE", "/" + ",".join(found))
        for kind in ("_index_template", "_template"):
            self.request("DELETE", f"/{kind}/wind*")


# ---------------------------------------------------------------- fixtures
class Servers:
    """Those of this run: each starts when it is first wanted."""

    def __init__(self, folder):
        self.folder, self.started = folder, {}

    def get(self, kind, name, option=""):
        key = (name, option)
        if key not in self.started:
            folder = self.folder / f"{name}{option}"
            folder.mkdir()
            self.started[key] = kind(name, folder, option)
        return self.started[key].well()

    def stop(self):
        for server in self.started.values():
            server.resume()
            server.stop()


@pytest.fixture(scope="session")
def servers(request, tmp_path_factory):
    made = Servers(tmp_path_factory.mktemp("servers"))
    yield made
    made.stop()
    if not request.session.testsfailed:  # their logs tell more
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def kafka(servers):
    return servers.get(Kafka, "kafka")


@pytest.fixture
def kafka_cluster(servers):
    return servers.get(Kafka, "kafka", "3")


@pytest.fixture
def postgres(servers):
    return servers.get(Postgres, "postgres")


@pytest.fixture
def database(postgres):
    url = postgres.database()
    yield url
    postgres.well().drop(url)


@pytest.fixture
def replicated(servers):
    return servers.get(Postgres, "postgres", "replica")


@pytest.fixture
def redis(servers):
    server = servers.get(Redis, "redis")
    server.cli("FLUSHALL")
    return server


def _search(servers, name):
    server = servers.get(Search, name)
    server.clear()
    return server


@pytest.fixture
def elasticsearch(servers):
    return _search(servers, "elasticsearch")


@pytest.fixture
def opensearch(servers):
    return _search(servers, "opensearch")


@pytest.fixture(params=["elasticsearch", "opensearch"])
def search_server(request, servers):
    return _search(servers, request.param)


FIXTURES = {
    **{"servers": servers, "kafka": kafka, "kafka_cluster": kafka_cluster},
    **{"postgres": postgres, "database": database, "replicated": replicated, "redis": redis},
    **{"elasticsearch": elasticsearch, "opensearch": opensearch, "search_server": search_server},
}


def mark(items):
    """Tests that want a server are those of -m services."""
    for item in items:
        if FIXTURES.keys() & set(item.fixturenames):
            item.add_marker("services")
