"""Every command of README.md is run as it stands there, in a network of its own.

A block ```sh is run to its end. One marked ```sh stays runs until Ctrl-C: here until it is at
work. The one marked ```sh proof is the command that runs this test.
"""

import json
import os
import re
import subprocess

import pytest
import support

README = support.ROOT / "README.md"
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What a block that stays must show before Ctrl-C, and how it may end then.
STAYS = {
    "script/demo": ("grep -q Password", "test $code = 130"),
    "wind-sensor -i": ("work_in_between", "test $code = 0"),
    "--follow": ("test -s out-6/eve.json", "test $code = 0"),
}

PRELUDE = """\
set -euo pipefail
ip link set lo up
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
# Traffic for the live sensor: its own collector is asked now and then.
work_in_between() { curl -sf http://127.0.0.1:8080/healthz >/dev/null && [ $((++turns)) -ge 15 ]; }
turns=0
"""


def blocks():
    return BLOCK.findall(README.read_text(encoding="utf-8"))


def stays(text, number):
    """Bash that starts the block, waits until it is at work, and presses Ctrl-C."""
    (ready, verdict) = next(v for k, v in STAYS.items() if k in text)
    log = f"$HOME/stays-{number}.log"
    argument = f' "{log}"' if ready.startswith("grep") else ""
    return (
        f'set -m\n( {text.strip()}\n) </dev/null >"{log}" 2>&1 & block=$!\nset +m\n'
        f"for _ in {{1..600}}; do {ready}{argument} && break; "
        f'kill -0 $block || {{ cat "{log}"; exit 1; }}; sleep 0.2; done\n'
        f"kill -INT -- -$block; code=0; wait $block || code=$?\n"
        f'{verdict} || {{ echo "it ended with $code:"; cat "{log}"; exit 1; }}\n'
    )


def script():
    parts = [PRELUDE]
    for number, (kind, text) in enumerate(blocks()):
        if kind == "proof":
            continue
        parts.append(f"echo '== block {number}'")
        parts.append(stays(text, number) if kind == "stays" else text)
    # What must be true afterwards, asked by the commands that README taught.
    parts.append("pwd > $HOME/where; echo '== end'; cp alert incident $HOME/")
    parts.append("windctl alerts list -o json > $HOME/alerts.json")
    parts.append("windctl sensors list -o json > $HOME/sensors.json")
    return "\n".join(parts) + "\n"


def own_network():
    """Words in front of a command that give it a network with a free port 8080, or None."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    works = subprocess.run([*words, "ip", "link", "set", "lo", "up"], check=False)
    return words if works.returncode == 0 else None


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The folder in which the commands of README were run, and what they said."""
    network = own_network()
    if network is None:
        pytest.skip("no network of its own to be had: not root, and no user namespaces")
    home = tmp_path_factory.mktemp("home")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("WIND_", "XDG_"))}
    done = subprocess.run(
        [*network, "bash", "-c", script()],
        check=False,
        cwd=support.ROOT,
        env={**env, "HOME": str(home), "TMPDIR": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return home, done.stdout


def test_each_command_works(read):
    home, said = read
    assert "== end" in said
    alerts = json.loads((home / "alerts.json").read_text())
    assert {"port_scan", "brute_force", "beacon", "report"} <= {a["type"] for a in alerts}
    posted = json.loads((home / "alert").read_text())
    assert [a["status"] for a in alerts if a["id"] == posted["id"]] == ["acknowledged"]
    incident = json.loads((home / "incident").read_text())
    assert f'"{incident["title"]}"' in said
    sensors = json.loads((home / "sensors.json").read_text())
    assert {s["name"] for s in sensors} == {"edge-1", "edge-2"}


def test_the_live_interface_is_heard(read):
    home, _ = read
    where = (home / "where").read_text().strip()
    with open(f"{where}/live/eve.json", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    assert [r for r in records if r["event_type"] == "flow" and r.get("dest_port") == 8080]
    assert records[-1]["event_type"] == "stats"


def test_every_block_is_known():
    found = blocks()
    assert len(found) >= 8
    assert {kind for kind, _ in found} == {"", "stays", "proof"}
    assert [text for kind, text in found if kind == "proof"] == ["script/test\n"]
    assert len(found) == README.read_text(encoding="utf-8").count("```sh")


def test_every_file_that_is_named_is_there():
    text = README.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:common|features|models|sensor|collector|sql|tests|script)/[\w./-]*)", text
    )
    named += re.findall(r"\]\(([\w./-]+)\)", text)
    assert len(named) > 50
    missing = [n for n in named if "NAME" not in n and not (support.ROOT / n).exists()]
    assert missing == []


def test_the_tour_names_what_the_headers_say():
    """A row of the tour that speaks of a header nobody can read is worse than none."""
    for name in set(re.findall(r"`([\w/]+\.h)`", README.read_text(encoding="utf-8"))):
        path = support.ROOT / (name if "/" in name else f"sensor/{name}")
        head = path.read_text(encoding="utf-8")[:2000]
        assert f" * {path.name} - " in head, name
        labels = re.findall(r"^ \* (?:Why|Owns|Threads|Bounds)  ", head, re.MULTILINE)
        assert labels, f"{name} does not say why it is there"
