#!/usr/bin/env python3
"""script/bench flow [CAPTURE]: what a flow costs once, part by part, in ns.

CAPTURE: the mix of the lab's recordings, unless told; see bench_flow.c.
"""

import os
import subprocess
import sys
from pathlib import Path

import captures


def main():
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return 0
    capture = sys.argv[1] if len(sys.argv) > 1 else captures.capture("mix")
    model = Path(os.environ["WIND_BIN"]) / "../models/flow-iforest.model"
    return subprocess.run([captures.program("flow"), capture, model], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
