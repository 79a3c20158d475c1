"""The operating point of a circuit as ngspice looks for it: where there are several, the one that ngspice ends at.

Modified nodal analysis, capacitors open and inductors shorts, by Newton's method from 0 V; every transistor and diode
is linearised where :mod:`netc.runtime.limiting` says, other expressions at the node voltages themselves.  Where that
does not converge, conductances from all nodes to ground become smaller and smaller (dynamic gmin stepping), and where
that fails, too, the sources grow from nothing (both by A. Gillespie, in ngspice since 2000).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from netc.elaborate.circuit import Circuit, Law
from netc.ir.build import ONE, div
from netc.ir.derivative import tangent
from netc.ir.interpret import Array
from netc.ir.nodes import Expr, Parameter, Slot, Unknown, postorder, substitute
from netc.runtime.evaluator import Evaluator
from netc.runtime.limiting import Limiter, Voltages

Point: TypeAlias = tuple[dict[str, float], dict[str, float]]
"""Volts by name of net; amperes, and integrals, by name of branch."""

LARGEST = 400
"""Most unknowns of a circuit that is solved this way: its matrix is dense."""

_FIRST, _AGAIN = 100, 50
"""Most steps of Newton's method from nothing, and from a point nearby."""
_RELATIVE, _VOLTS, _AMPERES = 1e-3, 1e-6, 1e-12
_FINISHED = 1e-2  # of these
_FACTOR, _FIRST_GMIN, _LEAST_GMIN, _LEAST_FACTOR = 10.0, 1e-2, 1e-12, 1.00005
_STRONG = 1e10  # S
_RAISE, _LEAST_RAISE = 1e-3, 1e-7


class _Mode(Enum):
    JUNCTIONS, FIX, FLOAT = range(3)


@dataclass(frozen=True, slots=True)
class _Argument:
    """What fills one slot of a law: by branch two nets, or the number of a branch whose current is read and -1."""

    is_voltage: bool
    places: list[tuple[int, int]]
    slope: int | None  # number of the slope with respect to it


@dataclass(frozen=True, slots=True)
class _Group:
    """All branches of one law."""

    kind: str
    numbers: list[int]
    arguments: list[_Argument]
    evaluate: Evaluator  # of the arguments: the law, and its slopes
    source: bool  # an independent one, which source stepping scales


@dataclass(slots=True)
class _State:
    """Where the search is: the unknowns, and the devices."""

    x: Array
    at: list[Voltages]


