"""Expressions as C++ loops over lanes: what can be computed lane by lane together shares one loop.

An operand that is needed at another lane (a gather, a sum over lanes, a product with a matrix, one lane read by
many) has to be complete before the loop that reads it, so every expression gets a stage: one more than that of
such operands.  Expressions then move to the last stage that still serves all readers, which leaves one loop
for each family of lanes where the circuit allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
    Transpose,
    Unary,
)
from netc.kernels.exponentials import Group, Member
from netc.kernels.loops import Unsupported
from netc.kernels.text import Array, Code, Tables, operation, truth, vector

_CHEAP = frozenset({"add", "sub", "mul", "neg"})
_CHEAP_OPERATIONS = 3


def _whole(node: Expr) -> bool:
    """Whether a node is computed on its own, all lanes at once."""
    return isinstance(node, MatVec | Concat)


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


class Place(NamedTuple):
    """A loop over ``lanes`` lanes of one stage; a product with a matrix stands on its own (``node``)."""

    stage: int
    lanes: int
    node: Expr | None = None


@dataclass(slots=True, eq=False)
class Block:
    """Statements that compute some expressions once for a tile of samples.

    Args:
        sinks: what is computed.
        leaves: arrays that values are read from.
        groups: logistic functions that share an exponential.
        tables: collects index tables of the file.
        temporary: returns the name of a new array of so many lanes.
    """

    sinks: Sequence[Sink]
    leaves: Mapping[Expr, Array]
    groups: Sequence[Group]
    tables: Tables
    temporary: Callable[[int], str]
    _order: list[Expr] = field(default_factory=list)
    _member: dict[Expr, tuple[Group, Member]] = field(default_factory=dict)
    _cheap: set[Expr] = field(default_factory=set)
    _uniform: set[Expr] = field(default_factory=set)
    _home: dict[Expr, Place] = field(default_factory=dict)
    _sink_stage: dict[int, int] = field(default_factory=dict)
    _stored: dict[Expr, Array] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the statements."""
        self._member = {m.node: (group, m) for group in self.groups for m in group.members}
        self._order = self._sorted()
        for node in self._order:
            self._check(node)
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
            base = self._member[node][0].base
            return [(base, base.shape == node.shape)]
        if isinstance(node, MatVec):
            return [(node.x, False)]
        if isinstance(node, Interpolate):
            return [(node.x, node.x.shape == node.shape)]
        direct = not isinstance(node, Gather | ScatterAdd | Concat)
        return [
            (c, direct and (c.shape == node.shape or c in self._uniform))
            for c in node.children
            if not isinstance(c, Const)
        ]

    def _is_uniform(self, node: Expr) -> bool:
        """Whether a value is the same for all lanes and samples: then it costs nothing where lanes read it."""
        if node.shape != (1,) or not isinstance(node, Unary | Binary) or node in self._member:
            return False
        operands = (c for c in node.children if not isinstance(c, Const))
        return all(c in self._uniform or (c in self.leaves and not self.leaves[c].vector) for c in operands)

    def _check(self, node: Expr) -> None:
        if not isinstance(node, Unary | Binary | Select | Gather | ScatterAdd | Concat | MatVec | Interpolate):
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

    def _place(self) -> None:
        first: dict[Expr, int] = {}
        for node in self._order:
            needs = (first[c] + (_whole(c) or not direct) for c, direct in self._operands(node) if c in first)
            first[node] = max(needs, default=0)
        stage_of_lanes: dict[int, int] = {}
        for sink in self.sinks:
            stage = first.get(sink.expr, -1) + (_whole(sink.expr) or sink.expr.shape != (sink.lanes,))
            stage_of_lanes[sink.lanes] = max(stage_of_lanes.get(sink.lanes, 0), stage)
        last: dict[Expr, int] = {}

        def need(node: Expr, stage: int) -> None:
            if node in first:
                last[node] = min(last.get(node, stage), stage)

        for k, sink in enumerate(self.sinks):
            self._sink_stage[k] = stage_of_lanes[sink.lanes]
            need(sink.expr, self._sink_stage[k] - (_whole(sink.expr) or sink.expr.shape != (sink.lanes,)))
        for node in reversed(self._order):
            for child, direct in self._operands(node):
                need(child, last[node] - (_whole(child) or not direct))
        lowest = min(last.values(), default=0)
        for node in self._order:
            if node not in self._cheap:
                self._home[node] = Place(last[node] - lowest, node.size, node if _whole(node) else None)
        self._sink_stage = {k: stage - lowest for k, stage in self._sink_stage.items()}

    def _find_stored(self) -> None:
        def read(node: Expr, place: Place | None, direct: bool) -> None:
            if node in self.leaves or isinstance(node, Const) or node in self._stored:
                return
            if node in self._cheap:
                for child, same in self._operands(node):
                    read(child, place, same)
            elif not direct or self._home[node] != place:
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

    # ------------------------------------------------------------------ text

    def _array(self, node: Expr) -> Array:
        return self.leaves.get(node) or self._stored[node]

    def _whole(self, node: Expr) -> list[str]:
        target = self._stored[node].name
        if isinstance(node, MatVec):
            n, m = node.matrix.shape
            x, matrix = self._array(node.x).name, self.leaves[self._matrix(node)].name
            if isinstance(node.matrix, Transpose):
                return [f"multiply_transposed<{n}, {m}>({x}, {matrix}, {target});"]
            return [f"multiply<{n}, {m}>({x}, {matrix}, {target});"]
        if not isinstance(node, Concat):
            raise TypeError(type(node).__name__)
        result, start = [], 0
        for part in node.parts:
            value = vector(Const(part.value) if isinstance(part, Const) else self._array(part), "i")
            result.append(f"for (long i = 0; i < {part.size}; ++i) {target}[{start} + i] = {value};")
            start += part.size
        return result

    def _loop(self, place: Place) -> list[str]:
        local: dict[Expr, Code] = {}
        body: list[str] = []
        lane = "i" if place.lanes > 1 else "0"

        def value(node: Expr) -> Code:
            if node in local:
                return local[node]
            if isinstance(node, Const):
                return Code(vector(node, lane))
            if node in self.leaves or (node in self._stored and self._home[node] != place):
                array = self._array(node)
                text = vector(array, lane if array.lanes == place.lanes else "0")
                if not array.vector and array.lanes == 1:
                    return Code(text)
                local[node] = define(text)
                return local[node]
            if node in self._cheap:
                compute(node)
                return local[node]
            raise ValueError(f"{type(node).__name__} is not computed yet")

        def define(text: str, *, is_truth: bool = False) -> Code:
            name = f"v{len(body)}"
            body.append(f"const {'M' if is_truth else 'V'} {name} = {text};")
            return Code(name, is_truth)

        def compute(node: Expr) -> None:
            if node in self._member:
                compute_group(node)
            elif isinstance(node, Gather):
                array = self._array(node.x)
                local[node] = define(vector(array, self.tables.at(node.index, lane)))
            elif isinstance(node, ScatterAdd):
                array = self._array(node.x)
                local[node] = define(self.tables.sum_of(array, node.index, node.lanes, lane))
            elif isinstance(node, Interpolate):
                rows = [
                    f"{self.leaves[p].name} + {lane if p.shape[0] > 1 else '0'} * {p.shape[1]}"
                    for p in node.children[1:]
                ]
                x = truth(value(node.x), False)
                local[node] = define(f"interpolate({x}, {rows[0]}, {rows[1]}, {node.xs.shape[1]})")
            else:
                code = operation(node, [value(child) for child in node.children])
                local[node] = define(code.text, is_truth=code.is_truth)

        def compute_group(node: Expr) -> None:
            group, _ = self._member[node]
            members = [m for m in group.members if self._home.get(m.node) == place]
            base, factor, offset = (truth(value(e), False) for e in (group.base, group.factor, group.offset))
            reach = define(f"shared_exponential({factor} * {base} + {offset})").text
            below = []
            for member in members:
                constant = truth(value(member.constant), False)
                one = "splat(T(1))"
                below.append(define(f"{one} + {reach} * {constant}" if member.rising else f"{reach} + {constant}").text)
            for start in range(0, len(members), 2):
                pair = below[start : start + 2]
                part = define(f"reciprocal({' * '.join(pair)})").text
                for k, member in enumerate(members[start : start + 2]):
                    others = [d for j, d in enumerate(pair) if j != k]
                    terms = [*([] if member.rising else [reach]), part, *others]
                    local[member.node] = define(" * ".join(terms))

        for node in self._order:
            if self._home.get(node) == place and node not in local:
                compute(node)
            if self._home.get(node) == place and node in self._stored:
                body.append(f"{self._stored[node].name}[{lane}] = {truth(local[node], False)};")
        before: list[str] = []
        after: list[str] = []
        writes: list[str] = []  # after all reads, so that a result may take the place of what it is made from
        for k, sink in self._lane_sinks():
            if Place(self._sink_stage[k], sink.lanes) == place:
                writes.append(sink.write(truth(value(sink.expr), False), lane))
                before += sink.before
                after += sink.after
        body += writes
        if not body:
            return []
        head = f"for (long i = 0; i < {place.lanes}; ++i) {{" if place.lanes > 1 else "{"
        return [*before, head, *(f"    {line}" for line in body), "}", *after]
