"""Sign-off of chips that differ from use to use, and of recordings of events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netc.data
from netc.compiler import compile_deck
from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.export import Devices, trained_values
from netc.generate import generate
from netc.ngspice.locate import find_ngspice
from netc.signoff import Settings, signoff
from netc.signoff.frames import FrameStimuli
from netc.training import TrainingOptions, train
from netc.training.saved import SavedRun, open_run

needs_ngspice = pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")
pytestmark = [needs_ngspice, pytest.mark.ngspice]


def _trained(folder: Path, deck: str, data: Dataset, steps: int) -> SavedRun:
    (folder / "deck.cir").write_text(deck)
    options = TrainingOptions(epochs=1, batch=16, threads=1, logit_scale=100.0, backend="torch", steps=steps)
    train(compile_deck(folder / "deck.cir"), data, options, directory=folder / "run")
    return open_run(folder / "run")


def test_read_noise_gives_each_sample_its_own_deck(tmp_path: Path) -> None:
    digits = netc.data.load("digits", limit_train=16, limit_test=4)
    saved = _trained(tmp_path, generate(layers=(64, 3, 10), steps=60), digits, 60)
    learnt = trained_values(saved.module, saved.compilation.program)
    settings = Settings(samples=2, jobs=2, devices=Devices(read_noise=0.3, spread=0.1))
    found = signoff(saved, digits, settings)
    ideal = signoff(saved, digits, replace(settings, devices=Devices()))
    # what is left is the error of the step; another chip would differ by its 30%
    assert found.failures == 0 and found.to_json()["nrmse"] < 1.5 * ideal.to_json()["nrmse"] < 0.05
    assert ideal.samples[0].nrmse != found.samples[0].nrmse
    again = signoff(saved, digits, settings)  # taken over from the first
    assert again.draws[0].processor_seconds is None
    assert again.to_json()["nrmse"] == pytest.approx(found.to_json()["nrmse"], rel=1e-5)  # kept in float32
    assert not list((saved.directory / "signoff").glob("sample-*"))
    after = trained_values(saved.module, saved.compilation.program)
    assert all((after[name] == learnt[name]).all() for name in learnt)


def _recordings(count: int, frames: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return (generator.random((count, frames, features)) < 0.4).astype(np.float32), np.arange(count) % 3


def test_recordings_are_played_frame_by_frame(tmp_path: Path) -> None:
    digits = netc.data.load("digits", limit_train=16, limit_test=4)
    features, labels = _recordings(16, 10, 8)
    data = replace(
        digits, train_x=features, train_y=labels, test_x=features[:3], test_y=labels[:3], classes=("a", "b", "c")
    )
    saved = _trained(tmp_path, generate(layers=(8, 4, 3), steps=200, drive="frames"), data, 200)
    found = signoff(saved, data, Settings(samples=3, jobs=2))
    assert found.failures == 0 and found.class_agreement == 1.0
    assert max(error for s in found.samples for error in s.nrmse.values()) < 0.02
    still = replace(data, train_x=features[:, 0], test_x=features[:3, 0])
    with pytest.raises(NetcError):
        signoff(saved, still, Settings(samples=1))


def test_a_frame_lasts_from_one_corner_to_the_next() -> None:
    text = "* t\nvin1 in1 0 0\nvin2 in2 0 dc 0\n.end\n"
    stimuli = FrameStimuli(text, {"vin1": "V", "vin2": "V"}, 1e-3, 10)
    lines = stimuli.scaled(np.array([[0.0, 2.0], [1.0, 2.0]])).split("\n")
    assert lines[1] == "vin1 in1 0 PWL(0.0 0.0 0.00995 0.0 0.01005 1.0)"
    assert lines[2] == "vin2 in2 0 2.0"
    with pytest.raises(NetcError, match="cannot play frames"):
        FrameStimuli(text, {"x1.vin": "V"}, 1e-3, 10)
