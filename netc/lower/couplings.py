"""Coupled inductors: the rates of their currents follow from a matrix of inductances.

    v_a = L_a di_a/dt + sum over b of M_ab di_b/dt,      M_ab = k sqrt(L_a L_b)

The rates are algebraic unknowns of their own; elimination over lanes solves a thousand transformers at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from netc.elaborate.circuit import Circuit, Coupling, Value
from netc.ir.build import add, gather, mul, scatter_add, sub, unary
from netc.ir.nodes import Expr, Index
from netc.lower.families import BranchFamily, Families, value_form
from netc.lower.values import Values, parameter_kinds

if TYPE_CHECKING:
    from netc.lower.equations import Definition, Equations

_GROUP = 100
"""Solved apart from the unknowns of currents and voltages."""


def _sorted(circuit: Circuit, families: Families) -> dict[Hashable, list[Coupling]]:
    """Return the couplings that are lanes of one expression."""
    found: dict[Hashable, list[Coupling]] = {}
    kinds = parameter_kinds(circuit)
    for coupling in circuit.couplings:
        pins = tuple(families.branch_place[number][0] for number in coupling.inductors)
        found.setdefault((pins, value_form(coupling.coefficient, kinds)), []).append(coupling)
    return found


def couplings_values(circuit: Circuit, families: Families) -> list[Sequence[Value]]:
    """Return the groups of coefficients that become lanes of one expression."""
    groups = _sorted(circuit, families).values()
    return [[c.coefficient for c in group] for group in groups if isinstance(group[0].coefficient, Expr)]


class Couplings:
    """The couplings of a circuit by the families of their inductors."""

    def __init__(self, circuit: Circuit, families: Families, values: Values) -> None:
        self._place = families.branch_place
        self._groups = [(group, _lanes(group, values)) for group in _sorted(circuit, families).values()]
        self.families = {self._place[n][0] for coupling in circuit.couplings for n in coupling.inductors}
        self._rates: dict[int, Definition] = {}

    def rate(self, equations: Equations, family: BranchFamily) -> Expr:
        """Return the rates of the currents of a family of coupled inductors."""
        if family.number not in self._rates:
            at = equations.order.current(family.branches[0])
            definition = equations.define("d", family.branches, of_net=False, at=at, group=_GROUP)
            definition.build = lambda: self._residual(equations, family)
            self._rates[family.number] = definition
        return self._rates[family.number].unknown

    def _residual(self, equations: Equations, family: BranchFamily) -> Expr:
        count = len(family.branches)
        result = mul(equations.law(family), self._rates[family.number].unknown)
        for group, coefficient in self._groups:
            for here in (0, 1):
                own = [self._place[c.inductors[here]] for c in group]
                other = [self._place[c.inductors[1 - here]] for c in group]
                if own[0][0] != family.number:
                    continue
                partner = equations.families.branches[other[0][0]]
                mine, theirs = Index([lane for _, lane in own]), Index([lane for _, lane in other])
                product = mul(_picked(equations.law(family), mine), _picked(equations.law(partner), theirs))
                mutual = mul(coefficient, unary("sqrt", product))
                flow = mul(mutual, _picked(self.rate(equations, partner), theirs))
                result = add(result, scatter_add(flow, mine, count))
        return sub(result, equations.branch_voltage(family))


def _picked(x: Expr, lanes: Index) -> Expr:
    return x if x.shape == (1,) else gather(x, lanes)


def _lanes(group: list[Coupling], values: Values) -> Expr:
    bound = [c.coefficient for c in group]
    if isinstance(bound[0], Expr):
        return values.shared([v for v in bound if isinstance(v, Expr)])
    names, spans = [c.name for c in group], [c.span for c in group]
    return values.literal([values.number(v) for v in bound], "model", "", "k", names, spans)
