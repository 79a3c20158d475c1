"""netc's emitted PyTorch module, as a training of many updates runs it where there is no kernel.

Where that pays, ``torch.compile`` makes blocks of steps of it; ``torch-loop`` is the module as it stands.
"""

from __future__ import annotations

from typing import Any

import torch

from netc.bench.problem import Task
from netc.bench.registry import Outcome, Step, crossbar_gradients
from netc.runtime.load import instantiate
from netc.training.engines import TorchEngine, pays_to_compile
from netc.training.memory import available_bytes, choose_chunk
from netc.training.timing import Steps

UPDATES = 1000
"""How long a training is imagined: too short for small circuits to be compiled."""


def build(task: Task) -> Step:
    """Return the step, compiled and run once; what is kept for the backward pass is decided as training decides it."""
    module: Any = instantiate(task.source)
    inputs, labels = torch.from_numpy(task.amplitudes), torch.from_numpy(task.labels)
    trained = list(module.parameters())
    steps = Steps(task.steps, task.dt)
    lanes = sum(len(names) for _, names in module.STATES.values())
    engine = TorchEngine(
        module, steps, task.logit_scale, task.batch, pays_to_compile(lanes, steps, task.batch, UPDATES)
    )
    engine.chunk = choose_chunk(task.steps, engine.bytes_per_step(inputs, task.batch), available_bytes(inputs.device))

    def step() -> Outcome:
        loss, _ = engine.learn(inputs, labels)
        found = torch.autograd.grad(loss, trained)
        return Outcome(float(loss.detach()), lambda: crossbar_gradients([g.numpy() for g in found], task))

    if engine.compiled:
        step()
    return step
