"""Solve the algebraic blocks: a DAE becomes a program.

unknown u (n):  0 = g * (v - u) - h * u        ->   u = (g * v) / (g + h)          one unknown a net
unknown u (3n): a ladder of 3 nets, n times    ->   Gaussian elimination over n lanes
unknown u (n):  one network of many nets       ->   u = Solve(Assemble(...), b)    factored once a parameter set
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from netc.diagnostics import Diagnostics, Span
from netc.ir import build
from netc.ir.interpret import Array, evaluate
from netc.ir.linear import Entry, Nonlinear, lanes_of, linear_form
from netc.ir.nodes import Expr, Index, Input, Parameter, State, Time, Unknown, postorder
from netc.ir.program import AlgebraicBlock, Program
from netc.ir.rates import Rates
from netc.optimise.elimination import Singular, eliminate
from netc.optimise.rewriting import Rewriter, mapped, negated

SMALL = 4
"""Most unknowns of a component that is solved by elimination over lanes."""
LARGEST = 6000
"""Most unknowns of one dense system (its float64 matrix takes 288 MB)."""
_PATTERNS = 16  # more different small patterns than this are solved as one dense system instead

_Numbers = np.ndarray[Any, np.dtype[Any]]  # int64


def run(program: Program) -> Program:
    """Return ``program`` without algebraic blocks.

    Raises :class:`~netc.diagnostics.NetcError` for non-linear, singular or too large systems, all together.
    """
    problems = Diagnostics()
    solved: dict[Expr, Expr] = {}
    rates = Rates(program)
    for block in program.algebraic:
        rewrite = Rewriter(solved.get)
        if block.explicit is not None:
            (unknown,) = block.unknowns
            solved[unknown] = rewrite(block.explicit)
            continue
        residuals = tuple(rewrite(r) for r in block.residuals)
        system = _System.of(replace(block, residuals=residuals), problems)
        if system is not None:
            nominal = _Nominal(program, solved)
            solved |= system.solution(rates, nominal, problems)
    problems.raise_if_failed()
    return mapped(replace(program, algebraic=()), Rewriter(solved.get))


class _Nominal:
    """Values at the start with the deck's own parameters and inputs of 1."""

    def __init__(self, program: Program, solved: dict[Expr, Expr]) -> None:
        here: dict[Expr, Array] = {Parameter(b.name, len(b.values)): b.values for b in program.parameters}
        here |= {Input(b.name, b.size): np.ones(b.size) for b in program.inputs}
        here[Time()] = np.zeros(1)
        rewrite = Rewriter(solved.get)
        for block in program.states:
            initial = rewrite(block.initial)
            open_end = any(isinstance(node, Unknown | State) for node in postorder(initial))
            start = np.zeros(1) if open_end else evaluate([initial], here)[0]
            here[State(block.name, block.size)] = np.broadcast_to(start, (block.size,))
        self._here = here

    def __call__(self, expr: Expr) -> Array:
        return evaluate([expr], self._here)[0]


