"""Radau IIA of order 5 with variable steps: an implicit Runge-Kutta method for index-1 systems.

    M (V_i - v_n) = h sum_j a_ij F(t_n + c_j h, V_j),   i = 1..3,      v_{n+1} = V_3

It is L-stable and holds the algebraic equations exactly at every accepted point, and its stages give a polynomial
through the step.  Each step solves one real and one complex system by simplified Newton steps; an embedded formula of
order 3 measures the error of the states (E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, IV.8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ir.interpret import Array
from netc.runtime.held import Held, Watch, tightened
from netc.runtime.method import (
    CREPT,
    DEFECT,
    ERROR,
    FROM_COMPLEX,
    FROM_REAL,
    INVERSE,
    LARGEST,
    MOST_FULL_ITERATIONS,
    MOST_ITERATIONS,
    MOST_SHORTEST,
    MU,
    NODES,
    NU,
    POLYNOMIAL,
    ROUNDING,
    SMALLEST,
    TO_COMPLEX,
    TO_REAL,
)
from netc.runtime.system import Factors, System, shifted

_SMALL = 60
"""Most variables of a system that is solved with the Jacobians of all stages where that of the start will not do."""


class Stuck(Exception):
    """No step is short enough: at ``time``, where the variables numbered ``worst`` resist; or there are too many."""

    def __init__(self, time: float, worst: Array, *, too_many: bool = False) -> None:
        self.time, self.worst, self.too_many = time, worst, too_many
        self.held: Sequence[Held] = ()
        super().__init__("the step became too short")


@dataclass(frozen=True, slots=True)
class Step:
    """One accepted step from ``start`` to ``end``, seconds; ``polynomial`` ``(3, size)`` gives what lies within."""

    start: float
    end: float
    before: Array
    after: Array
    polynomial: Array

    def at(self, times: Array) -> Array:
        """Return the variables at ``times`` within the step, ``(len(times), size)``."""
        s = (times - self.start) / (self.end - self.start)
        return np.asarray(self.before + (s[:, None] ** np.arange(1, 4)) @ self.polynomial)


class Radau:
    """Steps through one smooth stretch after another; remembers the Jacobian and the size of signals."""

    def __init__(
        self,
        system: System,
        relative: float,
        absolute: Array,
        *,
        most_steps: int,
        largest: Array | None = None,
        held: Sequence[Held] = (),
    ) -> None:
        """``relative`` is the error allowed in a step to each state, as a share of the largest value it has had.

        It is at least ``absolute`` ``(size,)`` and that share of ``largest`` ``(size,)``, but close to a place in
        ``held`` no more than a share of the distance.
        """
        self._system = system
        self._mass = system.mass
        self._relative, self._absolute = relative, absolute
        self._newton = max(1e-3, min(3e-3, math.sqrt(relative)))
        self._least = np.zeros(system.size) if largest is None else largest
        self._largest = np.zeros(system.size)
        self._left = most_steps
        self.steps = 0
        self.watch = Watch(system.states)
        self._places = held
        self._held = np.array(sorted({place.state for place in held}), dtype=np.int64)

    def stretch(self, start: float, end: float, v: Array, first: float, longest: float) -> Iterator[Step]:
        """Yield the steps from ``start`` to ``end`` seconds from ``v``; ``first`` and ``longest`` bound the step."""
        system, mass = self._system, self._mass
        # edges are approached from within: what lies at an edge itself belongs to either side
        margin = min(1e-9 * (end - start), 4 * np.spacing(end) + 1e-12 * (end - start))
        low, high = start + margin, end - margin
        time, h = start, min(first, longest, end - start)
        slope = system.rates(np.array([low]), v[None, :])[0]
        jacobian, fresh, factored = system.jacobian(low, v), True, 0.0
        last: Step | None = None
        before_error = before_h = 0.0
        rejected, pressed = False, 0
        factors: tuple[Factors, Factors] | None = None
        self._largest = np.maximum(self._largest, np.abs(v))
        self.watch.restart(v)
        while time < end:
            # where rates jump, a step as short as the time can tell has what error it has
            shortest = 16 * np.spacing(max(time, end - start))
            h = max(min(h, longest), shortest)
            if time + h * (1 + 1e-9) >= end:
                h = end - time
            elif time + 2 * h > end:
                h = (end - time) / 2
            pressed = pressed + 1 if h <= shortest else 0
            if (
                not h > 0
                or pressed > MOST_SHORTEST
                or self._left <= 0
                or not np.isfinite(jacobian.data if not isinstance(jacobian, np.ndarray) else jacobian).all()
            ):
                raise Stuck(time, worst(slope, self._largest), too_many=self._left <= 0)
            self._left -= 1
            if factors is None or factored != h:
                try:
                    factors = Factors(shifted(jacobian, mass, MU / h)), Factors(shifted(jacobian, mass, NU / h))
                except (RuntimeError, ValueError):
                    raise Stuck(time, worst(slope, self._largest)) from None
                factored = h
            times = np.clip(time + NODES * h, low, high)
            guess = np.zeros((3, system.size)) if last is None else last.at(time + NODES * h) - v
            scale = self._scale(v)
            found = self._solve(factors, times, h, v, guess, scale, self._rounding(jacobian, v))
            if found is None and system.size <= _SMALL:
                found = self._solve_fully(times, h, v, guess, scale)
            if found is None:
                if not fresh:
                    jacobian, fresh, factors = system.jacobian(min(max(time, low), high), v), True, None
                elif pressed:
                    raise Stuck(time, worst(slope, self._largest))
                else:
                    h, last, rejected = h / 4, None, True
                continue
            z, iterations, rate = found
            after = v + z[2]
            scale = self._scale(after)
            rough = mass * (z.T @ ERROR) / h
            error = factors[0](slope + rough)
            norm = self._norm(error, scale)
            safety = 0.9 * (2 * MOST_ITERATIONS + 1) / (2 * MOST_ITERATIONS + iterations)
            if norm > 1 and (rejected or last is None or norm < 50):
                # what is fast beside the step spoils the first measure: a second pass removes it
                again = system.rates(times[:1] * 0 + max(time, low), (v + error)[None, :])[0]
                if np.isfinite(again).all():
                    error = factors[0](again + rough)
                    norm = self._norm(error, scale)
            there: Any = None
            at_end, defect = slope, 0.0
            if norm <= 1 and not system.linear:
                at_end, there = system.linearised(float(times[2]), after)
                defect = self._defect(at_end, there, h, z, scale)
            if defect > 1 and not fresh:
                jacobian, fresh, factors = system.jacobian(min(max(time, low), high), v), True, None
                continue  # an old Jacobian led astray: the step itself may be right
            if not (max(norm, defect) <= 1 or (pressed and math.isfinite(norm) and math.isfinite(defect))):
                norm = max(norm, defect)
                h *= max(SMALLEST, safety * norm ** (-0.25)) if math.isfinite(norm) else SMALLEST
                rejected = True
                if not fresh:
                    jacobian, fresh, factors = system.jacobian(min(max(time, low), high), v), True, None
                continue
            growth = LARGEST if norm == 0 else min(LARGEST, safety * norm**-0.25)
            if before_h and norm > 0 and before_error > 0:
                growth = min(growth, safety * h / before_h * (before_error / norm) ** 0.25 * norm**-0.25)
            before_error, before_h = max(norm, 1e-2), h
            self._largest = np.maximum(self._largest, np.abs(after))  # of steps that count: one led astray is huge
            last = Step(time, time + h if time + h < end * (1 - 1e-15) else end, v, after, POLYNOMIAL @ z)
            self.steps += 1
            if there is not None:
                n = system.states
                self.watch.step(h, after[:n], at_end[:n], there.diagonal()[:n], self._largest[:n])
            yield last
            time, v = last.end, after
            now = min(max(time, low), high)
            known = there is not None and now == times[2]
            slope = at_end if known else system.rates(np.array([now]), v[None, :])[0]
            if rejected:
                growth = min(growth, 1.0)
            rejected = False
            growth = max(growth, SMALLEST)
            if (iterations > 2 and rate > 1e-3) or defect > CREPT:
                jacobian = there if there is not None else system.jacobian(now, v)
                fresh, factors = True, None
            else:
                fresh = False
                if 1.0 <= growth < 1.2:
                    growth = 1.0
            h *= growth

    @property
    def largest(self) -> Array:
        """The largest value each variable has had, ``(size,)``."""
        return self._largest

    def _scale(self, v: Array) -> Array:
        reached = np.maximum(np.maximum(self._largest, np.abs(v)), self._least)
        scale = np.asarray(self._absolute + self._relative * reached)
        return tightened(scale, v, self._relative, self._places)

    def _measured(self, change: Array, v: Array, scale: Array) -> Array:
        """Return corrections ``(..., size)`` in units of the error allowed; 0 where no more than rounding is left."""
        result = np.abs(change) / scale
        held = self._held
        if len(held):
            rounding = 4 * np.finfo(np.float64).eps * np.abs(v[held])
            result[..., held] = np.where(np.abs(change[..., held]) <= rounding, 0.0, result[..., held])
        return np.asarray(result)

    def _norm(self, error: Array, scale: Array) -> float:
        """The worst state counts: a mean would let one signal of many go wrong."""
        states = self._system.states
        if not states:
            return 0.0 if np.isfinite(error).all() else math.inf
        return float(np.max(np.abs(error[:states]) / scale[:states]))

    def _defect(self, rates: Array, jacobian: Any, h: float, z: Array, scale: Array) -> float:
        """How far the end of a step is from its equations, by rates and Jacobian there, in units of the error allowed.

        Corrections by a Jacobian that was much stiffer at the start of the step are small wherever they lead.
        """
        residual = rates - self._mass * ((INVERSE[2] / h) @ z)
        try:
            change = Factors(shifted(jacobian, self._mass, float(INVERSE[2, 2]) / h))(residual)
        except (RuntimeError, ValueError):
            return math.inf
        found = self._norm(change, scale)
        return found / DEFECT if math.isfinite(found) else math.inf

    def _rounding(self, jacobian: Any, v: Array) -> Array:
        """Residuals of the algebraic equations that are no more than what is left when large terms cancel."""
        return np.asarray(ROUNDING * (abs(jacobian) @ np.abs(v)))[self._system.states :]

    def _solve(
        self,
        factors: tuple[Factors, Factors],
        times: Array,
        h: float,
        v: Array,
        z: Array,
        scale: Array,
        rounding: Array,
    ) -> tuple[Array, int, float] | None:
        """Simplified Newton for the three stages: increments ``(3, size)``, iterations and rate, or ``None``.

        Algebraic unknowns whose equations hold to ``rounding`` are not asked to stand still: of rates of change, which
        have no size while the circuit rests, rounding is all there is.
        """
        system, mass = self._system, self._mass
        w_real, w_complex = TO_REAL @ z, TO_COMPLEX @ z
        before, rate = math.inf, 0.0
        for iteration in range(1, MOST_ITERATIONS + 1):
            slopes = system.rates(times, v + z)
            if not np.isfinite(slopes).all():
                return None
            d_real = factors[0](TO_REAL @ slopes - mass * w_real * (MU / h))
            d_complex = factors[1](TO_COMPLEX @ slopes - mass * w_complex * (NU / h))
            w_real, w_complex = w_real + d_real, w_complex + d_complex
            change = np.outer(FROM_REAL, d_real) + 2 * np.outer(FROM_COMPLEX, d_complex).real
            z = np.outer(FROM_REAL, w_real) + 2 * np.outer(FROM_COMPLEX, w_complex).real
            measured = self._measured(change, v, scale)
            if np.all(np.abs(slopes[:, system.states :]) <= rounding):
                measured = measured[:, : system.states]
            size = float(np.max(measured, initial=0.0))
            if not math.isfinite(size):
                return None
            if size == 0.0:
                return z, iteration, rate
            if iteration > 1:
                rate = size / before
                if rate >= 1 or rate ** (MOST_ITERATIONS - iteration) / (1 - rate) * size > self._newton:
                    return None if size > self._newton else (z, iteration, rate)
                if rate / (1 - rate) * size < self._newton:
                    return z, iteration, rate
            elif size < 1e-3 * self._newton:
                return z, iteration, rate
            before = size
        return None

    def _solve_fully(self, times: Array, h: float, v: Array, z: Array, scale: Array) -> tuple[Array, int, float] | None:
        """Newton's method with the Jacobian of every stage, for conductances that change by decades within a step.

        Here, too, algebraic unknowns whose equations hold to rounding are not asked to stand still.
        """
        system, size = self._system, self._system.size
        coupling = np.kron(INVERSE / h, np.diag(self._mass))
        stage = np.arange(3)
        for iteration in range(MOST_FULL_ITERATIONS):
            slopes = system.rates(times, v + z)
            blocks = system.jacobians(times, v + z)
            matrix = coupling.copy().reshape(3, size, 3, size)
            matrix[stage, :, stage, :] -= blocks
            held = all(
                np.all(np.abs(f[system.states :]) <= self._rounding(block, at))
                for f, block, at in zip(slopes, blocks, v + z, strict=True)
            )
            residual = slopes - (INVERSE / h) @ (self._mass * z)
            if not (np.isfinite(residual).all() and np.isfinite(blocks).all()):
                return None
            try:
                change = Factors(matrix.reshape(3 * size, 3 * size))(residual.ravel()).reshape(3, size)
            except ValueError:
                return None
            z = z + change
            if not np.isfinite(z).all():
                return None
            measured = self._measured(change, v, scale)
            if held:
                measured = measured[:, : system.states]
            if float(np.max(measured, initial=0.0)) < self._newton:
                return z, min(iteration + 1, MOST_ITERATIONS), 1.0
        return None


def worst(slope: Array, largest: Array) -> Array:
    """Return the numbers of the variables that most likely stop a run, by their rates and the largest they were."""
    bad = np.flatnonzero(~np.isfinite(slope))
    if len(bad):
        return bad[:3]
    return np.argsort(-np.abs(slope) / np.maximum(largest, 1e-6))[:3]
