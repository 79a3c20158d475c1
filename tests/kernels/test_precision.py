"""Single precision is as good as double, over as many steps as trainings take, in the kernel and in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from netc.bench.circuits import make_task
from netc.bench.problem import Task
from netc.kernels import build
from netc.kernels.library import compiler
from netc.runtime.load import instantiate
from netc.training.unroll import mean_log_probabilities

LOSS, GRADIENT, DOUBLE = 1e-6, 2e-5, 1e-9

Found = tuple[float, list[torch.Tensor]]


@pytest.fixture(scope="module", params=[("rlc-ladder", 16, 1000), ("mss-crossbar", 4, 150)], ids=lambda p: p[0])
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Task:
    name, batch, steps = request.param
    return make_task(name, tmp_path_factory.mktemp(name), batch=batch, steps=steps)


def found(task: Task, dtype: torch.dtype, *, kernel: bool) -> Found:
    """Return loss and gradients in float64, of parameters that single precision holds exactly."""
    module: Any = instantiate(task.source, dtype=dtype)
    single: Any = instantiate(task.source)
    with torch.no_grad():
        for x, same in zip(module.parameters(), single.parameters(), strict=True):
            x.copy_(same)
    inputs, labels = torch.from_numpy(task.amplitudes).to(dtype), torch.from_numpy(task.labels)
    if kernel:
        built = build(task.compilation().program, dtype, threads=1)
        assert built is not None
        loss = built.loss(module, inputs, labels, task.steps, task.dt, task.logit_scale)
    else:
        scores = mean_log_probabilities(module, inputs, steps=task.steps, dt=task.dt, logit_scale=task.logit_scale)
        loss = torch.nn.functional.nll_loss(scores, labels)
    return loss.item(), [g.double() for g in torch.autograd.grad(loss, list(module.parameters()))]


def error(have: Found, want: Found) -> tuple[float, float]:
    """Return relative errors of the loss, and of the worst block's gradient against its norm."""
    worst = max(float((a - b).norm() / b.norm()) for a, b in zip(have[1], want[1], strict=True))
    return abs(have[0] - want[0]) / abs(want[0]), worst


@pytest.fixture(scope="module")
def exact(task: Task) -> Found:
    return found(task, torch.float64, kernel=False)


def test_torch_in_single_precision(task: Task, exact: Found) -> None:
    loss, gradient = error(found(task, torch.float32, kernel=False), exact)
    assert loss <= LOSS
    assert gradient <= GRADIENT


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_kernel_in_single_precision(task: Task, exact: Found) -> None:
    loss, gradient = error(found(task, torch.float32, kernel=True), exact)
    assert loss <= LOSS
    assert gradient <= GRADIENT


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_kernel_in_double_precision(task: Task, exact: Found) -> None:
    loss, gradient = error(found(task, torch.float64, kernel=True), exact)
    assert loss <= DOUBLE
    assert gradient <= DOUBLE
