"""How busy a circuit is: spikes per neuron and the share of time membranes are above threshold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Activity:
    """Means over samples and membranes.

    Attributes:
        spikes_per_neuron: upward crossings of the threshold during one sample.
        share_of_time: share of time steps above the threshold.
    """

    spikes_per_neuron: float
    share_of_time: float


def count(voltages: Tensor, threshold: float) -> Activity:
    """Return the activity in ``(steps + 1, batch, nodes)`` volts."""
    above = voltages > threshold
    rising = above[1:] & ~above[:-1]
    spikes = rising.sum(dim=0, dtype=torch.float64).mean()
    return Activity(float(spikes), float(above[1:].to(torch.float64).mean()))
