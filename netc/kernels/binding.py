"""Where a module keeps the values that its ``values()`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netc.emit import support
from netc.ir.program import Bounds, Coordinate, Program


@dataclass(frozen=True, slots=True)
class Binding:
    """Attributes of a module by block: positions of trained blocks, values of the others."""

    positions: dict[str, str]
    buffers: dict[str, str]


def from_position(position: Tensor, bounds: Bounds) -> Tensor:
    """Return the values at positions between their bounds, in float64."""
    reciprocal = bounds.coordinate is Coordinate.RECIPROCAL
    return support.from_position(position, bounds.minimum, bounds.maximum, reciprocal)


def bind(module: Any, program: Program) -> Binding | None:
    """Return where ``module`` keeps its values; ``None`` where it does something else than an emitted module does.

    Every value is compared with what ``module.values()`` returns.
    """
    if not isinstance(module, torch.nn.Module):
        return None
    circuit: Any = module  # torch knows nothing of values()
    values: dict[str, Tensor] = circuit.values()
    positions: dict[str, str] = {}
    buffers: dict[str, str] = {}
    parameters, others = dict(module.named_parameters()), dict(module.named_buffers())
    with torch.no_grad():
        for block in program.parameters:
            value = values.get(block.name)
            if value is None or value.shape != (len(block.values),):
                return None
            if block.trained:
                fits = [
                    n
                    for n, p in parameters.items()
                    if p.shape == value.shape and torch.equal(from_position(p, block.trained), value)
                ]
                if len(fits) > 1:  # blocks may hold equal values
                    fits = [n for n in fits if n == f"{block.name}_position"]
                found = positions
            else:
                fits = [n for n, b in others.items() if b is value]
                found = buffers
            if not fits:
                return None
            found[block.name] = fits[0]
    return Binding(positions, buffers)
