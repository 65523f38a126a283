"""What the golden tests share: run the sensor on a file, read what it wrote."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WIND_BIN", ROOT / "build/dev/bin"))
DEMO = ROOT / "tests/data/lab-demo"
sys.path.append(str(ROOT / "tests/support"))
# A tiny fixed model of the tests' own, so that retraining the shipped one breaks no golden.
FIXED = ["--set", "sensor.name=golden", "--set", f"model.path={ROOT}/tests/models/data/tiny.model"]


class Run:
    """One run of wind-sensor and its output."""

    def __init__(self, folder, process):
        self.folder = folder
        self.code = process.returncode
        self.stdout = process.stdout
        self.stderr = process.stderr

    @property
    def eve(self):
        return (self.folder / "eve.json").read_bytes()

    @property
    def lines(self):
        return [json.loads(line) for line in self.eve.splitlines()]

    def of_type(self, event_type):
        return [line for line in self.lines if line["event_type"] == event_type]

    @property
    def stats(self):
        assert self.lines[-1]["event_type"] == "stats"
        return self.lines[-1]["stats"]

    @property
    def messages(self):
        """The sentences on stderr (JSON lines, since it is no terminal)."""
        return [json.loads(line)["message"] for line in self.stderr.splitlines()]


@pytest.fixture
def sensor(tmp_path):
    """sensor("-r", file, ...) -> Run, each in an output folder of its own."""
    count = 0

    def run(*args, stdin=None, out=None):
        nonlocal count
        count += 1
        folder = out or tmp_path / f"out{count}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WIND_")}
        process = subprocess.run(
            [BIN / "wind-sensor", "-l", folder, *FIXED, *map(str, args)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment,
            timeout=120,
            check=False,
        )
        process.stdout = process.stdout.decode()
        process.stderr = process.stderr.decode()
        return Run(folder, process)

    return run
