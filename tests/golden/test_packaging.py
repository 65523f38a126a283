"""The sample configurations that packages install say what the programs do.

WIND_ACCEPT=1 writes them anew from --print-config.
"""

import os
import subprocess

import pytest
from conftest import BIN, ROOT

HEAD = """\
# /etc/wind/{name}.yaml: every setting and its default, as wind-{name} --print-config prints it.
# Later beats earlier: this file, conf.d/*.yaml, environment WIND_SECTION__KEY, --set KEY=VALUE.

"""


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("WIND_")}


@pytest.mark.parametrize("name", ["sensor", "collector"])
def test_the_sample_is_what_the_program_prints(name):
    program = BIN / f"wind-{name}"
    printed = subprocess.run(
        [program, "--print-config"],
        check=True,
        capture_output=True,
        text=True,
        env=clean_environment(),
    ).stdout
    sample = ROOT / f"packaging/{name}.yaml"
    if os.environ.get("WIND_ACCEPT") == "1":
        sample.write_text(HEAD.format(name=name) + printed)
    assert sample.read_text() == HEAD.format(name=name) + printed


@pytest.mark.parametrize("name", ["sensor", "collector"])
def test_the_sample_can_be_read_back(name):
    tested = subprocess.run(
        [BIN / f"wind-{name}", "-T", "-c", ROOT / f"packaging/{name}.yaml"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert tested.returncode == 0, tested.stderr