@dataclass(slots=True)
class _System:
    """All lanes of a block as one linear system; rows and columns are numbered through."""

    block: AlgebraicBlock
    names: list[str]
    spans: list[Span | None]
    starts: list[int]
    remainders: list[Expr]
    sizes: list[int]
    rows: _Numbers
    columns: _Numbers
    entry: _Numbers
    lane: _Numbers
    coefficients: list[Expr]

    @classmethod
    def of(cls, block: AlgebraicBlock, problems: Diagnostics) -> _System | None:
        names = [name for lanes in block.lanes for name in lanes]
        spans = [s for i, lanes in enumerate(block.lanes) for s in _padded(block.spans[i], len(lanes))]
        starts = {u.name: start for u, start in _starts(block.unknowns) if isinstance(u, Unknown)}
        sizes = [u.size for u in block.unknowns]
        if len(block.residuals) != len(sizes):
            raise ValueError("an algebraic block needs one residual for each unknown")
        remainders: list[Expr] = []
        entries: list[Entry] = []
        first = 0
        for unknown, residual, size in zip(block.unknowns, block.residuals, sizes, strict=True):
            try:
                form = linear_form(build.widen(residual, size), starts)
            except Nonlinear:
                what = "element" if isinstance(unknown, Unknown) and unknown.name.startswith("i_") else "node"
                problems.error(
                    f"{what} {names[first]!r}: a non-linear expression fixes a node (or branch) without capacitance; "
                    "this is not supported yet",
                    spans[first],
                    "add a capacitor from the node to ground, for example the parasitic one",
                )
                return None
            remainders.append(form.remainder)
            for e in form.entries:
                shifted = Entry(
                    "", Index(e.rows.array + first), Index(e.columns.array + starts[e.unknown]), e.coefficient
                )
                if e.coefficient is not build.ZERO:
                    entries.append(_without_duplicates(shifted, len(names)))
            first += size
        return cls(
            block,
            names,
            spans,
            [start for _, start in _starts(block.unknowns)],
            remainders,
            sizes,
            rows=_joined([e.rows.array for e in entries]),
            columns=_joined([e.columns.array for e in entries]),
            entry=_joined([np.full(len(e.rows), k) for k, e in enumerate(entries)]),
            lane=_joined([np.arange(len(e.rows)) for e in entries]),
            coefficients=[e.coefficient for e in entries],
        )

    def solution(self, rates: Rates, nominal: _Nominal, problems: Diagnostics) -> dict[Expr, Expr]:
        """Return the value of each unknown, or record what is wrong and return what can be."""
        size = len(self.names)
        graph = coo_matrix((np.ones(len(self.rows)), (self.rows, self.columns)), shape=(size, size)).tocsr()
        if not self._structure_is_sound(graph, problems):
            return {}
        joined = coo_matrix((np.ones(len(self.rows)), (self.rows, self.columns + size)), shape=(2 * size, 2 * size))
        count, labels = connected_components(joined, directed=False)
        pieces: list[tuple[_Numbers, Expr]] = []
        for small, members in self._groups(count, labels, rates):
            try:
                pieces += self._eliminated(members, rates, nominal) if small else self._dense(members, rates, nominal)
            except _Wrong as wrong:
                self._report(wrong, problems)
                return {}
        return {u: _lanes_from(pieces, start, u.size) for u, start in _starts(self.block.unknowns)}

    def _structure_is_sound(self, graph: coo_matrix, problems: Diagnostics) -> bool:
        column_of_row = maximum_bipartite_matching(graph, perm_type="column")
        rows = np.flatnonzero(column_of_row < 0)
        if len(rows):
            columns = np.setdiff1d(np.arange(len(self.names)), column_of_row)
            self._report(_Wrong("singular", np.union1d(columns, rows)), problems)
        return not len(rows)

    def _groups(
        self, count: int, labels: _Numbers, rates: Rates
    ) -> Iterator[tuple[bool, list[tuple[_Numbers, _Numbers]]]]:
        """Yield lists of components (rows, columns) that are solved at once, small ones of one pattern and rate."""
        size = len(self.names)
        rows, columns = _by_label(labels[:size], count), _by_label(labels[size:], count)
        stepped = np.zeros(count, dtype=bool)
        moving = np.array([bool(rates(c)) for c in self.coefficients], dtype=bool)
        stepped[labels[self.rows[moving[self.entry]]]] = True
        pattern: dict[int, list[tuple[int, int]]] = {}
        local = np.zeros(2 * size, dtype=np.int64)
        for members in (*rows, *(c + size for c in columns)):
            local[members] = np.arange(len(members))
        for r, c in zip(self.rows, self.columns, strict=True):
            if len(rows[labels[r]]) <= SMALL:
                pattern.setdefault(int(labels[r]), []).append((int(local[r]), int(local[c + size])))
        groups: dict[tuple[object, ...], list[tuple[_Numbers, _Numbers]]] = {}
        key: tuple[object, ...]
        for label in range(count):
            key = (len(rows[label]), tuple(sorted(set(pattern.get(label, ())))), bool(stepped[label]))
            small = len(rows[label]) <= SMALL and (key in groups or len(groups) < _PATTERNS)
            groups.setdefault(key if small else ("dense", bool(stepped[label])), []).append(
                (rows[label], columns[label])
            )
        for key, together in groups.items():
            yield key[0] != "dense", together

    def _eliminated(
        self, members: list[tuple[_Numbers, _Numbers]], rates: Rates, nominal: _Nominal
    ) -> list[tuple[_Numbers, Expr]]:
        rows, columns = np.array([r for r, _ in members]), np.array([c for _, c in members])
        lanes, size = rows.shape
        lane_of, row_of, column_of = (np.full(len(self.names), -1) for _ in range(3))
        lane_of[rows] = np.arange(lanes)[:, None]
        row_of[rows], column_of[columns] = np.arange(size), np.arange(size)
        inside = np.flatnonzero(lane_of[self.rows] >= 0)
        matrix: list[list[Expr]] = [[build.ZERO] * size for _ in range(size)]
        for number in np.unique(self.entry[inside]):
            chosen = inside[self.entry[inside] == number]
            place = row_of[self.rows[chosen]] * size + column_of[self.columns[chosen]]
            for spot in np.unique(place):
                here = chosen[place == spot]
                spread = _spread(self.coefficients[number], self.lane[here], lane_of[self.rows[here]], lanes)
                r, c = divmod(int(spot), size)
                matrix[r][c] = build.add(matrix[r][c], spread)
        right = [negated(self._remainder(rows[:, r])) for r in range(size)]
        try:
            values = eliminate(matrix, right, nominal, lambda x: not rates(x))
        except Singular as singular:
            where = slice(None) if singular.lanes is None or singular.lanes.size != lanes else singular.lanes
            raise _Wrong("singular", columns[where].ravel()) from None
        return [(columns[:, c], value) for c, value in enumerate(values)]

    def _dense(
        self, members: list[tuple[_Numbers, _Numbers]], rates: Rates, nominal: _Nominal
    ) -> list[tuple[_Numbers, Expr]]:
        rows, columns = np.concatenate([r for r, _ in members]), np.concatenate([c for _, c in members])
        size = len(rows)
        if size > LARGEST:
            raise _Wrong("large", columns)
        row_of, column_of = np.full(len(self.names), -1), np.full(len(self.names), -1)
        row_of[rows], column_of[columns] = np.arange(size), np.arange(size)
        inside = np.flatnonzero(row_of[self.rows] >= 0)
        parts = []
        for number in np.unique(self.entry[inside]):
            chosen = inside[self.entry[inside] == number]
            parts.append(build.widen(lanes_of(self.coefficients[number], Index(self.lane[chosen])), len(chosen)))
        where = Index(row_of[self.rows[inside]]), Index(column_of[self.columns[inside]])
        matrix = build.assemble(build.concat(parts), *where, (size, size))
        if not rates(matrix):
            involved = _null_lanes(nominal(matrix))
            if involved is not None:
                raise _Wrong("singular", columns[involved])
        return [(columns, build.solve(matrix, negated(self._remainder(rows))))]

    def _remainder(self, rows: _Numbers) -> Expr:
        pieces = [(np.arange(size) + start, x) for x, size, start in zip(
            self.remainders, self.sizes, self.starts, strict=True
        )]  # fmt: skip
        return _picked(pieces, rows)

    def _report(self, wrong: _Wrong, problems: Diagnostics) -> None:
        first = int(wrong.columns[0])
        shown = [self.names[c] for c in wrong.columns[:8]]
        more = f" and {len(wrong.columns) - len(shown)} more" if len(wrong.columns) > len(shown) else ""
        names = ", ".join(shown) + more
        if wrong.kind == "large":
            problems.error(
                f"{len(wrong.columns)} nodes and branches without capacitance hang together ({names}); "
                f"more than {LARGEST} are not supported yet",
                self.spans[first],
                "add capacitors, for example the parasitic ones, so that the nodes become states",
            )
            return
        problems.error(
            f"the equations of {names} have no unique solution",
            self.spans[first],
            "look for a net without a path to ground, sources in a loop, or a controlled source that cancels itself",
        )


