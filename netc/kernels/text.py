"""C++ text of arrays, operations and index tables.

A vector (``V``) holds one lane of a whole tile of samples.  Every name is made here; none comes from a deck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from netc.ir.nodes import Binary, Const, Expr, Index, Select, Unary
from netc.kernels.exponentials import Fraction, Whole


class Array(NamedTuple):
    """An array of lanes: of vectors, or of numbers common to all samples."""

    name: str
    lanes: int
    vector: bool


class Code(NamedTuple):
    """Text of a vector of numbers or of truths."""

    text: str
    is_truth: bool = False


def number(value: float) -> str:
    """Return a literal of the kernel's floating type."""
    if math.isnan(value):
        return "T(NAN)"
    if math.isinf(value):
        return "T(INFINITY)" if value > 0 else "T(-INFINITY)"
    return f"T({float(value)!r})"


def vector(source: Array | Const, lane: str) -> str:
    """Return the text of one lane as a vector; an array of one number is kept in a constant of its own."""
    if isinstance(source, Const):
        return f"splat({number(source.value)})"
    at = lane if source.lanes > 1 else "0"
    if source.vector:
        return f"{source.name}[{at}]"
    return f"splat({source.name}[{at}])" if source.lanes > 1 else f"{source.name}_all"


def truth(code: Code, wanted: bool) -> str:
    """Return ``code`` as a vector of truths or of numbers."""
    if code.is_truth == wanted:
        return code.text
    return f"({code.text} != splat(T(0)))" if wanted else f"choose({code.text}, splat(T(1)), splat(T(0)))"


_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LOGIC = {"and": "&", "or": "|"}
_LARGEST_POWER = 16
FEW = 3
"""So many lanes are added without a loop."""


def operation(node: Expr, operands: list[Code]) -> Code:
    """Return the code of a lane-by-lane operation."""
    if isinstance(node, Select):
        condition, then, otherwise = operands
        return Code(f"choose({truth(condition, True)}, {truth(then, False)}, {truth(otherwise, False)})")
    if isinstance(node, Whole | Fraction):
        name = "whole" if isinstance(node, Whole) else "fraction"
        values = ", ".join(truth(x, False) for x in operands)
        return Code(f"{name}_of_power<{str(node.biased).lower()}>({values})")
    if isinstance(node, Unary):
        if node.op == "not":
            return Code(f"~{truth(operands[0], True)}", True)
        x = truth(operands[0], False)
        if node.op == "detach":
            return Code(x)
        return Code(f"-{x}" if node.op == "neg" else f"apply_{node.op}({x})")
    if not isinstance(node, Binary):
        raise TypeError(type(node).__name__)
    if node.op in _LOGIC:
        return Code(f"{truth(operands[0], True)} {_LOGIC[node.op]} {truth(operands[1], True)}", True)
    a, b = (truth(x, False) for x in operands)
    if node.op in _COMPARE:
        return Code(f"{a} {_COMPARE[node.op]} {b}", True)
    if node.op in _INFIX:
        return Code(f"{a} {_INFIX[node.op]} {b}")
    if node.op == "pow" and isinstance(node.b, Const) and node.b.value == int(node.b.value):
        power = int(node.b.value)
        if 0 < abs(power) <= _LARGEST_POWER:
            return Code(f"whole_power<{power}>({a})" if power > 0 else f"splat(T(1)) / whole_power<{-power}>({a})")
    return Code(f"apply_{node.op}({a}, {b})")


@dataclass(slots=True)
class Tables:
    """Index tables of a file, and functions that its loops call."""

    arrays: dict[bytes, tuple[str, np.ndarray]] = field(default_factory=dict)
    functions: dict[Hashable, tuple[str, list[str]]] = field(default_factory=dict)
    _names: int = 0

    def function(self, key: Hashable, write: Callable[[str], list[str]]) -> str:
        """Return the name of the function that ``key`` stands for, which ``write`` makes from its name."""
        if key not in self.functions:
            self._names += 1
            name = f"solve{self._names}"
            self.functions[key] = name, write(name)
        return self.functions[key][0]

    def name(self, values: np.ndarray) -> str:
        """Return the name of the table with these entries."""
        values = np.ascontiguousarray(values, dtype=np.int64)
        key = values.tobytes()
        if key not in self.arrays:
            self.arrays[key] = f"table{len(self.arrays)}", values
        return self.arrays[key][0]

    def at(self, index: Index, lane: str) -> str:
        """Return the text of ``index[lane]``."""
        array = index.array
        if len(array) == 1 or (array == array[0]).all():
            return str(int(array[0]))
        steps = np.diff(array)
        if (steps == steps[0]).all():
            step, first = int(steps[0]), int(array[0])
            scaled = lane if step == 1 else f"{step} * {lane}"
            return scaled if first == 0 else f"{first} + {scaled}"
        return f"{self.name(array)}[{lane}]"

    def sum_of(self, source: Array, index: Index, lanes: int, lane: str, picked: np.ndarray | None = None) -> str:
        """Return the text of the sum of the lanes of ``source`` that ``index`` sends to ``lane``.

        Args:
            source: what is added.
            index: where each term goes.
            lanes: how many sums there are.
            lane: text of the number of the sum.
            picked: which lane of ``source`` each term is, where they are not all in order.
        """
        picks, starts = _sorted_terms(source, index, lanes, picked)
        table = self.name(picks)
        if lanes == 1:
            return f"sum_of({source.name}, {table}, {len(picks)})"
        first = self.name(starts)
        return f"sum_of({source.name}, {table} + {first}[{lane}], {first}[{lane} + 1] - {first}[{lane}])"

    def lines(self) -> list[str]:
        """Return the definitions."""
        result = []
        for name, values in self.arrays.values():
            entries = ", ".join(map(str, values.tolist()))
            result.append(f"static const int {name}[] = {{{entries}}};")
        return result


def most_added(index: Index) -> int:
    """Return how many terms the largest sum has that ``index`` sends terms to."""
    return int(np.bincount(index.array).max(initial=0))


def places_of(source: Array, index: Index, lanes: int, picked: np.ndarray | None = None) -> list[np.ndarray]:
    """Return lanes of ``source`` for the first, second, ... term of each sum, -1 where there is none."""
    picks, starts = _sorted_terms(source, index, lanes, picked)
    count = int(np.diff(starts).max(initial=0))
    places = [starts[:-1] + k for k in range(count)]
    return [np.append(picks, -1)[np.where(place < starts[1:], place, -1)] for place in places]


def _sorted_terms(source: Array, index: Index, lanes: int, picked: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the lanes of ``source`` that are added, in order of the sums, and where the terms of each sum begin."""
    if not source.vector:
        raise TypeError("a sum over lanes that are common to all samples")
    order = np.argsort(index.array, kind="stable")
    starts = np.searchsorted(index.array[order], np.arange(lanes + 1))
    terms = np.arange(len(index)) if picked is None else picked
    return (terms[order] if source.lanes > 1 else np.zeros_like(order)), starts
