"""A training in a process of its own, to be killed: ``long_run.py DIRECTORY [--resume]``."""

from __future__ import annotations

import sys
from pathlib import Path

import netc.data
from netc.training import TrainingInterrupted, TrainingOptions, TrainingResult, train
from tests.training.mif_circuit import HandMade

OPTIONS = TrainingOptions(epochs=4, batch=16, seed=5, threads=1, input_dropout=0.1, clip_gradient=1.0)


def run(directory: Path, *, resume: bool) -> TrainingResult:
    data = netc.data.load("digits", limit_train=200, limit_test=40)
    return train(HandMade((64, 8, 10)), data, OPTIONS, directory=directory, resume=resume)


if __name__ == "__main__":
    try:
        print(run(Path(sys.argv[1]), resume="--resume" in sys.argv).line())
    except TrainingInterrupted as stopped:
        print(stopped.message, file=sys.stderr)
        sys.exit(130)
