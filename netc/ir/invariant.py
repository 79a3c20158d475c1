"""Boxes that the states of a program provably never leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.ir.interval import Interval, bounds, environment_of, unmoved
from netc.ir.nodes import Expr, State
from netc.ir.program import Program
from netc.ir.sparsity import dependence, diagonal_groups

Array = np.ndarray[Any, np.dtype[Any]]  # float64

_REACH = [1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 1e3, 1e6, np.inf]
_UPPER = np.array(_REACH)
_LOWER = -np.array([0.0, *_REACH])
_MANY_GROUPS, _LONG_STRIDE = 8, 4


def state_box(program: Program, environment: Mapping[Expr, Any] | None = None) -> dict[str, Interval]:
    """Return the box in which each state provably stays, as ``(lower, upper)`` lane arrays by state name.

    A box is invariant if on its lower face the derivative is not negative and on its upper face not positive
    wherever all other states are within their own boxes (Nagumo).  The tightest candidates that hold the
    initial values are assumed, from 0..1, where memristors live (nothing narrower is tried: a device may be
    anywhere in its range), to a million both ways; a face that fails is moved outwards until all support each
    other.  A face for which all candidates fail is infinite.  An explicit step may overshoot by one step.

    Args:
        program: without algebraic blocks.
        environment: bounds of parameters, inputs and time; those of :func:`environment_of` when ``None``.
    """
    around = dict(environment_of(program) if environment is None else environment)
    leaves = {block.name: State(block.name, block.size) for block in program.dynamic}
    around |= unmoved([block.derivative for block in program.dynamic], around, set(leaves.values()))
    groups: dict[str, list[Array]] = {}
    level: dict[str, tuple[Array, Array]] = {}
    for block in program.dynamic:
        low, high = (np.broadcast_to(x, (block.size,)) for x in bounds(block.initial, around))
        lower, upper = np.argmax(low[:, None] >= _LOWER, axis=1), np.argmax(high[:, None] <= _UPPER, axis=1)
        pattern = dependence(block.derivative, leaves[block.name])
        if pattern is None or block.derivative.shape != (block.size,):
            lower[:], upper[:] = len(_LOWER) - 1, len(_UPPER) - 1  # nothing draws such a state back into a box
        else:
            groups[block.name] = diagonal_groups(pattern)
        level[block.name] = lower, upper

    def box(name: str) -> Interval:
        return _LOWER[level[name][0]], _UPPER[level[name][1]]

    changed = True
    while changed:
        changed = False
        for block in program.dynamic:
            bounded = [np.isfinite(face) for face in box(block.name)]
            if not np.any(bounded):
                continue
            here = around | {leaf: box(name) for name, leaf in leaves.items()}
            held = _faces_hold(block.derivative, leaves[block.name], groups[block.name], here)
            stride = _LONG_STRIDE if len(groups[block.name]) > _MANY_GROUPS else 1
            for chosen, known, holds in zip(level[block.name], bounded, held, strict=True):
                fails = known & ~holds
                last = len(_LOWER if chosen is level[block.name][0] else _UPPER) - 1
                chosen[fails] = np.minimum(chosen[fails] + stride, last)
                changed |= bool(fails.any())
    return {name: box(name) for name in leaves}


def _faces_hold(
    derivative: Expr, leaf: State, groups: list[Array], environment: dict[Expr, Interval]
) -> tuple[Array, Array]:
    """Whether the flow of each lane points inwards on its lower and on its upper face, where they are finite.

    Lanes of a group do not read each other.  Where nothing holds in the first of many groups the others are
    given up, too: a pass each is too much.
    """
    held = np.zeros(leaf.size, dtype=bool), np.zeros(leaf.size, dtype=bool)
    for lanes in groups:
        for side, face in enumerate(environment[leaf]):
            bounded = lanes[np.isfinite(face[lanes])]
            low, high = (end.copy() for end in environment[leaf])
            low[bounded] = high[bounded] = face[bounded]
            flow = bounds(derivative, environment | {leaf: (low, high)})[side][bounded]
            held[side][bounded] = flow >= 0 if side == 0 else flow <= 0
        if len(groups) > _MANY_GROUPS and not (held[0] | held[1])[lanes].any():
            break
    return held
