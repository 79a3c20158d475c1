"""``netc variability``, spread in ``netc train`` and ``netc export``: what they print, and that awareness pays."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from netc.compiler import compile_deck
from netc.data import Dataset, load
from netc.diagnostics import NetcError
from netc.generate import generate
from netc.training import TrainingOptions, train
from netc.training.monte_carlo import MonteCarlo
from netc.training.saved import open_run
from netc.variability import Devices
from tests.cli.runner import netc

OPTIONS = TrainingOptions(
    epochs=3, batch=64, learning_rate=0.05, logit_scale=100.0, steps=300, dt=1e-5, threads=1, validation=100
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> tuple[Path, Path]:
    """Two runs of one network: trained as ever, and on chips with a spread of 40%."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "net.cir").write_text(generate((64, 16, 10)))
    compilation = compile_deck(folder / "net.cir")
    for name, spread in (("plain", 0.0), ("aware", 0.4)):
        options = replace(OPTIONS, spread=spread)
        train(compilation, digits, options, directory=folder / name, console=Console(quiet=True))
    return folder / "plain", folder / "aware"


def test_training_with_spread_keeps_accuracy_on_chips_that_training_without_loses(
    runs: tuple[Path, Path], digits: Dataset
) -> None:
    plain, aware = (MonteCarlo(open_run(run), digits).run(Devices(spread=0.3), 8) for run in runs)
    assert aware.mean > plain.mean + 0.08  # 0.2 is usual
    assert min(aware.accuracies) > min(plain.accuracies)


def test_trials_repeat_leave_the_run_as_it_is_and_know_alike_chips(runs: tuple[Path, Path], digits: Dataset) -> None:
    saved = open_run(runs[0])
    before = [p.detach().clone() for p in saved.module.parameters()]
    small = replace(digits, test_x=digits.test_x[:60], test_y=digits.test_y[:60])
    test = MonteCarlo(saved, small)
    ideal = test.run(Devices(), 5)
    assert len(ideal.accuracies) == 1 and ideal.samples_per_draw is None and ideal.deviation == 0
    noisy = test.run(Devices(spread=0.3, stuck_at=0.01), 3)
    assert noisy.accuracies == test.run(Devices(spread=0.3, stuck_at=0.01), 3).accuracies
    assert noisy.accuracies[:2] == test.run(Devices(spread=0.3, stuck_at=0.01), 2).accuracies
    assert all(torch.equal(a, b) for a, b in zip(before, saved.module.parameters(), strict=True))
    read = test.run(Devices(read_noise=0.3), 2, each=10)
    assert read.samples_per_draw == 10 and read.accuracies != ideal.accuracies
    assert len(test.run(Devices(levels=4), 5).accuracies) == 1
    with pytest.raises(NetcError, match="spread"):
        test.run(Devices(spread=-1), 1)


def test_the_curve_is_printed_written_and_drawn(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = netc(
        *("variability", *runs, "--spread", "0,10%,0.3", "--chips", "3", "--limit-test", "50", "--out", tmp_path)
    )
    assert done.code == 0, done.err
    result = json.loads(done.out.splitlines()[-1])
    assert result["over"] == "spread" and [run["run"] for run in result["runs"]] == [str(run) for run in runs]
    for run in result["runs"]:
        assert [point["spread"] for point in run["points"]] == [0.0, 0.1, 0.3]
        assert [point["chips"] for point in run["points"]] == [1, 3, 3]
        assert run["points"][0]["accuracy_mean"] == run["ideal"]
        for point in run["points"]:
            accuracies = np.array(point["accuracies"])
            assert point["accuracy_mean"] == pytest.approx(accuracies.mean())
            assert (point["accuracy_min"], point["accuracy_max"]) == (accuracies.min(), accuracies.max())
    assert json.loads((tmp_path / "curve.json").read_text()) == result
    rows = list(csv.DictReader(io.StringIO((tmp_path / "curve.csv").read_text())))
    assert len(rows) == 6 and rows[4]["spread"] == "0.1"
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_chip_is_written_with_its_own_numbers(runs: tuple[Path, Path], tmp_path: Path) -> None:
    decks = []
    for chip in (0, 1, 1):
        done = netc("export", runs[0], "-o", tmp_path / "chip.cir", "--spread", "10%", "--draw", str(chip))
        assert json.loads(done.out.splitlines()[-1])["draw"] == chip
        decks.append((tmp_path / "chip.cir").read_text())
    assert decks[0] != decks[1] == decks[2]
    assert "nothing to draw" in netc("export", runs[0], "-o", tmp_path / "x.cir", "--draw", "1").refused()
    # beyond the bounds it may be simulated, but not trained by mistake
    assert "--lenient" in netc("info", tmp_path / "chip.cir").refused()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--spread", "12"), "not a share"),
        (("--spread", "ten"), "not a share"),
        (("--spread", "10%,"), "not a share"),
        (("--stuck-at", "-1"), "not a share"),
        (("--levels", "1"), "range"),
        (("--spread", "0,0.1", "--levels", "2,4"), "a curve goes over one"),
        (("--chips", "0"), "range"),
        (("--noise-law", "cauchy"), "cauchy"),
    ],
)
def test_nonsense_is_refused(runs: tuple[Path, Path], arguments: tuple[str, ...], message: str) -> None:
    assert message in netc("variability", runs[0], *arguments).refused()


def test_what_is_no_run_is_refused(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    assert "is not a run folder" in netc("variability", tmp_path, "--spread", "10%").refused()
    assert "named twice" in netc("variability", runs[0], runs[0], "--spread", "10%").refused()
    assert (
        "--draws-per-batch"
        in netc(
            *(
                "train",
                runs[0].parent / "net.cir",
                "--data",
                "digits",
                "--draws-per-batch",
                "0",
                "--out",
                tmp_path / "x",
            )
        ).refused()
    )


def test_resuming_goes_on_with_the_same_chips(runs: tuple[Path, Path], tmp_path: Path, digits: Dataset) -> None:
    compilation = compile_deck(runs[0].parent / "net.cir")
    few = replace(digits, train_x=digits.train_x[:128], train_y=digits.train_y[:128], test_x=digits.test_x[:10])
    few = replace(few, test_y=digits.test_y[:10])
    options = replace(OPTIONS, spread=0.2, stuck_at=0.01, validation=0, epochs=2, schedule="constant", steps=50)
    quiet = Console(quiet=True)
    train(compilation, few, options, directory=tmp_path / "whole", console=quiet)
    train(compilation, few, replace(options, epochs=1), directory=tmp_path / "parts", console=quiet)
    train(compilation, few, options, directory=tmp_path / "parts", resume=True, console=quiet)
    whole, parts = (list(open_run(tmp_path / name).module.parameters()) for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
