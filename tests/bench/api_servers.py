"""The servers of script/bench collector: PostgreSQL, Redis, the FastAPI peer and wind-collector.

Everything listens on 127.0.0.1 and is ended by Servers.stop. Both services get core 0, whatever
else runs gets the others, so that neither service waits for its database.
"""

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEER = HERE / "api_peer"
POSTGRES = {  # durable: fsync and synchronous_commit stay on
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "1GB",
    "effective_cache_size": "8GB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "lz4",
    "random_page_cost": "1.1",
    "jit": "off",
}
USER, PASSWORD = "analyst", "wind-bench"
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def others():
    """The cores that are not the services'."""
    n = os.cpu_count() or 1
    return "0" if n == 1 else f"1-{n - 1}" if n > 2 else "1"


def until(what, ready, process, seconds=60):
    end = time.monotonic() + seconds
    while not (value := ready()):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{what} did not start; see its log")
        time.sleep(0.05)
    return value


def cpu_seconds(root):
    """User and system time of a process, of all below it, and of the children they have buried."""
    parent, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parent[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))

    def is_below(pid):
        while pid and pid != root:
            pid = parent.get(pid, 0)
        return pid == root

    return sum(ticks[pid] for pid in ticks if is_below(pid)) / TICK


def rss_mib(pid, what="VmRSS"):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", text)[1]) / 1024


def peer_python():
    """A Python that has the peer's packages; made at the first run."""
    venv = ROOT / "build" / "api-peer"
    wanted = (PEER / "requirements.txt").read_text()
    mark = venv / "requirements.txt"
    if not mark.exists() or mark.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "pip"), "-q", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "-r", str(PEER / "requirements.txt")], check=True)
        mark.write_text(wanted)
    return str(venv / "bin" / "python")


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False


