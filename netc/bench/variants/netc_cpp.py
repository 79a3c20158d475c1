"""netc's fused kernel, called as training calls it."""

from __future__ import annotations

import torch

from netc.bench.problem import Task
from netc.bench.registry import Outcome, Step, Unavailable, crossbar_gradients
from netc.kernels import PASSES
from netc.kernels import build as build_kernel
from netc.runtime.load import instantiate


def build(task: Task) -> Step:
    """Return the step; its gradients are those of the trained positions, a superset of what others compute."""
    program = task.compilation().program
    said: list[str] = []
    left_out = [name for name in task.disable if name in dict(PASSES)]
    kernel = build_kernel(program, torch.float32, threads=task.threads, notify=said.append, disable=left_out)
    if kernel is None or not kernel.has_loss:
        raise Unavailable("; ".join(said) or "there is no fused kernel for this network")
    module = instantiate(task.source)
    inputs, labels = torch.from_numpy(task.amplitudes), torch.from_numpy(task.labels)
    trained = list(module.parameters())

    def step() -> Outcome:
        loss = kernel.loss(module, inputs, labels, task.steps, task.dt, task.logit_scale)
        found = torch.autograd.grad(loss, trained)
        return Outcome(float(loss.detach()), lambda: crossbar_gradients([g.numpy() for g in found], task))

    return step
