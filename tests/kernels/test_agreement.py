"""Kernel = emitted module = interpreter, values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from netc.ir import interpret
from netc.ir.program import Program
from netc.kernels import build
from netc.runtime.load import instantiate
from tests.emit import programs

STEPS, DT = 60, 2e-5
HAND_MADE = ["rc", "mif", "network", "waveform", "shapes"]


class Values:
    """Physical values in the place of a module."""

    def __init__(self, values: dict[str, torch.Tensor]) -> None:
        self._values = values

    def values(self) -> dict[str, torch.Tensor]:
        return self._values


def drive(program: Program, dtype: torch.dtype, batch: int = 5, steps: int = STEPS) -> torch.Tensor | None:
    if not program.inputs:
        return None
    features = sum(block.size for block in program.inputs)
    shape = (steps, batch, features) if program.inputs[0].mode == "waveform" else (batch, features)
    return torch.as_tensor(np.random.default_rng(3).uniform(0.0, 1.0, shape), dtype=dtype)


def gradients(run: Any, weights: torch.Tensor, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    total = (run() * weights).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(leaves.items(), found, strict=True)}


@pytest.mark.parametrize("name", HAND_MADE)
def test_float64_agrees_with_interpreter_and_module(name: str) -> None:
    program = getattr(programs, name)()
    module, kernel = instantiate(program, torch.float64), build(program, torch.float64, threads=1)
    assert kernel is not None
    inputs = drive(program, torch.float64)
    expected, _ = interpret.simulate(program, STEPS, DT, inputs)
    found = kernel.simulate(module, STEPS, DT, inputs)
    span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
    assert (np.abs(found.detach().numpy() - expected) / span).max() < 1e-9

    leaves = {n: v.detach().clone().requires_grad_() for n, v in module.values().items()}
    if inputs is not None:
        inputs = inputs.requires_grad_()
        leaves["inputs"] = inputs
    blocks = {n: v for n, v in leaves.items() if n != "inputs"}
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / span
    want = gradients(lambda: module(STEPS, DT, inputs, values=blocks)[0], weights, leaves)
    have = gradients(lambda: kernel.simulate(Values(blocks), STEPS, DT, inputs), weights, leaves)
    for key, gradient in want.items():
        torch.testing.assert_close(have[key], gradient, rtol=0.0, atol=1e-9 * float(gradient.abs().max()) + 1e-30)
