"""windctl against a real collector: logging in, lists, doctor, and what must never happen."""

import csv
import io
import json
import os
import socket
import threading

import pytest
import support
from live import pcap, udp_frame


class Windctl:
    """windctl with a home of its own."""

    def __init__(self, folder, collector):
        self.home = folder / "home"
        self.collector = collector
        self.profile = self.home / "wind" / "windctl.json"
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(self.home)}
        self.env.pop("NO_COLOR", None)

    def __call__(self, *args, code=0, **options):
        done = support.run("windctl", *args, env=self.env, **options)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def terminal(self, *args, **env):
        return support.Terminal(support.BIN / "windctl", *map(str, args), **{**self.env, **env})

    def login(self, **options):
        return self("login", self.collector.url, input=self.collector.password + "\n", **options)

    def json(self, *args):
        return json.loads(self(*args, "-o", "json").stdout)

    def csv(self, *args):
        return list(csv.DictReader(io.StringIO(self(*args, "-o", "csv").stdout)))


@pytest.fixture
def ctl(tmp_path, collector):
    made = Windctl(tmp_path, collector)
    made.login()
    return made


def post_alert(collector, **fields):
    body = {"severity": "low", "type": "test", "description": "made by a test", **fields}
    answer = collector.call("POST", "/api/alerts/", body)
    assert answer.status == 201, answer.text
    return answer.json


# ---------------------------------------------------------------- logging in and out


def test_a_login_is_kept_for_its_owner_alone(ctl, collector):
    assert ctl.profile.stat().st_mode & 0o777 == 0o600
    assert ctl.profile.parent.stat().st_mode & 0o077 == 0
    assert collector.password not in ctl.profile.read_text()
    me = ctl.json("whoami")
    assert (me["username"], me["role"], me["url"]) == ("admin", "admin", collector.url)


def test_the_password_is_asked_for_without_echo(tmp_path, collector):
    ctl = Windctl(tmp_path, collector)
    terminal = ctl.terminal("login", collector.url)
    terminal.read_until("Password of admin: ")
    support.until("the echo is off", lambda: not terminal.has_echo)
    terminal.type(b"oops\x15" + collector.password.encode() + b"x\x7f\n")
    assert terminal.wait() == 0, terminal.output
    assert collector.password not in terminal.output
    assert ctl.json("whoami")["username"] == "admin"


def test_ctrl_c_at_the_password_gives_the_echo_back(tmp_path, collector):
    terminal = Windctl(tmp_path, collector).terminal("login", collector.url)
    terminal.read_until("Password of admin: ")
    support.until("the echo is off", lambda: not terminal.has_echo)
    terminal.type(b"half\x03")
    terminal.read_until("given up")
    support.until("the echo is back", lambda: terminal.has_echo)
    assert terminal.wait() == 1


def test_a_wrong_password_changes_nothing(ctl, collector):
    before = ctl.profile.read_text()
    done = ctl("login", collector.url, input="wrong\n", code=1)
    assert "wrong user name or password" in done.stderr
    assert ctl.profile.read_text() == before


def test_logout_ends_the_session_at_the_collector_too(ctl, collector):
    token = json.loads(ctl.profile.read_text())["access_token"]
    assert collector.call("GET", "/api/auth/me", token=token).status == 200
    ctl("logout")
    assert collector.call("GET", "/api/auth/me", token=token).status == 401
    assert "windctl login" in ctl("alerts", "list", code=3).stderr
    assert token not in ctl.profile.read_text()


