"""netc's emitted PyTorch module, as training runs it where there is no compiler."""

from __future__ import annotations

from typing import Any

import torch

from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step, crossbar_gradients
from netc.runtime.load import instantiate
from netc.training.memory import available_bytes, bytes_per_step, choose_chunk
from netc.training.unroll import mean_log_probabilities, negative_log_likelihood


def build(problem: Problem) -> Step:
    """Return the step; how much is kept for the backward pass is decided as training decides it."""
    module: Any = instantiate(problem.source)
    inputs, labels = torch.from_numpy(problem.amplitudes), torch.from_numpy(problem.labels)
    trained = list(module.parameters())
    per_step = bytes_per_step(module, inputs, problem.batch, problem.dt)
    chunk = choose_chunk(problem.steps, per_step, available_bytes(inputs.device))

    def step() -> Outcome:
        scores = mean_log_probabilities(
            module, inputs, steps=problem.steps, dt=problem.dt, logit_scale=problem.logit_scale, chunk=chunk
        )
        loss = negative_log_likelihood(scores, labels)
        found = torch.autograd.grad(loss, trained)
        return Outcome(float(loss.detach()), lambda: crossbar_gradients([g.numpy() for g in found], problem))

    return step
