"""Checks the invariants of a program; run after every pass, so that a broken pass is caught at once."""

from __future__ import annotations

import numpy as np

from netc.ir.implicit import Hole, Newton
from netc.ir.network import Response
from netc.ir.nodes import (
    Assemble,
    Const,
    Expr,
    Gather,
    Input,
    Parameter,
    ScatterAdd,
    Shape,
    Slot,
    State,
    Unknown,
    postorder,
)
from netc.ir.program import Program


def verify(program: Program) -> None:
    """Raise ``ValueError`` where the program is not what back ends rely on.

    Every leaf is declared with its size, no template slot is left, indices are in range, each root has the lanes
    of its block (or one, which broadcasts), names are unique, and outputs exist.
    """
    leaves = _declared(program)
    roots: list[tuple[str, int, Expr]] = []
    for state in program.states:
        roots += [(f"derivative of {state.name}", state.size, state.derivative)]
        roots += [(f"initial value of {state.name}", state.size, state.initial)]
    roots += [(f"observable {o.name}", len(o.lanes), o.value) for o in program.observables]
    for block in program.algebraic:
        names = [getattr(u, "name", "?") for u in block.unknowns]
        if len(block.residuals) != len(names) or len(block.lanes) != len(names):
            raise ValueError(f"algebraic block {names}: unknowns, residuals and lanes differ in number")
        for name, unknown, residual in zip(names, block.unknowns, block.residuals, strict=True):
            roots.append((f"residual of {name}", unknown.size, residual))
        if block.explicit is not None:
            roots.append((f"value of {names[0]}", block.unknowns[0].size, block.explicit))
    for place, size, root in roots:
        if root.shape not in ((size,), (1,)):
            raise ValueError(f"{place} has shape {root.shape}, not {(size,)}")
    checked: set[Expr] = set()
    for place, _, root in roots:
        stack = [root]
        while stack:
            node = stack.pop()
            if node not in checked:
                checked.add(node)
                _check(node, place, leaves)
                stack.extend(node.children)
    for state in program.states:
        if any(isinstance(node, State) for node in postorder(state.initial)):
            raise ValueError(f"the initial value of {state.name} reads a state")
    signals = [name for o in program.observables for name in o.lanes]
    _unique("signal", signals)
    missing = set(program.outputs) - set(signals)
    if missing:
        raise ValueError(f"output {min(missing)!r} is not observable")


def _declared(program: Program) -> dict[tuple[type[Expr], str], Shape]:
    leaves: dict[tuple[type[Expr], str], Shape] = {}
    for kind, blocks in ((Parameter, program.parameters), (Input, program.inputs), (State, program.states)):
        _unique(kind.__name__.lower(), [b.name for b in blocks])
        leaves |= {(kind, b.name): (len(b.lanes),) for b in blocks}
    for block in program.parameters:
        if block.values.shape != (len(block.lanes),):
            raise ValueError(f"parameter {block.name} has values {block.values.shape} for {len(block.lanes)} lanes")
    unknowns = [u for block in program.algebraic for u in block.unknowns if isinstance(u, Unknown)]
    _unique("unknown", [u.name for u in unknowns])
    return leaves | {(Unknown, u.name): u.shape for u in unknowns}


def _unique(kind: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{kind} {min(n for n in set(names) if names.count(n) > 1)!r} occurs twice")


def _check(node: Expr, place: str, leaves: dict[tuple[type[Expr], str], Shape]) -> None:
    if isinstance(node, Slot):
        raise ValueError(f"{place}: slot {node.kind} {node.index} of a law template is left")
    if isinstance(node, Hole):
        raise ValueError(f"{place}: hole {node.number} of a Newton step is left")
    if isinstance(node, Parameter | Input | State | Unknown):
        shape = leaves.get((type(node), node.name))
        if shape != node.shape:
            raise ValueError(f"{place}: {type(node).__name__} {node.name!r} {node.shape} is declared as {shape}")
    elif isinstance(node, Response):
        ports, size = node.shape
        for index, limit in ((node.rows, size), (node.columns, size), (node.feed_rows, size), (node.feed_ports, ports)):
            _in_range(index.array, limit, place)
        _lanes(node.values.shape[-1], len(node.rows), place)
        _lanes(node.feeds.shape[-1], len(node.feed_rows), place)
    elif isinstance(node, Newton):
        _check_newton(node, place)
    elif isinstance(node, Gather):
        _in_range(node.index.array, node.x.shape[-1], place)
    elif isinstance(node, ScatterAdd):
        _in_range(node.index.array, node.lanes, place)
        _lanes(node.x.shape[-1], len(node.index), place)
    elif isinstance(node, Assemble):
        _in_range(node.rows.array, node.shape[0], place)
        _in_range(node.columns.array, node.shape[1], place)
        _lanes(node.values.shape[-1], len(node.rows), place)


def _check_newton(node: Newton, place: str) -> None:
    if node.size % node.systems or len(node.names) != node.size:
        raise ValueError(f"{place}: {node.systems} systems and {len(node.names)} names of {node.size} unknowns")
    shapes = [node.shape, node.shape, *(o.shape for o in node.operands)]
    for inner in postorder(node.step):
        if isinstance(inner, Hole):
            if shapes[inner.number] != inner.shape:
                raise ValueError(f"{place}: hole {inner.number} of {inner.shape} is given {shapes[inner.number]}")
        elif not inner.children and not isinstance(inner, Const):
            raise ValueError(f"{place}: a Newton step reads a {type(inner).__name__} past its operands")


def _in_range(index: np.ndarray[tuple[int, ...], np.dtype[np.int64]], size: int, place: str) -> None:
    if index.size and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"{place}: an index from {index.min()} to {index.max()} into {size} lanes")


def _lanes(found: int, needed: int, place: str) -> None:
    if found not in (1, needed):
        raise ValueError(f"{place}: {found} lanes where {needed} are scattered")