def test_a_token_that_runs_out_is_renewed_once_for_all(tmp_path):
    """Each refresh token works once: windctls that run together must not use the same one."""
    collector = support.Collector(tmp_path, auth__access="10s").start()
    try:
        ctl = Windctl(tmp_path, collector)
        ctl.login()
        first = json.loads(ctl.profile.read_text())["refresh_token"]
        codes = []

        def list_alerts():
            done = support.run("windctl", "alerts", "list", env=ctl.env)
            codes.append((done.returncode, done.stderr))

        threads = [threading.Thread(target=list_alerts) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [code for code, _ in codes] == [0] * 8, codes
        assert json.loads(ctl.profile.read_text())["refresh_token"] != first
    finally:
        collector.stop()


def test_tokens_go_to_their_own_collector_only(ctl):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(0.5)
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert "log in there" in ctl("alerts", "list", "--url", url, code=3).stderr
        with pytest.raises(TimeoutError):
            other.accept()


def test_no_password_in_plain_http_to_other_machines(ctl):
    done = ctl("login", "http://192.0.2.1:8080", input="secret\n", code=3)
    assert "use https" in done.stderr


# ---------------------------------------------------------------- lists


def test_lists_in_three_formats(replayed, tmp_path):
    ctl = Windctl(tmp_path, replayed)
    ctl.login()
    alerts = ctl.json("alerts", "list")
    assert {alert["type"] for alert in alerts} >= {"port_scan", "brute_force", "beacon"}
    rows = ctl.csv("alerts", "list")
    assert [row["id"] for row in rows] == [str(alert["id"]) for alert in alerts]
    assert all(row["why"] and row["entities"] for row in rows)
    assert rows[0]["why"].startswith(alerts[0]["metadata"]["explain"][0]["text"])

    lines = ctl("alerts", "list").stdout.splitlines()
    assert len(lines) == 1 + len(alerts)
    columns = {line.index(alert["type"]) for line, alert in zip(lines[1:], alerts, strict=True)}
    assert len(columns) == 1, "the table is not aligned"
    assert ctl("alerts", "list", "--why").stdout.count("because ") >= len(alerts)
    assert "\033" not in "".join(lines)

    scans = ctl.json("alerts", "list", "-q", "type:port_scan")
    assert {alert["type"] for alert in scans} == {"port_scan"}
    assert len(ctl.json("incidents", "list")) >= 1
    assert [(s["name"], s["state"]) for s in ctl.json("sensors", "list")] == [("edge", "online")]


def test_show_says_why(replayed, tmp_path):
    ctl = Windctl(tmp_path, replayed)
    ctl.login()
    scan = ctl.json("alerts", "list", "-q", "type:port_scan")[0]
    text = ctl("alerts", "show", scan["id"]).stdout
    assert scan["description"] in text
    for reason in scan["metadata"]["explain"]:
        assert reason["text"] in text
    assert "T1046" in text
    incident = ctl("incidents", "show", scan["incident_id"]).stdout
    assert "Incident" in incident
    assert scan["description"] in incident
    assert ctl.json("alerts", "show", scan["id"]) == scan
    assert "there is no alert 999" in ctl("alerts", "show", 999, code=1).stderr


def test_long_lists_come_in_pages(ctl, collector):
    for i in range(210):
        post_alert(collector, description=f"number {i}")
    rows = ctl.json("alerts", "list", "--limit", 205)
    assert len({row["id"] for row in rows}) == 205
    assert len(ctl.json("alerts", "list", "--limit", 1000)) == 210
    done = ctl("alerts", "list", "--limit", 3)
    assert len(done.stdout.splitlines()) == 4
    assert "--limit N shows more" in done.stderr


def test_the_words_of_a_stranger_are_harmless(ctl, collector):
    """Neither a terminal nor a spreadsheet does what an alert says."""
    evil = '=HYPERLINK("http://x")\033[2J\033]0;owned\007\u009b31m\u202egpj.exe\nsecond line'
    entity = {"kind": "host", "value": "10.0.0.1", "role": "attacker"}
    made = post_alert(
        collector,
        description=evil,
        metadata={"explain": [{"text": evil, "name": evil}], "technique": {"id": evil}},
        related_entities=[entity],
    )
    for args in (
        ["alerts", "list", "--why"],
        ["alerts", "show", made["id"]],
        ["alerts", "list", "-q", f"{evil[:30]}\033[31m"],
    ):
        done = ctl(*args)
        for text in (done.stdout, done.stderr):
            assert not [c for c in text if c < " " and c != "\n" or "\x7f" <= c < "\xa0"], args
            assert "\u202e" not in text
    assert "second line" in ctl("alerts", "list").stdout.splitlines()[1]  # still one row
    row = ctl.csv("alerts", "list")[0]
    assert row["description"] == "'" + evil
    assert row["why"].startswith("'=")
    terminal = ctl.terminal("alerts", "list", "-o", "json")
    assert terminal.wait() == 0
    assert "\033" not in terminal.output
    assert "\u009b" not in terminal.output


def test_colours_on_a_terminal_only_and_not_against_ones_will(ctl, collector):
    post_alert(collector, severity="critical")
    for env, has_colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        terminal = ctl.terminal("alerts", "list", **env)
        assert terminal.wait() == 0
        assert "critical" in terminal.output
        assert ("\033[1;31mcritical\033[0m" in terminal.output) == has_colour, env
        assert ("\033" in terminal.output) == has_colour, env


# ---------------------------------------------------------------- keys, failures, doctor


def test_a_key_instead_of_a_login(tmp_path, collector):
    ctl = Windctl(tmp_path, collector)
    key = collector.create_key("reader", "alerts:read,sensors:read")
    known = ["--key-file", key, "--url", collector.url]
    post_alert(collector)
    assert len(ctl.json("alerts", "list", *known)) == 1
    assert "incidents:read" in ctl("incidents", "list", *known, code=1).stderr
    assert not ctl.profile.exists()
    forged = tmp_path / "forged.key"
    forged.write_text(key.read_text().strip()[:-4] + "abcd\n")
    refused = ctl("alerts", "list", "--key-file", forged, "--url", collector.url, code=1)
    assert "the key is not good" in refused.stderr
    forged.write_text("hello\n")
    assert "begins with wind_" in ctl("alerts", "list", "--key-file", forged, code=3).stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 2, "see windctl --help"),
        (["alrts"], 2, "there is no command 'alrts'"),
        (["alerts", "list", "-o", "xml"], 2, "table, json and csv"),
        (["alerts", "show", "seven"], 2, "is not the number of an alert"),
        (["alerts", "list", "-q", "colour:red"], 1, "unknown key 'colour'"),
        (["alerts", "list", "--url", "ftp://127.0.0.1"], 3, "neither http nor https"),
        (["alerts", "list", "--key-file", "/nowhere"], 3, "/nowhere"),
    ],
)
def test_what_went_wrong_and_the_exit_code(ctl, args, code, says):
    done = ctl(*args, code=code)
    assert says in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_help_has_examples_for_each_noun(ctl):
    whole = ctl("--help").stdout
    for noun in (
        "login",
        "logout",
        "whoami",
        "alerts",
        "incidents",
        "sensors",
        "doctor",
        "completion",
    ):
        own = ctl(noun, "--help").stdout
        examples = own.split("Examples:\n")[1].split("\n\n")[0].splitlines()
        assert examples
        assert all(line in whole for line in examples)
        assert all(line.startswith(f"  windctl {noun}") for line in examples)


