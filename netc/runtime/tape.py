"""Expressions as a list of operations on single numbers, for the machine in ``cpp/``.

    x[..., index], concatenations, seeds of 0 and 1    nothing is left of them
    x + 0, 1 * x, and what only constants go into       nor of these
    everything else                                     (operation, target, operands), a line per lane

Slot 0 is the time, the slots after it are the variables, and constants lie in the slots as they start.  Derivatives are
those of :mod:`netc.ir.derivative`: each group of columns of a Jacobian that share no row is one direction, in which the
zeros of all other columns go away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ir.interpret import Array
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Entries,
    Expr,
    Gather,
    Interpolate,
    MatVec,
    Outer,
    ScatterAdd,
    Select,
    Time,
    Transpose,
    Unary,
    postorder,
)

OPERATIONS = (*(op for op in UNARY if op != "detach"), *BINARY, "select", "interpolate")
"""Names of the operations by their number."""

LONGEST = 3_000_000
"""Most operations of a tape."""

_CODES = {name: number for number, name in enumerate(OPERATIONS)}
_Slots = Any  # int64 array of slots, of the shape of the expression they hold


class Unsupported(Exception):
    """An expression that no tape can hold."""


@dataclass(frozen=True, slots=True)
class Tape:
    """Operations in order.

    Args:
        code: ``(operations, 5)`` int32: number of the operation, target, and three operands (unused ones are 0).
        timed: how many operations come first that depend on nothing but the time.
        image: ``(slots,)``: what the slots hold before the first operation.
        roots: ``(results,)`` int32: slots of the results.
        points: tables of ``interpolate``, all points ``x`` and then all ``y`` of one after the other.
        starts: where each table begins in ``points``, and the end of the last, int64.
    """

    code: Array
    timed: int
    image: Array
    roots: Array
    points: Array
    starts: Array


def tapes(
    functions: Sequence[Expr],
    moved: Sequence[Expr],
    leaves: Sequence[Expr],
    seeds: Sequence[Expr],
    fixed: Mapping[Expr, Array],
    structure: tuple[Array, Array, Array],
) -> tuple[Tape, Tape, Array, Array]:
    """Return a tape for ``functions``, one for them and their Jacobian, and rows and columns of the latter's entries.

    Args:
        functions: one for each leaf, of as many lanes.
        moved: their tangents in the direction of ``seeds``.
        leaves: what varies beside the time.
        seeds: one for each leaf.
        fixed: values of all other leaves.
        structure: rows, columns and groups of columns, as :func:`netc.ir.sparsity.jacobian_structure` gives them.

    Raises:
        Unsupported: for expressions that find a solution inside, moving tables, or too many operations.
    """
    builder = _Builder(sum(leaf.size for leaf in leaves))
    known: dict[Expr, _Slots] = {Time(): np.zeros(1, dtype=np.int64)}
    first = 1
    for leaf in leaves:
        known[leaf] = np.arange(first, first + leaf.size)
        first += leaf.size
    for leaf, value in fixed.items():
        known[leaf] = builder.constants(np.asarray(value, dtype=np.float64).reshape(leaf.shape))
    for node in postorder(*functions, known=known):
        known[node] = builder.value(node, known)
    values = _joined(functions, known, leaves)

    rows, columns, group_of = structure
    builder.zeros_vanish = True
    directed: set[Expr] = set(seeds)
    moving: list[Expr] = []
    for node in postorder(*moved, known=known):
        if any(child in directed for child in node.children):
            directed.add(node)
            moving.append(node)
        elif node not in directed:
            known[node] = builder.value(node, known)
    entries = np.zeros(len(rows), dtype=np.int64)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    for group in range(int(group_of.max(initial=-1)) + 1):
        here = dict(known)
        chosen = (group_of == group).astype(np.float64)
        for seed, a, b in zip(seeds, ends[:-1], ends[1:], strict=True):
            here[seed] = builder.constants(chosen[a:b])
        for node in moving:
            here[node] = builder.value(node, here)
        mine = group_of[columns] == group
        entries[mine] = _joined(moved, here, leaves)[rows[mine]]
    there = ~builder.is_zero(entries)
    rows, columns, entries = rows[there], columns[there], entries[there]
    return builder.tape(values), builder.tape(np.concatenate([values, entries])), rows, columns


def _joined(exprs: Sequence[Expr], known: Mapping[Expr, _Slots], leaves: Sequence[Expr]) -> _Slots:
    parts = [np.broadcast_to(known[e], leaf.shape) for e, leaf in zip(exprs, leaves, strict=True)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


class _Builder:
    """Collects operations; equal ones are made once."""

    def __init__(self, variables: int) -> None:
        self.zeros_vanish = False
        self._given = 1 + variables
        self._values: Array = np.zeros(1024)
        self._constant: Array = np.zeros(1024, dtype=bool)
        self._slots = 0
        self._take(self._given)
        self._places: dict[bytes, int] = {}
        self._made: dict[tuple[int, int, int, int], int] = {}
        self._tables: dict[bytes, int] = {}
        self._points: list[Array] = []

    def value(self, node: Expr, known: Mapping[Expr, _Slots]) -> _Slots:
        """Return the slots of ``node``, of its shape."""
        if isinstance(node, Const):
            return self.constants(np.array([node.value]))
        rule = _RULES.get(type(node))
        if rule is None:
            raise Unsupported(type(node).__name__)
        return rule(self, node, *(known[child] for child in node.children))

    def constants(self, values: Array) -> _Slots:
        """Return slots that hold ``values``, of their shape."""
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        result = np.empty(len(flat), dtype=np.int64)
        for k, number in enumerate(flat):
            key = number.tobytes()
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = self._take(1)
                self._values[place], self._constant[place] = number, True
            result[k] = place
        return result.reshape(np.shape(values))

    def is_zero(self, slots: _Slots) -> Array:
        """Return which of the slots hold the constant 0."""
        return self._is(slots, 0.0)

    def emit(self, op: str, *operands: _Slots) -> _Slots:
        """Return slots of ``op`` of the operands, which broadcast; what is known already costs nothing."""
        wide = np.broadcast_arrays(*operands)
        shape = wide[0].shape
        flat = [np.ascontiguousarray(w).ravel() for w in wide]
        result = self._folded(op, flat)
        steady = np.logical_and.reduce([self._constant[f] for f in flat]) & (result < 0)
        if op in UNARY or op in BINARY:
            if steady.any():
                with np.errstate(all="ignore"):
                    rule: Callable[..., Any] = UNARY[op] if op in UNARY else BINARY[op]
                    result[steady] = self.constants(rule(*(self._values[f[steady]] for f in flat)))
        elif op == "select":
            known = self._constant[flat[0]] & (result < 0)
            result[known] = np.where(self._values[flat[0][known]] != 0, flat[1][known], flat[2][known])
        code = _CODES[op]
        for k in np.flatnonzero(result < 0):
            result[k] = self._operation(code, *(int(f[k]) for f in flat))
        return result.reshape(shape)

    def interpolate(self, x: _Slots, xs: _Slots, ys: _Slots, lanes: int) -> _Slots:
        """Return slots of piecewise linear functions of ``x`` ``(lanes,)`` through constant points."""
        if not (self._constant[xs].all() and self._constant[ys].all()):
            raise Unsupported("a table whose points move")
        wide, result = np.broadcast_to(x, (lanes,)), np.empty(lanes, dtype=np.int64)
        for lane in range(lanes):
            points = [self._values[p[min(lane, len(p) - 1)]] for p in (xs, ys)]
            if self._constant[wide[lane]]:
                result[lane] = self.constants(np.array([np.interp(self._values[wide[lane]], *points)]))[0]
                continue
            key = np.concatenate(points).tobytes()
            if key not in self._tables:
                self._tables[key] = len(self._points)
                self._points.append(np.concatenate(points))
            result[lane] = self._operation(_CODES["interpolate"], int(wide[lane]), self._tables[key])
        return result

    def accumulate(self, values: _Slots, places: Array, size: int) -> _Slots:
        """Return ``size`` sums of what is added at ``places``, in order, along the last axis."""
        values = np.broadcast_to(values, (*values.shape[:-1], len(places)))
        result = np.broadcast_to(self.constants(np.zeros(1)), (*values.shape[:-1], size)).copy()
        order = np.argsort(places, kind="stable")
        rank = np.empty(len(places), dtype=np.int64)
        ranked = places[order]
        rank[order] = np.arange(len(places)) - np.searchsorted(ranked, ranked, side="left")
        for turn in range(int(rank.max(initial=-1)) + 1):
            here = np.flatnonzero(rank == turn)
            result[..., places[here]] = self.emit("add", result[..., places[here]], values[..., here])
        return result

    def tape(self, roots: _Slots) -> Tape:
        """Return what computes ``roots``, and nothing else."""
        code = np.array([(op, t, a, b, c) for (op, a, b, c), t in self._made.items()], dtype=np.int64).reshape(-1, 5)
        needed = np.zeros(self._slots, dtype=bool)
        needed[roots] = True
        timed = np.zeros(self._slots, dtype=bool)
        timed[0] = True
        timed |= self._constant[: self._slots]
        table = _CODES["interpolate"]
        kept = np.zeros(len(code), dtype=bool)
        first = np.zeros(len(code), dtype=bool)
        lines = code.tolist()
        for k in range(len(lines) - 1, -1, -1):
            op, target, a, b, c = lines[k]
            if needed[target]:
                kept[k] = True
                needed[a] = True
                if op != table:
                    needed[b] = needed[c] = True
        for k, (op, target, a, b, c) in enumerate(lines):
            first[k] = timed[target] = timed[a] and (op == table or (timed[b] and timed[c]))
        needed[: self._given] = True
        order = np.concatenate([np.flatnonzero(kept & first), np.flatnonzero(kept & ~first)]).astype(np.int64)
        number = np.cumsum(needed) - 1
        number[~needed] = 0
        chosen = code[order]
        renamed = np.column_stack([chosen[:, 0], number[chosen[:, 1:]]])
        renamed[:, 3] = np.where(chosen[:, 0] == table, chosen[:, 3], renamed[:, 3])
        image = np.where(self._constant[: self._slots], self._values[: self._slots], 0.0)[needed]
        starts = np.cumsum([0, *(len(p) for p in self._points)]).astype(np.int64)
        return Tape(
            np.ascontiguousarray(renamed, dtype=np.int32),
            int((kept & first).sum()),
            np.ascontiguousarray(image),
            np.ascontiguousarray(number[roots], dtype=np.int32),
            np.concatenate([np.zeros(0), *self._points]),
            starts,
        )

    def _is(self, slots: _Slots, number: float) -> Array:
        return np.asarray(self._constant[slots] & (self._values[slots] == number))

    def _folded(self, op: str, flat: Sequence[_Slots]) -> _Slots:
        """Return the slots that the result equals, -1 where it has to be computed."""
        result = np.full(len(flat[0]), -1, dtype=np.int64)

        def same(where: Array, slots: _Slots) -> None:
            chosen = where & (result < 0)
            result[chosen] = slots[chosen]

        if op in ("add", "sub"):
            same(self._is(flat[1], 0.0), flat[0])
        if op == "add":
            same(self._is(flat[0], 0.0), flat[1])
        if op in ("mul", "div", "pow"):
            same(self._is(flat[1], 1.0), flat[0])
        if op == "mul":
            same(self._is(flat[0], 1.0), flat[1])
        if op in ("mul", "div") and self.zeros_vanish:
            same(self._is(flat[0], 0.0), flat[0])
        if op == "mul" and self.zeros_vanish:
            same(self._is(flat[1], 0.0), flat[1])
        if op == "select":
            same(flat[1] == flat[2], flat[1])
        return result

    def _operation(self, code: int, a: int, b: int = 0, c: int = 0) -> int:
        key = (code, a, b, c)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= LONGEST:
                raise Unsupported("too many operations")
            found = self._made[key] = self._take(1)
        return found

    def _take(self, count: int) -> int:
        """Return the first of ``count`` new slots."""
        first, self._slots = self._slots, self._slots + count
        if self._slots > len(self._values):
            more = max(len(self._values), count)
            self._values = np.concatenate([self._values, np.zeros(more)])
            self._constant = np.concatenate([self._constant, np.zeros(more, dtype=bool)])
        return first


def _unary(b: _Builder, node: Unary, x: _Slots) -> _Slots:
    return x if node.op == "detach" else b.emit(node.op, x)


def _binary(b: _Builder, node: Binary, x: _Slots, y: _Slots) -> _Slots:
    if node.op == "pow" and isinstance(node.b, Const) and node.b.value == 2.0:
        return b.emit("mul", x, x)
    return b.emit(node.op, x, y)


def _matvec(b: _Builder, node: MatVec, x: _Slots, matrix: _Slots) -> _Slots:
    zero = b.constants(np.zeros(1))
    terms: _Slots = np.where(b.is_zero(matrix), zero, matrix)
    terms[terms != zero] = b.emit("mul", np.broadcast_to(x[:, None], matrix.shape)[terms != zero], terms[terms != zero])
    result = np.broadcast_to(zero, matrix.shape[1:])
    for row in terms:
        result = b.emit("add", result, row)
    return result


def _assemble(b: _Builder, node: Assemble, values: _Slots) -> _Slots:
    places = node.rows.array * node.shape[1] + node.columns.array
    return b.accumulate(values, places, node.size).reshape(node.shape)


_RULES: dict[type[Expr], Callable[..., _Slots]] = {
    Unary: _unary,
    Binary: _binary,
    Select: lambda b, node, condition, then, otherwise: b.emit("select", condition, then, otherwise),
    Gather: lambda b, node, x: x[..., node.index.array],
    ScatterAdd: lambda b, node, x: b.accumulate(x, node.index.array, node.lanes),
    Concat: lambda b, node, *parts: np.concatenate(parts, axis=-1),
    Columns: lambda b, node, *parts: np.stack([np.broadcast_to(p, node.shape[:1]) for p in parts], axis=-1),
    Assemble: _assemble,
    MatVec: _matvec,
    Interpolate: lambda b, node, x, xs, ys: b.interpolate(x, xs, ys, node.shape[0]),
    Transpose: lambda b, node, matrix: matrix.T,
    Outer: lambda b, node, x, y: b.emit("mul", x[:, None], y[None, :]),
    Entries: lambda b, node, matrix: matrix[node.rows.array, node.columns.array],
}
