"""Lanes read at another place: moved down to states and fixed values, so that a chain of neighbours is one loop.

gather(p * x, [1, 2, 3])            ->   gather(p, [1, 2, 3]) * gather(x, [1, 2, 3])
scatter(p * x, [0, 1, 2], 4)        ->   scatter(p, [0, 1, 2], 4) * scatter(x, [0, 1, 2], 4)
gather(scatter(x, [0, 1], 3), [1])  ->   gather(x, [1])

Only where lanes keep their order in a few runs and little is computed twice; what is fixed moves out of the time loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netc.ir.build import add, gather, mul, neg, scatter_add, sub
from netc.ir.nodes import Binary, Const, Expr, Gather, Index, ScatterAdd, State, Unary, postorder, rebuild

_MOST_RUNS = 3
_MOST_OPERATIONS = 8  # that are computed again for a neighbour
_Test = Callable[[Expr], bool]
_OPERATIONS = {"add": add, "sub": sub, "mul": mul}


def runs(places: np.ndarray) -> list[int]:
    """Return where stretches of consecutive numbers, or of -1, begin in ``places``."""
    none = places < 0
    breaks = np.where(none[1:] | none[:-1], none[1:] != none[:-1], np.diff(places) != 1)
    return [0, *(np.flatnonzero(breaks) + 1).tolist()]


def sources(node: ScatterAdd) -> np.ndarray | None:
    """Return which lane of its operand each lane is, -1 where none; ``None`` where some are sums of several."""
    if node.x.size != len(node.index) or len(np.unique(node.index.array)) != len(node.index):
        return None
    places = np.full(node.lanes, -1, dtype=np.int64)
    places[node.index.array] = np.arange(len(node.index))
    return places


def is_shifted_state(node: Expr) -> bool:
    """Whether a scattered value is states at other places: nothing is added up."""
    if not isinstance(node, ScatterAdd) or sources(node) is None:
        return False
    return isinstance(node.x.x if isinstance(node.x, Gather) else node.x, State)


def shifted(roots: Sequence[Expr], fixed: _Test, given: _Test = lambda _: False) -> list[Expr]:
    """Return ``roots`` with gathers and scatters of neighbours moved down; equal but for the order of operations.

    Args:
        roots: what is computed.
        fixed: says what is computed outside the time loop.
        given: says what else is brought from outside and not looked into.
    """
    done: dict[Expr, Expr] = {}
    for node in postorder(*roots):
        new = node if fixed(node) else rebuild(node, tuple(done[child] for child in node.children))
        if isinstance(new, Gather | ScatterAdd) and not (fixed(new) or given(new)) and _is_small(new.x, fixed):
            places = new.index.array if isinstance(new, Gather) else sources(new)
            if places is not None and len(places) > 1 and len(runs(places)) <= _MOST_RUNS:
                new = _moved(new.x, places, fixed, given) or new
        done[node] = new
    return [done[root] for root in roots]


def _is_light(node: Expr) -> bool:
    return (isinstance(node, Unary) and node.op == "neg") or (isinstance(node, Binary) and node.op in _OPERATIONS)


def _is_small(node: Expr, fixed: _Test) -> bool:
    """Whether few operations stand above what is in memory."""
    count, stack = 0, [node]
    while stack and count <= _MOST_OPERATIONS:
        node = stack.pop()
        if _is_light(node) and not fixed(node):
            count += 1
            stack += node.children
    return count <= _MOST_OPERATIONS


def _moved(node: Expr, places: np.ndarray, fixed: _Test, given: _Test) -> Expr | None:
    """Return lanes ``places`` of ``node``, 0 where they are -1; ``None`` where that cannot be said of its operands."""
    if given(node):
        return None if (places < 0).any() else _picked(node, places)
    if fixed(node) or not _is_light(node):
        return _picked(node, places)
    if isinstance(node, Unary):
        inner = _moved(node.x, places, fixed, given)
        return None if inner is None else neg(inner)
    if not isinstance(node, Binary):
        return None
    parts: list[Expr] = []
    for child in node.children:
        if child.size == node.size:
            part = _moved(child, places, fixed, given)
        elif node.op == "mul" or (places >= 0).all():
            part = child
        else:
            part = _picked(child, places) if fixed(child) else None
        if part is None:
            return None
        parts.append(part)
    return _OPERATIONS[node.op](*parts)


def _picked(node: Expr, places: np.ndarray) -> Expr:
    """Return lanes of something as they are in memory."""
    filled = np.flatnonzero(places >= 0)
    if node.size == 1:
        whole = len(filled) == len(places)
        return node if whole else ScatterAdd(node, Index(filled), len(places))
    if isinstance(node, ScatterAdd) and (inner := sources(node)) is not None:
        return _picked(node.x, np.where(places >= 0, inner[places], -1))
    if isinstance(node, Gather):
        return _picked(node.x, np.where(places >= 0, node.index.array[places], -1))
    if isinstance(node, Const):
        raise TypeError("a constant has one lane")
    picked = gather(node, Index(places[filled]))
    return picked if len(filled) == len(places) else scatter_add(picked, Index(filled), len(places))
