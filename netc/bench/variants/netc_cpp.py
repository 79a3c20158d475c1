"""netc's fused kernel, called as training calls it."""

from __future__ import annotations

import torch

from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step, Unavailable, crossbar_gradients
from netc.kernels import build as build_kernel
from netc.runtime.load import instantiate


def build(problem: Problem) -> Step:
    """Return the step; its gradients are those of the trained positions, a superset of what others compute."""
    program = problem.compilation().program
    said: list[str] = []
    kernel = build_kernel(program, torch.float32, threads=problem.threads, notify=said.append)
    if kernel is None or not kernel.has_loss:
        raise Unavailable("; ".join(said) or "there is no fused kernel for this network")
    module = instantiate(problem.source)
    inputs, labels = torch.from_numpy(problem.amplitudes), torch.from_numpy(problem.labels)
    trained = list(module.parameters())

    def step() -> Outcome:
        loss = kernel.loss(module, inputs, labels, problem.steps, problem.dt, problem.logit_scale)
        found = torch.autograd.grad(loss, trained)
        return Outcome(float(loss.detach()), lambda: crossbar_gradients([g.numpy() for g in found], problem))

    return step
