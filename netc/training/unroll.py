"""The loss of a spiking classifier: log-softmax over the output membranes at every time step.

Source: MEMprop (P. Zhou et al., "Gradient-based Neuromorphic Learning on Dynamical RRAM Arrays", arXiv
2206.12992), section IV-C: negative log-likelihood of the output membrane potentials at every step, summed over
time, differentiated through every device state (BPTT, no surrogate gradient).
Here the sum is a mean over time, so that the learning rate and
the figure printed do not depend on the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from netc.training.contract import CircuitModule, State
from netc.training.inputs import stretch


def mean_log_probabilities(
    module: CircuitModule, amplitudes: Tensor, *, steps: int, dt: float, logit_scale: float, chunk: int = 0
) -> Tensor:
    """Return the log-probability of every class, averaged over time steps 1 to ``steps``.

    The state at the start is left out: it is the same for every sample and every parameter.

    Args:
        module: the circuit.
        amplitudes: ``(batch, FEATURES)`` in [0, 1], or waveforms ``(steps, batch, FEATURES)``.
        steps: time steps.
        dt: time step in seconds.
        logit_scale: multiplies voltages before the softmax, 1/V.
        chunk: steps whose voltages, and whose intermediate values for the backward pass, are kept at a time; 0
            keeps all.  A smaller number costs one more forward pass before a backward pass; values are the same.

    Returns:
        ``(batch, len(OUTPUTS))``, dimensionless.  The prediction is its largest entry.
    """
    stride = chunk if 0 < chunk < steps else steps
    state: State | None = None
    total: Any = 0.0
    for first in range(0, steps, stride):
        now = min(stride, steps - first)
        arguments = (module, stretch(amplitudes, first, now), now, dt, logit_scale, first, state)
        if stride < steps and torch.is_grad_enabled():
            part, state = checkpoint(_stretch, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            part, state = _stretch(*arguments)
        total = total + part
    result: Tensor = total / steps
    return result


def log_probabilities_and_means(
    module: CircuitModule, amplitudes: Tensor, *, steps: int, dt: float, logit_scale: float, signals: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return :func:`mean_log_probabilities` and the means of other signals over steps 0 to the last but one.

    Args:
        module: the circuit.
        amplitudes: ``(batch, FEATURES)`` in [0, 1].
        steps: time steps.
        dt: time step in seconds.
        logit_scale: multiplies voltages before the softmax, 1/V.
        signals: names of the others.

    Returns:
        ``(batch, len(OUTPUTS))`` and ``(batch, len(signals))``.
    """
    rows, _ = module(steps, dt, amplitudes, observe=(*module.OUTPUTS, *signals))
    outputs, others = rows[1:, :, : len(module.OUTPUTS)], rows[:-1, :, len(module.OUTPUTS) :]
    return torch.log_softmax(outputs * logit_scale, dim=-1).mean(0), others.mean(0)


def _stretch(
    module: CircuitModule,
    amplitudes: Tensor,
    steps: int,
    dt: float,
    logit_scale: float,
    first: int,
    state: State | None,
) -> tuple[Tensor, State]:
    voltages, state = module(steps, dt, amplitudes, observe=module.OUTPUTS, state=state, first_step=first)
    # classes before samples: torch's softmax over a short last axis takes five times as long
    logits = (voltages[1:] * logit_scale).transpose(1, 2).contiguous()
    return torch.log_softmax(logits, dim=1).sum(dim=0).T, state


def negative_log_likelihood(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of minus the log-probability of the right class."""
    return torch.nn.functional.nll_loss(log_probabilities, labels)
