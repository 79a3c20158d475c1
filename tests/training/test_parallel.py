"""Training by several workers: the numbers of one process, and a run that survives the death of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from netc.generate import generate
from netc.training import checkpoint
from netc.training.parallel import Workers

_TRAIN = "--data digits --limit-train 90 --limit-test 30 --batch 20 --steps 60 --dt 50u --epochs 2 --dtype float64"
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deck") / "small.cir"
    path.write_text(generate((64, 6, 10)))
    return path


def _command(workers: int, deck: Path, out: Path, more: str = "") -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}", *more.split()]
    return [sys.executable, *(launch if workers > 1 else []), "-m", "netc.cli", "train", str(deck), "--out", str(out)]


def _run(workers: int, deck: Path, out: Path, options: str) -> dict[str, object]:
    command = [*_command(workers, deck, out), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout  # one worker speaks
    found: dict[str, object] = json.loads(lines[0])
    return found


def test_a_batch_is_shared_evenly() -> None:
    for samples in (0, 1, 2, 7, 12):
        parts = [Workers(k, 3).part(samples) for k in range(3)]
        assert [k for part in parts for k in range(samples)[part]] == list(range(samples))
        sizes = [part.stop - part.start for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_workers_train_as_one_process_does(deck: Path, tmp_path: Path) -> None:
    # 41 samples to learn from: the last batch has fewer than there are workers
    more = "--limit-train 57 --validation 16 --input-dropout 0.2 --spike-target 0.01,0.05 --energy-weight 1e3"
    one = _run(1, deck, tmp_path / "one", f"{_TRAIN} {more}")
    two = _run(2, deck, tmp_path / "two", f"{_TRAIN} {more}")
    assert two["test_loss"] == pytest.approx(one["test_loss"], rel=1e-9)
    assert two["test_accuracy"] == one["test_accuracy"] and two["activity"] == pytest.approx(one["activity"], rel=1e-9)
    states = [checkpoint.load(tmp_path / name)[0] for name in ("one", "two")]
    for name, value in states[0]["parameters"].items():
        np.testing.assert_allclose(states[1]["parameters"][name], value, rtol=0, atol=1e-9)
    for mine, theirs in zip(*(state["history"] for state in states), strict=True):
        for name in ("loss", "train_accuracy", "validation_loss", "samples", "energy"):
            expected = theirs[name]
            assert mine[name] == (expected if expected is None else pytest.approx(expected, rel=1e-9)), name


def test_a_killed_worker_costs_one_epoch_at_the_most(deck: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = _TRAIN.replace("--epochs 2", "--epochs 6").replace("--steps 60", "--steps 1500").split()
    command = [*_command(2, deck, out, "--max-restarts=1"), *options]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_ENVIRONMENT)
    try:
        metrics, deadline = out / "metrics.jsonl", time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") >= 2):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(_worker_of(running.pid), signal.SIGKILL)
        written, said = running.communicate(timeout=240)
    finally:
        _end(running)
    assert running.returncode == 0, said
    history = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["epoch"] for line in history] == [1, 2, 3, 4, 5, 6]
    assert said.count("epoch 1/6") == 1 and said.count("epoch 2/6") == 1  # not done again
    straight = _run(2, deck, tmp_path / "straight", " ".join(options))
    assert json.loads(written.splitlines()[-1])["test_loss"] == pytest.approx(straight["test_loss"], rel=1e-12)


def _end(launched: subprocess.Popen[str]) -> None:
    """Leave no worker behind, whatever came of the launcher."""
    for number in [launched.pid, *(_workers_of(launched.pid) if launched.poll() is None else ())]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    launched.wait()


def _worker_of(launcher: int) -> int:
    """Return one of the processes that the launcher has started."""
    workers = _workers_of(launcher)
    assert workers, "the launcher has no worker"
    return workers[0]


def _workers_of(launcher: int) -> list[int]:
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    if not children.exists():
        pytest.skip("this system does not list child processes")
    numbers = [int(number) for number in children.read_text().split()]
    return [n for n in numbers if b"netc.cli" in Path(f"/proc/{n}/cmdline").read_bytes().split(b"\0")]
