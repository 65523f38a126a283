"""script/train-model from nothing: it records, fits, evaluates, and says so on a card."""

import json
import os
import shutil
import subprocess

import pytest
import support

SCRIPT = support.ROOT / "script/train-model"
PLAN = ("train-1", "train-2", "train-3", "train-4", "valid-1", "valid-2", "valid-3", "valid-4")


def train(folder, *words, **options):
    args = ["--recordings", folder / "recordings", "--out", folder / "out", "--bin", support.BIN]
    return subprocess.run(
        [SCRIPT, *args, *words], capture_output=True, text=True, timeout=600, check=False, **options
    )


@pytest.fixture
def folder(tmp_path):
    """All recordings of the plan but one; the committed one stands for each."""
    (tmp_path / "recordings").mkdir()
    for name in PLAN[1:]:
        (tmp_path / "recordings" / name).symlink_to(support.LAB_DEMO)
    return tmp_path


def result(folder):
    model = folder / "out/flow-iforest.model"
    return model.read_bytes(), model.with_suffix(".md").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_what_is_missing_is_recorded_and_the_same_recordings_give_the_same_model(folder):
    made = folder / "recordings/train-1"
    half = made.with_name("train-1.part")  # of a run that was killed
    half.mkdir()
    (half / "meta.json").touch()
    done = train(folder, "--duration", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recording train-1: office, seed 101 (1 of 1)" in done.stdout
    meta = json.loads((made / "meta.json").read_text())
    assert (meta["scenario"], meta["seed"], meta["duration_s"]) == ("office", 101, 20)
    assert meta["labels"]["benign"]["flows"] > 20 and not half.exists()
    model, card = result(folder)
    assert "train-1: `office`, seed 101 | fit" in card
    shown = support.run("wind-train", "show", "--json", folder / "out/flow-iforest.model")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["lineage"]["rows"] > 3 * 600

    again = train(folder, "--only")
    assert again.returncode == 0, again.stderr
    assert "recording train-1" not in again.stdout
    assert result(folder) == (model, card)


def test_a_card_keeps_what_people_wrote(folder):
    first = train(folder, "--only")
    assert first.returncode == 0 and "left out: train-1" in first.stderr
    path = folder / "out/flow-iforest.md"
    path.write_text(path.read_text() + "\nBy hand.\n")
    assert train(folder, "--only").returncode == 0
    assert path.read_text().endswith("## What it can and cannot do\n\nBy hand.\n")


def test_recording_needs_root(folder):
    user = {"user": 65534} if os.geteuid() == 0 else {}
    needed = ["test", "-r", SCRIPT, "-a", "-x", support.BIN / "wind-train"]
    if subprocess.run(needed, check=False, **user).returncode != 0:
        pytest.skip("this folder is closed to other users")
    done = train(folder, "--recordings", "/nonexistent", **user)
    assert done.returncode == 1 and "making them needs root" in done.stderr


def test_what_is_wrong_is_said_before_anything_is_recorded(folder):
    for words, sentence in (
        (("--bin", folder), "run script/build"),
        (("--corpus", folder), "no manifest.csv"),
        (("--only", "--recordings", folder / "none"), "no recording to fit"),
    ):
        done = train(folder, *words)
        assert done.returncode == 1 and sentence in done.stderr, done.stderr
        assert done.stderr.count("train-model: ") == 1
    assert not (folder / "recordings/train-1").exists()


def test_a_model_that_cannot_be_judged_changes_nothing(folder):
    assert train(folder, "--only").returncode == 0
    before = result(folder)
    (folder / "recordings/valid-4").unlink()
    shutil.copytree(support.LAB_DEMO, folder / "recordings/valid-4")
    (folder / "recordings/valid-4/truth.csv").write_text("nonsense\n")
    done = train(folder, "--only")
    assert done.returncode == 1 and "wind-train ended with" in done.stderr
    assert result(folder) == before
