"""What the whole-system tests share: real programs, started and ended, and the API as a client.

Nothing here replaces a part of Wind: the programs come from WIND_BIN (default build/release/bin),
each collector has a database and a port of its own, and everything that was started is ended.
The database is a SQLite file; with WIND_TEST_DB=postgres in the environment one of a real server.
"""

import atexit
import collections
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import sqlite3
import subprocess
import termios
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("WIND_BIN", ROOT / "build" / "release" / "bin")).resolve()
LAB_DEMO = ROOT / "tests" / "data" / "lab-demo"
CAPTURE = LAB_DEMO / "capture.pcap.gz"
SLOW = 4 if "san" in BIN.parent.name else 1  # sanitizer builds take their time


_places = collections.deque(maxlen=100)  # of ports that were given out, the last ones


def free_port():
    """A port where nobody listens, and that nobody else gets while a server there is away.

    A socket that is bound and silent keeps it; a server with SO_REUSEADDR may use it all the same.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    _places.append(place)
    return place.getsockname()[1]


def until(what, attempt, seconds=20):
    """The first true value of attempt(); fails with `what` when there is none in time."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = attempt()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds * SLOW} s in vain: {what}"
        time.sleep(0.05)


def run(program, *args, **options):
    """Run one of our programs to its end; .returncode, .stdout and .stderr (text) tell."""
    options.setdefault("timeout", 120 * SLOW)
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    return subprocess.run(
        [str(BIN / program), *map(str, args)], capture_output=True, text=True, **options
    )


def settings(values):
    """--set arguments of a dict of settings."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text

    @property
    def json(self):
        return json.loads(self.text)


class Process:
    """A program that runs until it is told to end; its output goes to a file."""

    def __init__(self, program, *args, log, **options):
        self.log_path = Path(log)
        with open(self.log_path, "ab") as out:
            self.popen = subprocess.Popen(
                [str(BIN / program), *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        atexit.register(self._end)  # a fixture that failed half way has nobody who ends it

    def _end(self):
        if self.is_running:
            os.killpg(self.popen.pid, signal.SIGKILL)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def is_running(self):
        return self.popen.poll() is None

    def wait(self, seconds=120):
        return self.popen.wait(seconds * SLOW)

    def stop(self, signal_number=signal.SIGTERM):
        """End it and everything it started. Returns its exit code."""
        if self.is_running:
            self.popen.send_signal(signal_number)
        try:
            code = self.wait(20)
        finally:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()
        return code


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *words, **env):
        self.master, slave = pty.openpty()

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.popen = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,
            env={**os.environ, "TERM": "xterm", **env},
        )
        os.close(slave)
        self.output = ""

    def read_until(self, text, seconds=300):
        """Until the output has `text`; None = until its end."""
        end = time.monotonic() + seconds * SLOW
        while text is None or text not in self.output:
            assert time.monotonic() < end, f"no '{text}' in:\n{self.output}"
            ready, _, _ = select.select([self.master], [], [], 0.5)
            try:
                self.output += os.read(self.master, 65536).decode(errors="replace") if ready else ""
            except OSError:  # the other end is closed
                assert text is None, f"no '{text}' in:\n{self.output}"
                return

    def type(self, keys):
        os.write(self.master, keys)

    @property
    def has_echo(self):
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def wait(self, seconds=30):
        """Its exit code; `output` is complete then."""
        try:
            self.read_until(None, seconds)
            return self.popen.wait(seconds)
        finally:
            if self.popen.poll() is None:
                os.killpg(self.popen.pid, signal.SIGKILL)
            os.close(self.master)


server = None  # services.Postgres, when the collectors of this run use it (conftest)


class Collector:
    """A real wind-collector. start() after stop() or kill() goes on with the same database."""

    def __init__(self, folder, env=None, **more):
        self.folder, self.env = Path(folder), env
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "api.listen": f"127.0.0.1:{self.port}",
            "db.path": self.folder / "wind.db",
            "auth.hash_memory": "1mb",  # many logins, and they are not what is tested
            "auth.hash_passes": "1",
        }
        if server is not None:
            self.settings["db.url"] = server.database()
        self.settings |= {key.replace("__", "."): value for key, value in more.items()}
        self.words = []  # more arguments
        self.process = None
        self.password = None
        self._token = None

    def start(self):
        log = self.folder / "collector.log"
        words = [*self.words, *settings(self.settings)]
        self.process = Process("wind-collector", *words, log=log, env=self.env)
        until("the collector is ready", self._is_ready)
        if self.password is None:
            found = re.search(r"^admin password: (\S+)", self.process.log, re.MULTILINE)
            assert found, f"no first password in:\n{self.process.log}"
            self.password = found.group(1)
        return self

    def _is_ready(self):
        assert self.process.is_running, f"the collector ended:\n{self.process.log}"
        try:
            return self.call("GET", "/readyz", token="").status == 200
        except OSError:
            return False

    def stop(self):
        return self.process.stop()

    def kill(self):
        return self.process.stop(signal.SIGKILL)

    def sql(self, statement):
        """Rows of a statement in its database: lists of texts, bytes as \\x0a or as they are."""
        if server is not None:
            return server.sql(statement, self.settings["db.url"])
        with contextlib.closing(sqlite3.connect(self.settings["db.path"])) as db, db:
            return [list(row) for row in db.execute(statement)]

    def create_key(self, name="edge", scope="ingest", *more):
        """A file with a new key."""
        path = self.folder / f"{name}.key"
        words = [*settings(self.settings), "--create-key", name, "--scope", scope, *more]
        made = run("wind-collector", *words)
        assert made.returncode == 0, made.stderr
        path.touch(mode=0o600)
        path.write_text(made.stdout)
        return path

    def call(self, method, path, body=None, form=None, token=None, headers=None, patience=30):
        """One request, as the admin unless `token` says otherwise ("" = nobody)."""
        headers = dict(headers or {})
        token = self.token() if token is None else token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif form is not None:
            data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=patience * SLOW) as reply:
                return Answer(reply.status, reply.headers, reply.read().decode())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.headers, refusal.read().decode())

    def token(self):
        if self._token is None:
            form = {"grant_type": "password", "username": "admin", "password": self.password}
            answer = self.call("POST", "/api/auth/token", form=form, token="")
            assert answer.status == 200, answer.text
            self._token = answer.json["access_token"]
        return self._token

    def all(self, what, q=""):
        """Every object of a list ("alerts", "incidents"), page by page."""
        found, cursor = [], None
        while True:
            query = {"limit": 100, "q": q} | ({"cursor": cursor} if cursor else {})
            answer = self.call("GET", f"/api/{what}/?{urllib.parse.urlencode(query)}")
            assert answer.status == 200, answer.text
            found += answer.json["data"]
            cursor = answer.json.get("next_cursor")
            if not cursor:
                return found


def sensor_args(collector, key, out, capture=CAPTURE, **more):
    """Arguments of a replay that delivers to the collector."""
    values = {
        "uplink.url": collector.url,
        "uplink.key_file": key,
        "sensor.name": "edge",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return ["-r", capture, "-l", out, *settings(values)]


def eve(folder):
    """The records of eve.json."""
    with open(Path(folder) / "eve.json", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
