"""Where a solution ends and the circuit jumps: the unknowns on the other branch, with the states as they are.

A trigger of transistors without capacitance has up to three solutions for the same voltages of its capacitors.  Where
the one it is on meets another and both end, nothing is left close by, and no step is short enough.  In the circuit
itself a trace of capacitance at every node takes it, in no time, to where it next rests (S. S. Sastry, C. A. Desoer,
Jump behavior of circuits and systems, IEEE Trans. Circuits Syst. 28, 1981); a simulator with damped Newton steps ends
there, too.  Here implicit Euler steps follow that movement, with lengths of their own, until nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from netc.ir.interpret import Array
from netc.ir.nodes import Unknown
from netc.runtime.system import DENSE, Factors, System

_AHEAD = (1e-13, 1e-11, 1e-9, 1e-7)
"""How far ahead the states are taken, as shares of the run: beyond where the solution ends."""
_FAR = 1e-3
"""How far a variable goes in a jump at least, as a share of its largest value; how far a state may go ahead of it."""
_STEPS, _ITERATIONS = 600, 12
_STIFFEST, _SOFTEST, _LEAST_SLOPE = 1e3, 1e-15, 1e-15
"""Conductance to where a node was, as a share of the largest slope of its equation, at first and at last."""
_ON, _BACK = 2.5, 5.0
"""How much softer it becomes after a step that was found, and how much stiffer after one that was not."""
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_CLOSE, _MOST = 1e-12, 100
"""Jumps this close together, as a share of the run, and how many of them are no progress."""


@dataclass(slots=True)
class Leaps:
    """The jumps of a run that lasts ``span`` seconds."""

    span: float
    last: float = -1.0
    close: int = 0
    seen: list[tuple[float, str]] = field(default_factory=list)  # seconds, and what moved most

    def taken(self, system: System, v: Array, time: float, end: float, largest: Array) -> tuple[float, Array] | None:
        """Return the time and the variables after the jump at ``time`` that ends a run; ``None`` if there is none.

        Args:
            system: that ran.
            v: variables, ``(size,)``.
            time: at which no step is short enough, seconds.
            end: of the smooth stretch that is run through, seconds.
            largest: value of each variable so far, ``(size,)``.
        """
        self.close = self.close + 1 if time - self.last <= _CLOSE * self.span else 0
        self.last = time
        if self.close > _MOST:
            return None
        found = leap(system, v, time, end, self.span, largest)
        if found is not None:
            share = np.abs(found[1] - v) / np.maximum(largest, _ABSOLUTE)
            moved = int(np.argmax(np.where(_kinds(system) == "d", 0.0, share[system.states :])))
            self.seen.append((found[0], system.names[system.states + moved]))
        return found

    def remarks(self) -> tuple[str, ...]:
        """Return a sentence on the jumps that were taken, if any were."""
        if not self.seen:
            return ()
        time, name = self.seen[0]
        more = f", and {len(self.seen) - 1} more times" if len(self.seen) > 1 else ""
        return (
            f"the circuit jumps at {time:.6g} s near {name}{more}: nothing there has a capacitance, so the run goes on "
            "where a trace of it at every node would lead",
        )


def leap(system: System, v: Array, time: float, end: float, span: float, largest: Array) -> tuple[float, Array] | None:
    """Return where ``v`` jumps to, just after ``time``; ``None`` where no other branch is found: :class:`Leaps`."""
    n = system.states
    if system.size == n:
        return None
    kinds = _kinds(system)
    size = np.maximum(largest, np.abs(v)) + 1e-9
    with np.errstate(all="ignore"):
        slope = system.rates(np.array([time]), v[None, :])[0, :n]
        if not np.isfinite(slope).all():
            return None
        for share in _AHEAD:
            ahead = min(share * span, 0.5 * (end - time))
            if not ahead > 0 or np.any(np.abs(slope) * ahead > _FAR * size[:n]):
                return None
            start = v.copy()
            start[:n] += ahead * slope
            found = settled(system, start, time + ahead)
            if found is None:
                continue
            moved = np.abs(found - v)[n:] > _FAR * size[n:]
            if np.any(moved & (kinds != "d")):
                return time + ahead, found
    return None


def another_start(system: System, v: Array) -> str:
    """Return a sentence where the states at t = 0 leave the unknowns a choice that ``v`` has made; else "".

    Only looked for from potentials well above and well below all others, by plain Newton steps.
    """
    n, kinds = system.states, _kinds(system)
    if system.size == n or system.size > DENSE:
        return ""
    nodes = n + np.flatnonzero(kinds == "z")
    far = 1.0 + float(np.max(np.abs(v[nodes]), initial=0.0))
    for sign in (1.0, -1.0):
        guess = v.copy()
        guess[nodes] = sign * far
        with np.errstate(all="ignore"):
            found = _newton(system, guess, 0.0, np.zeros(system.size - n))
        if found is None:
            continue
        moved = np.abs(found - v)[nodes] / far
        if np.any(moved > _FAR):
            most = nodes[int(np.argmax(moved))]
            return (
                "at t = 0 the equations have another solution with the same initial conditions: "
                f"{system.names[most]} is at {v[most]:.4g} V here, and at {found[most]:.4g} V there; a capacitance at "
                "that node would decide"
            )
    return ""


def settled(system: System, v: Array, time: float) -> Array | None:
    """Return ``v`` with the unknowns where they come to rest, each moved by its own equation; ``None`` if nowhere."""
    kinds = _kinds(system)
    nodes = np.where(kinds == "z", 1.0, 0.0)
    if nodes.any():
        found = _followed(system, v, time, nodes)
        if found is not None:
            return found
    # sources whose own equations bend: a lag in each, an inductance in each current
    return _followed(system, v, time, np.where(kinds == "d", 0.0, np.where(kinds == "e", -1.0, 1.0)))


def _kinds(system: System) -> Array:
    """Return what each unknown is: ``z`` a potential, ``e`` a source's value, ``i`` a current, ``d`` a rate."""
    names = [leaf.name[0] if isinstance(leaf, Unknown) else "" for leaf in system.leaves]
    kinds = np.repeat(np.array(names), system.sizes)[system.states :]
    return np.where(kinds == "r", "d", kinds)


