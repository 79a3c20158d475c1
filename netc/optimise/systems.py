"""Systems of equations: one algebraic block numbered through, taken apart into what has to be solved together.

unknown u (n):  0 = g * (v - u) - h * u        ->   u = (g * v) / (g + h)          one unknown a net
unknown u (3n): a ladder of 3 nets, n times    ->   Gaussian elimination over n lanes
unknown u (n):  one network of many nets       ->   u = Solve(Assemble(...), b)    factored once a parameter set
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning, lu_factor, lu_solve
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from netc.diagnostics import Diagnostics, Span
from netc.ir import build
from netc.ir.interpret import Array
from netc.ir.linear import Entry, lanes_of
from netc.ir.network import Response
from netc.ir.nodes import Const, Expr, Index, Unary
from netc.ir.program import AlgebraicBlock
from netc.optimise.elimination import Singular, eliminate
from netc.optimise.feeding import feeds
from netc.optimise.rewriting import negated

SMALL = 4
"""Most unknowns of a component that is solved by elimination over lanes."""
LARGEST = 6000
"""Most unknowns of one dense system (its float64 matrix takes 288 MB)."""
SPARSE = 256
"""Least unknowns of one system whose response is found by sparse factors,"""
SPARSE_FILL = 20
"""where at most one in so many entries of its matrix differs from 0."""
_PATTERNS = 16  # more different small patterns than this are solved as one dense system instead

Numbers = np.ndarray[Any, np.dtype[Any]]  # int64
Component = tuple[Numbers, Numbers]
"""Rows and columns that depend on each other."""
Piece = tuple[Numbers, Expr]
"""Numbers of unknowns, and an expression with a lane for each (or one that broadcasts)."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Components that are solved at once: ``small`` ones are lanes of one elimination, others one dense system.

    ``curved`` ones are not linear in their unknowns.
    """

    small: bool
    curved: bool
    members: list[Component]


@dataclass(slots=True, eq=False)
class System:
    """All lanes of a block; rows (residuals) and columns (unknowns) are numbered through.

    Entries are coefficients of unknowns; entry ``k`` is lane ``lane[k]`` of ``coefficients[entry[k]]``.  ``links`` are
    further pairs of rows and columns that have to be solved together.  ``curved`` says of each coefficient whether
    it follows from the unknowns, ``stepped`` and ``moves`` whether it changes once parameters are given; ``nominal``
    evaluates one.
    """

    names: list[str]
    spans: list[Span | None]
    unknowns: tuple[Expr, ...]
    starts: list[int]
    sizes: list[int]
    rows: Numbers
    columns: Numbers
    entry: Numbers
    lane: Numbers
    coefficients: list[Expr]
    links: Component
    curved: list[bool]
    stepped: list[bool]
    nominal: Callable[[Expr], Array]
    moves: Callable[[Expr], bool]

    @classmethod
    def of(
        cls,
        block: AlgebraicBlock,
        entries: list[Entry],
        nominal: Callable[[Expr], Array],
        moves: Callable[[Expr], bool],
        curved: Callable[[Expr], bool] = lambda _: False,
        links: Component | None = None,
    ) -> System:
        """Return the system with ``entries`` whose rows and columns are numbered through already."""
        names = [name for lanes in block.lanes for name in lanes]
        entries = [_without_duplicates(e, len(names)) for e in entries if e.coefficient is not build.ZERO]
        none = np.zeros(0, dtype=np.int64)
        return cls(
            names,
            [s for i, lanes in enumerate(block.lanes) for s in _padded(block.spans[i], len(lanes))],
            block.unknowns,
            [start for _, start in numbered(block.unknowns)],
            [u.size for u in block.unknowns],
            rows=_joined([e.rows.array for e in entries]),
            columns=_joined([e.columns.array for e in entries]),
            entry=_joined([np.full(len(e.rows), k) for k, e in enumerate(entries)]),
            lane=_joined([np.arange(len(e.rows)) for e in entries]),
            coefficients=[e.coefficient for e in entries],
            links=links or (none, none),
            curved=[curved(e.coefficient) for e in entries],
            stepped=[moves(e.coefficient) for e in entries],
            nominal=nominal,
            moves=moves,
        )

    def check(self) -> None:
        """Raise :class:`Wrong` where rows and columns cannot be matched one to one."""
        size = len(self.names)
        graph = coo_matrix((np.ones(len(self.rows)), (self.rows, self.columns)), shape=(size, size)).tocsr()
        column_of_row = maximum_bipartite_matching(graph, perm_type="column")
        rows = np.flatnonzero(column_of_row < 0)
        if len(rows):
            columns = np.setdiff1d(np.arange(size), column_of_row)
            raise Wrong("singular", np.union1d(columns, rows))

    def groups(self) -> Iterator[Group]:
        """Yield the components: small ones of one pattern and rate together, what is not small and curved by itself."""
        size = len(self.names)
        ends = np.concatenate([self.rows, self.links[0]]), np.concatenate([self.columns, self.links[1]]) + size
        joined = coo_matrix((np.ones(len(ends[0])), ends), shape=(2 * size, 2 * size))
        count, labels = connected_components(joined, directed=False)
        rows, columns = _by_label(labels[:size], count), _by_label(labels[size:], count)
        stepped, curved = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        for flags, found in ((self.stepped, stepped), (self.curved, curved)):
            found[labels[self.rows[np.array(flags, dtype=bool)[self.entry]]]] = True
        curved[labels[self.links[0]]] = True
        pattern: dict[int, list[tuple[int, int]]] = {}
        local = np.zeros(2 * size, dtype=np.int64)
        for members in (*rows, *(c + size for c in columns)):
            local[members] = np.arange(len(members))
        for r, c in zip(self.rows, self.columns, strict=True):
            if len(rows[labels[r]]) <= SMALL:
                pattern.setdefault(int(labels[r]), []).append((int(local[r]), int(local[c + size])))
        groups: dict[tuple[object, ...], list[Component]] = {}
        key: tuple[object, ...]
        for label in range(count):
            kind = bool(stepped[label]), bool(curved[label])
            key = (len(rows[label]), tuple(sorted(set(pattern.get(label, ())))), *kind)
            small = len(rows[label]) <= SMALL and (key in groups or len(groups) < _PATTERNS)
            alone = label if curved[label] else -1
            groups.setdefault(key if small else ("dense", alone, *kind), []).append((rows[label], columns[label]))
        for key, together in groups.items():
            yield Group(key[0] != "dense", bool(key[-1]), together)

    def solved(self, group: Group, rests: list[Expr]) -> list[Piece]:
        """Return ``x`` with ``coefficients @ x + rests = 0`` for the rows of a group.

        Args:
            group: one of :meth:`groups`.
            rests: an expression for each array of unknowns, its lanes (or one).

        Raises:
            Wrong: for a singular or too large system.
        """
        return self._eliminated(group, rests) if group.small else self._dense(group, rests)

    def _eliminated(self, group: Group, rests: list[Expr]) -> list[Piece]:
        members = group.members
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
        right = [negated(self._rest(rests, rows[:, r])) for r in range(size)]
        if group.curved:
            matrix = [[_held(x) for x in row] for row in matrix]
        try:
            values = eliminate(matrix, right, self.nominal, lambda x: not self.moves(x))
        except Singular as singular:
            where = slice(None) if singular.lanes is None or singular.lanes.size != lanes else singular.lanes
            raise Wrong("singular", columns[where].ravel()) from None
        return [(columns[:, c], value) for c, value in enumerate(values)]

    def _dense(self, group: Group, rests: list[Expr]) -> list[Piece]:
        rows, columns = (np.concatenate([m[k] for m in group.members]) for k in (0, 1))
        size = len(rows)
        row_of, column_of = np.full(len(self.names), -1), np.full(len(self.names), -1)
        row_of[rows], column_of[columns] = np.arange(size), np.arange(size)
        inside = np.flatnonzero(row_of[self.rows] >= 0)
        parts = []
        for number in np.unique(self.entry[inside]):
            chosen = inside[self.entry[inside] == number]
            parts.append(build.widen(lanes_of(self.coefficients[number], Index(self.lane[chosen])), len(chosen)))
        where = Index(row_of[self.rows[inside]]), Index(column_of[self.columns[inside]])
        values = build.concat(parts)
        right = negated(self._rest(rests, rows))
        if size > SPARSE and len(inside) < size * size // SPARSE_FILL and not self.moves(values):
            known = self._response(values, *where, build.widen(right, size))
            if known is not None:
                return [(columns, known)]
        if size > LARGEST:
            raise Wrong("large", columns)
        matrix = build.assemble(_held(values) if group.curved else values, *where, (size, size))
        if not self.moves(matrix):
            involved = _null_lanes(self.nominal(matrix))
            if involved is not None:
                raise Wrong("singular", columns[involved])
        return [(columns, build.solve(matrix, right))]

    def _response(self, values: Expr, rows: Index, columns: Index, right: Expr) -> Expr | None:
        """Return the unknowns of a sparse network as a product of what feeds it with its response.

        ``None`` where too much feeds it, or what feeds it does so in a way that cannot be told apart.
        """
        fed = feeds(right, self.moves)
        if fed is None or fed.lanes > len(rows) // 8:
            return None
        shape = (fed.lanes, right.size)
        found = Response(values, rows, columns, fed.values, fed.rows, fed.ports, shape)
        if not np.isfinite(self.nominal(found)).all():
            raise Wrong("singular", np.unique(rows.array))
        return build.matvec(fed.drive, found)

    def _rest(self, rests: list[Expr], rows: Numbers) -> Expr:
        pieces = [(np.arange(size) + start, x) for x, size, start in zip(rests, self.sizes, self.starts, strict=True)]
        return picked(pieces, rows)

    def values(self, pieces: list[Piece]) -> dict[Expr, Expr]:
        """Return the value of each array of unknowns, put together from ``pieces`` that hold them all."""
        return {
            u: picked(pieces, np.arange(start, start + u.size))
            for u, start in zip(self.unknowns, self.starts, strict=True)
        }

    def report(self, wrong: Wrong, problems: Diagnostics) -> None:
        """Say what is wrong with which nodes."""
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


class Wrong(Exception):
    """A system that cannot be solved: ``kind`` is ``singular`` or ``large``."""

    def __init__(self, kind: str, columns: Numbers) -> None:
        self.kind, self.columns = kind, columns
        super().__init__(kind)


def numbered(unknowns: tuple[Expr, ...]) -> list[tuple[Expr, int]]:
    """Return each array of unknowns with the number of its first lane."""
    ends = np.cumsum([u.size for u in unknowns])
    return [(u, int(end) - u.size) for u, end in zip(unknowns, ends, strict=True)]


def picked(pieces: list[Piece], wanted: Numbers) -> Expr:
    """Return the lanes numbered ``wanted``, where a piece holds lanes of the given numbers (or one that broadcasts)."""
    used = [(numbers, x) for numbers, x in pieces if np.isin(numbers, wanted).any()]
    if all(x is used[0][1] and x.shape == (1,) for _, x in used):
        return used[0][1]
    numbers = np.concatenate([n for n, _ in used])
    order = np.argsort(numbers)
    place = order[np.searchsorted(numbers[order], wanted)]
    return build.gather(build.concat([build.widen(x, len(n)) for n, x in used]), Index(place))


def _held(coefficient: Expr) -> Expr:
    """The value without a derivative: at the solution of ``g(z) = 0``, that of its Jacobian does not matter."""
    return coefficient if isinstance(coefficient, Const) else Unary("detach", coefficient)


def _joined(parts: list[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _padded(spans: tuple[Span, ...], count: int) -> list[Span | None]:
    return [spans[min(k, len(spans) - 1)] if spans else None for k in range(count)]


def _without_duplicates(entry: Entry, size: int) -> Entry:
    pairs, inverse = np.unique(entry.rows.array * size + entry.columns.array, return_inverse=True)
    if len(pairs) == len(entry.rows):
        return entry
    coefficient = build.scatter_add(entry.coefficient, Index(inverse), len(pairs))
    return Entry(entry.unknown, Index(pairs // size), Index(pairs % size), coefficient)


def _by_label(labels: Numbers, count: int) -> list[Numbers]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def _spread(x: Expr, chosen: Numbers, lane_of: Numbers, lanes: int) -> Expr:
    """Return ``lanes`` lanes, lane ``lane_of[k]`` being lane ``chosen[k]`` of ``x``, 0 where there is none."""
    if len(chosen) == lanes:  # one each, as duplicates have been added up
        order = np.argsort(lane_of)
        return lanes_of(x, Index(chosen[order]))
    return build.scatter_add(lanes_of(x, Index(chosen)), Index(lane_of), lanes)


def _null_lanes(matrix: Array) -> Numbers | None:
    """Return the columns of the null vector of a numerically singular matrix, else ``None``."""
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    if not np.isfinite(matrix).all() or not scale.all():
        return np.arange(len(matrix))
    matrix = matrix / scale
    breadth = np.abs(matrix).max(axis=0)  # rates of small capacitances are far from voltages in size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # an exact zero pivot: what is looked for
        factors, order = lu_factor(matrix / np.where(breadth > 0.0, breadth, 1.0), check_finite=False)
    diagonal = np.abs(np.diag(factors))
    if diagonal.min() > 1e-13 * diagonal.max():
        return None
    tiny = 1e-14 * diagonal.max()
    np.fill_diagonal(factors, np.where(diagonal < tiny, tiny, np.diag(factors)))
    start = np.random.default_rng(0).uniform(0.5, 1.0, len(matrix))
    vector = np.abs(lu_solve((factors, order), start, check_finite=False))
    return np.flatnonzero(vector > 1e-3 * vector.max())
