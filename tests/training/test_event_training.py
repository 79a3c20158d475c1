"""Training on event data: frames held over time steps drive the word lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netc.compiler import compile_deck
from netc.data import Dataset
from netc.data.events import EventOptions, Recording, frames
from netc.diagnostics import NetcError
from netc.generate import generate
from netc.training import TrainingOptions, evaluate, inputs, train
from netc.training.monte_carlo import MonteCarlo
from netc.training.saved import open_run
from netc.variability import Devices


def _data(count: int, seed: int, options: EventOptions) -> tuple[object, np.ndarray]:
    """Return samples of two classes: most events on the left, or on the right."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    recordings = []
    for label in labels:
        time = np.sort(draw.integers(0, 10_000, 200))
        place = draw.integers(0, 2, 200) + 2 * (draw.random(200) < (0.8 if label else 0.2))
        recordings.append(Recording(place, draw.integers(0, 4, 200), draw.random(200) < 0.5, time))
    return frames(recordings, options.test_frames or options.frames, 4, options), labels.astype(np.int64)


@pytest.fixture(scope="module")
def sides() -> Dataset:
    options = EventOptions(frames=10, size=4, cap=4)
    train_x, train_y = _data(24, 0, options)
    test_x, test_y = _data(12, 1, EventOptions(frames=10, test_frames=15, size=4, cap=4))
    words = {"name": "sides", "classes": ("left", "right"), "source": "", "license": "", "order": ""}
    return Dataset(train_x, train_y, test_x, test_y, **words, train_available=24, test_available=12, events=options)  # type: ignore[arg-type]  # what words hold


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deck") / "sides.cir"
    path.write_text(generate((32, 6, 2), drive="frames", steps=100, step=50e-6))
    return path


def test_frames_are_held() -> None:
    features = torch.arange(12.0).reshape(2, 3, 2)
    frames = inputs.in_time(features)
    driven = inputs.held(frames, 2)
    assert driven.shape == (6, 2, 2) and inputs.length(driven, 99) == 6 == inputs.length(frames, 99, 2)
    for step in range(6):
        torch.testing.assert_close(driven[step], features[:, step // 2])
    torch.testing.assert_close(inputs.stretch(driven, 2, 3), driven[2:5])
    amplitudes = torch.ones(2, 3)
    assert inputs.held(inputs.in_time(amplitudes), 2) is amplitudes and inputs.stretch(amplitudes, 1, 2) is amplitudes


def test_a_network_learns_where_events_are(sides: Dataset, deck: Path, tmp_path: Path) -> None:
    compilation = compile_deck(deck)
    options = TrainingOptions(epochs=12, batch=8, learning_rate=0.05, logit_scale=200.0)
    found = train(compilation, sides, options, directory=tmp_path / "run")
    assert found.backend == "cpp"
    assert found.test_accuracy > 0.8  # of samples with 15 frames, after training with 10
    again = evaluate(tmp_path / "run", sides)
    assert again.test_accuracy == found.test_accuracy and again.activity == found.activity
    chips = MonteCarlo(open_run(tmp_path / "run"), sides).run(Devices(), 1)
    assert chips.mean == found.test_accuracy


def test_kernel_and_module_train_alike(sides: Dataset, deck: Path, tmp_path: Path) -> None:
    losses = {}
    for backend in ("torch", "cpp"):
        options = TrainingOptions(epochs=2, batch=8, dtype="float64", backend=backend, input_dropout=0.2)
        found = train(compile_deck(deck), sides, options, directory=tmp_path / backend)
        losses[backend] = found.test_loss, *found.activity.values(), *found.spikes_per_neuron.values()
    assert losses["torch"] == pytest.approx(losses["cpp"], rel=1e-9)


def test_what_does_not_fit_is_refused(sides: Dataset, deck: Path, tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="45 time steps cannot be shared evenly by 10 frames"):
        train(compile_deck(deck), sides, TrainingOptions(steps=45), directory=tmp_path / "a")
    with pytest.raises(NetcError, match="do not change over time"):
        train(compile_deck(deck), sides, TrainingOptions(clip_sample=1.0), directory=tmp_path / "b")
    still = tmp_path / "still.cir"
    still.write_text(generate((32, 6, 2), steps=100))
    with pytest.raises(NetcError, match="a sample of sides changes over time"):
        train(compile_deck(still), sides, TrainingOptions(), directory=tmp_path / "c")
