"""Larger systems that Newton's method solves: all unknowns of one system in arrays, its Jacobian factored by a table.

z = newton(guess, z, z0 -> solve(J(z0), -g(z)))   ->   first: g(z), J(z), factor, substitute;  again: g(z), substitute

The step is written like a step of a loop (:mod:`netc.kernels.fusion`), its linear systems as in
:mod:`netc.kernels.systems`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netc.emit.rewrite import Rewriter
from netc.ir.adjoint import adjoints
from netc.ir.implicit import Backsolved, Hole, Newton, Solution
from netc.ir.interpret import evaluate
from netc.ir.nodes import (
    Assemble,
    Binary,
    Concat,
    Const,
    Expr,
    Gather,
    Rate,
    ScatterAdd,
    Select,
    Solve,
    Transpose,
    Unary,
    Unknown,
    postorder,
    substitute,
)
from netc.kernels.fusion import Block, Sink
from netc.kernels.loops import Unsupported
from netc.kernels.newton import POINT, frontier
from netc.kernels.systems import System, assembled
from netc.kernels.text import Array, Tables, number

_COVERED = (Hole, Const, Unary, Binary, Select, Gather, ScatterAdd, Concat, Assemble, Solve, Transpose)


def dense(
    node: Newton | Backsolved,
    arrays: Sequence[Array],
    target: str,
    tables: Tables,
    temporary: Callable[[int], str],
) -> str:
    """Return the call that leaves the unknowns of one system, or their adjoint, in ``target``.

    Args:
        node: one system of many unknowns.
        arrays: the values of its operands.
        target: name of the array of results.
        tables: collects index tables and functions of the file.
        temporary: returns the name of a new array of so many lanes.

    Raises:
        Unsupported: for a system that is too large, or holds what kernels do not solve for.
    """
    if node.systems != 1:
        raise Unsupported("families of systems of more than 4 unknowns")
    other = {type(n).__name__ for n in postorder(node.step) if not isinstance(n, _COVERED)}
    if other:
        raise Unsupported(f"a {min(other)} in a system of equations")
    writer = _Writer(node, arrays, tables)
    body = writer.adjoint(node) if isinstance(node, Backsolved) else writer.solution(node)
    more = node.numbers if isinstance(node, Backsolved) else ()
    key = (type(node), node.step, more, *((a.vector, a.lanes > 1) for a in arrays))
    name = tables.function(key, lambda name: writer.function(name, body))
    given = ", ".join(f"{a.name}_all" if _is_one(a) else a.name for a in arrays)
    return f"wide::{name}({given}, {target}, {temporary(writer.used)});"


@dataclass(slots=True)
class _Writer:
    """Text of one function; ``used`` counts the lanes of memory that it is handed."""

    node: Newton | Backsolved
    arrays: Sequence[Array]
    tables: Tables
    used: int = 0
    heads: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    _systems: dict[Expr, System] = field(default_factory=dict)
    _names: int = 0

    def function(self, name: str, body: Sequence[str]) -> list[str]:
        """Return the function ``name`` that runs ``body`` for each part of a tile."""
        kinds = [
            f"::V a{k}_one" if _is_one(a) else f"const ::{'V' if a.vector else 'T'}* a{k}"
            for k, a in enumerate(self.arrays)
        ]
        return [
            f"static void {name}({', '.join(kinds)}, ::V* __restrict to, ::V* scratch) {{",
            *(f"    {line}" for line in self.heads),
            "    for (int half = 0; half < HALVES; ++half) {",
            *(f"        {line}" for line in (*self.loads, *body)),
            "    }",
            "}",
        ]

    def solution(self, node: Newton) -> list[str]:
        """Return statements that iterate from the guess (the first array) and polish the result."""
        size = node.size
        step = node.step
        held = dict.fromkeys(frontier([step]))
        held |= dict.fromkeys(n.matrix for n in postorder(step) if isinstance(n, Solve) and _is_still(n.matrix))
        z, point = Hole(0, (size,)), Hole(POINT, (size,))
        at: dict[Expr, Expr] = {point: z}
        done: dict[Expr, Expr] = {}
        here = {x: substitute(x, at.get, done) for x in (step, *held)}
        leaves = self._operands(here.values(), 1) | {z: Array("z", size, True)}
        kept: dict[Expr, Array] = {}
        sinks = [Sink(here[step], size, _store("move"))]
        for x in held:
            if len(x.shape) == 1:
                name = self._array(x.size, "j")
                kept[x] = Array(name, x.size, True)
                sinks.append(Sink(here[x], x.size, _store(name)))
        first = self._lines(sinks, leaves)
        for x in held:
            if len(x.shape) == 2:
                kept[x] = Array("factors", x.size, True)
                self._systems[x] = self._systems[here[x]]
        again = self._lines([Sink(step, size, _store("move"))], leaves | kept)
        for name in ("z", "move", "trial", "more"):
            self._take(size, f"V* const {name}")
        return [
            f"for (Size k = 0; k < {size}; ++k) z[k] = {self._lane(0)};",
            "const auto first = [&](const V* z, V* move) {",
            *(f"    {line}" for line in first),
            "};",
            "const auto again = [&](const V* z, V* move) {",
            *(f"    {line}" for line in again),
            "};",
            f"iterate({size}, z, move, trial, more, first, again);",
            *(["first(z, move);", f"for (Size k = 0; k < {size}; ++k) z[k] += move[k];"] * isinstance(node, Solution)),
            f"for (Size k = 0; k < {size}; ++k) narrow(z[k], half, to + k);",
        ]

    def adjoint(self, node: Backsolved) -> list[str]:
        """Return statements that leave what the chosen operands get of the seed (the second array)."""
        size = node.step.size
        z, seed = Hole(0, (size,)), Unknown("seed", size)
        at: dict[Expr, Expr] = {Hole(POINT, (size,)): z}
        step = Rewriter(lambda _: Rate.STEP)(substitute(node.step, at.get))
        holes = {x.number: x for x in postorder(step) if isinstance(x, Hole)}
        found = adjoints({step: seed}, [holes[k + 2] for k in node.numbers if k + 2 in holes])
        leaves = self._operands(found.values(), 2) | {z: Array("z", size, True), seed: Array("q", size, True)}
        sinks = []
        for k, start in zip(node.numbers, node.starts, strict=True):
            gradient = found[holes[k + 2]] if k + 2 in holes else Const(0.0)
            sinks.append(Sink(gradient, node.operands[k].size, _narrow(start)))
        self._take(size, "V* const z")
        self._take(size, "V* const q")
        return [
            f"for (Size k = 0; k < {size}; ++k) z[k] = {self._lane(0)};",
            f"for (Size k = 0; k < {size}; ++k) q[k] = {self._lane(1)};",
            *self._lines(sinks, leaves),
        ]

    # ------------------------------------------------------------------ what it reads

    def _lane(self, number: int) -> str:
        """Return the text of lane ``k`` of an argument."""
        array = self.arrays[number]
        if _is_one(array):
            return f"widened(a{number}_one, half)"
        text = f"a{number}[{'k' if array.lanes > 1 else '0'}]"
        return f"widened({text}, half)" if array.vector else f"splat({text})"

    def _operands(self, roots: Iterable[Expr], first: int) -> dict[Expr, Array]:
        """Return the arrays of the operands and of all that is constant, ``first`` being that of hole 2."""
        leaves: dict[Expr, Array] = {}
        order = list(postorder(*roots))
        constant: dict[Expr, bool] = {}
        for node in order:
            constant[node] = isinstance(node, Const) or (
                bool(node.children) and all(constant[child] for child in node.children)
            )
            if isinstance(node, Hole) and node.number > POINT:
                k = node.number - 2 + first
                array, name = self.arrays[k], f"p{k}"
                if _is_one(array):
                    self.loads.append(f"const V {name}_all = widened(a{k}_one, half);")
                elif array.vector:
                    self._take(array.lanes, f"V* const __restrict {name}")
                    self.loads.append(f"for (Size k = 0; k < {array.lanes}; ++k) {name}[k] = {self._lane(k)};")
                else:
                    self.heads.append(f"const ::T* const {name} = a{k};")
                leaves[node] = Array(name, array.lanes, array.vector)
        for node in order:
            if constant[node] and not isinstance(node, Const) and len(node.shape) == 1:
                leaves[node] = self._table(np.broadcast_to(evaluate([node], {})[0], node.shape))
        return leaves

    def _table(self, values: np.ndarray) -> Array:
        self._names += 1
        name = f"t{self._names}"
        entries = ", ".join(number(float(x)) for x in values)
        self.heads.append(f"static const T {name}[] = {{{entries}}};")
        if len(values) == 1:
            self.heads.append(f"const V {name}_all = splat({name}[0]);")
        return Array(name, len(values), False)

    # ------------------------------------------------------------------ memory and statements

    def _take(self, lanes: int, declaration: str) -> None:
        self.heads.append(f"{declaration} = reinterpret_cast<V*>(scratch) + {self.used};")
        self.used += lanes

    def _array(self, lanes: int, prefix: str = "m") -> str:
        self._names += 1
        name = f"{prefix}{self._names}"
        self._take(lanes, f"V* const __restrict {name}")
        return name

    def _lines(self, sinks: Sequence[Sink], leaves: Mapping[Expr, Array]) -> list[str]:
        return Block(sinks, leaves, [], self.tables, self._array, self._solved).lines()

    def _solved(
        self, node: Expr, arrays: Sequence[Array], target: str, tables: Tables, temporary: Callable[[int], str]
    ) -> list[str]:
        """Write a linear system: factored here, unless it has been before."""
        if not isinstance(node, Solve):
            raise Unsupported("Newton's method within Newton's method")
        transposed = isinstance(node.matrix, Transpose)
        if node.matrix in self._systems and len(arrays) == 1:
            return [self._systems[node.matrix].substitute(arrays[0].name, target, transposed=transposed)]
        self._names += 1
        system = System.of(f"s{self._names}", assembled(node), tables)

        def scratch(lanes: int) -> str:
            self.used += lanes
            return f"reinterpret_cast<V*>(scratch) + {self.used - lanes}"

        self.heads += system.arrays(scratch)
        self._systems[node.matrix] = system
        values, right = arrays
        value = f"{values.name}[{'k' if values.lanes > 1 else '0'}]"
        lines = system.factor(value if values.vector else f"splat({value})")
        if not right.vector:
            name = self._array(node.size)
            at = f"splat({right.name}[{'k' if right.lanes > 1 else '0'}])"
            lines.append(f"for (Size k = 0; k < {node.size}; ++k) {name}[k] = {at};")
            right = Array(name, node.size, True)
        return [*lines, system.substitute(right.name, target, transposed=transposed)]


def _is_one(array: Array) -> bool:
    return array.lanes == 1 and not array.vector


def _is_still(node: Expr) -> bool:
    """Whether a value does not change with the unknowns while the Jacobian is held."""
    return not any(isinstance(x, Hole) and x.number == 0 for x in postorder(node))


def _store(name: str) -> Callable[[str, str], str]:
    return lambda value, lane: f"{name}[{lane}] = {value};"


def _narrow(start: int) -> Callable[[str, str], str]:
    return lambda value, lane: f"narrow({value}, half, to + {start} + {lane});"