def test_bash_completes_nouns_verbs_and_options(ctl):
    code = ctl("completion").stdout
    checked = support.subprocess.run(
        ["shellcheck", "-s", "bash", "-"], input=code, check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    for line, index, expected in (
        (["windctl", "al"], 1, ["alerts"]),
        (["windctl", "alerts", ""], 2, ["list", "show"]),
        (["windctl", "alerts", "list", "-o", "c"], 4, ["csv"]),
        (["windctl", "alerts", "list", "--pass"], 3, ["--password-file"]),
        (["windctl", "doctor", ""], 2, []),
    ):
        words = " ".join(f"'{word}'" for word in line)
        ask = (
            f"{code}\nCOMP_WORDS=({words}); COMP_CWORD={index}; "
            f"_windctl windctl '{line[index]}' '{line[index - 1]}'; "
            "printf '%s\\n' ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}"
        )
        done = support.subprocess.run(
            ["bash", "-c", ask], check=True, capture_output=True, text=True
        )
        assert done.stdout.split() == expected, line


def test_a_full_disk_is_a_failure(ctl, collector):
    post_alert(collector)
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = support.subprocess.run(
            [support.BIN / "windctl", "alerts", "list"],
            check=False,
            stdout=full,
            stderr=support.subprocess.PIPE,
            text=True,
            env=ctl.env,
        )
    assert done.returncode == 1
    assert "could not be written" in done.stderr


def states(ctl, *args, code=0):
    done = ctl("doctor", *args, "-o", "json", code=code)
    return {row["check"]: row for row in json.loads(done.stdout)}


def test_doctor_finds_a_healthy_whole(replayed, tmp_path):
    ctl = Windctl(tmp_path, replayed)
    ctl.login()
    assert {row["state"] for row in states(ctl).values()} == {"ok"}
    table = ctl("doctor").stdout.splitlines()
    assert len(table) == 13
    assert all(line.startswith("ok") for line in table)


def test_search_tells_how_far_the_index_is_and_fills_it_anew(ctl, collector):
    for n in range(3):
        post_alert(collector, description=f"needle {n}")
    support.until("they are taken", lambda: ctl.json("search", "status")["behind"] == 0)
    assert len(ctl.csv("alerts", "list", "-q", "needle")) == 3
    before = ctl.json("search", "status")
    assert (before["index"], before["rebuild"], before["trouble"]) == ("text", None, None)
    assert ctl.json("search", "rebuild")["index"] == "text"
    support.until(
        "it is filled anew", lambda: ctl.json("search", "status")["taken"] >= before["taken"] + 3
    )
    terminal = ctl.terminal("search", "rebuild")
    assert terminal.wait() == 0, terminal.output
    assert "changes behind" in terminal.output


def test_doctor_says_when_a_mirror_port_is_wrong(ctl, collector, tmp_path):
    file = tmp_path / "twice.pcap"
    file.write_bytes(pcap([udp_frame(n) for n in range(1, 5000) for _ in range(2)]))
    args = support.sensor_args(collector, collector.create_key(), tmp_path / "out", capture=file)
    done = support.run("wind-sensor", "-q", *args)
    assert done.returncode == 0, done.stderr
    found = states(ctl)["capture"]
    assert found["state"] == "warn"
    assert "'edge': 50.0 % of its packets come twice" in found["text"]
    assert "mirror each packet once" in found["fix"]


def test_doctor_says_what_a_sensor_loses(ctl, collector, tmp_path):
    collector.stop()
    args = support.sensor_args(
        collector, collector.create_key(), tmp_path / "out", spool__age="1ns"
    )
    done = support.run("wind-sensor", "-q", *args, "--set", "uplink.drain=1s")
    assert done.returncode == 0, done.stderr
    collector.start()
    done = support.run("wind-sensor", "-q", *args)
    assert done.returncode == 0, done.stderr
    found = states(ctl)["delivery"]
    assert found["state"] == "warn"
    assert "'edge', since it started: " in found["text"]
    assert "alerts were lost before they were delivered" in found["text"]
    assert "spool.age" in found["fix"]


def test_doctor_names_what_is_wrong_and_the_fix(ctl, collector):
    found = states(ctl)  # nothing has been connected yet
    assert found["sensors"]["state"] == "warn"
    assert "--create-key" in found["sensors"]["fix"]
    assert found["alerts"]["state"] == "warn"

    ctl.profile.chmod(0o644)
    found = states(ctl, code=1)
    assert found["settings"]["state"] == "fail"
    assert found["settings"]["fix"].startswith("chmod 600")
    ctl.profile.chmod(0o600)

    ctl("logout")
    found = states(ctl, code=1)
    assert found["login"]["state"] == "fail"
    assert found["login"]["fix"] == f"windctl login {collector.url}"
    assert found["sensors"]["state"] == "skip"

    collector.stop()
    found = states(ctl, code=1)
    assert found["collector"]["state"] == "fail"
    assert found["database"]["state"] == "skip"

    ctl.profile.write_text("{ broken")
    found = states(ctl, code=1)
    assert found["settings"]["state"] == "fail"
    assert "log in again" in ctl("alerts", "list", code=3).stderr