class Nodal:
    """The equations of a circuit at rest, and the search for where they hold.

    Args:
        circuit: with its sources at t = 0 and what ``.ic`` names held (:func:`netc.lower.at_rest`).
        guess: volts by name of node (``.nodeset``), held until a first solution is found.
    """

    def __init__(self, circuit: Circuit, guess: Mapping[str, float]) -> None:
        self.circuit = circuit
        self._nets = len(circuit.nets)
        read = {number for branch in circuit.branches for number in branch.currents}
        self._own: dict[int, int] = {}  # number of the unknown that is a branch's current or value
        for number, branch in enumerate(circuit.branches):
            if branch.law.kind in "VLS" or (number in read and branch.law.kind in "RI"):
                self._own[number] = self._nets + len(self._own)
        self.size = self._nets + len(self._own)
        self._is_voltage = np.arange(self.size) < self._nets
        self._held = {n: guess[name] for n, name in enumerate(circuit.nets) if n and name in guess}
        self._limiters = [Limiter(device) for device in circuit.limited]
        self._device_of = {b: k for k, device in enumerate(circuit.limited) for b in device.branches}
        self._groups: list[_Group] = []
        self._on = True
        self._undefined = False  # whether a law had no value, or no slope, where it was linearised last

    def search(self, *, on: bool = True) -> Point | None:
        """Return the operating point that ngspice finds; ``None`` where there is none to be found.

        Args:
            on: whether the devices begin where ngspice lets them, half open; else at 0 V.
        """
        if not self._prepare():
            return None
        self._on = on
        with np.errstate(all="ignore"):
            found = self._newton(self._nothing(), _Mode.JUNCTIONS, _FIRST) or self._stepped_gmin() or self._raised()
        return None if found is None else self._point(found)

    def search_from(self, volts: Mapping[str, float]) -> Point | None:
        """Return the operating point that Newton's method finds from voltages of nodes by name."""
        if not self._prepare():
            return None
        start = self._nothing()
        start.x[1 : self._nets] = [volts.get(name, 0.0) for name in self.circuit.nets[1:]]
        given = start.x[: self._nets].tolist()
        for k, limiter in enumerate(self._limiters):
            limiter.place(given)
            start.at[k] = limiter.at
        with np.errstate(all="ignore"):
            found = self._newton(start, _Mode.FLOAT, _FIRST)
        return None if found is None else self._point(found)

    def _prepare(self) -> bool:
        if self.size > LARGEST:
            return False
        if not self._groups:
            self._groups = self._grouped()
        return True

    def _point(self, found: _State) -> Point:
        """Return volts by net, and currents and values by branch."""
        names = {name: float(found.x[n]) for n, name in enumerate(self.circuit.nets)}
        return names, {self.circuit.branches[b].name: float(found.x[place]) for b, place in self._own.items()}

    # ------------------------------------------------------------------ searching

    def _nothing(self) -> _State:
        return _State(np.zeros(self.size), [{} for _ in self._limiters])

    def _stepped_gmin(self) -> _State | None:
        """Follow the solution as a conductance from every node to ground vanishes."""
        factor, gmin, before = _FACTOR, _FIRST_GMIN / _FACTOR, _FIRST_GMIN
        kept, mode = self._nothing(), _Mode.JUNCTIONS
        while True:
            found = self._newton(kept, mode, _AGAIN, gmin=gmin)
            if found is None:
                if factor < _LEAST_FACTOR:
                    return None
                factor = factor**0.25
                gmin = before / factor
                continue
            mode, kept = _Mode.FLOAT, found
            if gmin <= _LEAST_GMIN:
                return self._newton(kept, mode, _FIRST)
            if self._steps <= _AGAIN // 4:
                factor = min(factor * math.sqrt(factor), _FACTOR)
            elif self._steps > 3 * _AGAIN // 4:
                factor = math.sqrt(factor)
            before = gmin
            gmin = max(gmin / factor, _LEAST_GMIN)

    def _raised(self) -> _State | None:
        """Follow the solution as the sources grow from nothing."""
        kept = self._newton(self._nothing(), _Mode.JUNCTIONS, _AGAIN, share=0.0)
        reached, raise_by = 0.0, _RAISE
        while kept is not None and reached < 1.0:
            share = min(1.0, reached + raise_by)
            found = self._newton(kept, _Mode.FLOAT, _AGAIN, share=share)
            if found is not None:
                kept, reached = found, share
                raise_by *= 1.5 if self._steps <= _AGAIN // 4 else 0.5 if self._steps > 3 * _AGAIN // 4 else 1.0
            else:
                raise_by = min(raise_by / 10.0, 0.01)
                if raise_by < _LEAST_RAISE:
                    return None
        return kept

    def _newton(self, start: _State, mode: _Mode, most: int, *, gmin: float = 0.0, share: float = 1.0) -> _State | None:
        x = start.x.copy()
        for limiter, at in zip(self._limiters, start.at, strict=True):
            limiter.at = dict(at)
        finishing = False
        for count in range(1, most + 1):
            held_back = self._move_devices(mode, x)
            self._undefined = False
            matrix, right = self._linearised(x, gmin, share, nodeset=mode is not _Mode.FLOAT)
            if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
                return None
            try:
                new = np.concatenate([[0.0], np.linalg.solve(matrix[1:, 1:], right[1:])])
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(new).all():
                return None
            least = np.where(self._is_voltage, _VOLTS, _AMPERES)
            tolerance = _RELATIVE * np.maximum(np.abs(new), np.abs(x)) + least
            moved = float(np.max(np.abs(new - x) / tolerance, initial=0.0))
            settled = count > 1 and not (held_back or self._undefined) and moved <= 1.0
            x = new
            if mode is _Mode.FLOAT and settled and (moved <= _FINISHED or finishing):
                self._steps = count
                return _State(x, [dict(limiter.at) for limiter in self._limiters])
            finishing = mode is _Mode.FLOAT and settled
            if mode is _Mode.JUNCTIONS:
                mode = _Mode.FIX
            elif mode is _Mode.FIX and settled:
                mode = _Mode.FLOAT
        return None

    def _move_devices(self, mode: _Mode, x: Array) -> bool:
        """Choose where the devices are linearised next; whether one is held back."""
        if mode is _Mode.JUNCTIONS:
            for limiter in self._limiters:
                limiter.start(on=self._on)
            return True
        volts = x[: self._nets].tolist()
        held_back = False
        for limiter in self._limiters:
            if mode is _Mode.FIX and limiter.device.off:
                limiter.start()
            elif limiter.follow(volts):
                held_back = True
        return held_back

    # ------------------------------------------------------------------ equations

    def _grouped(self) -> list[_Group]:
        by_law: dict[int, list[int]] = {}
        branches = self.circuit.branches
        for number, branch in enumerate(branches):
            if branch.law.kind in "RIVS":
                by_law.setdefault(id(branch.law), []).append(number)
        return [self._group(branches[numbers[0]].law, numbers) for numbers in by_law.values()]

    def _group(self, law: Law, numbers: list[int]) -> _Group:
        branches = [self.circuit.branches[n] for n in numbers]
        template, own = law.template, Slot("voltage", len(branches[0].voltages))
        if law.kind == "R":
            template = div(own, template)
        slots = [node for node in postorder(template) if isinstance(node, Slot)]
        lanes: dict[Expr, Expr] = {
            slot: Parameter(f"{slot.kind} {slot.index}", len(branches))
            if slot.kind == "value"
            else Unknown(f"{slot.kind} {slot.index}", len(branches))
            for slot in slots
        }
        values: dict[Expr, Array] = {
            lanes[slot]: np.array([self.circuit.number(b.values[slot.index]) for b in branches])
            for slot in slots
            if slot.kind == "value"
        }
        arguments: list[_Argument] = []
        moving = [slot for slot in slots if slot.kind != "value"]
        filled = substitute(template, lanes.get)
        followed: list[Expr] = []
        for slot in moving:
            if slot.kind == "current":
                places: list[tuple[int, int]] = [(b.currents[slot.index], -1) for b in branches]
            else:
                places = [b.nets if slot is own else b.voltages[slot.index] for b in branches]
            # a switch changes between steps: it is not followed through its transition
            jumps = law.letter in "SW" and law.kind == "I" and places != [b.nets for b in branches]
            arguments.append(_Argument(slot.kind == "voltage", places, None if jumps else len(followed)))
            if not jumps:
                followed.append(tangent(filled, {lanes[slot]: ONE}))
        evaluate = Evaluator((filled, *followed), values, [lanes[slot] for slot in moving])
        return _Group(law.kind, numbers, arguments, evaluate, law.letter in "VI" and "source" in law.roles)

    def _argument(self, argument: _Argument, numbers: list[int], x: Array) -> Array:
        """Return where the laws of a group are linearised, ``(1, branches)``."""
        found = []
        for number, (first, second) in zip(numbers, argument.places, strict=True):
            if argument.is_voltage:
                across = float(x[first] - x[second])
                device = self._device_of.get(number)
                found.append(across if device is None else self._limiters[device].at.get((first, second), across))
            else:
                place = self._own.get(first)
                found.append(0.0 if place is None else float(x[place]))
        return np.array([found])

    def _linearised(self, x: Array, gmin: float, share: float, *, nodeset: bool) -> tuple[Array, Array]:
        """Return matrix and right-hand side of the equations linearised at ``x`` and the devices' voltages."""
        matrix, right = np.zeros((self.size, self.size)), np.zeros(self.size)
        branches = self.circuit.branches
        for number, place in self._own.items():
            branch = branches[number]
            first, second = branch.nets
            if branch.law.kind in "VL":
                matrix[place, first] += 1.0
                matrix[place, second] -= 1.0
            elif branch.law.kind in "RI":
                matrix[place, place] += 1.0
            if branch.law.kind != "S":
                matrix[first, place] += 1.0
                matrix[second, place] -= 1.0
        for group in self._groups:
            given = [self._argument(argument, group.numbers, x) for argument in group.arguments]
            value, *slopes = (self._defined(v, len(group.numbers)) for v in group.evaluate(*given))
            constant = value * share if group.source else value.copy()
            for argument, at in zip(group.arguments, given, strict=True):
                if argument.slope is not None:
                    constant -= slopes[argument.slope] * at[0]
            for k, number in enumerate(group.numbers):
                rows = self._rows(number)
                for row, sign in rows:
                    right[row] -= sign * constant[k]
                for argument in group.arguments:
                    if argument.slope is None:
                        continue
                    slope = slopes[argument.slope][k]
                    for column, direction in self._columns(argument, argument.places[k]):
                        for row, sign in rows:
                            matrix[row, column] += sign * direction * slope
        nodes = np.arange(1, self._nets)
        matrix[nodes, nodes] += gmin
        if nodeset:
            for net, volts in self._held.items():
                matrix[net, net] += _STRONG
                right[net] += _STRONG * volts
        return matrix, right

    def _defined(self, values: Array, count: int) -> Array:
        """Return ``(count,)`` numbers, 0 where a law has none, such as 1 / v at 0 V: it is left out of this step."""
        values = np.broadcast_to(values, (1, count))[0]
        finite = np.isfinite(values)
        if finite.all():
            return values
        self._undefined = True
        return np.where(finite, values, 0.0)

    def _rows(self, number: int) -> list[tuple[int, float]]:
        """Return the equations in which the law of a branch stands, and its sign there."""
        branch, own = self.circuit.branches[number], self._own.get(number)
        if own is not None:
            return [(own, 1.0 if branch.law.kind == "S" else -1.0)]
        return [(branch.nets[0], 1.0), (branch.nets[1], -1.0)]

    def _columns(self, argument: _Argument, place: tuple[int, int]) -> list[tuple[int, float]]:
        if argument.is_voltage:
            return [(place[0], 1.0), (place[1], -1.0)]
        own = self._own.get(place[0])
        return [] if own is None else [(own, 1.0)]
