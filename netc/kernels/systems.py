"""Linear systems whose matrix changes with every step and sample: factors with the places of their entries known.

y = solve(assemble(values, rows, columns), b)   ->   lu[place] += values; factor(table, lu); substitute(table, lu, b, y)

The order of pivots follows from the pattern alone (H. M. Markowitz, Management Science 3, 255, 1957, on the diagonal
where there is one: conductances have their largest entries there), so that the elimination is a table and zeros
cost nothing.  Each solution is checked by its residual; where that is not rounding, the system of that one sample is
solved again with rows exchanged by size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netc.ir.nodes import Assemble, Solve, Transpose
from netc.kernels.loops import Unsupported
from netc.kernels.text import Array, Tables

LARGEST = 256
"""Most unknowns of a system that is solved at every step."""


def assembled(node: Solve) -> Assemble:
    """Return the matrix of ``node``, or what it is the transpose of.

    Raises:
        Unsupported: where it is not put together from its entries.
    """
    matrix = node.matrix.matrix if isinstance(node.matrix, Transpose) else node.matrix
    if not isinstance(matrix, Assemble):
        raise Unsupported("a matrix that changes with every step")
    if matrix.shape[0] > LARGEST:
        raise Unsupported(
            f"{matrix.shape[0]} unknowns hang together at every step; kernels solve for at most {LARGEST}"
        )
    return matrix


@dataclass(frozen=True, slots=True)
class Factors:
    """Tables of the elimination of one pattern.

    Args:
        size: number of unknowns.
        entries: number of entries of the factors.
        places: where each value is added.
        eliminate: for each pivot its entry, the numbers of rows and columns left, and the entries they meet in.
        substitute: for each pivot its row and column, and the entries of both factors with what they multiply.
        starts: where the part of each pivot begins in ``substitute``.
    """

    size: int
    entries: int
    places: np.ndarray
    eliminate: np.ndarray
    substitute: np.ndarray
    starts: np.ndarray


def factors(matrix: Assemble) -> Factors:
    """Return how to factor matrices of the pattern of ``matrix``."""
    size = matrix.shape[0]
    places: dict[tuple[int, int], int] = {}
    pairs = list(zip(matrix.rows.array.tolist(), matrix.columns.array.tolist(), strict=True))
    for pair in pairs:
        places.setdefault(pair, len(places))
    initial = np.array([places[pair] for pair in pairs])
    rows: list[set[int]] = [set() for _ in range(size)]
    columns: list[set[int]] = [set() for _ in range(size)]
    for r, c in places:
        rows[r].add(c)
        columns[c].add(r)
    left = set(range(size))
    eliminate: list[int] = []
    substitute: list[int] = []
    starts: list[int] = []
    for _ in range(size):
        r, c = _pivot(rows, columns, left)
        left.discard(r)
        others = sorted(rows[r] - {c})
        below = sorted(columns[c] - {r})
        for i in below:
            for j in others:
                places.setdefault((i, j), len(places))
                rows[i].add(j)
                columns[j].add(i)
        eliminate += [places[r, c], len(below), len(others), *(places[r, j] for j in others)]
        for i in below:
            eliminate += [places[i, c], *(places[i, j] for j in others)]
        starts.append(len(substitute))
        substitute += [r, c, len(below), len(others)]
        substitute += [x for i in below for x in (places[i, c], i)]
        substitute += [x for j in others for x in (places[r, j], j)]
        for j in rows[r]:
            columns[j].discard(r)
        for i in columns[c]:
            rows[i].discard(c)
        rows[r], columns[c] = set(), set()
    return Factors(size, len(places), initial, np.array(eliminate), np.array(substitute), np.array(starts))


def _pivot(rows: list[set[int]], columns: list[set[int]], left: set[int]) -> tuple[int, int]:
    """Return the pivot that fills in least: on the diagonal, if there is an entry.

    Raises:
        Unsupported: where no entry is left.
    """
    diagonal = [(r, r) for r in left if r in rows[r]]
    found = diagonal or [(r, c) for r in left for c in rows[r]]
    if not found:
        raise Unsupported("a system of equations without a unique solution")
    return min(found, key=lambda at: ((len(rows[at[0]]) - 1) * (len(columns[at[1]]) - 1), at))


@dataclass(slots=True)
class System:
    """Text that solves systems with one matrix, in the namespace ``wide``: arrays are ``{name}_...``."""

    name: str
    tables: Tables
    matrix: Assemble
    plan: Factors

    @classmethod
    def of(cls, name: str, matrix: Assemble, tables: Tables) -> System:
        """Return the system of ``matrix``."""
        return cls(name, tables, matrix, factors(matrix))

    def arrays(self, temporary: Callable[[int], str]) -> list[str]:
        """Return definitions of its arrays, taken from ``temporary``."""
        sizes = {
            "a": len(self.matrix.rows),
            "lu": self.plan.entries,
            "inverse": self.plan.size,
            "w": 2 * self.plan.size,
        }
        return [f"V* const __restrict {self.name}_{key} = {temporary(size)};" for key, size in sizes.items()]

    def factor(self, value: str) -> list[str]:
        """Return statements that factor the matrix whose value number ``k`` has the text ``value``."""
        n, count = self.name, len(self.matrix.rows)
        return [
            f"for (Size k = 0; k < {count}; ++k) {n}_a[k] = {value};",
            f"for (Size k = 0; k < {self.plan.entries}; ++k) {n}_lu[k] = V{{}};",
            f"for (Size k = 0; k < {count}; ++k) {n}_lu[{self.tables.name(self.plan.places)}[k]] += {n}_a[k];",
            f"factor({self.plan.size}, {self.tables.name(self.plan.eliminate)}, {n}_lu, {n}_inverse);",
        ]

    def substitute(self, right: str, target: str, *, transposed: bool) -> str:
        """Return the statement that solves for the array ``target`` from the array ``right``."""
        first, second = self.matrix.rows.array, self.matrix.columns.array
        if transposed:
            first, second = second, first
        n, tables = self.name, self.tables
        return (
            f"substitute<{str(transposed).lower()}>({self.plan.size}, {tables.name(self.plan.substitute)}, "
            f"{tables.name(self.plan.starts)}, {n}_lu, {n}_inverse, {len(first)}, {n}_a, {tables.name(first)}, "
            f"{tables.name(second)}, {right}, {n}_w, {target});"
        )


def linear(node: Solve, arrays: Sequence[Array], target: str, tables: Tables, temporary: Callable[[int], str]) -> str:
    """Return the call that leaves ``node`` in ``target``; its function is added to the file's.

    Args:
        node: what is solved.
        arrays: values of the matrix, and the right-hand side.
        target: name of the array of unknowns.
        tables: collects index tables and functions of the file.
        temporary: returns the name of a new array of so many lanes.
    """
    matrix, transposed = assembled(node), isinstance(node.matrix, Transpose)
    used = 0

    def scratch(lanes: int) -> str:
        nonlocal used
        used += lanes
        return f"reinterpret_cast<V*>(scratch) + {used - lanes}"

    system = System.of("s", matrix, tables)
    if any(a.lanes == 1 and not a.vector for a in arrays):
        raise Unsupported("a system of equations of one number")
    heads = [*system.arrays(scratch), f"V* const __restrict b = {scratch(matrix.shape[0])};"]
    heads.append(f"V* const __restrict y = {scratch(matrix.shape[0])};")

    def write(name: str) -> list[str]:
        kinds = [f"const ::{'V' if a.vector else 'T'}* a{k}" for k, a in enumerate(arrays)]
        body = [
            *system.factor(_lane(0, arrays[0])),
            f"for (Size k = 0; k < {matrix.shape[0]}; ++k) b[k] = {_lane(1, arrays[1])};",
            system.substitute("b", "y", transposed=transposed),
            f"for (Size k = 0; k < {matrix.shape[0]}; ++k) narrow(y[k], half, to + k);",
        ]
        return [
            f"static void {name}({', '.join(kinds)}, ::V* __restrict to, ::V* scratch) {{",
            *(f"    {line}" for line in heads),
            "    for (int half = 0; half < HALVES; ++half) {",
            *(f"        {line}" for line in body),
            "    }",
            "}",
        ]

    key = ("linear", matrix.rows, matrix.columns, matrix.shape, transposed, *((a.vector, a.lanes > 1) for a in arrays))
    name = tables.function(key, write)
    return f"wide::{name}({', '.join(a.name for a in arrays)}, {target}, {temporary(used)});"


def _lane(number: int, array: Array) -> str:
    """Return the text of lane ``k`` of an argument."""
    text = f"a{number}[{'k' if array.lanes > 1 else '0'}]"
    return f"widened({text}, half)" if array.vector else f"splat({text})"