class Servers:
    """`pids` names what is measured; `folder` holds data and logs."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.running, self.pids = {}, {}

    def start(self, name, command, cores, **options):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                ["taskset", "-c", cores, *map(str, command)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
                **options,
            )
        self.running[name] = process
        self.pids[name] = process.pid
        return process

    def end(self, name, seconds=60):
        process = self.running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        for name in reversed(list(self.running)):
            self.end(name)

    # -------------------------------------------------------------- databases

    def postgres(self):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        if not found or not all(map(shutil.which, ("redis-server", "wrk"))):
            sys.exit("bench: this needs PostgreSQL, Redis and wrk: script/setup --dev")
        programs, data, self.pg_port = found[-1], self.folder / "pg", free_port()
        data.mkdir()
        as_user = []
        if os.geteuid() == 0:  # PostgreSQL refuses root
            user = pwd.getpwnam("postgres")
            os.chown(data, user.pw_uid, user.pw_gid)
            self.folder.chmod(0o755)
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        init = [*as_user, programs / "initdb", "-D", data, "-U", "wind", "-A", "trust"]
        init += ["-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd="/")
        command = [*as_user, programs / "postgres", "-D", data, "-p", self.pg_port]
        for key, value in POSTGRES.items():
            command += ["-c", f"{key}={value}"]
        process = self.start("pg", command, others())
        probe = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.pg_port)]
        until("PostgreSQL", lambda: subprocess.run(probe).returncode == 0, process)

    def psql(self, database):
        return [
            *("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"),
            *("-p", str(self.pg_port), "-U", "wind", "-d", database),
        ]

    def sql(self, database, text):
        subprocess.run([*self.psql(database), "-c", text], check=True, stdout=subprocess.DEVNULL)

    def dsn(self, database):
        return f"postgresql://wind@127.0.0.1:{self.pg_port}/{database}"

    def redis(self):
        self.redis_port = free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", self.redis_port]
        process = self.start("redis", [*command, "--save", "", "--appendonly", "no"], others())
        ping = ["redis-cli", "-p", str(self.redis_port), "ping"]
        until(
            "Redis",
            lambda: b"PONG" in subprocess.run(ping, capture_output=True).stdout,
            process,
        )

    # -------------------------------------------------------------- services

    def make_peer(self, python):
        self.sql("postgres", "CREATE DATABASE peer")
        subprocess.run([*self.psql("peer"), "-f", str(PEER / "schema.sql")], check=True)
        program = "import sys, argon2; print(argon2.PasswordHasher().hash(sys.argv[1]))"
        hashed = subprocess.run(
            [python, "-c", program, PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.sql(
            "peer",
            "INSERT INTO users (username, email, password_hash, role) VALUES"
            f" ('{USER}', '{USER}@example.org', '{hashed}', 'analyst')",
        )

    def peer(self, python):
        port = free_port()
        env = os.environ | {
            "PEER_DSN": self.dsn("peer"),
            "PEER_REDIS": f"redis://127.0.0.1:{self.redis_port}/0",
            "PEER_SECRET": secrets.token_hex(32),
        }
        command = [python, "-m", "uvicorn", "app:app", "--app-dir", PEER, "--host", "127.0.0.1"]
        command += ["--port", port, "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        command += ["--log-level", "warning", "--no-proxy-headers", "--no-server-header"]
        process = self.start("peer", [*command, "--no-date-header"], "0", env=env)
        base = f"http://127.0.0.1:{port}"
        until("the peer", lambda: answers(base + "/healthz"), process)
        return base

    def wind(self, name, settings):
        """wind-collector; returns its base. The first start on a database makes the analyst."""
        collector = Path(os.environ["WIND_BIN"]) / "wind-collector"
        settings = {
            "api.listen": "127.0.0.1:0",
            "api.rate": "0",
            "api.connections": "4096",
            "api.connections_each": "4096",
            "auth.login_rate": "100000",
            "auth.access": "12h",
        } | settings
        command = [collector]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        process = self.start(name, command, "0")
        found = until(name, lambda: re.search(r"serving on (\S+?),", log.read_text()), process)
        password = re.search(r"admin password: (\S+)", log.read_text())
        if password:
            admin = token(found[1], "admin", password[1])
            user = {"username": USER, "password": PASSWORD, "role": "analyst"}
            call(found[1], "POST", "/api/users/", 201, user, admin)
        return found[1]

    def wait_for_index(self, settings, seconds=600):
        """Until the text index has taken all alerts that were there at the start."""
        sql = "SELECT count(*) FROM search_state WHERE alerts_done >= alerts_to AND alerts_to > 0"
        end = time.monotonic() + seconds
        while not int(self.ask(settings, sql) or 0):
            if time.monotonic() > end:
                raise RuntimeError("the text index is not filled")
            time.sleep(0.5)

    def ask(self, settings, sql):
        """One value of the collector's database."""
        if "db.url" not in settings:
            with sqlite3.connect(settings["db.path"], timeout=30) as db:
                return db.execute(sql).fetchone()[0]
        words = [*self.psql(settings["db.url"].rsplit("/", 1)[1]), "-At", "-c", sql]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def key(self, settings):
        """An API key that may ingest."""
        command = [str(Path(os.environ["WIND_BIN"]) / "wind-collector"), "--create-key", "bench"]
        command += ["--scope", "ingest"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()


def call(base, method, path, status, body=None, bearer=None, form=False):
    """One request that has to be answered as agreed: wrk itself counts a redirect as success."""
    data, headers = None, {}
    if body is not None:
        data = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
        kind = "x-www-form-urlencoded" if form else "json"
        headers["Content-Type"] = f"application/{kind}"
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    request = urllib.request.Request(base + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            have, text = answer.status, answer.read()
    except urllib.error.HTTPError as e:
        have, text = e.code, e.read()
    if have != status:
        raise RuntimeError(f"{method} {path} answered {have}, not {status}: {text[:300]!r}")
    return json.loads(text) if text else None


def token(base, user=USER, password=PASSWORD):
    form = {"grant_type": "password", "username": user, "password": password}
    return call(base, "POST", "/api/auth/token", 200, form, form=True)["access_token"]
