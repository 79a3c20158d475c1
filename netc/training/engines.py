"""What runs a circuit in training: the emitted PyTorch module, or a fused kernel of the same program.

Both give the same numbers to rounding (``tests/kernels`` checks values and gradients); a run keeps to one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from netc.ir.program import Program
from netc.kernels import Kernel
from netc.kernels.circuit import kernel_for
from netc.training.contract import CircuitModule
from netc.training.options import TrainingOptions
from netc.training.timing import Steps
from netc.training.unroll import mean_log_probabilities, negative_log_likelihood


class Engine(Protocol):
    """One way to run a circuit; ``name`` is what results say of it."""

    name: str

    def learn(self, samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, differentiable, and the mean log-probabilities ``(batch, classes)``."""

    def scores(self, samples: Tensor) -> Tensor:
        """Return the mean log-probabilities ``(batch, classes)`` without gradients."""

    def signals(self, samples: Tensor, nodes: Sequence[str]) -> Tensor:
        """Return voltages ``(steps + 1, batch, nodes)`` without gradients."""


@dataclass(slots=True)
class TorchEngine:
    """Runs the emitted module; ``chunk`` is how many time steps are kept for the backward pass, 0 all."""

    module: CircuitModule
    steps: Steps
    logit_scale: float
    chunk: int = 0
    name: str = "torch"

    def learn(self, samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        scores = self._scores(samples, self.chunk)
        return negative_log_likelihood(scores, labels), scores.detach()

    def scores(self, samples: Tensor) -> Tensor:
        """See :class:`Engine`."""
        with torch.no_grad():
            return self._scores(samples, 0)

    def signals(self, samples: Tensor, nodes: Sequence[str]) -> Tensor:
        """See :class:`Engine`."""
        with torch.no_grad():
            return self.module(self.steps.count, self.steps.dt, samples, observe=tuple(nodes))[0]

    def _scores(self, samples: Tensor, chunk: int) -> Tensor:
        return mean_log_probabilities(
            self.module,
            samples,
            steps=self.steps.count,
            dt=self.steps.dt,
            logit_scale=self.logit_scale,
            chunk=chunk,
        )


@dataclass(slots=True)
class KernelEngine:
    """Runs a fused kernel with the values of the emitted module."""

    module: CircuitModule
    kernel: Kernel
    steps: Steps
    logit_scale: float
    name: str = "cpp"

    def learn(self, samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        return self.kernel.classify(self.module, samples, labels, self.steps.count, self.steps.dt, self.logit_scale)

    def scores(self, samples: Tensor) -> Tensor:
        """See :class:`Engine`."""
        return self.kernel.log_probabilities(self.module, samples, self.steps.count, self.steps.dt, self.logit_scale)

    def signals(self, samples: Tensor, nodes: Sequence[str]) -> Tensor:
        """See :class:`Engine`."""
        with torch.no_grad():
            return self.kernel.simulate(self.module, self.steps.count, self.steps.dt, samples, tuple(nodes))


def choose(
    program: Program, module: CircuitModule, options: TrainingOptions, steps: Steps, notify: Callable[[str], None]
) -> Engine:
    """Return the engine ``options.backend`` asks for; ``auto`` takes the kernel where there can be one.

    Raises:
        NetcError: ``cpp`` was asked for and there can be no kernel.
    """
    kernel = kernel_for(
        options.backend,
        program,
        options.torch_dtype,
        notify=notify,
        loss=True,
        device=options.device,
        disable=options.kernel_passes,
    )
    if kernel is not None:
        return KernelEngine(module, kernel, steps, options.logit_scale)
    return TorchEngine(module, steps, options.logit_scale)
