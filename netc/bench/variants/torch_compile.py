"""torch.compile of ten steps at a time; a graph of all of them would take it far longer to compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from netc.bench.equations import State, euler_step
from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step, Unavailable
from netc.bench.variants.torch_eager import initial_state, outcome

CHUNK = 10


def build(problem: Problem) -> Step:
    """Return the step, compiled and run once on one chunk."""
    if problem.steps % CHUNK:
        raise Unavailable(f"the number of steps must be a multiple of {CHUNK}")
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # in this process, so that its time is counted
    inputs, labels = torch.from_numpy(problem.amplitudes), torch.from_numpy(problem.labels)
    weights = [torch.tensor(w, requires_grad=True) for w in problem.weights]
    waves = torch.from_numpy(problem.wave[:-1]).reshape(-1, CHUNK)

    def plain(state: State, current: Tensor, wave: Tensor, later: list[Tensor]) -> tuple[State, Tensor]:
        rows = []
        for n in range(CHUNK):
            state = euler_step(state, current * wave[n], later, problem.dt, problem.neuron, torch.sigmoid)
            rows.append(state[-1][0])
        return state, torch.log_softmax(torch.stack(rows) * problem.logit_scale, -1).sum(0)

    chunk: Any = torch.compile(plain, fullgraph=True, dynamic=False)

    def steps(chunks: int) -> Outcome:
        state, total = initial_state(problem), torch.zeros(problem.batch, problem.layers[-1])
        current = inputs @ weights[0]
        for wave in waves[:chunks]:
            state, found = chunk(state, current, wave, weights[1:])
            total = total + found
        return outcome(torch.nn.functional.nll_loss(total / problem.steps, labels), weights)

    steps(1)
    steps(min(3, len(waves)))  # a state that needs gradients is compiled anew
    return lambda: steps(len(waves))
