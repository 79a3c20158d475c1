"""Transients solved to an error instead of at a step: variable implicit steps that stop at every edge of a source.

The answer is measured against itself: the run is repeated with a tighter tolerance until the two differ by less than
the error asked for.  Nothing here is differentiable; see :mod:`netc.discretise` for steps that are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import process_time
from typing import Any

import numpy as np

from netc.diagnostics import NetcError
from netc.ir.interpret import Array
from netc.ir.program import Program
from netc.runtime.breakpoints import breakpoints
from netc.runtime.held import Held, joined, remarks
from netc.runtime.leap import Leaps, another_start
from netc.runtime.method import ROUNDING, SETTLING, STALLED
from netc.runtime.native import INCONSISTENT, STUCK, Native
from netc.runtime.radau import Radau, Stuck, worst
from netc.runtime.steadiness import lingering
from netc.runtime.system import DENSE, Factors, Observer, System, shifted

LARGEST = 5000
"""Most states and algebraic unknowns together."""

WANTED = 1e-3
"""Error that is good enough, root mean square over the range of each signal."""
ACCEPTED = 1e-2
"""Error beyond which there is no result."""

_TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_ABSOLUTE = {"V": 1e-10, "A": 1e-13}
_SLIGHT = {"V": 1e-2, "A": 1e-5}
"""What is small in the first run, of which no more is wanted than how large signals become."""
_FLOOR = 0.01
"""Share of the largest value in the run before below which a signal is small in the next."""
_MOST_STEPS = 2_000_000
_LEAST_STEPS = 50  # of the whole run, as in SPICE
_MINUTE = 60.0  # s
_FIRST = 1e-3  # share of a stretch
_PROBE = 20
_SAMPLES = 24  # points of a run at which eigenvalues are looked at
_MOST_WORK = 100_000_000  # of all samples, in cubes of the number of variables


@dataclass(frozen=True, slots=True)
class Solution:
    """Signals ``(rows, names)`` at ``times`` ``(rows,)`` seconds.

    ``error`` is the estimated error of the worst signal, root mean square over its range; ``steps`` and ``edges``
    count what it took; ``fastest`` is the largest eigenvalue met along the way, in 1/s; ``warnings`` are sentences on
    what hangs on rounding.
    """

    times: Array
    names: tuple[str, ...]
    values: Array
    error: float
    steps: int
    edges: int
    fastest: float
    warnings: tuple[str, ...] = ()


class OutOfTime(NetcError):
    """The processor time allowed is used up."""


class Clock:
    """The processor time of a run: at most ``seconds``, and a line to ``tell`` each minute."""

    def __init__(self, seconds: float, tell: Callable[[str], None] | None) -> None:
        self._began = process_time()
        self._until, self._next, self._tell = self._began + seconds, self._began + _MINUTE, tell

    def check(self, time: float, tstop: float, steps: int) -> None:
        """Look at the clock at ``time`` of ``tstop`` seconds; raises :class:`OutOfTime`."""
        now = process_time()
        if now > self._until:
            raise OutOfTime(f"a solution to an error takes too long: it is at {time:g} s of {tstop:g} s")
        if self._tell is not None and now > self._next:
            self._next = now + _MINUTE
            self._tell(
                f"after {now - self._began:.0f} s the steps that keep to the error, {steps:,} so far, are at "
                f"t = {time:.4g} s of {tstop:g} s"
            )


def solve(
    program: Program,
    times: Array,
    observe: Sequence[str],
    *,
    wanted: float = WANTED,
    accepted: float = ACCEPTED,
    inputs: Any = 1.0,
    seconds: float = math.inf,
    tell: Callable[[str], None] | None = None,
) -> Solution:
    """Return the signals ``observe`` at ``times`` (ascending, from 0) as exactly as ``wanted`` says.

    Args:
        program: with algebraic blocks or without; nothing drives it but its own sources.
        times: seconds, ``(rows,)``.
        observe: names of signals.
        wanted: estimated error at which the run is done.
        accepted: estimated error up to which there is a result.
        inputs: amplitude of every input, or one for all.
        seconds: most processor time.
        tell: takes a line on how far a long run is, once every minute of processor time.

    Raises:
        NetcError: where no solution can be followed, the error stays above ``accepted``, or time runs out.
    """
    clock = Clock(seconds, tell)
    system = System(program, inputs=inputs)
    if system.size > LARGEST:
        raise NetcError(
            f"{system.size:,} states and nodes are more than the {LARGEST:,} that are solved at once",
            hint="choose an integrator by name, such as --integrator trapezoidal",
        )
    observer = system.observer(observe)
    tstop = float(times[-1])
    watched = [block.value for block in program.observables]
    edges = breakpoints(system, [*system.functions, *system.rewritten(watched)], tstop)
    start = consistent(system, system.initial(), 0.0)
    choice = another_start(system, start) if program.timing is not None and program.timing.uic else ""
    coarse: Array | None = None
    error, steps = math.inf, 0
    problem: Stuck | None = None
    largest = np.array([_SLIGHT.get(unit, 0.0) for unit in system.units])
    held: list[Held] = []
    lost: tuple[str, ...] = ()
    for tolerance in _TOLERANCES:
        try:
            found, steps, reached = _run(system, observer, times, edges, start, tolerance, clock, largest, held)
            fine, largest = found.values, _FLOOR * reached
            held, fresh = joined(held, found.held, reached)
            lost = remarks(found.held, system.names)
        except OutOfTime:
            if error <= accepted:
                break
            raise
        except Stuck as stuck:
            problem = stuck
            if stuck.too_many:  # a tighter tolerance takes more of them
                break
            coarse, error = None, math.inf
            held, _ = joined(held, stuck.held, largest)
            lost = remarks(stuck.held, system.names)
            continue
        if fresh:  # what was lost there, the run before may have lost too
            coarse, error = None, math.inf
            if tolerance > _TOLERANCES[-1]:
                continue
        if coarse is not None:
            error = difference(fine, coarse)
            if error <= wanted:
                break
        coarse = fine
    if not error <= accepted and lost:
        raise NetcError(lost[0], hint="choose a step and an integrator by name")
    if coarse is None or (problem is not None and problem.too_many and not error <= accepted):
        assert problem is not None
        raise _unsolved(system, problem)
    if not error <= accepted:
        raise NetcError(
            f"the result still changes by {error:.2g} of a signal's range when the tolerance is tightened to "
            f"{_TOLERANCES[-1]:g}: this circuit is too sensitive to be followed for {tstop:g} s",
            hint="simulate a shorter time with --tstop, or choose a step and an integrator by name",
        )
    fastest, warnings = _fastest(system, found.samples), (*lost, *found.leaps.remarks())
    if choice:
        warnings = (choice, *warnings)
    rested = program.timing is not None and not program.timing.uic
    lingers = lingering(system, found.samples, reached, {place.state for place in held}, rested=rested)
    if lingers:
        warnings = (*warnings, lingers)
    return Solution(times, tuple(observe), fine, error, steps, len(edges), fastest, warnings)


def difference(a: Array, b: Array) -> float:
    """Return the largest root mean square difference of two tables ``(rows, names)`` over the range of each column."""
    if not a.size:
        return 0.0
    span = np.ptp(a, axis=0)
    level = np.max(np.abs(a), axis=0)
    span = np.where(span > 1e-6 * level + 1e-9, span, np.maximum(level, 1e-6))
    return float(np.max(np.sqrt(np.mean((a - b) ** 2, axis=0)) / span))


def _run(
    system: System,
    observer: Observer,
    times: Array,
    edges: Array,
    start: Array,
    tolerance: float,
    clock: Clock,
    largest: Array,
    held: Sequence[Held],
) -> tuple[_Table, int, Array]:
    """Return rows of signals, the number of steps and the largest value of each variable.

    ``largest`` is what counts as the least such value while the steps are chosen, and ``held`` where states are held.
    """
    rows = _Table(observer, times)
    try:
        steps, reached = _taken(system, rows, edges, start, tolerance, clock, largest, held)
    except Stuck as stuck:
        stuck.held = rows.held
        raise
    if not np.isfinite(rows.values).all():
        raise Stuck(float(edges[-1]), np.zeros(0, dtype=np.int64))
    return rows, steps, reached


def _taken(
    system: System,
    rows: _Table,
    edges: Array,
    start: Array,
    tolerance: float,
    clock: Clock,
    largest: Array,
    held: Sequence[Held],
) -> tuple[int, Array]:
    """Fill ``rows``; return as :func:`_run` does."""
    absolute = np.array([_ABSOLUTE.get(unit, 1e-10) for unit in system.units]) * (tolerance / 1e-6)
    most_steps = _MOST_STEPS + 20 * len(edges)
    longest = float(edges[-1]) / _LEAST_STEPS
    if system.native is not None:
        system.native.begin(
            start,
            edges,
            rows.times,
            relative=tolerance,
            absolute=absolute,
            least=largest,
            most_steps=most_steps,
            first=_FIRST,
            longest=longest,
            held=held,
        )
        try:
            return _run_native(system, system.native, rows, clock)
        finally:
            rows.held = system.native.held()
    solver = Radau(system, tolerance, absolute, most_steps=most_steps, largest=largest, held=held)
    rows.held = solver.watch.found
    _run_numpy(system, solver, edges, start, rows, clock, longest)
    return solver.steps, solver.largest


class _Table:
    """Rows of signals as they come in, and some of the points they are the signals of."""

    def __init__(self, observer: Observer, times: Array) -> None:
        self.times = times
        self.values = np.empty((len(times), len(observer)))
        self.samples: list[tuple[float, Array]] = []
        self.held: list[Held] = []
        self.leaps = Leaps(float(times[-1]))
        self.row = 0
        self._observer = observer
        self._sampled = np.unique(np.linspace(0, len(times) - 1, _SAMPLES).astype(np.int64))

    def add(self, v: Array) -> None:
        """Take the variables ``(rows, size)`` of the next rows."""
        end = self.row + len(v)
        self.values[self.row : end] = self._observer(self.times[self.row : end], v)
        for k in self._sampled[(self._sampled >= self.row) & (self._sampled < end)].tolist():
            self.samples.append((float(self.times[k]), v[k - self.row].copy()))
        self.row = end


def _run_native(system: System, solver: Native, rows: _Table, clock: Clock) -> tuple[int, Array]:
    """Fill ``rows``; return the number of steps, and the largest value of each variable."""
    for status, found in solver.advance():
        if len(found):
            rows.add(found)
        now = solver.state()
        if status == INCONSISTENT:
            solver.set(consistent(system, now.v, now.time))
        if status == STUCK:
            too_many = now.left <= 0
            there = None if too_many else rows.leaps.taken(system, now.v, now.time, now.end, now.largest)
            if there is None:
                raise Stuck(now.time, worst(now.slope, now.largest), too_many=too_many)
            solver.leap(*there)
        clock.check(now.time, float(rows.times[-1]), now.steps)
    return now.steps, now.largest


def _run_numpy(
    system: System, solver: Radau, edges: Array, start: Array, rows: _Table, clock: Clock, longest: float
) -> None:
    """Fill ``rows``."""
    v, times = start, rows.times
    for a, b in pairwise(edges.tolist()):
        inside = a + min(1e-9 * (b - a), 4 * np.spacing(b) + 1e-12 * (b - a))
        v = consistent(system, v, inside)
        while rows.row < len(times) and times[rows.row] <= a:
            rows.add(v[None, :])
        while a < b:
            try:
                for step in solver.stretch(a, b, v, _FIRST * (b - a), longest):
                    clock.check(step.end, float(times[-1]), solver.steps)
                    end = int(np.searchsorted(times, step.end * (1 + 1e-12), side="right"))
                    if end > rows.row:
                        rows.add(step.at(np.minimum(times[rows.row : end], step.end)))
                    a, v = step.end, step.after
                break
            except Stuck as stuck:
                there = None if stuck.too_many else rows.leaps.taken(system, v, stuck.time, b, solver.largest)
                if there is None:
                    raise
                end = int(np.searchsorted(times, there[0], side="left"))
                if end > rows.row:
                    rows.add(np.repeat(v[None, :], end - rows.row, axis=0))
                a, v = there
    if rows.row < len(times):
        rows.add(np.repeat(v[None, :], len(times) - rows.row, axis=0))


def _fastest(system: System, samples: Sequence[tuple[float, Array]]) -> float:
    """Return the largest eigenvalue of the states, 1/s, in absolute value, of those at some points of a run."""
    n, found = system.states, 0.0
    if not n or system.size > DENSE:
        return 0.0
    for time, v in samples[:: 1 + len(samples) * system.size**3 // _MOST_WORK]:
        jacobian = system.dense(time, v)
        try:
            between = np.linalg.solve(jacobian[n:, n:], jacobian[n:, :n])
            values = np.linalg.eigvals(jacobian[:n, :n] - jacobian[:n, n:] @ between)
        except np.linalg.LinAlgError:
            continue
        found = max(found, float(np.max(np.abs(values))))
    return found


def consistent(system: System, v: Array, time: float) -> Array:
    """Return ``v`` with its algebraic unknowns solved for at ``time``, the states as they are.

    Damped Newton from the unknowns as given; where that does not do, along a path on which conductances to where it
    starts are taken away.

    Raises:
        NetcError: where no solution is found.
    """
    if system.size == system.states:
        return v
    with np.errstate(all="ignore"):
        found = _algebraic(system, v, time, v, 0.0)
        if found is None:
            found, guess, pull = None, v, 1.0
            for _ in range(SETTLING):
                step = _algebraic(system, guess, time, v, pull)
                if step is None:
                    break
                guess, pull = step, pull / 3
                if pull < 1e-14:
                    found = _algebraic(system, guess, time, v, 0.0)
                    break
    if found is None:
        g = system.rates(np.array([time]), v[None, :])[0, system.states :]
        worst = system.states + np.argsort(-np.nan_to_num(np.abs(g), nan=np.inf))[:3]
        raise NetcError(
            f"no voltages satisfy the circuit's equations at t = {time:g} s near {_named(system, worst)}",
            hint="add the parasitic capacitance of these nodes to ground",
        )
    return found


def _algebraic(system: System, v: Array, time: float, anchor: Array, pull: float) -> Array | None:
    """Newton's method for the unknowns, each held to ``anchor`` by a conductance ``pull``; ``None`` if it fails."""
    n, t = system.states, np.array([time])
    v = v.copy()

    def residual(at: Array) -> Array:
        return np.asarray(system.rates(t, at[None, :])[0, n:] - pull * (at[n:] - anchor[n:]))

    g = residual(v)
    for _ in range(SETTLING):
        if not np.isfinite(g).all():
            return None
        whole = system.jacobian(time, v)[n:]
        terms = abs(whole) @ np.abs(v)
        if np.all(np.abs(g) <= ROUNDING * terms) and not pull:
            return v  # rates of change in femtofarads have no size of their own: rounding is all there is
        jacobian = whole[:, n:]
        if pull:
            jacobian = jacobian - pull * np.eye(system.size - n)
        try:
            step = Factors(jacobian)(-g)
        except (RuntimeError, ValueError):
            return None
        if not np.isfinite(step).all():
            return None
        if np.all(np.abs(step) <= 1e-12 * np.abs(v[n:]) + 1e-15):
            return v
        weight = np.maximum(
            np.abs(np.asarray(jacobian if isinstance(jacobian, np.ndarray) else jacobian.toarray())).max(axis=1), 1e-300
        )
        rounding = ROUNDING * terms  # which an equation that holds may not stand in the way of another with
        size, damping = np.max(np.maximum(np.abs(g) - rounding, 0.0) / weight), 1.0
        while damping > 1e-6:
            trial = v.copy()
            trial[n:] += damping * step
            at_trial = residual(trial)
            if np.isfinite(at_trial).all() and (
                np.max(np.maximum(np.abs(at_trial) - rounding, 0.0) / weight) <= (1 - 1e-4 * damping) * size
                or damping * np.max(np.abs(step)) < 1e-9
            ):
                break
            if not pull and np.all(np.abs(g) <= STALLED * terms):
                return v
            damping /= 2
        else:
            return v if size < 1e-12 else None
        v, g = trial, at_trial
    return None


