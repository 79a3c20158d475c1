"""The network in the words of an array library, for variants that are written, not compiled from the deck.

C dV/dt = I - G1 (V - E1) + G2 (E2 - V),  Gi = xi / Ron + (1 - xi) / Roff
tau dxi/dt = (1 - xi) s((vi - Von) / VT) - xi (1 - k s((vi - Voff) / VT)),  v1 = V - E1,  v2 = E2 - V

Source: MEMprop (P. Zhou et al., arXiv 2206.12992), Table I; explicit Euler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netc.bench.problem import Neuron

State = tuple[tuple[Any, Any, Any], ...]


def euler_step(
    state: State, current: Any, weights: Sequence[Any], dt: float, neuron: Neuron, sigmoid: Callable[[Any], Any]
) -> State:
    """Return the state of all layers one step later.

    Args:
        state: of each layer (membrane in volts, device 1, device 2), each ``(batch, neurons)``.
        current: into the first layer, amperes, ``(batch, neurons)``.
        weights: of the crossbars after the first, siemens, ``(inputs, neurons)``.
        dt: seconds.
        neuron: its values.
        sigmoid: of the library.
    """
    on, off, vt, k = 1 / neuron.ron, 1 / neuron.roff, neuron.thermal, neuron.volatility
    found = []
    for layer, (v, x1, x2) in enumerate(state):
        into = current if layer == 0 else state[layer - 1][0] @ weights[layer - 1]
        v1, v2 = v - neuron.reset, neuron.rest - v
        drift = into - v1 * (x1 * on + (1 - x1) * off) + v2 * (x2 * on + (1 - x2) * off)
        devices = [
            x
            + dt
            / neuron.tau
            * ((1 - x) * sigmoid((across - neuron.von) / vt) - x * (1 - k * sigmoid((across - neuron.voff) / vt)))
            for x, across in ((x1, v1), (x2, v2))
        ]
        found.append((v + dt / neuron.capacitance * drift, devices[0], devices[1]))
    return tuple(found)
