"""Rates of change along the flow of the system: what ``ddt()`` and capacitors that close a loop need.

    d/dt f(x, z, t) = df/dx x' + df/dz z' + df/dt

The rates of states are known.  An algebraic unknown z with the residual g(x, z, t) = 0 has the rate z' that solves
dg/dz z' + dg/dx x' + dg/dt = 0: one more unknown, with a residual that is linear in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netc.ir.build import ONE
from netc.ir.derivative import tangent
from netc.ir.nodes import Const, Expr, Input, State, Time, Unknown, postorder, substitute

if TYPE_CHECKING:
    from netc.elaborate.circuit import Branch
    from netc.lower.equations import Definition, Equations

_HIGHEST = 2
"""How many times an algebraic unknown may be differentiated: ``ddt(ddt(x))`` is the most anybody writes."""


class Slopes:
    """Builds time derivatives of expressions of one system."""

    def __init__(self, equations: Equations) -> None:
        self._equations = equations
        self._rates: dict[Expr, Expr] = {}  # unknown -> its rate, an unknown too
        self._times: dict[Expr, int] = {}  # rate -> how many times differentiated

    def of(self, value: Expr, branch: Branch, what: str) -> Expr:
        """Return d ``value`` / dt; ``what`` and ``branch`` are for the message where there is none."""
        explicit: dict[Expr, Expr] = {
            d.unknown: d.explicit for d in self._equations.definitions if d.explicit is not None
        }
        while any(node in explicit for node in postorder(value)):
            value = substitute(value, lambda node: explicit.get(node))
        seeds: dict[Expr, Expr] = {}
        for node in postorder(value):
            if isinstance(node, Time):
                seeds[node] = ONE
            elif isinstance(node, State):
                seeds[node] = self._equations.rate_of(node)
            elif isinstance(node, Input) and self._equations.circuit.driven[0].mode == "waveform":
                return self._refuse(branch, f"{what} depends on a waveform of the data set")
            elif isinstance(node, Unknown):
                if self._times.get(node, 0) >= _HIGHEST:
                    return self._refuse(branch, f"{what} depends on a rate of change that it controls itself")
                seeds[node] = self._rate(node, branch, what)
        return tangent(value, seeds)

    def _refuse(self, branch: Branch, message: str) -> Expr:
        self._equations.diagnostics.error(
            f"{message}: not supported yet", branch.span, "put a resistor in series, or a capacitor to ground"
        )
        return Const(0.0)

    def _rate(self, unknown: Unknown, branch: Branch, what: str) -> Expr:
        if unknown not in self._rates:
            equations = self._equations
            base = next(d for d in equations.definitions if d.unknown is unknown)
            times = self._times.get(unknown, 0) + 1
            definition = equations.rate_definition(base, times, self._residual(base, branch, what))
            self._rates[unknown] = definition.unknown
            self._times[definition.unknown] = times
        return self._rates[unknown]

    def _residual(self, base: Definition, branch: Branch, what: str) -> Callable[[], Expr]:
        return lambda: self.of(self._equations.residual(base), branch, what)