def on_grid(
    program: Program, times: Array, observe: Sequence[str], *, tolerance: float = 1e-9, budget: float = 120.0
) -> Array:
    """Return the signals ``(rows, names)`` of backward Euler on the points ``times`` (ascending, from 0).

    The first row is the start.  Every step is solved by Newton's method down to ``tolerance`` of each variable.

    Raises:
        NetcError: where a step has no solution, the circuit is too large, or more than ``budget`` seconds are needed.
    """
    system = System(program)
    if system.size > LARGEST:
        raise NetcError(f"{system.size:,} states and nodes are more than {LARGEST:,}")
    began = process_time()
    observer = system.observer(observe)
    mass = system.mass
    v = consistent(system, system.initial(), float(times[0]))
    rows = np.empty((len(times), len(observer)))
    rows[0] = observer(times[:1], v[None, :])[0]
    largest = np.abs(v)
    for k in range(1, len(times)):
        time, h = float(times[k]), float(times[k] - times[k - 1])
        at = times[k : k + 1]
        guess = v.copy()
        for _ in range(SETTLING):
            defect = system.rates(at, guess[None, :])[0] - mass * (guess - v) / h
            matrix = shifted(system.jacobian(time, guess), mass, 1.0 / h)
            step = Factors(matrix)(defect) if np.isfinite(defect).all() else np.full(system.size, np.nan)
            if not np.isfinite(step).all():
                raise NetcError(f"backward Euler has no solution at t = {time:g} s on this grid")
            guess = guess + step
            largest = np.maximum(largest, np.abs(guess))
            if np.all(np.abs(step) <= tolerance * largest + 1e-15):
                break
        else:
            raise NetcError(f"backward Euler has no solution at t = {time:g} s on this grid")
        v = guess
        rows[k] = observer(at, v[None, :])[0]
        if k == _PROBE and (process_time() - began) / _PROBE * len(times) > budget:
            raise NetcError(f"{len(times):,} steps of backward Euler would take more than {budget:g} s")
    return rows


def _unsolved(system: System, stuck: Stuck) -> NetcError:
    where = f" near {_named(system, stuck.worst)}" if len(stuck.worst) else ""
    if stuck.too_many:
        return NetcError(
            f"more than {_MOST_STEPS:,} steps are needed, the last at t = {stuck.time:g} s{where}",
            hint="simulate a shorter time with --tstop, damp what rings there, or choose an integrator by name",
        )
    return NetcError(
        f"no step is short enough at t = {stuck.time:g} s{where}: the solution jumps, or grows without bound",
        hint="look for a source that jumps with a voltage it changes itself, or choose an integrator by name",
    )


def _named(system: System, numbers: Array) -> str:
    return ", ".join(dict.fromkeys(system.names[k] for k in numbers.tolist()))
