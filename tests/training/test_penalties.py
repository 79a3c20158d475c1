"""Spike band and energy: kernel and PyTorch agree with each other and with central differences."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import netc.data
from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.emit import emit_torch
from netc.generate import generate, write
from netc.runtime.load import instantiate
from netc.training import TrainingOptions, train
from netc.training.contract import membranes
from netc.training.engines import choose
from netc.training.penalties import WIDTH, Penalties, penalties
from netc.training.timing import Steps

STEPS = Steps(200, 20e-6)
CHOICE = {"dtype": "float64", "spike_target": (0.01, 0.02), "spike_weight": 50.0, "energy_weight": 1e3, "threads": 1}


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    text = generate((6, 8, 4), seed=1, input_current=60e-6, steps=STEPS.count)
    return compile_deck(write(tmp_path_factory.mktemp("deck") / "network.cir", text))


def prepared(compilation: Compilation, **more: Any) -> tuple[Any, Any, Penalties]:
    options = TrainingOptions(**{**CHOICE, **more})
    plain: Any = compilation.module(torch.float64)
    nodes = membranes(plain)
    found = penalties(compilation.program, compilation.circuit, options, STEPS, nodes)
    assert found is not None
    module: Any = instantiate(emit_torch(found.observed), torch.float64)
    engine = choose(compilation.program, module, options, STEPS, print, 5, found)
    found.running = {"m1": 0.3}
    return module, engine, found


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(5, 6, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 1])


def gradients(engine: Any, module: Any, found: Penalties) -> tuple[list[torch.Tensor], torch.Tensor]:
    x, y = samples()
    weights = found.weights(x)
    loss, _ = engine.learn(x, y, weights)
    total = loss + found.options.energy_weight * found.feature_energy(module, x)
    *by_values, by_weights = torch.autograd.grad(total, [*module.parameters(), weights])
    return by_values, by_weights


def whole_loss(module: Any, found: Penalties) -> float:
    """The loss with both terms, written out."""
    x, y = samples()
    with torch.no_grad():
        names = [*module.OUTPUTS, *(f"m1_{k}" for k in range(1, 9)), *(f"w1_{k}" for k in range(1, 7))]
        rows, _ = module(STEPS.count, STEPS.dt, x, observe=names)
        outputs, hidden, lines = rows[1:, :, :4], rows[:-1, :, 4:12], rows[:-1, :, 12:]
        loss = -torch.log_softmax(outputs * found.options.logit_scale, -1).mean(0)[range(5), y].mean()
        slope = 2 * found.options.spike_weight * (found.running["m1"] - found.options.spike_target[1])
        loss += slope * torch.sigmoid((hidden - found.options.spike_threshold) / WIDTH).mean()
        for block, crossbar in zip(trained_blocks(module), (lines, hidden), strict=True):
            conductance = (1 / module.values()[block]).reshape(crossbar.shape[-1], -1).sum(1)
            energy = (crossbar.square() * conductance).sum(-1).sum(0).mean() * STEPS.dt
            loss += found.options.energy_weight * energy
    return float(loss)


def trained_blocks(module: Any) -> list[str]:
    return [name.removesuffix("_position") for name, _ in module.named_parameters()]


@pytest.mark.parametrize(
    ("backend", "disable"), [("torch", ()), ("cpp", ()), ("cpp", ("fission",)), ("cpp", ("collapse", "factoring"))]
)
def test_gradients_are_those_of_central_differences(
    compilation: Compilation, backend: str, disable: tuple[str, ...]
) -> None:
    module, engine, found = prepared(compilation, backend=backend, disable_passes=disable)
    by_values, _ = gradients(engine, module, found)
    draw = np.random.default_rng(0)
    for parameter, gradient in zip(module.parameters(), by_values, strict=True):
        for place in draw.integers(0, parameter.numel(), 4):
            kept, h = parameter.data.view(-1)[place].item(), 1e-5
            around = []
            for offset in (h, -h):
                parameter.data.view(-1)[place] = kept + offset
                around.append(whole_loss(module, found))
            parameter.data.view(-1)[place] = kept
            assert gradient.view(-1)[place].item() == pytest.approx(
                (around[0] - around[1]) / (2 * h), rel=1e-5, abs=1e-9
            )


def test_gradients_of_weights_are_what_is_weighed(compilation: Compilation) -> None:
    results = []
    for backend in ("torch", "cpp"):
        module, engine, found = prepared(compilation, backend=backend)
        results.append(gradients(engine, module, found)[1])
    assert torch.allclose(*results, rtol=1e-12, atol=0)
    found.learnt(results[0])
    x, _ = samples()
    rows, _ = module(STEPS.count, STEPS.dt, x, observe=[f"m1_{k}" for k in range(1, 9)])
    share = torch.sigmoid((rows[:-1] - 0.11) / WIDTH).mean().item()
    assert found.running["m1"] == pytest.approx(0.9 * 0.3 + 0.1 * share)
    energy = (rows[:-1].square() * (1 / module.values()["r_r_2"]).reshape(8, -1).sum(1)).sum((0, 2)).mean() * STEPS.dt
    assert found.energy == pytest.approx(energy.item())


def learnt(deck: Path, folder: Path, epochs: int = 3, **more: Any) -> Any:
    data = netc.data.load("digits", limit_train=300, limit_test=50)
    options = TrainingOptions(**{"epochs": epochs, "batch": 50, "threads": 1, "learning_rate": 0.02, **more})
    return train(compile_deck(deck), data, options, directory=folder, console=Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = generate((64, 16, 10), seed=1, input_current=60e-6, steps=300)
    return write(tmp_path_factory.mktemp("deck") / "network.cir", text)


def test_activity_goes_into_the_band(deck: Path, tmp_path: Path) -> None:
    free = learnt(deck, tmp_path / "free", 6).hidden_activity
    band = (0.3 * free, 0.5 * free)
    held = learnt(deck, tmp_path / "held", 6, spike_target=band, spike_weight=3000.0).hidden_activity
    assert free > 0.02 and held < 0.8 * free


def test_energy_falls_and_is_told(deck: Path, tmp_path: Path) -> None:
    last = []
    for name, weight in (("weak", 1e-9), ("strong", 1e5)):
        learnt(deck, tmp_path / name, energy_weight=weight)
        last.append(json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])["energy"])
    assert 0 < last[1] < 0.9 * last[0]


def test_a_run_with_penalties_goes_on_to_the_same_numbers(deck: Path, tmp_path: Path) -> None:
    choice = {"spike_target": (0.0, 0.01), "energy_weight": 10.0, "validation": 50.0}
    choice |= {"augment": ("shift=1",), "label_smoothing": 0.1, "clip_sample": 3.0, "clip_layer": 1.0, "warmup": 1.0}
    learnt(deck, tmp_path / "whole", 3, **choice)
    learnt(deck, tmp_path / "part", 3, **choice)
    (tmp_path / "part" / "checkpoint.previous.pt").replace(tmp_path / "part" / "checkpoint.pt")
    data = netc.data.load("digits", limit_train=300, limit_test=50)
    options = TrainingOptions(epochs=3, batch=50, threads=1, learning_rate=0.02, **choice)  # type: ignore[arg-type]
    console = Console(file=io.StringIO())
    train(compile_deck(deck), data, options, directory=tmp_path / "part", resume=True, console=console)
    ends = [torch.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "part")]
    for one, other in zip(*(end["content"]["parameters"].values() for end in ends), strict=True):
        assert torch.equal(one, other)
    assert ends[0]["content"]["penalties"] == ends[1]["content"]["penalties"]
    assert ends[0]["content"]["best"]["epoch"] == ends[1]["content"]["best"]["epoch"]


def test_what_is_not_covered_is_refused(tmp_path: Path) -> None:
    passive = write(tmp_path / "passive.cir", generate((64, 16, 10), passive=True, steps=50))
    with pytest.raises(NetcError, match="one end held at 0 V") as caught:
        learnt(passive, tmp_path / "run", energy_weight=1.0)
    assert caught.value.diagnostics[0].span is not None
