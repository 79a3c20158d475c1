"""Kernel = emitted module = interpreter: values, loss and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc.compiler import compile_deck
from netc.generate import generate
from netc.ir import interpret
from netc.ir.program import Program
from netc.kernels import Kernel, build
from netc.runtime.load import instantiate
from netc.training.unroll import mean_log_probabilities
from tests.emit import programs
from tests.kernels import decks

STEPS, SCALE = 60, 20.0
HAND_MADE = ("rc", "mif", "network", "waveform", "shapes", "bridge")
WITH_LOSS = ("network", "wide", *(name for name in decks.NAMES if name != "mif.cir"))

Compile = Callable[[str], Program]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    folder, known = tmp_path_factory.mktemp("decks"), dict[str, Program]()

    def get(name: str) -> Program:
        if name not in known:
            known[name] = getattr(programs, name)() if hasattr(programs, name) else decks.program(name, folder)
        return known[name]

    return get


class Values:
    """Physical values in the place of a module."""

    def __init__(self, values: dict[str, torch.Tensor]) -> None:
        self._values = values

    def values(self) -> dict[str, torch.Tensor]:
        return self._values


def kernel_of(program: Program, dtype: torch.dtype, threads: int = 1) -> Kernel:
    kernel = build(program, dtype, threads=threads)
    assert kernel is not None
    return kernel


def step_of(program: Program) -> float:
    return (program.timing.tmax or program.timing.tstep) if program.timing else 2e-5


def drive(program: Program, dtype: torch.dtype, batch: int = 5, steps: int = STEPS) -> torch.Tensor | None:
    if not program.inputs:
        return None
    features = sum(block.size for block in program.inputs)
    shape = (steps, batch, features) if program.inputs[0].mode == "waveform" else (batch, features)
    values = np.random.default_rng(3).uniform(0.0, 1.0, shape).astype(np.float32)  # the same in both types
    return torch.as_tensor(values, dtype=dtype)


def gradients(total: torch.Tensor, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(leaves.items(), found, strict=True)}


def close(have: dict[str, torch.Tensor], want: dict[str, torch.Tensor], relative: float) -> None:
    for name, gradient in want.items():
        error = float((have[name] - gradient).abs().max())
        assert error <= relative * float(gradient.abs().max()) + 1e-30, name


@pytest.mark.parametrize("name", dict.fromkeys((*HAND_MADE, *decks.NAMES)))
def test_float64_agrees_with_interpreter_and_module(name: str, compiled: Compile) -> None:
    program = compiled(name)
    dt = step_of(program)
    module, kernel = instantiate(program, torch.float64), kernel_of(program, torch.float64)
    inputs = drive(program, torch.float64)
    expected, _ = interpret.simulate(program, STEPS, dt, inputs)
    found = kernel.simulate(module, STEPS, dt, inputs)
    span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
    assert (np.abs(found.detach().numpy() - expected) / span).max() < 1e-9

    blocks = {n: v.detach().clone().requires_grad_() for n, v in module.values().items()}
    leaves = dict(blocks)
    if inputs is not None:
        leaves["inputs"] = inputs.requires_grad_()
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights /= torch.as_tensor(span)
    want = gradients((module(STEPS, dt, inputs, values=blocks)[0] * weights).sum(), leaves)
    have = gradients((kernel.simulate(Values(blocks), STEPS, dt, inputs) * weights).sum(), leaves)
    close(have, want, 1e-9)


def losses(
    program: Program, dtype: torch.dtype, *, kernel: bool, batch: int = 5, steps: int = STEPS
) -> tuple[float, dict[str, Any]]:
    """Return loss and gradients of the trained values and the inputs."""
    module: Any = instantiate(program, dtype)
    inputs = drive(program, dtype, batch)
    assert inputs is not None
    labels = torch.arange(batch) % len(module.OUTPUTS)
    leaves = {"inputs": inputs.requires_grad_(), **dict(module.named_parameters())}
    dt = step_of(program)
    if kernel:
        loss = kernel_of(program, dtype).loss(module, inputs, labels, steps, dt, SCALE)
    else:
        scores = mean_log_probabilities(module, inputs, steps=steps, dt=dt, logit_scale=SCALE)
        loss = torch.nn.functional.nll_loss(scores, labels)
    return loss.item(), gradients(loss, leaves)


@pytest.mark.parametrize("name", WITH_LOSS)
def test_loss_and_its_gradients_agree(name: str, compiled: Compile) -> None:
    program = compiled(name)
    want, expected = losses(program, torch.float64, kernel=False)
    have, found = losses(program, torch.float64, kernel=True)
    assert have == pytest.approx(want, rel=1e-9)
    close(found, expected, 1e-9)
    single, rounded = losses(program, torch.float32, kernel=True)
    assert single == pytest.approx(want, rel=1e-6)
    close({n: g.double() for n, g in rounded.items()}, expected, 2e-5)


def test_float32_signals_agree(compiled: Compile) -> None:
    for name in ("buffered", "crossbar", "ladder"):
        program = compiled(name)
        dt, inputs = step_of(program), drive(program, torch.float64)
        expected, _ = interpret.simulate(program, STEPS, dt, inputs)
        found = kernel_of(program, torch.float32).simulate(instantiate(program), STEPS, dt, inputs)
        assert found.dtype == torch.float32
        span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
        assert (np.abs(found.detach().numpy() - expected) / span).max() < 1e-5, name


@pytest.mark.parametrize("batch", [1, 3, 16, 17, 40])
def test_any_batch_is_its_samples_one_by_one(batch: int, compiled: Compile) -> None:
    program = compiled("buffered")
    kernel, module = kernel_of(program, torch.float32), instantiate(program)
    inputs = drive(program, torch.float32, batch)
    assert inputs is not None
    dt = step_of(program)
    together = kernel.simulate(module, STEPS, dt, inputs)
    scores = kernel.log_probabilities(module, inputs, STEPS, dt, SCALE)
    for k in range(0, batch, 7):
        assert torch.equal(kernel.simulate(module, STEPS, dt, inputs[k : k + 1])[:, 0], together[:, k])
        assert torch.equal(kernel.log_probabilities(module, inputs[k : k + 1], STEPS, dt, SCALE)[0], scores[k])
    loss, found = losses(program, torch.float64, kernel=True, batch=batch)
    want, expected = losses(program, torch.float64, kernel=False, batch=batch)
    assert loss == pytest.approx(want, rel=1e-9)
    close(found, expected, 1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_repeat_gives_the_same_bits(threads: int, compiled: Compile) -> None:
    program = compiled("passive")
    module, kernel = instantiate(program), kernel_of(program, torch.float32, threads)
    inputs, labels = drive(program, torch.float32, 50), torch.arange(50) % 5
    runs = []
    for _ in range(3):
        loss, scores = kernel.classify(module, inputs, labels, STEPS, 1e-5, SCALE)
        runs.append([loss.detach(), scores, *torch.autograd.grad(loss, list(module.parameters()))])
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_threads_change_nothing_but_the_order_of_sums(compiled: Compile) -> None:
    program = compiled("passive")
    module, inputs, labels = instantiate(program), drive(program, torch.float32, 50), torch.arange(50) % 5
    found = []
    for threads in (1, 2, 3):
        loss, scores = kernel_of(program, torch.float32, threads).classify(module, inputs, labels, STEPS, 1e-5, SCALE)
        found.append((scores, torch.autograd.grad(loss, list(module.parameters()))))
    for scores, gradient in found[1:]:
        assert torch.equal(scores, found[0][0])
        for a, b in zip(gradient, found[0][1], strict=True):
            torch.testing.assert_close(a, b, rtol=0.0, atol=1e-6 * float(b.abs().max()))


def test_a_run_in_parts_is_the_run(compiled: Compile) -> None:
    program = compiled("crossbar")
    module, kernel = instantiate(program, torch.float64), kernel_of(program, torch.float64)
    inputs = drive(program, torch.float64)
    whole, end = kernel.run(module, STEPS, 5e-7, inputs)
    first, state = kernel.run(module, 25, 5e-7, inputs)
    second, last = kernel.run(module, STEPS - 25, 5e-7, inputs, state=state, first_step=25)
    torch.testing.assert_close(torch.cat((first, second[1:])), whole, rtol=1e-12, atol=1e-15)
    for a, b in zip(last, end, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)
    assert [tuple(x.shape) for x in module(2, 5e-7, inputs)[1]] == [tuple(x.shape) for x in end]


def test_only_what_is_asked_for_is_there(compiled: Compile) -> None:
    program = compiled("buffered")
    module, kernel = instantiate(program), kernel_of(program, torch.float32)
    inputs = drive(program, torch.float32)
    names = ("m2_3", "alpha", "m1_2", "m2_1", "w2_4")
    found = kernel.simulate(module, STEPS, 1e-5, inputs, observe=names)
    everything = kernel.simulate(module, STEPS, 1e-5, inputs)
    places = [module.NODES.index(n) for n in names]
    assert torch.equal(found, everything[..., places])
    with pytest.raises(ValueError, match="no node 'm9_9'"):
        kernel.simulate(module, STEPS, 1e-5, inputs, observe=["m9_9"])


def test_what_is_not_a_number_stays_so(compiled: Compile) -> None:
    program = compiled("buffered")
    module, kernel = instantiate(program), kernel_of(program, torch.float32)
    inputs = drive(program, torch.float32)
    assert inputs is not None
    inputs[1, 2] = float("nan")
    rows = kernel.simulate(module, STEPS, 1e-5, inputs, observe=module.OUTPUTS)
    broken = ~torch.isfinite(rows[-1]).all(-1)
    assert broken.tolist() == [False, True, False, False, False]


def test_wrong_arguments_are_refused(compiled: Compile) -> None:
    program = compiled("buffered")
    module, kernel = instantiate(program), kernel_of(program, torch.float32)
    inputs = drive(program, torch.float32)
    with pytest.raises(ValueError, match="labels"):
        kernel.loss(module, inputs, torch.tensor([0, 1, 2, 3, 9]), STEPS, 1e-5, SCALE)
    with pytest.raises(ValueError, match="labels"):
        kernel.loss(module, inputs, torch.tensor([0, 1]), STEPS, 1e-5, SCALE)
    with pytest.raises(ValueError, match="inputs"):
        kernel.loss(module, torch.zeros(3, 5), torch.tensor([0, 1, 2]), STEPS, 1e-5, SCALE)
    with pytest.raises(ValueError, match="steps"):
        kernel.loss(module, inputs, torch.zeros(5), 0, 1e-5, SCALE)


@pytest.mark.parametrize("name", ["network", "buffered", "wide", "fig3_buffered.cir", "passive"])
def test_gradients_of_the_loss_by_every_value_agree(name: str, compiled: Compile) -> None:
    program = compiled(name)
    module: Any = instantiate(program, torch.float64)
    inputs, labels = drive(program, torch.float64, 7), torch.arange(7) % len(module.OUTPUTS)
    blocks = {n: v.detach().clone().requires_grad_() for n, v in module.values().items()}
    dt = step_of(program)
    rows = module(STEPS, dt, inputs, observe=module.OUTPUTS, values=blocks)[0]
    scores = torch.log_softmax(rows[1:] * SCALE, -1).mean(0)
    want = gradients(torch.nn.functional.nll_loss(scores, labels), blocks)
    loss, found = kernel_of(program, torch.float64).classify(Values(blocks), inputs, labels, STEPS, dt, SCALE)
    torch.testing.assert_close(found, scores.detach(), rtol=1e-9, atol=1e-12)
    close(gradients(loss, blocks), want, 1e-9)


def test_float32_gradients_are_those_of_float64_at_usual_inputs(tmp_path: Path) -> None:
    path = tmp_path / "passive.cir"
    path.write_text(generate((30, 12, 6), passive=True, seed=1), encoding="utf-8")
    program = compile_deck(path).program
    want, expected = losses(program, torch.float64, kernel=False, batch=32, steps=500)
    for kernel in (False, True):
        have, found = losses(program, torch.float32, kernel=kernel, batch=32, steps=500)
        assert have == pytest.approx(want, rel=1e-6)
        close({n: g.double() for n, g in found.items()}, expected, 2e-5)
