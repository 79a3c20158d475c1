"""The operating point of a whole differential-algebraic system, looked for as SPICE does.

Newton's method for all states and unknowns at once, exponentials held back as in SPICE2 (L. W. Nagel, ERL-M520, 1975,
"pnjlim"); where that fails, with every variable tied to where it starts, the ties loosened step by step ("gmin
stepping"); where that fails, too, with the sources raised from nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from scipy.linalg import lapack

from netc.ir import build
from netc.ir.derivative import tangents
from netc.ir.interpret import Array, signal_names
from netc.ir.nodes import Expr, Parameter, State, Time, Unary, Unknown, postorder
from netc.ir.program import Program
from netc.optimise.rewriting import Rewriter
from netc.runtime.evaluator import Evaluator
from netc.runtime.linearise import shortest_solution
from netc.runtime.system import DENSE, System

_PLAIN, _CONTINUED = 100, 60
"""Most Newton steps, at once and on the way."""
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_FIRST_TIE, _LAST_TIE = 1.0, 1e-13
_SLACK, _LEAST_SLACK = 10.0, 1.1
_FIRST_FRACTION, _LEAST_FRACTION = 0.1, 1e-4
_NEAR = 1e-2
"""Distance from where ngspice's method ends, relative, up to which a point counts as the same."""
_RATES = ("d_", "r_")
"""How the names of unknowns begin that are rates of change, 0 at rest."""
_LEFT = 1e-8
"""Residual of a solution, as a share of the terms of its equation."""
_AMPLIFIED = 1e7
_LARGE, _FAR = 10.0, 2.0
"""An exponent above the first that moves by more than the second is held back."""
_CONDITION = 1e-14
"""Reciprocal condition below which a matrix counts as singular."""


_Point: TypeAlias = tuple[Array, list[Array]]  # variables and exponents


