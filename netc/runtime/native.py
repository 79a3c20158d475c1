"""The variable steps of :mod:`netc.runtime.radau` in C++, where there is a compiler: the same steps, without Python.

The C++ in ``cpp/`` is the same for every circuit and compiled once for this machine; a circuit gives it a
:class:`~netc.runtime.tape.Tape` of numbers.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from netc.ir.interpret import Array
from netc.ir.nodes import Expr
from netc.kernels.library import load
from netc.runtime import method
from netc.runtime.held import Held
from netc.runtime.tape import OPERATIONS, Tape, Unsupported, tapes

DONE, FULL, PAUSED, STUCK, INCONSISTENT = range(5)
"""Why :meth:`Native.advance` returned; see ``enum Status`` in ``cpp/stages.h``."""

_PARTS = ("machine.h", "linear.h", "held.h", "stages.h", "radau.h", "solver.cpp")
_HEADERS = ("algorithm", "chrono", "cmath", "cstdint", "cstring", "limits", "vector")
_BUFFER = 2_000_000  # numbers of rows held at once
_SLICE = 0.1  # s between two looks at the clock

_INTEGER, _REAL, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class _Tape(ctypes.Structure):
    _fields_ = (
        *((name, _INTEGER) for name in ("count", "timed", "slots", "results")),
        *((name, _POINTER) for name in ("code", "image", "roots", "points", "starts")),
    )


class _Setup(ctypes.Structure):
    _fields_ = (
        *((name, _INTEGER) for name in ("size", "states", "entries", "linear")),
        ("rates", _Tape),
        ("both", _Tape),
        *((name, _POINTER) for name in ("rows", "columns", "order")),
    )


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, _REAL) for name in ("relative", "first", "longest")),
        *((name, _INTEGER) for name in ("most_steps", "edge_count", "row_count", "held_count")),
        *((name, _POINTER) for name in ("absolute", "least", "start", "edges", "times", "places", "held")),
    )


class _Report(ctypes.Structure):
    _fields_ = (("time", _REAL), ("end", _REAL), ("steps", _INTEGER), ("left", _INTEGER))


class _Held(ctypes.Structure):
    _fields_ = (("state", _INTEGER), ("lost", _INTEGER), ("place", _REAL), ("distance", _REAL), ("growth", _REAL))


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled solver; ``None`` where it cannot be had."""
    loaded = load(source(), notify=lambda line: None)
    if loaded is None:
        return None
    functions = {
        "create": (_POINTER, [_POINTER]),
        "destroy": (None, [_POINTER]),
        "rates": (None, [_POINTER, _REAL, _POINTER, _POINTER]),
        "linearised": (None, [_POINTER, _REAL, _POINTER, _POINTER, _POINTER]),
        "begin": (None, [_POINTER, _POINTER]),
        "advance": (ctypes.c_int, [_POINTER, _REAL, _INTEGER, _POINTER, _POINTER]),
        "get": (None, [_POINTER, _POINTER, _POINTER, _POINTER, _POINTER]),
        "held": (_INTEGER, [_POINTER, _INTEGER, _POINTER]),
        "set": (None, [_POINTER, _POINTER]),
        "leap": (None, [_POINTER, _REAL, _POINTER]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(loaded, f"netc_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def source() -> str:
    """Return the text that is compiled: numbers of the method and of the operations, then the files in ``cpp/``."""
    lines = [f"#include <{name}>" for name in _HEADERS]
    lines.append(f"enum Operation {{ {', '.join(f'OP_{name}' for name in OPERATIONS)} }};")
    for name, value in method.CONSTANTS.items():
        if isinstance(value, int):
            lines.append(f"constexpr int {name} = {value};")
        elif isinstance(value, float):
            lines.append(f"constexpr double {name} = {value!r};")
        else:
            numbers = np.asarray(value, dtype=np.float64).ravel().tolist()
            lines.append(f"constexpr double {name}[] = {{{', '.join(map(repr, numbers))}}};")
    folder = files("netc.runtime") / "cpp"
    return "\n".join([*lines, *((folder / part).read_text(encoding="utf-8") for part in _PARTS)])


def native(
    functions: Sequence[Expr],
    moved: Sequence[Expr],
    leaves: Sequence[Expr],
    seeds: Sequence[Expr],
    fixed: Mapping[Expr, Array],
    structure: tuple[Array, Array, Array],
    *,
    states: int,
    linear: bool,
) -> Native | None:
    """Return a solver of ``M v' = F``; ``None`` where there is no compiler, or ``F`` does not become a tape.

    Args:
        functions: ``F``, one for each of ``leaves``.
        moved: their tangents in the direction of ``seeds``.
        leaves: states, then unknowns.
        seeds: one for each leaf.
        fixed: values of all other leaves.
        structure: as :func:`netc.ir.sparsity.jacobian_structure` gives it.
        states: number of variables that are states.
        linear: whether the Jacobian is the same everywhere.
    """
    solver = library()
    if solver is None:
        return None
    try:
        rates, both, rows, columns = tapes(functions, moved, leaves, seeds, fixed, structure)
    except Unsupported:
        return None
    return Native(solver, rates, both, rows, columns, sum(leaf.size for leaf in leaves), states, linear)


@dataclass(frozen=True, slots=True)
class State:
    """Where a run is: time, end of the stretch, steps taken and attempts left; variables, their rates and largest."""

    time: float
    end: float
    steps: int
    left: int
    v: Array
    slope: Array
    largest: Array


class Native:
    """A solver of one system, and the run it is in."""

    def __init__(
        self,
        solver: ctypes.CDLL,
        rates: Tape,
        both: Tape,
        rows: Array,
        columns: Array,
        size: int,
        states: int,
        linear: bool,
    ) -> None:
        self._solver = solver
        self.size, self.states = size, states
        self.rows, self.columns = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(columns, np.int64)
        self.operations = len(both.code)
        self._order = _order(size, rows, columns)
        self._kept: list[Any] = [rates, both]  # the solver reads their arrays
        setup = _Setup(size, states, len(rows), int(linear), _given(rates), _given(both))
        setup.rows, setup.columns, setup.order = _at(self.rows), _at(self.columns), _at(self._order)
        self._handle = solver.netc_create(ctypes.byref(setup))

    def __del__(self) -> None:
        """Free the solver's memory."""
        self._solver.netc_destroy(self._handle)

    def rates(self, time: float, v: Array) -> Array:
        """Return ``F`` at one point, ``(size,)``."""
        v, found = np.ascontiguousarray(v, dtype=np.float64), np.empty(self.size)
        self._solver.netc_rates(self._handle, time, _at(v), _at(found))
        return found

    def linearised(self, time: float, v: Array) -> tuple[Array, Array]:
        """Return ``F`` ``(size,)`` at one point, and the entries of ``dF/dv`` at :attr:`rows`, :attr:`columns`."""
        v, found, entries = np.ascontiguousarray(v, dtype=np.float64), np.empty(self.size), np.empty(len(self.rows))
        self._solver.netc_linearised(self._handle, time, _at(v), _at(found), _at(entries))
        return found, entries

    def begin(
        self,
        start: Array,
        edges: Array,
        times: Array,
        *,
        relative: float,
        absolute: Array,
        least: Array,
        most_steps: int,
        first: float,
        longest: float,
        held: Sequence[Held] = (),
    ) -> None:
        """Start a run from ``start`` ``(size,)`` through all stretches between ``edges``; see :class:`Radau`.

        Args:
            start: variables at the first edge.
            edges: seconds, ascending.
            times: where the variables are wanted, seconds, ascending.
            relative: error allowed to each state in a step, as a share of its largest value.
            absolute: the least of it, ``(size,)``.
            least: what counts as the least such value, ``(size,)``.
            most_steps: attempts.
            first: first step of a stretch, as a share of it.
            longest: step, seconds.
            held: where the error allowed to a state is a share of the distance.
        """
        arrays = [np.ascontiguousarray(x, dtype=np.float64) for x in (absolute, least, start, edges, times)]
        arrays.append(np.array([place.place for place in held], dtype=np.float64))
        arrays.append(np.array([place.state for place in held], dtype=np.int64))
        self._kept[2:] = arrays
        run = _Run(relative, first, longest, most_steps, len(edges), len(times), len(held), *map(_at, arrays))
        self._solver.netc_begin(self._handle, ctypes.byref(run))

    def advance(self) -> Iterator[tuple[int, Array]]:
        """Yield again and again why the steps stopped, and the variables ``(rows, size)`` found since.

        Ends after ``DONE``.  After ``INCONSISTENT`` the unknowns have to be :meth:`set`; after ``STUCK`` they may
        :meth:`leap`, or all is over.
        """
        capacity = max(1, _BUFFER // max(1, self.size))
        buffer, filled = np.empty((capacity, self.size)), _INTEGER(0)
        while True:
            status = self._solver.netc_advance(self._handle, _SLICE, capacity, _at(buffer), ctypes.byref(filled))
            yield status, buffer[: filled.value]
            if status == DONE:
                return

    def set(self, v: Array) -> None:
        """Let the variables be ``v`` ``(size,)``, which satisfy the equations."""
        v = np.ascontiguousarray(v, dtype=np.float64)
        self._solver.netc_set(self._handle, _at(v))

    def leap(self, time: float, v: Array) -> None:
        """Go on from ``v`` ``(size,)`` at ``time``, shortly after where no step was short enough."""
        v = np.ascontiguousarray(v, dtype=np.float64)
        self._solver.netc_leap(self._handle, time, _at(v))

    def held(self) -> list[Held]:
        """Return where states were held in this run."""
        count = self._solver.netc_held(self._handle, 0, None)
        found = (_Held * max(1, count))()
        self._solver.netc_held(self._handle, count, found)
        return [Held(one.state, one.place, one.distance, one.growth, bool(one.lost)) for one in found[:count]]

    def state(self) -> State:
        """Return where the run is."""
        v, slope, largest = np.empty(self.size), np.empty(self.size), np.empty(self.size)
        report = _Report()
        self._solver.netc_get(self._handle, _at(v), _at(slope), _at(largest), ctypes.byref(report))
        return State(report.time, report.end, report.steps, report.left, v, slope, largest)


def _at(array: Array) -> int:
    return int(array.ctypes.data)


def _given(tape: Tape) -> _Tape:
    arrays = map(_at, (tape.code, tape.image, tape.roots, tape.points, tape.starts))
    return _Tape(len(tape.code), tape.timed, len(tape.image), len(tape.roots), *arrays)


def _order(size: int, rows: Array, columns: Array) -> Array:
    """Return an order of columns that fills in little; the pattern of a circuit is nearly symmetric."""
    if size < 2:
        return np.arange(size, dtype=np.int64)
    numbers = np.random.default_rng(0).uniform(0.5, 1.0, len(rows))
    matrix = sparse.coo_matrix((numbers, (rows, columns)), shape=(size, size)).tocsc()
    matrix = matrix + sparse.identity(size, format="csc") * math.pi * size
    place = splu(sparse.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A").perm_c
    return np.ascontiguousarray(np.argsort(place), dtype=np.int64)
