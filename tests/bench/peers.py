"""What runs beside Wind, and how: each peer as it comes, but for limits that would drop flows.

Not equal work: softflowd, argus and nfpcapd look into no payload; nfpcapd counts each direction,
and every DNS packet, as a flow; only NFStream makes features like Wind's. null-mmap reads the
5-tuple and forgets it, null-flow counts in a bare hash table: the floor for whatever follows flows.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import captures

CORE = os.cpu_count() - 1
NFSTREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    print(sum(1 for _ in NFStreamer(source=sys.argv[1], statistical_analysis=True,
                                    n_dissections=int(sys.argv[2]), n_meters=1)))
"""
SURICATA = ["flow.memcap=4gb", "flow.hash-size=1048576", "stream.memcap=4gb"]
SURICATA += ["stream.reassembly.memcap=4gb"]
FLOW_ENGINES = ("softflowd", "nfpcapd", "argus")
SLOW = ("nfstream", "nfstream-dpi", "suricata")  # one run each unless asked for more


def suricata(pcap, out):
    command = ["suricata", "-r", pcap, "-S", "/dev/null", "-k", "none", "--runmode", "single"]
    command += ["-l", out]
    for setting in SURICATA:
        command += ["--set", setting]
    return command


def peers(nfstream_python):
    """name -> function (pcap, out) -> command, of those that are installed."""
    every = {
        "null-mmap": lambda pcap, out: [captures.program("nullread"), "mmap", pcap],
        "null-flow": lambda pcap, out: [captures.program("nullread"), "flow", pcap],
        "ndpiReader": lambda pcap, out: ["ndpiReader", "-q", "-i", pcap],
        "softflowd": lambda pcap, out: (
            ["softflowd", "-d", "-6", "-r", pcap, "-m", "4000000", "-p", f"{out}/pid", "-c", "none"]
        ),
        "nfpcapd": lambda pcap, out: (
            ["nfpcapd", "-r", pcap, "-w", out, "-B", "3000000", "-e", "3600,3600"]
        ),
        "argus": lambda pcap, out: ["argus", "-X", "-S", "3600", "-r", pcap, "-w", f"{out}/argus"],
        "suricata": suricata,
    }
    there = {n: c for n, c in every.items() if n.startswith("null") or shutil.which(n)}
    if nfstream_python:
        for name, packets in (("nfstream", "0"), ("nfstream-dpi", "20")):
            there[name] = lambda pcap, out, n=packets: [nfstream_python, "-c", NFSTREAM, pcap, n]
    return there


def preload(pcap):
    subprocess.run(
        [captures.program("nullread"), "touch", pcap], check=True, stdout=subprocess.DEVNULL
    )


def measure(command, folder, core=CORE):
    """CPU seconds with all children, wall seconds, RSS in KiB of the largest process."""
    out = os.open(Path(folder) / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    start = time.monotonic()
    pid = os.posix_spawnp(
        "taskset",
        ["taskset", "-c", str(core), *map(str, command)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
    )
    _, status, used = os.wait4(pid, 0)
    wall = time.monotonic() - start
    os.close(out)
    if status != 0:
        text = (Path(folder) / "output.txt").read_text(errors="replace")[-500:]
        raise RuntimeError(f"{command[0]} failed: {text}")
    return {"user": used.ru_utime, "sys": used.ru_stime, "wall": wall, "rss_kib": used.ru_maxrss}
