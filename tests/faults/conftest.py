"""Fixtures of the fault tests: real programs and servers, and what is done to them.

WIND_ROUNDS=50 script/test faults: so many rounds of random kills.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS / "e2e"), str(TESTS / "support")]
pytest.register_assert_rewrite("story")
support = importlib.import_module("support")
Sensor = importlib.import_module("story").Sensor
globals().update(importlib.import_module("services").FIXTURES)


def pytest_configure(config):
    config.addinivalue_line("markers", "services: wants a real server")


@pytest.fixture
def rounds():
    return int(os.environ.get("WIND_ROUNDS") or 5)


@pytest.fixture
def collector_of(tmp_path):
    """Makes collectors: collector_of("name", setting=value). All are ended."""
    made = []

    def make(name="collector", **settings):
        folder = tmp_path / name
        folder.mkdir()
        made.append(support.Collector(folder, **settings))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.kill()


class Bus:
    """Topics of one test: settings of sensors and collectors that use them."""

    def __init__(self, kafka):
        prefix = kafka.prefix()
        self.sensor = {"kafka.brokers": kafka.brokers, "kafka.prefix": prefix}
        self.collector = {name.replace(".", "__"): value for name, value in self.sensor.items()}
        self.collector["kafka__group"] = prefix + "group"


@pytest.fixture
def bus_of():
    return Bus


@pytest.fixture
def sensor_of(tmp_path):
    """Makes sensors: sensor_of(settings, "name", speed=60). All are ended."""
    made = []

    def make(settings, name="edge", **more):
        made.append(Sensor(tmp_path / name, name, settings, **more))
        return made[-1]

    yield make
    for one in made:
        one.end()


class SmallDisk:
    """A file system in memory that is soon full. Needs root."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs")
        self.filler = folder / "filler"

    def _mount(self, *words):
        subprocess.run(["mount", *words, self.folder], check=True, capture_output=True)

    def fill(self, leave=0):
        """Until `leave` bytes are free."""
        about = os.statvfs(self.folder)
        room = about.f_bavail * about.f_frsize
        with open(self.filler, "ab") as file:
            file.write(bytes(max(0, room - leave)))

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def read_only(self, yes):
        """As the kernel does when a disk fails; what is open for writing keeps it from that."""
        self._mount("-o", "remount," + ("ro" if yes else "rw"))

    def close(self):
        subprocess.run(["umount", "-l", self.folder], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = []

    def make(size="8m"):
        made.append(SmallDisk(tmp_path / f"disk{len(made)}", size))
        return made[-1]

    yield make
    for disk in made:
        disk.close()
