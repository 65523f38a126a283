"""The committed recording: its records, line by line against the schema, and its summary.

WIND_ACCEPT=1 writes lab-demo.expect anew: read the difference before it is committed.
"""

import collections
import csv
import ipaddress
import json
import os

import jsonschema
import pytest
from books import balance
from conftest import DEMO, ROOT

EXPECT = ROOT / "tests/golden/lab-demo.expect"
SCHEMA = ROOT / "tests/golden/eve.schema.json"


@pytest.fixture
def run(sensor):
    result = sensor("-r", DEMO / "capture.pcap.gz")
    assert result.code == 0, result.stderr
    return result


def summary(run):
    """A few hundred readable lines that pin every flow and alert."""
    lines = []
    tally = collections.Counter()
    for f in run.of_type("flow"):
        flow = f["flow"]
        key = (f["proto"], f.get("app_proto", "-"), flow["state"], flow["reason"], flow["alerted"])
        tally[key] += 1
        lines.append(
            f"{f['src_ip']} {f['dest_ip']} {f['proto']} {f.get('app_proto', '-')} "
            f"{flow['pkts_toserver']}/{flow['pkts_toclient']} "
            f"{flow['bytes_toserver']}/{flow['bytes_toclient']} {flow['state']}"
        )
    out = [f"{n:6} {' '.join(map(str, key))}" for key, n in sorted(tally.items())]
    out.append("")
    out += [f"{n:6} {line}" for line, n in sorted(collections.Counter(lines).items())]
    out.append("")
    for a in run.of_type("alert"):
        out.append(f"{a['wind']['detector']} rev {a['wind']['rev']}: {a['alert']['signature']}")
        out += [f"    {e['contribution']:.2f} {e['text']}" for e in a["wind"]["explain"]]
    out.append(json.dumps(run.stats, indent=1))
    return "\n".join(out) + "\n"


def test_records_are_as_accepted(run):
    found = summary(run)
    if os.environ.get("WIND_ACCEPT") == "1":
        EXPECT.write_text(found)
    assert found == EXPECT.read_text(), "if this is meant: WIND_ACCEPT=1, and read the diff"


def test_every_line_matches_the_schema(run):
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for line in run.lines:
        problems = [e.message for e in validator.iter_errors(line)]
        assert not problems, (line, problems)


def test_the_books_balance(run):
    balance(run.stats)
    assert len(run.of_type("flow")) == run.stats["flow"]["made"]
    assert len(run.of_type("alert")) == run.stats["alert"]["published"]


def truth():
    with (DEMO / "truth.csv").open() as f:
        return list(csv.DictReader(f))


def test_each_attack_has_an_alert_and_benign_hosts_at_most_two(run):
    meta = json.loads((DEMO / "meta.json").read_text())
    alerts = {a["wind"]["uid"]: a for a in run.of_type("alert")}.values()
    about = {(a["wind"]["detector"], a["wind"]["entities"][0]["value"]) for a in alerts}
    benign = {h["ip"] for h in meta["hosts"] if set(h["labels"]) <= {"benign"}}
    for label in ("port_scan", "brute_force", "beacon"):
        attackers = {h["ip"] for h in meta["hosts"] if label in h["labels"]}
        assert any((label, ip) in about for ip in attackers), label
    assert sum(ip in benign for _, ip in about) <= 2


def test_flows_carry_their_community_id_and_score(run):
    for f in run.of_type("flow"):
        assert f["community_id"].startswith("1:")
        assert 0 <= f["wind"]["score"] <= 1
        ipaddress.ip_address(f["src_ip"])


def test_alerted_flows_are_attacks(run):
    """Flows marked as evidence against what really happened."""
    labels = collections.defaultdict(set)
    for row in truth():
        labels[row["src_ip"], row["dest_ip"], row["dest_port"]].add(row["label"])
    alerted = [f for f in run.of_type("flow") if f["flow"]["alerted"]]
    wrong = [
        f
        for f in alerted
        if labels[f["src_ip"], f["dest_ip"], str(f.get("dest_port", ""))] == {"benign"}
    ]
    assert len(alerted) > 1000
    assert len(wrong) <= len(alerted) / 100
