"""Matrices times whole waveforms, multiplied before the time loop: the numbers of the loop that multiplies itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from netc.compiler import compile_deck
from netc.generate import generate
from netc.ir.interpret import simulate
from netc.ir.program import Program
from netc.kernels import build
from netc.runtime.load import instantiate

_STEPS, _HOLD, _DT, _SCALE = 120, 10, 1e-5, 40.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    deck = tmp_path_factory.mktemp("deck") / "frames.cir"
    deck.write_text(generate((12, 6, 4), drive="frames"))
    return compile_deck(deck).program


@pytest.fixture(scope="module")
def samples() -> Tensor:
    frames = torch.rand(_STEPS // _HOLD, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return frames.repeat_interleave(_HOLD, 0)


@pytest.mark.parametrize("disabled", [[], ["driven_products"], ["loss_fusion"]], ids=",".join)
@pytest.mark.parametrize("hold", [1, _HOLD])
def test_loss_and_gradients_are_those_of_the_plain_loop(
    program: Program, samples: Tensor, hold: int, disabled: list[str]
) -> None:
    labels = torch.tensor([0, 3, 1, 2, 1])
    found = []
    for disable, held in ((["driven_products"], 1), (disabled, hold)):
        module = instantiate(program, torch.float64)
        kernel = build(program, torch.float64, threads=1, disable=disable)
        assert kernel is not None
        loss, scores = kernel.classify(module, samples[::held], labels, _STEPS, _DT, _SCALE, hold=held)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        found.append([loss, scores, *(p.grad for p in module.parameters())])
    assert len(found[0]) > 2
    for plain, ahead in zip(*found, strict=True):
        assert plain is not None and ahead is not None and plain.abs().max() > 0
        torch.testing.assert_close(ahead, plain, rtol=1e-12, atol=1e-12 * float(plain.detach().abs().max()))


def test_signals_are_those_of_the_interpreter(program: Program, samples: Tensor) -> None:
    kernel = build(program, torch.float64, threads=1)
    assert kernel is not None
    found = kernel.simulate(instantiate(program, torch.float64), _STEPS, _DT, samples, program.outputs)
    expected, _ = simulate(program, _STEPS, _DT, inputs=samples.numpy(), observe=program.outputs)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-12)
