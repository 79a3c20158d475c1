"""The values a circuit has learnt, by name, and the way back into a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from netc.ir.program import ParameterBlock, Program

Values = Mapping[str, np.ndarray]
"""Physical values by block, trained or with a spread, float64, SI units, shape ``(lanes,)``."""


def trained_blocks(program: Program) -> list[ParameterBlock]:
    """Return the blocks that are learnt."""
    return [block for block in program.parameters if block.trained is not None]


def written_blocks(program: Program) -> list[ParameterBlock]:
    """Return the blocks whose values a deck is written with: those that are learnt or that have a spread."""
    return [block for block in program.parameters if block.trained is not None or block.spreads]


def trained_values(module: Any, program: Program) -> dict[str, np.ndarray]:
    """Return the values of ``module`` that are learnt or have a spread, as they stand, by block; see :data:`Values`."""
    with torch.no_grad():
        found = module.values()
        return {b.name: found[b.name].detach().cpu().numpy().astype(np.float64) for b in written_blocks(program)}


def set_values(module: Any, values: Values) -> None:
    """Give ``module`` other values, which it rounds to positions of its own type."""
    with torch.no_grad():
        module.set_values({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in values.items()})


def by_lane(program: Program, values: Values) -> tuple[dict[str, float], dict[str, float]]:
    """Return values by name: those of elements (``x1.r3``), and those of shared parameters (``cell.ron``)."""
    elements: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for block in written_blocks(program):
        if block.name not in values and block.trained is None:
            continue  # it stays as the deck has it
        target = parameters if block.role == "model" else elements
        target.update(zip(block.lanes, values[block.name].tolist(), strict=True))
    return elements, parameters