class _Wrong(Exception):
    """A system that cannot be solved: ``kind`` is ``singular`` or ``large``."""

    def __init__(self, kind: str, columns: _Numbers) -> None:
        self.kind, self.columns = kind, columns
        super().__init__(kind)


def _joined(parts: list[_Numbers]) -> _Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _padded(spans: tuple[Span, ...], count: int) -> list[Span | None]:
    return [spans[min(k, len(spans) - 1)] if spans else None for k in range(count)]


def _starts(unknowns: tuple[Expr, ...]) -> list[tuple[Expr, int]]:
    ends = np.cumsum([u.size for u in unknowns])
    return [(u, int(end) - u.size) for u, end in zip(unknowns, ends, strict=True)]


def _without_duplicates(entry: Entry, size: int) -> Entry:
    pairs, inverse = np.unique(entry.rows.array * size + entry.columns.array, return_inverse=True)
    if len(pairs) == len(entry.rows):
        return entry
    coefficient = build.scatter_add(entry.coefficient, Index(inverse), len(pairs))
    return Entry(entry.unknown, Index(pairs // size), Index(pairs % size), coefficient)


def _by_label(labels: _Numbers, count: int) -> list[_Numbers]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def _spread(x: Expr, chosen: _Numbers, lane_of: _Numbers, lanes: int) -> Expr:
    """Return ``lanes`` lanes, lane ``lane_of[k]`` being lane ``chosen[k]`` of ``x``, 0 where there is none."""
    if len(chosen) == lanes:  # one each, as duplicates have been added up
        order = np.argsort(lane_of)
        return lanes_of(x, Index(chosen[order]))
    return build.scatter_add(lanes_of(x, Index(chosen)), Index(lane_of), lanes)


def _picked(pieces: list[tuple[_Numbers, Expr]], wanted: _Numbers) -> Expr:
    """Return the lanes numbered ``wanted``, where a piece holds lanes of the given numbers (or one that broadcasts)."""
    used = [(numbers, x) for numbers, x in pieces if np.isin(numbers, wanted).any()]
    if all(x is used[0][1] and x.shape == (1,) for _, x in used):
        return used[0][1]
    numbers = np.concatenate([n for n, _ in used])
    order = np.argsort(numbers)
    place = order[np.searchsorted(numbers[order], wanted)]
    return build.gather(build.concat([build.widen(x, len(n)) for n, x in used]), Index(place))


def _lanes_from(pieces: list[tuple[_Numbers, Expr]], start: int, size: int) -> Expr:
    return _picked(pieces, np.arange(start, start + size))


def _null_lanes(matrix: Array) -> _Numbers | None:
    """Return the columns of the null vector of a numerically singular matrix, else ``None``."""
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    if not np.isfinite(matrix).all() or not scale.all():
        return np.arange(len(matrix))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # an exact zero pivot: what is looked for
        factors, order = lu_factor(matrix / scale, check_finite=False)
    diagonal = np.abs(np.diag(factors))
    if diagonal.min() > 1e-13 * diagonal.max():
        return None
    tiny = 1e-14 * diagonal.max()
    np.fill_diagonal(factors, np.where(diagonal < tiny, tiny, np.diag(factors)))
    start = np.random.default_rng(0).uniform(0.5, 1.0, len(matrix))
    vector = np.abs(lu_solve((factors, order), start, check_finite=False))
    return np.flatnonzero(vector > 1e-3 * vector.max())
