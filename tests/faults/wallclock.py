"""The wall clock of one program, set while it runs (tests/support/clock_shim.c)."""

import mmap
import os
import struct
import subprocess
from pathlib import Path

SHIM = Path(__file__).resolve().parents[1] / "support" / "clock_shim.c"
HOUR = 3600


class WallClock:
    def __init__(self, folder):
        self.path = folder / "clock"
        self.path.write_bytes(bytes(8))
        self.library = folder / "clock_shim.so"
        words = ["cc", "-shared", "-fPIC", "-O1", "-o", self.library, SHIM]
        subprocess.run(words, check=True)
        with open(self.path, "r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)

    @property
    def env(self):
        """For a program whose clock it is to be."""
        return os.environ | {"LD_PRELOAD": str(self.library), "WIND_CLOCK": str(self.path)}

    def set(self, seconds):
        """So far off from now on; 0 = right."""
        self._offset[:] = struct.pack("q", seconds * 10**9)