def at_rest(
    program: Program, guess: Mapping[str, float], start: Mapping[str, float] | None = None
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return states and unknowns, and signals, at rest by name; ``None`` where no operating point is found.

    Args:
        program: with its algebraic blocks, sources at their value at t = 0.
        guess: values (``.nodeset``) at which states and unknowns are held while a first solution is looked for.
        start: states, voltages of nets and currents by name, where an operating point is known to be.
    """
    if not program.states and not program.algebraic:
        return None
    rest = _Rest(program)
    if not 0 < rest.system.size <= DENSE:
        return None
    v = rest.finish(start) if start else None
    v = rest.search(guess) if v is None else v
    if v is None:
        return None
    names = signal_names(program)
    signals = rest.system.observer(names)(np.zeros(1), v[None, :])[0]
    if not np.isfinite(signals).all():
        return None
    rates = _are_rates(rest.system)
    known = {name: x for name, x, rate in zip(rest.system.names, v.tolist(), rates, strict=True) if not rate}
    return known, dict(zip(names, signals.tolist(), strict=True))


def arranged(system: System, values: Mapping[str, float]) -> Array:
    """Return the variables ``(size,)`` at rest with these values by name, rates of change and what is missing at 0."""
    known = np.array([values.get(name, 0.0) for name in system.names])
    return np.where(_are_rates(system), 0.0, known)


def _are_rates(system: System) -> Array:
    """Which variables are rates of change, ``(size,)``; they may be named like what changes."""
    found = [isinstance(leaf, Unknown) and leaf.name.startswith(_RATES) for leaf in system.leaves]
    return np.repeat(np.array(found, dtype=bool), system.sizes)


class _Rest:
    """Residuals and Jacobian with the exponents as further arguments, and with scalable sources."""

    def __init__(self, program: Program) -> None:
        self.system = system = System(program)
        self._sources = tuple(
            Parameter(b.name, len(b.values)) for b in program.parameters if b.role == "source" and b.unit in ("V", "A")
        )
        self._levels = [system.fixed[source] for source in self._sources]
        self._exponents: list[Expr] = []
        self._places: list[Expr] = []
        self._depends: dict[Expr, bool] = {}
        rewrite = Rewriter(self._held_back)
        functions = tuple(rewrite(f) for f in system.functions)
        fixed = {leaf: value for leaf, value in system.fixed.items() if leaf not in self._sources}
        moving = (Time(), *system.leaves, *self._places, *self._sources)
        seeds = tuple(Unknown(f"direction of {k}", leaf.size) for k, leaf in enumerate(system.leaves))
        moved = tangents(functions, dict(zip(system.leaves, seeds, strict=True)))
        self._functions = Evaluator(functions, fixed, moving)
        self._arguments = Evaluator(self._exponents, fixed, moving)
        self._products = Evaluator(moved, fixed, (*moving, *seeds))
        self._start = system.initial()

    def _held_back(self, node: Expr) -> Expr | None:
        """exp(x) becomes exp(a) (1 + x - a): its tangent at the exponent ``a`` that a Newton step may reach."""
        if not (isinstance(node, Unary) and node.op == "exp" and len(node.shape) == 1 and self._moves(node.x)):
            return None
        place = Unknown(f"exponent {len(self._places)}", node.x.size)
        self._exponents.append(node.x)
        self._places.append(place)
        return build.mul(build.unary("exp", place), build.add(1.0, build.sub(node.x, place)))

    def _moves(self, root: Expr) -> bool:
        known = self._depends
        for node in postorder(root, known=known):
            known[node] = isinstance(node, State | Unknown) or any(known[child] for child in node.children)
        return known[root]

    def finish(self, start: Mapping[str, float]) -> Array | None:
        """Return the variables at rest, ``(size,)``, near where they are known to be; ``None`` if it is not there."""
        known = arranged(self.system, start)
        with np.errstate(all="ignore"):
            exponents = [np.zeros((1, p.size)) for p in self._places]
            exponents = self._at(self._arguments, known, exponents, self._levels)
            found = self._newton(known, _PLAIN, exponents=exponents)
        if found is None:
            return None
        far = np.abs(found[0] - known) > _NEAR * (1.0 + np.abs(known))
        return None if bool((far & ~_are_rates(self.system)).any()) else found[0]

    def search(self, guess: Mapping[str, float]) -> Array | None:
        """Return the variables at rest, ``(size,)``."""
        system = self.system
        start = self._start
        with np.errstate(all="ignore"):
            wanted = np.array([guess.get(name, np.nan) for name in system.names])
            given = np.isfinite(wanted)
            if given.any():
                start = np.where(given, wanted, start)
                held = self._newton(start, _PLAIN, fixed=given)
                start = start if held is None else held[0]
            found = self._newton(start, _PLAIN) or self._loosened(start) or self._raised(start)
        return None if found is None else found[0]

    def _loosened(self, start: Array) -> _Point | None:
        """Newton's method with all variables tied to ``start``, the ties ever weaker."""
        tie, slack = _FIRST_TIE, _SLACK
        point = self._newton(start, _PLAIN, tie=tie, anchor=start)
        while point is not None and tie > _LAST_TIE:
            found = self._newton(point[0], _CONTINUED, exponents=point[1], tie=tie / slack, anchor=start)
            if found is not None:
                point, tie, slack = found, tie / slack, min(slack * 2.0, _SLACK)
            else:
                slack = math.sqrt(slack)
                if slack < _LEAST_SLACK:
                    return None
        return None if point is None else self._newton(point[0], _PLAIN, exponents=point[1])

    def _raised(self, start: Array) -> _Point | None:
        """Newton's method at a growing share of the sources."""
        point = self._newton(start, _PLAIN, share=0.0)
        reached, step = 0.0, _FIRST_FRACTION
        while point is not None and reached < 1.0:
            share = min(1.0, reached + step)
            found = self._newton(point[0], _CONTINUED, exponents=point[1], share=share)
            if found is not None:
                point, reached, step = found, share, 2.0 * step
            else:
                step /= 4.0
                if step < _LEAST_FRACTION:
                    return None
        return point

    def _newton(
        self,
        v: Array,
        most: int,
        *,
        exponents: list[Array] | None = None,
        share: float = 1.0,
        tie: float = 0.0,
        anchor: Array | None = None,
        fixed: Array | None = None,
    ) -> _Point | None:
        """Return variables and exponents where the residuals vanish; ``None`` where that is not found.

        Args:
            v: where to start.
            most: steps.
            exponents: where the exponentials' tangents start.
            share: of the sources' values.
            tie: of every variable to ``anchor``, as a share of the largest slope of its equation.
            fixed: variables that stay as they are.
        """
        drive = [level * share for level in self._levels]
        if exponents is None:
            exponents = [np.zeros((1, place.size)) for place in self._places]
            exponents = [np.minimum(x, _LARGE) for x in self._at(self._arguments, v, exponents, drive)]
        for _ in range(most):
            residual = self._joined(self._at(self._functions, v, exponents, drive), 1)[0]
            slopes = self._jacobian(v, exponents, drive)
            if not (np.isfinite(residual).all() and np.isfinite(slopes).all()):
                return None
            if tie and anchor is not None:
                own = np.diagonal(slopes)
                pull = tie * np.abs(slopes).max(axis=1, initial=0.0) * np.where(own > 0, 1.0, -1.0)
                slopes = slopes + np.diag(pull)
                residual = residual + pull * (v - anchor)
            if fixed is not None:
                slopes = np.where(fixed[:, None], np.eye(len(v)), slopes)
                residual = np.where(fixed, 0.0, residual)
            step = _solved(slopes, -residual)
            if not np.isfinite(step).all():
                return None
            v = v + step
            wanted = self._at(self._arguments, v, exponents, drive)
            reached = [_limited(x, a) for x, a in zip(wanted, exponents, strict=True)]
            settled = all(
                bool(np.all(np.abs(x - a) <= _RELATIVE * (1.0 + np.abs(x))))
                for x, a in zip(wanted, exponents, strict=True)
            )
            exponents = reached
            if settled and bool(np.all(np.abs(step) <= _RELATIVE * np.abs(v) + _ABSOLUTE)):
                # the shortest step is short, too, where an equation without a slope is far from fulfilled
                rows = np.abs(slopes).max(axis=1, initial=0.0)
                left = np.abs(residual) <= _LEFT * (np.abs(slopes) @ np.abs(v) + np.where(rows > 0, rows, 1.0))
                return (v, exponents) if bool(left.all()) and self._plausible(v) else None
        return None

    def _plausible(self, v: Array) -> bool:
        """Whether no variable is beyond what sources and start can be amplified to."""
        given = max((float(np.max(np.abs(level), initial=0.0)) for level in self._levels), default=0.0)
        return bool(np.all(np.abs(v) <= _AMPLIFIED * (1.0 + max(given, float(np.max(np.abs(self._start)))))))

    def _at(self, evaluator: Evaluator, v: Array, exponents: list[Array], drive: list[Array]) -> list[Array]:
        return evaluator(np.zeros((1, 1)), *self.system.split(v[None, :]), *exponents, *drive)

    def _jacobian(self, v: Array, exponents: list[Array], drive: list[Array]) -> Array:
        size = self.system.size
        directions = self.system.split(np.eye(size))
        found = self._products(np.zeros((1, 1)), *self.system.split(v[None, :]), *exponents, *drive, *directions)
        return self._joined(found, size).T

    def _joined(self, parts: list[Array], batch: int) -> Array:
        wide = [np.broadcast_to(p, (batch, leaf.size)) for p, leaf in zip(parts, self.system.leaves, strict=True)]
        return np.concatenate([np.zeros((batch, 0)), *wide], axis=1)


def _limited(wanted: Array, before: Array) -> Array:
    """The exponent a Newton step may reach: ``wanted``, but above 10 no more than the logarithm of the way there."""
    forward = np.where(before > 0, before + np.log1p(np.abs(wanted - before)), np.log(np.maximum(wanted, 1.0)))
    held = (wanted > _LARGE) & (np.abs(wanted - before) > _FAR)
    return np.asarray(np.where(held & (wanted > before), np.minimum(forward, wanted), wanted))


def _solved(matrix: Array, right: Array) -> Array:
    """``y`` with ``matrix @ y = right``; the shortest of many where the matrix is singular."""
    rows = np.abs(matrix).max(axis=1, initial=0.0)
    rows = np.where(rows > 0, rows, 1.0)
    scaled = matrix / rows[:, None]
    columns = np.abs(scaled).max(axis=0, initial=0.0)
    columns = np.where(columns > 0, columns, 1.0)
    scaled = scaled / columns
    factors, pivots, singular = lapack.dgetrf(scaled)
    if not singular:
        reciprocal, _ = lapack.dgecon(factors, np.abs(scaled).sum(axis=0).max())
        if reciprocal > _CONDITION:
            found, _ = lapack.dgetrs(factors, pivots, right / rows)
            return np.asarray(found) / columns
    return shortest_solution(matrix, right)
