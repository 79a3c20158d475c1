"""PyTorch as the papers write it: a Python loop over time steps, autograd through all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from netc.bench.equations import State, euler_step
from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step


def initial_state(problem: Problem) -> State:
    """Return zeros for every layer."""
    return tuple((z := torch.zeros(problem.batch, n), z, z) for n in problem.layers[1:])


def outcome(loss: Tensor, weights: list[Tensor]) -> Outcome:
    """Differentiate and return what was found."""
    found = torch.autograd.grad(loss, weights)
    return Outcome(float(loss.detach()), lambda: tuple(g.numpy() for g in found))


def build(problem: Problem, *, hoisted: bool) -> Step:
    """Return the step; ``hoisted`` multiplies the inputs with the first crossbar once, not every step."""
    inputs, labels = torch.from_numpy(problem.amplitudes), torch.from_numpy(problem.labels)
    weights = [torch.tensor(w, requires_grad=True) for w in problem.weights]
    wave = [float(a) for a in problem.wave]

    def step() -> Outcome:
        state = initial_state(problem)
        once = inputs @ weights[0] if hoisted else None
        rows = []
        for n in range(problem.steps):
            current = once * wave[n] if once is not None else (inputs * wave[n]) @ weights[0]
            state = euler_step(state, current, weights[1:], problem.dt, problem.neuron, torch.sigmoid)
            rows.append(state[-1][0])
        scores = torch.log_softmax(torch.stack(rows) * problem.logit_scale, -1).mean(0)
        return outcome(torch.nn.functional.nll_loss(scores, labels), weights)

    return step
