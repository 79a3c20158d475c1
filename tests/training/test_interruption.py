"""Real processes, really killed: what is on disk afterwards is whole, and a resumed run gives the same numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from netc.training import checkpoint
from tests.training import long_run

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    long_run.run(directory, resume=False)
    return directory


def _start(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", long_run.__name__, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_ROOT)


def _wait_for_epoch(process: subprocess.Popen[str], directory: Path) -> None:
    metrics = directory / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.05)  # into the next epoch


def _same(one: Path, other: Path) -> None:
    first, second = (checkpoint.load(directory)[0] for directory in (one, other))
    for name, value in first["parameters"].items():
        assert torch.equal(value, second["parameters"][name]), name
    for key, value in first["optimiser"]["state"].items():
        assert torch.equal(value["exp_avg"], second["optimiser"]["state"][key]["exp_avg"])
    lines = [[json.loads(line) for line in (d / "metrics.jsonl").read_text().splitlines()] for d in (one, other)]
    assert len(lines[0]) == len(lines[1]) == 4
    for a, b in zip(*lines, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_sigkill_loses_at_most_the_epoch(tmp_path: Path, uninterrupted: Path) -> None:
    directory = tmp_path / "run"
    process = _start(directory)
    _wait_for_epoch(process, directory)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run must not have been over"
    state, warning = checkpoint.load(directory)
    assert warning is None and 1 <= state["epoch"] < 4
    result = long_run.run(directory, resume=True)
    assert result.epochs == 4
    _same(uninterrupted, directory)
    assert json.loads((directory / "result.json").read_text())["test_accuracy"] == result.test_accuracy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, uninterrupted: Path, number: signal.Signals) -> None:
    directory = tmp_path / "run"
    process = _start(directory)
    _wait_for_epoch(process, directory)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == "" and "--resume" in err and str(directory) in err and "Traceback" not in err
    state, _ = checkpoint.load(directory)
    assert state["epoch"] >= 1
    long_run.run(directory, resume=True)
    _same(uninterrupted, directory)


def test_resuming_a_finished_run_tests_it_again(uninterrupted: Path) -> None:
    before = json.loads((uninterrupted / "result.json").read_text())
    after = long_run.run(uninterrupted, resume=True).to_json()
    assert after == before