def _followed(system: System, v: Array, time: float, signs: Array) -> Array | None:
    """Implicit Euler for the unknowns with ``signs``, their equations giving their rates; the step grows."""
    _, matrix = _linearised(system, time, v)
    rows = np.maximum(np.asarray(abs(matrix) @ np.ones(len(signs))), _LEAST_SLOPE)
    pull = _STIFFEST
    for _ in range(_STEPS):
        found = _newton(system, v, time, pull * signs * rows)
        if found is None:
            pull *= _BACK
            if pull > _STIFFEST * _BACK**3:
                return None
            continue
        v = found
        if pull < _SOFTEST:
            return _newton(system, v, time, np.zeros_like(signs))
        pull /= _ON
    return None


def _newton(system: System, anchor: Array, time: float, pull: Array) -> Array | None:
    """Newton's method for the unknowns, each tied to ``anchor`` by ``pull``; ``None`` where it does not converge."""
    n, v = system.states, anchor.copy()
    for _ in range(_ITERATIONS):
        g, matrix = _linearised(system, time, v)
        g = g - pull * (v - anchor)[n:]
        if not np.isfinite(g).all():
            return None
        matrix = matrix - (np.diag(pull) if isinstance(matrix, np.ndarray) else sparse.diags(pull))
        try:
            step = Factors(matrix)(-g)
        except (RuntimeError, ValueError):
            return None
        if not np.isfinite(step).all():
            return None
        v[n:] += step
        if np.all(np.abs(step) <= _RELATIVE * np.abs(v[n:]) + _ABSOLUTE):
            return v
    return None


def _linearised(system: System, time: float, v: Array) -> tuple[Array, Any]:
    """Return the residuals of the unknowns' equations and their derivatives by the unknowns."""
    n, native = system.states, system.native
    if native is None:
        rates, jacobian = system.linearised(time, v)
        return rates[n:], jacobian[n:, n:]
    rates, entries = native.linearised(time, v)
    if system.size <= DENSE:
        matrix: Any = np.zeros((system.size, system.size))
        matrix[native.rows, native.columns] = entries
    else:
        matrix = sparse.csc_matrix((entries, (native.rows, native.columns)), shape=(system.size, system.size))
    return rates[n:], matrix[n:, n:]
