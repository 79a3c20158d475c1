"""Smoothed labels: every way to the loss gives what PyTorch's own cross entropy gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from netc.kernels import Kernel, build
from netc.kernels.loss import smoothed
from netc.runtime.load import instantiate
from netc.training.engines import KernelEngine, TorchEngine
from netc.training.timing import Steps
from tests.kernels import decks
from tests.kernels.test_agreement import Values

STEPS, DT, SCALE, SMOOTHING = 60, 2e-5, 20.0, 0.3
LABELS = torch.tensor([0, 2, 1, 2])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return decks.program("wide", tmp_path_factory.mktemp("decks"))


def _inputs() -> Tensor:
    return torch.rand(4, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _expected(module: Any) -> Tensor:
    volts = module(STEPS, DT, _inputs(), observe=module.OUTPUTS)[0][1:]
    losses = [torch.nn.functional.cross_entropy(SCALE * v, LABELS, label_smoothing=SMOOTHING) for v in volts]
    return torch.stack(losses).mean()


def _kernel(program: Any, **choice: Any) -> Kernel:
    found = build(program, torch.float64, threads=2, **choice)
    assert found is not None
    return found


@pytest.mark.parametrize("way", ["repeated", "layered", "loops", "stored", "module"])
def test_loss_and_gradients_are_those_of_smoothed_cross_entropy(way: str, wide: Any) -> None:
    module: Any = instantiate(wide, torch.float64)
    steps = Steps(STEPS, DT)
    engine: Any
    if way == "module":
        engine = TorchEngine(module, steps, SCALE, smoothing=SMOOTHING)
    else:
        disable = {"loops": ("fission",), "stored": ("loss_fusion",)}.get(way, ())
        given = module if way == "repeated" else Values(module.values())
        engine = KernelEngine(given, _kernel(wide, disable=disable), steps, SCALE, lambda _: None, smoothing=SMOOTHING)
    loss, _ = engine.learn(_inputs(), LABELS)
    expected = _expected(module)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    wanted = torch.autograd.grad(expected, list(module.parameters()))
    for a, b in zip(torch.autograd.grad(loss, list(module.parameters())), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))


def test_nothing_smoothed_is_the_plain_loss() -> None:
    scores = torch.log_softmax(torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).reshape(4, 3), dim=1)
    assert torch.equal(smoothed(scores, LABELS, 0.0), -scores.gather(1, LABELS[:, None]).mean())
