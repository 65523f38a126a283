"""The captures of the benchmarks: made when they are missing, the same bytes every time."""

import csv
import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("BENCH_PCAPS", ROOT / "build/bench/pcaps"))
PACKETS, SECONDS = 4_000_000, 60
LAB_COPIES, CORPUS_COPIES, MIX_SECONDS = 250, 4, 600

# name: flows, packets, percent of packets that open a flow, order of the first packets
GENERATED = {
    "flows-100k": (100_000, PACKETS, 0, "spread"),
    "flows-1m": (1_000_000, PACKETS, 0, "spread"),
    "flows-100k-new": (100_000, PACKETS, 10, "spread"),
    "flows-1m-new": (1_000_000, PACKETS, 10, "spread"),
    "live-1m": (1_000_000, 8_000_000, 5, "early"),
}


def program(name):
    return str(Path(os.environ.get("BENCH_BIN", ROOT / "build/bench/bin")) / f"bench.{name}")


def recordings():
    """The committed recordings of the lab, unpacked."""
    for capture in sorted((ROOT / "tests/data").glob("*/capture.pcap.gz")):
        yield gzip.decompress(capture.read_bytes())


def corpus_files(corpus):
    """Ethernet captures that keep 192 bytes a packet or more: less holds too little payload."""
    with open(corpus / "manifest.csv", newline="") as f:
        for row in csv.DictReader(f):
            snap = row["snaplen"]
            if row["linktype"] == "ether" and (snap == "full" or int(snap) >= 192):
                if row["file"].startswith("pcap/"):
                    yield corpus / row["file"]


def unpack(corpus, folder):
    """Numbered pcaps in `folder`: of the corpus, or of the lab when there is none."""
    if corpus is None:
        for n, data in enumerate(recordings()):
            (folder / f"{n:04}.pcap").write_bytes(data)
        return
    for n, packed in enumerate(corpus_files(corpus)):
        out = folder / f"{n:04}.pcap"
        subprocess.run(["zstd", "-q", "-d", "--long=27", "-o", out, packed], check=True)


def make_mix(out, corpus):
    with tempfile.TemporaryDirectory(dir=out.parent) as raw:
        unpack(corpus, Path(raw))
        copies = LAB_COPIES if corpus is None else CORPUS_COPIES
        command = [program("pcapmix"), str(MIX_SECONDS), str(copies), str(out)]
        subprocess.run(
            command + sorted(str(p) for p in Path(raw).iterdir()),
            check=True,
            stdout=subprocess.DEVNULL,
        )


def make_flows(out, name):
    flows, packets, new, order = GENERATED[name]
    command = [
        program("flowgen"),
        str(flows),
        str(packets),
        str(SECONDS),
        str(new),
        order,
        str(out),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def capture(name, corpus=None):
    """The file of that name; `mix` is of the corpus where one is given."""
    path = FOLDER / (f"{name}-corpus.pcap" if name == "mix" and corpus else f"{name}.pcap")
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    if name == "mix":
        make_mix(new, corpus)
    else:
        make_flows(new, name)
    shutil.move(new, path)
    return path
