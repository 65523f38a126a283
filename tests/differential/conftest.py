"""Wind's flows, tshark's packets and NFStream's flows of the same capture."""

import csv
import dataclasses
import datetime
import gzip
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import packets
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WIND_BIN", ROOT / "build/release/bin"))
HERE = pathlib.Path(__file__).parent
VENV = ROOT / "build/nfstream"
ENDINGS = (".pcap", ".pcapng", ".cap")
# Flows end with the capture, and not because of a pause: the others have no such rule.
PATIENT = [
    "flow.idle=1d",
    "flow.idle_udp=1d",
    "flow.idle_new=1d",
    "flow.linger=600s",
    "flow.active=1d",
]
PATIENT += ["flow.half_open=1d", "defrag.max=0", "dpi.enabled=no", "model.path="]


def all_captures():
    folder = pathlib.Path(os.environ.get("WIND_CAPTURES") or ROOT / "tests/data")
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.name.removesuffix(".gz").removesuffix(".zst")
        if path.is_file() and name.endswith(ENDINGS):
            found.append(pytest.param(path, id=str(path.relative_to(folder))))
    assert found, f"no captures below {folder}"
    return found


@pytest.fixture(scope="session")
def nfstream():
    """A Python that has the NFStream of requirements.txt."""
    if sys.version_info[:2] != (3, 11) or platform.machine() != "x86_64":
        pytest.skip("requirements.txt names NFStream's packages for CPython 3.11 on x86-64")
    wanted = HERE / "requirements.txt"
    done = VENV / "installed.txt"
    if not done.exists() or done.read_text() != wanted.read_text():
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [VENV / "bin/pip", "-q", "--disable-pip-version-check", "install"]
        subprocess.run(
            [*pip, "--require-hashes", "--only-binary", ":all:", "-r", wanted], check=True
        )
        done.write_text(wanted.read_text())
    return VENV / "bin/python"


@dataclasses.dataclass
class WindFlow:
    eve: dict  # its line in eve.json
    row: dict  # its feature row: name -> number; what is missing is not there

    @property
    def ends(self):
        e = self.eve
        return (e["src_ip"], e.get("src_port", 0)), (e["dest_ip"], e.get("dest_port", 0))

    @property
    def pkts(self):
        return [self.eve["flow"][f"pkts_to{side}"] for side in ("server", "client")]

    @property
    def bytes(self):
        return [self.eve["flow"][f"bytes_to{side}"] for side in ("server", "client")]

    def time_us(self, which):
        time = datetime.datetime.strptime(self.eve["flow"][which], "%Y-%m-%dT%H:%M:%S.%f%z")
        past = time - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return (past.days * 86400 + past.seconds) * 10**6 + past.microseconds


def unpacked(path, folder):
    """NFStream and some tshark read no compressed file."""
    out = folder / "capture.pcap"
    if path.suffix == ".gz":
        out.write_bytes(gzip.decompress(path.read_bytes()))
    elif path.suffix == ".zst":
        subprocess.run(["zstd", "-q", "-d", "--long=31", path, "-o", out], check=True)
    else:
        return path
    return out


def wind_flows(capture, folder):
    rows = folder / "rows.csv"
    command = [BIN / "wind-sensor", "-q", "-r", capture, "-l", folder, "--features", rows]
    for setting in PATIENT:
        command += ["--set", setting]
    subprocess.run(command, check=True, capture_output=True)
    eve = [json.loads(line) for line in (folder / "eve.json").open()]
    flows = [line for line in eve if line["event_type"] == "flow"]
    with rows.open() as f:
        f.readline()  # the schema
        table = list(csv.DictReader(f))
    assert len(table) == len(flows)
    return [
        WindFlow(line, {k: v for k, v in row.items() if v != ""})
        for line, row in zip(flows, table, strict=True)  # both in the order in which flows ended
    ]


@dataclasses.dataclass
class Seen:
    wind: list
    tshark: list  # its packets as flows
    packets: list
    capture: pathlib.Path


@pytest.fixture(scope="session", params=all_captures())
def seen(request, tmp_path_factory):
    """What Wind and tshark make of one capture after the other."""
    folder = tmp_path_factory.mktemp("seen")
    capture = unpacked(request.param, folder)
    dissected = list(packets.dissect(capture))
    yield Seen(wind_flows(capture, folder), packets.flows(dissected), dissected, capture)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def theirs(seen, nfstream):
    """NFStream's flows of that capture."""
    command = [nfstream, HERE / "nfstream_flows.py", seen.capture]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
