"""The PyTorch engine finds the same however it has the module run, and leaves the module as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from netc.runtime.load import instantiate
from netc.training.engines import TorchEngine, pays_to_compile
from netc.training.timing import Steps
from tests.emit import programs

STEPS = Steps(53, 2e-5)
LABELS = torch.tensor([0, 2, 1])


def learn(**choice: Any) -> tuple[torch.Tensor, ...]:
    """Return loss, scores and gradients of a part of a batch of eight."""
    module: Any = instantiate(programs.network(), torch.float64)
    engine = TorchEngine(module, STEPS, 40.0, 8, **choice)
    samples = torch.linspace(0.0, 1.0, 18, dtype=torch.float64).reshape(3, 6)
    with torch.compiler.set_stance("force_eager"):
        loss, scores = engine.learn(samples, LABELS)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        torch.testing.assert_close(engine.scores(samples), scores)
        assert engine.bytes_per_step(samples, 8) > 0
    assert not module.compiled and not module.recompute
    return loss.detach(), scores, *gradients


@pytest.mark.parametrize("choice", [{"compiled": True}, {"chunk": 7}, {"compiled": True, "chunk": 7}])
def test_blocks_padding_and_recomputation_change_nothing(choice: dict[str, Any]) -> None:
    for found, expected in zip(learn(**choice), learn(), strict=True):
        assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_compiled_blocks_keep_less() -> None:
    module: Any = instantiate(programs.network((6, 40, 3)))
    samples = torch.ones(8, 6)
    plain, blocks = (TorchEngine(module, STEPS, 40.0, 8, c).bytes_per_step(samples, 8) for c in (False, True))
    assert blocks < plain / 5


def test_only_a_long_training_is_compiled() -> None:
    assert not pays_to_compile(300, Steps(100, 1e-5), 128, 10)
    assert pays_to_compile(300, Steps(1000, 1e-5), 128, 1000)
