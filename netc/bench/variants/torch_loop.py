"""The emitted PyTorch module as an eager time loop: all states in every step, everything kept for the backward pass."""

from __future__ import annotations

from typing import Any

import torch

from netc.bench.problem import Task
from netc.bench.registry import Outcome, Step, crossbar_gradients
from netc.runtime.load import instantiate


def build(task: Task) -> Step:
    """Return the step."""
    module: Any = instantiate(task.source)
    inputs, labels = torch.from_numpy(task.amplitudes), torch.from_numpy(task.labels)
    trained = list(module.parameters())

    def step() -> Outcome:
        voltages, _ = module(task.steps, task.dt, inputs, observe=module.OUTPUTS)
        scores = torch.log_softmax(voltages[1:] * task.logit_scale, -1).mean(0)
        loss = torch.nn.functional.nll_loss(scores, labels)
        found = torch.autograd.grad(loss, trained)
        return Outcome(float(loss.detach()), lambda: crossbar_gradients([g.numpy() for g in found], task))

    return step
