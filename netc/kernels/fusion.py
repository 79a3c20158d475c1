"""Expressions as C++ loops over lanes: what can be computed lane by lane together shares one loop.

An operand that is needed at another lane (a gather, a sum over lanes, a product with a matrix, one lane read by
many) has to be complete before the loop that reads it, so every expression gets a stage, see
:mod:`~netc.kernels.placing`, which leaves one loop for each family of lanes where the circuit allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from netc.ir.implicit import Backsolved, Newton
from netc.ir.nodes import (
    Binary,
    Concat,
    Const,
    Expr,
    Gather,
    Interpolate,
    MatVec,
    ScatterAdd,
    Select,
    Solve,
    Transpose,
    Unary,
)
from netc.kernels.exponentials import Fraction, Group, Member, Whole
from netc.kernels.loops import Unsupported
from netc.kernels.placing import Place, Result, Value, placed
from netc.kernels.systems import assembled
from netc.kernels.text import FEW, Array, Code, Tables, most_added, operation, places_of, truth, vector
from netc.kernels.traversal import Walk, walks

_CHEAP = frozenset({"add", "sub", "mul", "neg"})
_CHEAP_OPERATIONS = 3
_COVERED = (
    *(Unary, Binary, Select, Gather, ScatterAdd, Concat, MatVec, Interpolate),
    *(Newton, Backsolved, Solve, Whole, Fraction),
)


def _whole(node: Expr) -> bool:
    """Whether a node is computed on its own, all lanes at once."""
    return isinstance(node, MatVec | Concat | Newton | Backsolved | Solve)


class Sink(NamedTuple):
    """Where a value goes: ``write`` makes a statement from its text and the lane's.

    Where that only stores it in ``array``, a product with a matrix is computed there.
    """

    expr: Expr
    lanes: int
    write: Callable[[str, str], str]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    array: str = ""


Solver = Callable[[Expr, Sequence[Array], str, Tables, Callable[[int], str]], list[str]]
"""Returns statements that leave the value of a node, from arrays of its operands, in the array of the given name."""


@dataclass(slots=True, eq=False)
class Block:
    """Statements that compute some expressions once for a tile of samples.

    Args:
        sinks: what is computed.
        leaves: arrays that values are read from.
        groups: logistic functions that share an exponential.
        tables: collects index tables of the file.
        temporary: returns the name of a new array of so many lanes.
        solver: writes what solves a system of equations.
    """

    sinks: Sequence[Sink]
    leaves: Mapping[Expr, Array]
    groups: Sequence[Group]
    tables: Tables
    temporary: Callable[[int], str]
    solver: Solver
    _order: list[Expr] = field(default_factory=list)
    _member: dict[Expr, tuple[Group, Member]] = field(default_factory=dict)
    _cheap: set[Expr] = field(default_factory=set)
    _uniform: set[Expr] = field(default_factory=set)
    _summed: set[Expr] = field(default_factory=set)  # added up where the terms are computed
    _home: dict[Expr, Place] = field(default_factory=dict)
    _sink_stage: dict[int, int] = field(default_factory=dict)
    _stored: dict[Expr, Array] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the statements."""
        self._member = {m.node: (group, m) for group in self.groups for m in group.members}
        self._order = self._sorted()
        for node in self._order:
            self._check(node)
            if self._is_summed(node):
                self._summed.add(node)
            if self._is_uniform(node):
                self._uniform.add(node)
        self._find_cheap()
        self._place()
        self._find_stored()
        places = set(self._home.values())
        places |= {Place(self._sink_stage[k], sink.lanes) for k, sink in self._lane_sinks()}
        result: list[str] = []
        for place in sorted(places, key=lambda p: (p.stage, p.node is None, p.lanes, self._rank(p.node))):
            result += self._whole(place.node) if place.node is not None else self._loop(place)
        return result

    # ------------------------------------------------------------------ order and places

    def _rank(self, node: Expr | None) -> int:
        return -1 if node is None else self._order.index(node)

    def _sorted(self) -> list[Expr]:
        order: list[Expr] = []
        seen: set[Expr] = set()
        stack = [(sink.expr, False) for sink in reversed(self.sinks)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in seen and node not in self.leaves and not isinstance(node, Const):
                seen.add(node)
                stack.append((node, True))
                stack.extend((child, False) for child, _ in reversed(self._operands(node)))
        return order

    def _operands(self, node: Expr) -> list[tuple[Expr, bool]]:
        """Return the operands that are lanes, each with whether it is read at the same lane only."""
        if node in self._member:
            return [(x, x.shape == node.shape) for x in self._member[node][0].operands]
        if isinstance(node, MatVec):
            return [(node.x, False)]
        if isinstance(node, Newton | Backsolved | Solve):
            return [(x, False) for x in self._solver_operands(node)]
        if isinstance(node, Interpolate):
            return [(node.x, node.x.shape == node.shape)]
        if node in self._summed:
            return [(node.children[0], True)]
        if isinstance(node, ScatterAdd) and isinstance(node.x, Gather) and node.x.x in self.leaves:
            return [(node.x.x, False)]
        direct = not isinstance(node, Gather | ScatterAdd | Concat)
        return [
            (c, direct and c not in self._summed and (c.shape == node.shape or c in self._uniform))
            for c in node.children
            if not isinstance(c, Const)
        ]

    def _solver_operands(self, node: Newton | Backsolved | Solve) -> Sequence[Expr]:
        """Return the arrays that a system is solved from: of a matrix, its entries, unless it is factored already."""
        if isinstance(node, Solve):
            return [node.b] if node.matrix in self.leaves else [assembled(node).values, node.b]
        return node.children

    def _is_uniform(self, node: Expr) -> bool:
        """Whether a value is the same for all lanes and samples: then it costs nothing where lanes read it."""
        if isinstance(node, Gather) and node.shape == (1,) and node.x in self.leaves:
            return True
        if node.shape != (1,) or not isinstance(node, Unary | Binary) or node in self._member:
            return False
        operands = (c for c in node.children if not isinstance(c, Const))
        return all(c in self._uniform or (c in self.leaves and not self.leaves[c].vector) for c in operands)

    def _is_summed(self, node: Expr) -> bool:
        """Whether many terms, all computed here, are added up to few lanes: then they need not be stored."""
        if not isinstance(node, ScatterAdd) or node.x.size != len(node.index):
            return False
        return node.x not in self.leaves and not _whole(node.x) and most_added(node.index) > FEW

    def _check(self, node: Expr) -> None:
        if not isinstance(node, _COVERED):
            raise Unsupported(f"a {type(node).__name__} that changes with every step")
        if len(node.shape) != 1:
            raise Unsupported("a matrix that changes with every step")
        if isinstance(node, MatVec) and self._matrix(node) not in self.leaves:
            raise Unsupported("a matrix that changes with time or sample")
        if isinstance(node, Interpolate) and not (node.xs in self.leaves and node.ys in self.leaves):
            raise Unsupported("a table that changes with time or sample")

    @staticmethod
    def _matrix(node: MatVec) -> Expr:
        return node.matrix.matrix if isinstance(node.matrix, Transpose) else node.matrix

    def _find_cheap(self) -> None:
        """Find what is rather computed again than kept: a few operations on what is in memory anyway."""
        cost: dict[Expr, int] = {}
        for node in self._order:
            if node in self._uniform:
                cost[node] = 0
                continue
            if not (isinstance(node, Unary | Binary) and node.op in _CHEAP) and not isinstance(node, Gather):
                continue
            total = 1
            for child, direct in self._operands(node):
                if child not in self.leaves:
                    total += cost.get(child, _CHEAP_OPERATIONS) if direct else _CHEAP_OPERATIONS
            if total <= _CHEAP_OPERATIONS:
                cost[node] = total
        self._cheap = set(cost)
        for node in self._order:
            self._cheap -= {child for child, direct in self._operands(node) if not direct}

    def _is_late(self, node: Expr) -> bool:
        """Whether a value is there only after the loop it is computed in."""
        return _whole(node) or node in self._summed

    def _place(self) -> None:
        values = [
            Value(x, self._operands(x), self._walked(x), _whole(x), self._is_late(x), x in self._cheap)
            for x in self._order
        ]
        results = [Result(s.expr, s.lanes, self._is_late(s.expr) or s.expr.shape != (s.lanes,)) for s in self.sinks]
        self._home, stages = placed(values, results)
        self._sink_stage = dict(enumerate(stages))

    def _walked(self, node: Expr) -> int:
        """Return how many lanes the loop has that computes a value."""
        return len(node.index) if isinstance(node, ScatterAdd) and node in self._summed else node.size

    def _find_stored(self) -> None:
        def read(node: Expr, place: Place | None, direct: bool) -> None:
            if node in self.leaves or isinstance(node, Const) or node in self._stored:
                return
            if node in self._cheap:
                for child, same in self._operands(node):
                    read(child, place, same)
            elif not direct or node in self._summed or self._home[node] != place:
                self._stored[node] = Array(self.temporary(node.size), node.size, vector=True)

        for sink in self.sinks:
            if sink.array and isinstance(sink.expr, MatVec) and sink.expr not in self._stored:
                self._stored[sink.expr] = Array(sink.array, sink.lanes, vector=True)
        for k, sink in self._lane_sinks():
            read(sink.expr, Place(self._sink_stage[k], sink.lanes), sink.expr.shape == (sink.lanes,))
        for node in self._order:
            if node not in self._cheap:
                for child, direct in self._operands(node):
                    read(child, self._home[node], direct)

    def _lane_sinks(self) -> list[tuple[int, Sink]]:
        """Return number and sink of all but those that a product is computed in."""
        return [
            (k, sink)
            for k, sink in enumerate(self.sinks)
            if not (sink.array and sink.expr in self._stored and self._stored[sink.expr].name == sink.array)
        ]

    # ------------------------------------------------------------------ what the writer of a loop asks

    @property
    def order(self) -> list[Expr]:
        """All that is computed, operands first."""
        return self._order

    def home(self, node: Expr) -> Place | None:
        """Return where a value is computed; ``None`` where it is read or computed wherever it is needed."""
        return self._home.get(node)

    def array(self, node: Expr) -> Array:
        """Return the array that holds a value."""
        return self.leaves.get(node) or self._stored[node]

    def stored(self, node: Expr) -> Array | None:
        """Return where a value is stored when it has been computed."""
        return self._stored.get(node)

    def known(self, node: Expr, place: Place) -> Array | None:
        """Return the array of a value that is there before a place begins."""
        if node in self.leaves:
            return self.leaves[node]
        return self._stored[node] if node in self._stored and self._home[node] != place else None

    def is_cheap(self, node: Expr) -> bool:
        """Whether a value is computed wherever it is needed."""
        return node in self._cheap

    def is_summed(self, node: Expr) -> bool:
        """Whether a sum is added up in the loop that computes its terms."""
        return node in self._summed

    def group(self, node: Expr) -> Group | None:
        """Return the logistic functions that share an exponential with ``node``."""
        return self._member[node][0] if node in self._member else None

    def sinks_at(self, place: Place) -> list[Sink]:
        """Return what is written at a place."""
        return [sink for k, sink in self._lane_sinks() if Place(self._sink_stage[k], sink.lanes) == place]

    # ------------------------------------------------------------------ text

    def _whole(self, node: Expr) -> list[str]:
        target = self._stored[node].name
        if isinstance(node, Newton | Backsolved | Solve):
            given = self._solver_operands(node)
            return self.solver(node, [self.array(x) for x in given], target, self.tables, self.temporary)
        if isinstance(node, MatVec):
            n, m = node.matrix.shape
            x, matrix = self.array(node.x).name, self.leaves[self._matrix(node)].name
            if isinstance(node.matrix, Transpose):
                return [f"multiply_transposed<{n}, {m}>({x}, {matrix}, {target});"]
            return [f"multiply<{n}, {m}>({x}, {matrix}, {target});"]
        if not isinstance(node, Concat):
            raise TypeError(type(node).__name__)
        result, start = [], 0
        for part in node.parts:
            value = vector(Const(part.value) if isinstance(part, Const) else self.array(part), "i")
            result.append(f"for (long i = 0; i < {part.size}; ++i) {target}[{start} + i] = {value};")
            start += part.size
        return result

    def _loop(self, place: Place) -> list[str]:
        """Return a loop over the lanes of a place, in parts where that saves index tables."""
        maps: list[np.ndarray] = []
        writer = _Writer(self, place, Walk(0, place.lanes), Tables(), maps)  # to learn where it reads and adds
        if not writer.body():
            return []
        parts = walks(place.lanes, maps)
        bodies = [_Writer(self, place, part, self.tables, []).body() for part in parts]
        result = [*writer.before]
        for part, lines in zip(parts, bodies, strict=True):
            inner = [*part.head, *(f"    {line}" for line in lines), "}"]
            sums = self._row_sums(place, part)
            if part.columns:
                rows = part.stop // part.columns
                begin = [f"for (long r = 0; r < {rows}; ++r) {{", *(f"V row_{name}{{}};" for name in sums)]
                inner = [*begin, *inner, *(f"{name}[r] = row_{name};" for name in sums), "}"]
            result += inner
        return [*result, *writer.after]

    def _row_sums(self, place: Place, part: Walk) -> list[str]:
        found = [node for node in self._order if node in self._summed and self._home[node] == place]
        return [self._stored[n].name for n in found if isinstance(n, ScatterAdd) and part.is_row(n.index.array)]


class _Writer:
    """Writes the statements of one lane of a place."""

    def __init__(self, block: Block, place: Place, walk: Walk, tables: Tables, maps: list[np.ndarray]) -> None:
        self._block = block
        self._place = place
        self._walk = walk
        self._tables = tables
        self._maps = maps
        self._local: dict[Expr, Code] = {}
        self._body: list[str] = []
        self.before: list[str] = []
        self.after: list[str] = []

    def body(self) -> list[str]:
        """Return the statements; what comes before and after all lanes is kept in ``before`` and ``after``."""
        block, place, lane = self._block, self._place, self._walk.lane
        for node in block.order:
            if block.home(node) != place:
                continue
            if isinstance(node, ScatterAdd) and block.is_summed(node):
                self._add_up(node)
                continue
            if node not in self._local:
                self._compute(node)
            if (array := block.stored(node)) is not None:
                self._body.append(f"{array.name}[{lane}] = {truth(self._local[node], False)};")
        writes: list[str] = []  # after all reads, so that a result may take the place of what it is made from
        for sink in block.sinks_at(place):
            writes.append(sink.write(truth(self._value(sink.expr), False), lane))
            self.before += sink.before
            self.after += sink.after
        return [*self._body, *writes]

    def _add_up(self, node: ScatterAdd) -> None:
        array = self._block.array(node)
        value, name = truth(self._value(node.x), False), array.name
        if node.lanes == 1:
            self.before.append(f"V sum_{name}{{}};")
            self.after.append(f"{name}[0] = sum_{name};")
            self._body.append(f"sum_{name} += {value};")
        elif self._walk.is_row(node.index.array):
            self._body.append(f"row_{name} += {value};")
        else:
            self.before.append(f"for (long k = 0; k < {node.lanes}; ++k) {name}[k] = V{{}};")
            self._body.append(f"{name}[{self._at(node.index.array)}] += {value};")
        self._maps.append(node.index.array)

    def _at(self, places: np.ndarray) -> str:
        if len(places) > 1:
            self._maps.append(places)
        return self._walk.at(places, self._tables)

    def _define(self, text: str, *, is_truth: bool = False) -> Code:
        name = f"v{len(self._body)}"
        self._body.append(f"const {'M' if is_truth else 'V'} {name} = {text};")
        return Code(name, is_truth)

    def _value(self, node: Expr) -> Code:
        block, lane = self._block, self._walk.lane
        if node in self._local:
            return self._local[node]
        if isinstance(node, Const):
            return Code(vector(node, lane))
        array = block.known(node, self._place)
        if array is not None:
            text = vector(array, lane if array.lanes == self._place.lanes else "0")
            if not array.vector and array.lanes == 1:
                return Code(text)
            self._local[node] = self._define(text)
            return self._local[node]
        if block.is_cheap(node):
            self._compute(node)
            return self._local[node]
        raise ValueError(f"{type(node).__name__} is not computed yet")

    def _compute(self, node: Expr) -> None:
        block, lane = self._block, self._walk.lane
        if (group := block.group(node)) is not None:
            self._compute_group(group)
        elif isinstance(node, Gather):
            self._local[node] = self._define(vector(block.array(node.x), self._at(node.index.array)))
        elif isinstance(node, ScatterAdd):
            self._local[node] = self._define(self._sum(node))
        elif isinstance(node, Interpolate):
            rows = [
                f"{block.leaves[p].name} + {lane if p.shape[0] > 1 else '0'} * {p.shape[1]}" for p in node.children[1:]
            ]
            x = truth(self._value(node.x), False)
            self._local[node] = self._define(f"interpolate({x}, {rows[0]}, {rows[1]}, {node.xs.shape[1]})")
        else:
            code = operation(node, [self._value(child) for child in node.children])
            self._local[node] = self._define(code.text, is_truth=code.is_truth)

    def _sum(self, node: ScatterAdd) -> str:
        """Return the text of the sum of the lanes that are sent to this one."""
        source, picked = node.x, None
        if isinstance(node.x, Gather) and node.x.x in self._block.leaves:
            source, picked = node.x.x, node.x.index.array
        array = self._block.array(source)
        if most_added(node.index) > FEW or node.lanes == 1:
            return self._tables.sum_of(array, node.index, node.lanes, self._walk.lane, picked)
        parts = []
        for column in places_of(array, node.index, node.lanes, picked):
            at = self._at(column)
            if at:
                part = column[self._walk.start : self._walk.stop]
                parts.append(f"{array.name}[{at}]" if (part >= 0).all() else f"one_of({array.name}, {at})")
        return " + ".join(parts) or "V{}"

    def _compute_group(self, group: Group) -> None:
        members = [m for m in group.members if self._block.home(m.node) == self._place]
        if group.power is not None:
            fraction, whole = (truth(self._value(e), False) for e in group.operands)
            reach = self._define(f"held_power({fraction}, {whole})").text
        else:
            factor, offset, base = (truth(self._value(e), False) for e in (group.factor, group.offset, group.base))
            reach = self._define(f"shared_exponential({factor} * {base} + {offset})").text
        below = []
        for member in members:
            constant = truth(self._value(member.constant), False)
            one = "splat(T(1))"
            text = f"{one} + {reach} * {constant}" if member.rising else f"{reach} + {constant}"
            below.append(self._define(text).text)
        for start in range(0, len(members), 2):  # two share a reciprocal
            pair = below[start : start + 2]
            part = self._define(f"reciprocal({' * '.join(pair)})").text
            for k, member in enumerate(members[start : start + 2]):
                others = [d for j, d in enumerate(pair) if j != k]
                terms = [*([] if member.rising else [reach]), part, *others]
                self._local[member.node] = self._define(" * ".join(terms))
