"""Turning the values bound into a family's branches into parameter blocks and expressions over lanes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence

import numpy as np

from netc.diagnostics import Span
from netc.elaborate.circuit import Branch, Circuit, Trained, Value
from netc.ir.build import gather
from netc.ir.nodes import Const, Expr, Index, Parameter, rebuild
from netc.ir.program import Bounds, Coordinate, ParameterBlock, Spread


class BlockNames:
    """Unique identifiers for blocks: short, readable, and made of ``[a-z0-9_]`` alone."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def new(self, prefix: str, hints: Iterable[str] = ()) -> str:
        """Return an unused identifier ``prefix_hint``, the hint being what ``hints`` have in common."""
        hint = _common(hints)
        stem = f"{prefix}_{hint}" if hint else prefix
        name, number = (stem, 1) if hint else (f"{stem}_1", 1)
        while name in self._used or keyword.iskeyword(name):
            number += 1
            name = f"{stem}_{number}"
        self._used.add(name)
        return name


def _common(hints: Iterable[str]) -> str:
    parts = [re.sub(r"[^a-z0-9_]", "_", h.lower().rsplit(".", 1)[-1]) for h in hints]
    if not parts:
        return ""
    shortest, longest = min(parts), max(parts)
    if shortest == longest:
        return shortest[:24]
    return re.sub(r"[0-9_]+$", "", _prefix(shortest, longest))[:24]


def _prefix(a: str, b: str) -> str:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


class Values:
    """Makes the parameter blocks of a circuit; a shared parameter is one lane of one block, wherever it is used."""

    def __init__(self, circuit: Circuit, names: BlockNames, uses: Iterable[Sequence[Value]]) -> None:
        """``uses`` are all groups of values that will become lanes of one expression."""
        self._circuit = circuit
        self._names = names
        self.blocks: dict[str, ParameterBlock] = {}
        self._trained = {t.parameter: t for t in circuit.trained if t.parameter is not None}
        self._kinds = parameter_kinds(circuit)
        self._spreads: dict[str, tuple[Spread, ...]] = {}
        for v in circuit.varied:
            if v.parameter is not None:
                self._spreads[v.parameter] = (*self._spreads.get(v.parameter, ()), v.spread)
        self._place: dict[str, tuple[str, int, int]] = {}  # shared parameter -> block, lane, lanes
        self._group_shared(uses)

    def _group_shared(self, uses: Iterable[Sequence[Value]]) -> None:
        """Put shared parameters that stand in the same place of some family into one block."""
        up: dict[str, str] = {}

        def find(name: str) -> str:
            while up.setdefault(name, name) != name:
                name = up[name]
            return name

        for values in uses:
            distinct = {id(v): v for v in values if isinstance(v, Expr)}
            columns = [
                [n.name for n in postorder_with_repeats(v) if isinstance(n, Parameter)] for v in distinct.values()
            ]
            for row in zip(*columns, strict=False):
                for name in row:
                    if find(name) != find(row[0]) and self._kinds.get(name) == self._kinds.get(row[0]):
                        up[find(name)] = find(row[0])
        groups: dict[str, list[str]] = {}
        for name in self._circuit.parameters:
            if name in up:
                groups.setdefault(find(name), []).append(name)
        for lanes in groups.values():
            shared = [self._circuit.parameters[n] for n in lanes]
            block = self._names.new("p", lanes)
            trained = self._trained.get(lanes[0])
            self.blocks[block] = ParameterBlock(
                block,
                "model",
                "",
                np.array([s.value for s in shared], dtype=np.float64),
                tuple(lanes),
                tuple(s.span for s in shared),
                bounds(trained, reciprocal=False),
                self._spreads.get(lanes[0], ()),
            )
            for lane, name in enumerate(lanes):
                self._place[name] = (block, lane, len(lanes))

    def literal(
        self,
        values: Sequence[float],
        role: str,
        unit: str,
        hint: str,
        lanes: Sequence[str],
        spans: Sequence[Span],
        trained: Trained | None = None,
        spreads: tuple[Spread, ...] = (),
    ) -> Expr:
        """Lanes of literals: a named parameter block, or a constant where they are no named value."""
        array = np.array(values, dtype=np.float64)
        uniform = bool((array == array[0]).all())
        if trained is None and not spreads and uniform and (not role or (role == "source" and array[0] == 0)):
            return Const(array[0])  # a source of 0 V is an ammeter, and what it holds is exactly ground
        name = self._names.new(hint, lanes if role else ())
        self.blocks[name] = ParameterBlock(
            name,
            role or "model",
            unit,
            array,
            tuple(lanes),
            tuple(spans),
            bounds(trained, reciprocal=role == "R"),
            spreads,
        )
        return Parameter(name, len(array))

    def shared(self, values: Sequence[Expr]) -> Expr:
        """Lanes of expressions of one form over shared parameters."""
        if all(v is values[0] for v in values):
            return self._merge([values[0]])
        return self._merge(values)

    def _merge(self, values: Sequence[Expr]) -> Expr:
        first = values[0]
        if isinstance(first, Parameter):
            places = [self._place[v.name] for v in values if isinstance(v, Parameter)]
            block, _, size = places[0]
            if any(p[0] != block for p in places):
                raise AssertionError("shared parameters of one family in two blocks")
            return gather(Parameter(block, size), Index([p[1] for p in places]))
        if not first.children or all(v is first for v in values):
            if not first.children:
                return first
            return rebuild(first, tuple(self._merge([c]) for c in first.children))
        columns = zip(*(v.children for v in values), strict=True)
        return rebuild(first, tuple(self._merge(column) for column in columns))

    def number(self, value: Value) -> float:
        """The value at the deck's own parameters."""
        return self._circuit.number(value)


def spreads_of_branches(circuit: Circuit) -> dict[int, tuple[Spread, ...]]:
    """Return the spreads of the first values of branches, by number."""
    found: dict[int, tuple[Spread, ...]] = {}
    for varied in circuit.varied:
        if varied.branch is not None:
            found[varied.branch] = (*found.get(varied.branch, ()), varied.spread)
    return found


def parameter_kinds(circuit: Circuit) -> dict[str, str]:
    """Return what tells shared parameters apart that cannot be in one block, those learnt or with a spread, by name."""
    found: dict[str, str] = {}
    for trained in circuit.trained:
        if trained.parameter is not None:
            found[trained.parameter] = f"trained {trained.minimum!r} {trained.maximum!r}"
    for varied in circuit.varied:
        if varied.parameter is not None:
            found[varied.parameter] = f"{found.get(varied.parameter, '')} {varied.spread}"
    return found


def bounds(trained: Trained | None, *, reciprocal: bool) -> Bounds | None:
    """Bounds of a trained value; resistances are learnt as conductances."""
    if trained is None:
        return None
    return Bounds(trained.minimum, trained.maximum, Coordinate.RECIPROCAL if reciprocal else Coordinate.LINEAR)


def postorder_with_repeats(value: Expr) -> list[Expr]:
    """Every occurrence of every node, so that expressions of one form line up."""
    found: list[Expr] = []
    stack = [value]
    while stack:
        node = stack.pop()
        found.append(node)
        stack.extend(node.children)
    return found


def branch_hint(branch: Branch) -> str:
    """Prefix of the blocks of a branch's values: its letter."""
    return branch.law.letter.lower()
