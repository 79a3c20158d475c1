"""Families of small systems that Newton's method solves: one function of a kernel, which takes one after the other.

z = newton(guess, z, z0 -> -J(z0)^-1 g(z)), 48 systems of one unknown
->   for (s = 0; s < 48; ++s): operands of system s in registers; iterate; z[s]

The step is the same for all systems but for which lanes it reads, so it is written once, with the lanes in tables.
What follows from the point of the Jacobian alone is kept from the first evaluation of a step to those that shorten it.
Iterations are in float64 in kernels of either type, by the rules of :func:`netc.ir.implicit.iterate`.  The adjoint is
that of the one step that polishes the solution, a solve with the transposed Jacobian, and never runs through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netc.emit.rewrite import Rewriter
from netc.ir import build
from netc.ir.adjoint import adjoints
from netc.ir.implicit import Backsolved, Hole, Newton, Solution
from netc.ir.nodes import (
    Binary,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    Rate,
    ScatterAdd,
    Select,
    Unary,
    Unknown,
    intern_node,
    postorder,
    substitute,
)
from netc.kernels.loops import Unsupported
from netc.kernels.text import Array, Code, Tables, operation, truth, vector

_Task = tuple[Expr, Index]
"""An expression and, for each system, the lane of it that is wanted."""

POINT = 1
"""Number of the hole that stands for the point of the Jacobian; 0 is that for the unknowns."""


class Read(Expr):
    """One lane of hole ``number`` for each system: lane ``places[s]``, or unknown ``places[0]`` of each."""

    __slots__ = ("number", "places")
    fields = ("number", "places")
    number: int
    places: Index

    def __new__(cls, number: int, places: Index) -> Read:
        """Return the leaf, of one lane."""
        return intern_node(cls, (1,), number, places)


class Member(Expr):
    """1 for the systems whose entry in ``chosen`` is not 0, else 0."""

    __slots__ = ("chosen",)
    fields = ("chosen",)
    chosen: Index

    def __new__(cls, chosen: Index) -> Member:
        """Return the leaf, of one lane."""
        return intern_node(cls, (1,), chosen)


class _OneSystem:
    """A step of a family as that of one system, in expressions of one lane."""

    def __init__(self, node: Newton | Backsolved) -> None:
        self._systems = node.systems
        self._unknowns = node.step.size // node.systems
        self._done: dict[_Task, Expr] = {}
        self.moves = [self(node.step, self._own(j)) for j in range(self._unknowns)]

    def _own(self, unknown: int) -> Index:
        return Index(unknown * self._systems + np.arange(self._systems))

    def __call__(self, node: Expr, places: Index) -> Expr:
        root = self._task(node, places)
        stack = [root]
        while stack:
            task = stack[-1]
            if task in self._done:
                stack.pop()
                continue
            below = self._below(*task)
            missing = [t for t in below if t not in self._done]
            if missing:
                stack += missing
            else:
                self._done[stack.pop()] = self._built(*task, [self._done[t] for t in below])
        return self._done[root]

    def _task(self, node: Expr, places: Index) -> _Task:
        return node, Index(np.zeros(self._systems)) if node.shape == (1,) else places

    def _below(self, node: Expr, places: Index) -> list[_Task]:
        if isinstance(node, Const | Hole):
            return []
        if len(node.shape) != 1:
            raise Unsupported(f"a {type(node).__name__} in a family of small systems")
        if isinstance(node, Unary | Binary | Select):
            return [self._task(child, places) for child in node.children]
        if isinstance(node, Gather):
            return [self._task(node.x, Index(node.index.array[places.array]))]
        if isinstance(node, Concat):
            return [self._task(part, inside) for part, inside, _ in _parts(node, places)]
        if isinstance(node, ScatterAdd):
            return [self._task(node.x, Index(np.maximum(column, 0))) for column in _terms(node, places)]
        raise Unsupported(f"a {type(node).__name__} in a family of small systems")

    def _built(self, node: Expr, places: Index, below: list[Expr]) -> Expr:
        if isinstance(node, Const):
            return node
        if isinstance(node, Hole):
            return self._read(node, places.array)
        if isinstance(node, Gather):
            return below[0]
        if isinstance(node, Concat):
            pieces = [(x, inside) for x, (_, _, inside) in zip(below, _parts(node, places), strict=True)]
            result = pieces[0][0]
            for x, inside in pieces[1:]:
                result = build.select(Member(Index(inside)), x, result)
            return result
        if isinstance(node, ScatterAdd):
            terms = zip(below, _terms(node, places), strict=True)
            return build.total([x if (c >= 0).all() else build.select(Member(Index(c >= 0)), x, 0.0) for x, c in terms])
        return build.refold(node, tuple(below))

    def _read(self, hole: Hole, places: np.ndarray) -> Expr:
        if hole.number > POINT:
            return Read(hole.number, Index(places))
        unknown, system = np.divmod(places, self._systems)
        if (system != np.arange(self._systems)).any():
            raise Unsupported("a system that reads another one's unknowns")
        first, *others = np.unique(unknown)
        result: Expr = Read(hole.number, Index([first]))
        for k in others:
            result = build.select(Member(Index(unknown == k)), Read(hole.number, Index([k])), result)
        return result


def _parts(node: Concat, places: Index) -> list[tuple[Expr, Index, np.ndarray]]:
    """Return the parts that hold some of ``places``: the part, its lane for each system, and for which it counts."""
    found = []
    start = 0
    for part in node.parts:
        inside = (places.array >= start) & (places.array < start + part.size)
        if inside.any():
            found.append((part, Index(np.where(inside, places.array - start, 0)), inside))
        start += part.size
    return found


def _terms(node: ScatterAdd, places: Index) -> list[np.ndarray]:
    """Return, for each term of the largest sum, which lane of the operand it is for each system; -1 where none."""
    sources = [np.flatnonzero(node.index.array == place) for place in places.array]
    count = max(map(len, sources))
    return [np.array([s[k] if k < len(s) else -1 for s in sources]) for k in range(count)]


def family(node: Newton | Backsolved, arrays: Sequence[Array], target: str, tables: Tables) -> str:
    """Return the call that leaves the unknowns of a family, or their adjoint, in ``target``.

    Args:
        node: systems of a few unknowns, solved lane by lane.
        arrays: the values of its operands.
        target: name of the array of results.
        tables: collects index tables and functions of the file.

    Raises:
        Unsupported: where systems of the family differ in more than the lanes they read.
    """
    more = node.numbers if isinstance(node, Backsolved) else ()
    key = (type(node), node.step, node.systems, more, *((a.vector, a.lanes > 1) for a in arrays))

    def write(name: str) -> list[str]:
        if isinstance(node, Backsolved):
            return _adjoint(name, node, arrays, tables)
        return _solution(name, node, arrays, tables)

    name = tables.function(key, write)
    given = ", ".join([*(f"{a.name}_all" if _is_one(a) else a.name for a in arrays), target])
    return f"wide::{name}({given});"


@dataclass(slots=True)
class _Loads:
    """Names of what a system reads, and the statements that load it; ``first`` is the array of hole 2."""

    arrays: Sequence[Array]
    first: int
    tables: Tables
    lines: list[str] = field(default_factory=list)

    def leaves(self, roots: Sequence[Expr]) -> dict[Expr, Code]:
        """Return the names of the leaves below ``roots``."""
        found: dict[Expr, Code] = {}
        for leaf in dict.fromkeys(x for x in postorder(*roots) if isinstance(x, Read | Member)):
            if isinstance(leaf, Read) and leaf.number == 0:
                found[leaf] = Code(f"z[{leaf.places.array[0]}]")
                continue
            name = f"c{len(self.lines)}"
            if isinstance(leaf, Member):
                self.lines.append(f"const M {name} = splat_integer(-N({self.tables.at(leaf.chosen, 's')}));")
            else:
                number = leaf.number - 2 + self.first
                self.lines.append(f"const V {name} = {self.value(number, self.tables.at(leaf.places, 's'))};")
            found[leaf] = Code(name, isinstance(leaf, Member))
        return found

    def value(self, number: int, at: str) -> str:
        """Return the text of one lane of an array."""
        array = self.arrays[number]
        if _is_one(array):
            return f"widened(a{number}, half)"
        text = f"a{number}[{at if array.lanes > 1 else '0'}]"
        return f"widened({text}, half)" if array.vector else f"splat({text})"

    @property
    def arguments(self) -> list[str]:
        """Parameters of the function."""
        return [
            f"::V a{k}" if _is_one(a) else f"const ::{'V' if a.vector else 'T'}* a{k}"
            for k, a in enumerate(self.arrays)
        ]


def _is_one(array: Array) -> bool:
    """Whether it is one number, which loops keep as a vector."""
    return array.lanes == 1 and not array.vector


def _function(name: str, loads: _Loads, systems: int, body: Sequence[str]) -> list[str]:
    """Return a function that runs ``body`` for every system ``s`` and part ``half`` of a tile."""
    return [
        f"static void {name}({', '.join([*loads.arguments, '::V* __restrict to'])}) {{",
        f"    for (Size s = 0; s < {systems}; ++s)",
        "        for (int half = 0; half < HALVES; ++half) {",
        *(f"            {line}" for line in body),
        "        }",
        "}",
    ]


def _solution(name: str, node: Newton, arrays: Sequence[Array], tables: Tables) -> list[str]:
    unknowns = node.size // node.systems
    moves = _OneSystem(node).moves
    held = frontier(moves)
    both = _at_one_point([*moves, *held])
    loads = _Loads(arrays, 1, tables)
    leaves = loads.leaves(both)
    kept = {x: Code(f"j[{k}]") for k, x in enumerate(held)}
    targets = [f"move[{k}]" for k in range(unknowns)]
    first = statements(both, leaves, [*targets, *(code.text for code in kept.values())])
    again = statements(moves, leaves | kept, targets)
    starts = [f"z[{k}] = {loads.value(0, f'{k * node.systems} + s')};" for k in range(unknowns)]
    ends = ["first(z, move);", f"for (int k = 0; k < {unknowns}; ++k) z[k] += move[k];"]
    body = [
        f"typedef V Z[{unknowns}];",
        f"Z z, move, trial, more;{f' V j[{len(held)}];' if held else ''}",
        *loads.lines,
        *starts,
        "const auto first = [&](const Z& z, Z& move) __attribute__((always_inline)) {",
        *(f"    {line}" for line in first),
        "};",
        "const auto again = [&](const Z& z, Z& move) __attribute__((always_inline)) {",
        *(f"    {line}" for line in again),
        "};",
        f"iterate({unknowns}, z, move, trial, more, first, again);",
        *(ends if isinstance(node, Solution) else []),
        f"for (int k = 0; k < {unknowns}; ++k) narrow(z[k], half, to + k * {node.systems} + s);",
    ]
    return _function(name, loads, node.systems, body)


def _adjoint(name: str, node: Backsolved, arrays: Sequence[Array], tables: Tables) -> list[str]:
    guard = Rewriter(lambda _: Rate.STEP)
    moves = [guard(move) for move in _at_one_point(_OneSystem(node).moves)]
    seeds = [Unknown(f"seed {k}", 1) for k in range(len(moves))]
    reads = [x for x in dict.fromkeys(postorder(*moves)) if isinstance(x, Read) and x.number - 2 in node.numbers]
    found = adjoints(dict(zip(moves, seeds, strict=True)), reads)
    gradients = [found[x] for x in reads]
    loads = _Loads(arrays, 2, tables)
    leaves = loads.leaves(gradients)
    for k, seed in enumerate(seeds):
        leaves[seed] = Code(f"q{k}")
        loads.lines.append(f"const V q{k} = {loads.value(1, f'{k * node.systems} + s')};")
    zs = [f"const V z{k} = {loads.value(0, f'{k * node.systems} + s')};" for k in range(len(moves))]
    leaves |= {x: Code(f"z{code.text[2:-1]}") for x, code in leaves.items() if code.text.startswith("z[")}
    starts = dict(zip(node.numbers, node.starts, strict=True))
    places = [(starts[x.number - 2], x.places) for x in reads]
    targets = [f"const V g{k}" for k in range(len(reads))]
    ends = [
        f"{'narrow' if _is_alone(x, reads, node) else 'increase'}(g{k}, half, to + {start} + {tables.at(index, 's')});"
        for k, (x, (start, index)) in enumerate(zip(reads, places, strict=True))
    ]
    body = [*loads.lines, *zs, *statements(gradients, leaves, targets), *ends]
    made = _function(name, loads, node.systems, body)
    if any(line.startswith("increase") for line in ends):
        made.insert(1, f"    for (Size k = 0; k < {node.size}; ++k) to[k] = ::V{{}};")
    return made


def _is_alone(read: Read, reads: Sequence[Read], node: Backsolved) -> bool:
    """Whether every lane of an operand is read once, by ``read``."""
    alone = [x for x in reads if x.number == read.number] == [read]
    return alone and len(np.unique(read.places.array)) == node.systems == node.operands[read.number - 2].size


def _at_one_point(roots: Sequence[Expr]) -> list[Expr]:
    """Return ``roots`` with the Jacobian taken where the unknowns are."""
    here: dict[Expr, Expr] = {}
    for x in postorder(*roots):
        if isinstance(x, Read) and x.number == POINT:
            here[x] = Read(0, x.places)
    done: dict[Expr, Expr] = {}
    return [substitute(x, here.get, done) for x in roots]


def frontier(roots: Sequence[Expr]) -> list[Expr]:
    """Return what ``roots`` read that follows from the point of the Jacobian but not from the unknowns."""
    unknown: dict[Expr, bool] = {}
    point: dict[Expr, bool] = {}
    for node in postorder(*roots):
        number = node.number if isinstance(node, Read | Hole) else -1
        unknown[node] = number == 0 or any(unknown[c] for c in node.children)
        point[node] = number == POINT or any(point[c] for c in node.children)
    ends = [x for node in postorder(*roots) if unknown[node] for x in node.children]
    return [x for x in dict.fromkeys([*ends, *roots]) if point[x] and not unknown[x]]


def statements(roots: Sequence[Expr], leaves: Mapping[Expr, Code], targets: Sequence[str]) -> list[str]:
    """Return statements of one lane that leave ``roots`` in ``targets``."""
    known = dict(leaves)
    lines: list[str] = []
    for node in postorder(*roots, known=known):
        if isinstance(node, Const):
            known[node] = Code(vector(node, "0"))
            continue
        code = operation(node, [known[child] for child in node.children])
        name = f"v{len(known)}"
        lines.append(f"const {'M' if code.is_truth else 'V'} {name} = {code.text};")
        known[node] = Code(name, code.is_truth)
    return [
        *lines,
        *(f"{target} = {truth(known[root], False)};" for target, root in zip(targets, roots, strict=True)),
    ]
