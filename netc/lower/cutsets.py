"""Cut-sets of inductors: one of them has the current that the others leave it, and is no state.

    nets that only inductors a, b, ... and current sources j lead to:      i_a = -(i_b + ... + i_j)
    so the voltage across a is      v_a = L_a di_a/dt = -L_a (di_b/dt + ... + di_j/dt)

which is what fixes the potential of those nets (index reduction by the derivative of the cut, Bryant 1959).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netc.diagnostics import Diagnostics
from netc.elaborate.circuit import Branch, Circuit
from netc.ir.build import ZERO, add, gather, mul, neg, scatter_add, sub
from netc.ir.interpret import evaluate
from netc.ir.nodes import Const, Expr, Index, Slot, Time, substitute
from netc.lower.families import BranchFamily, NetFamily
from netc.lower.topology import Forest, names

if TYPE_CHECKING:
    from netc.lower.equations import Equations

_SAME_CURRENT = 1e-12  # amperes, or relative


def check_given_currents(circuit: Circuit, forest: Forest, diagnostics: Diagnostics) -> None:
    """Refuse currents at the start (``uic``) that do not add up to what the sources of a cut drive into it."""
    for number, cut in forest.cuts.items():
        child = 0 if forest.branch[circuit.branches[number].nets[0]] == number else 1
        members = [(number, -1 if child == 0 else 1), *cut]
        given = [(sign * _at_start(circuit, circuit.branches[n]), circuit.branches[n]) for n, sign in members]
        inductors = [branch for _, branch in given if branch.law.kind == "L"]
        free = len(inductors) == 1 and inductors[0].initial is None
        if free or abs(sum(i for i, _ in given)) <= _SAME_CURRENT * (1.0 + max(abs(i) for i, _ in given)):
            continue
        shown = names([branch.name for _, branch in given])
        diagnostics.error(
            f"the currents that {shown} start with do not add up to zero, and nothing else leads where they meet",
            inductors[0].span,
            "give currents by IC= that do, or add a resistor to ground where they meet",
        )


def _at_start(circuit: Circuit, branch: Branch) -> float:
    if branch.law.kind == "L":
        return 0.0 if branch.initial is None else circuit.number(branch.initial)
    if branch.voltages or branch.currents:
        return 0.0

    def known(node: Expr) -> Expr | None:
        if isinstance(node, Time):
            return Const(0.0)
        return Const(circuit.number(branch.values[node.index])) if isinstance(node, Slot) else None

    return float(np.asarray(evaluate([substitute(branch.law.template, known)], {})[0]).reshape(-1)[0])


def excess_voltage(equations: Equations, family: NetFamily, branches: list[BranchFamily]) -> Expr:
    """Return the voltages, child minus parent, of the inductors in the forest that ``family`` hangs from."""
    here = equations.order.voltage(family.nets[0])
    definition = equations.define("e", family.nets, of_net=True, at=here)

    def residual() -> Expr:
        result: Expr = ZERO
        for branch in branches:
            slope = _slope_from_child(equations, branch)
            if branch.number in equations.couplings.families:
                rate = equations.couplings.rate(equations, branch)  # whose equation holds the voltage
                difference = sub(rate, slope if equations.child_end(branch) == 0 else neg(slope))
            else:
                across = gather(definition.unknown, equations.child_lanes(branch))
                difference = sub(across, mul(equations.law(branch), slope))
            result = add(result, equations.by_child(branch, difference))
        return result

    definition.build = residual
    return definition.unknown


def _slope_from_child(equations: Equations, family: BranchFamily) -> Expr:
    """Return di/dt of a family of inductors in the forest, from child to parent."""
    cuts = [equations.forest.cuts[number] for number in family.branches]
    place = equations.families.branch_place
    terms: dict[tuple[int, int], list[tuple[int, int]]] = {}  # family and sign -> lanes there and here
    for lane, cut in enumerate(cuts):
        for number, sign in cut:
            terms.setdefault((place[number][0], sign), []).append((place[number][1], lane))
    result: Expr = ZERO
    for (number, sign), lanes in terms.items():
        slope = _slope(equations, equations.families.branches[number])
        picked = slope if slope.shape == (1,) else gather(slope, Index([there for there, _ in lanes]))
        flow = scatter_add(picked, Index([here for _, here in lanes]), len(cuts))
        result = add(result, flow) if sign > 0 else sub(result, flow)
    return result


def _slope(equations: Equations, family: BranchFamily) -> Expr:
    if family.number in equations.branch_states:
        return equations.branch_rate(family.number)
    branch = equations.circuit.branches[family.branches[0]]
    return equations.slopes.of(equations.law(family), branch, f"the current of '{branch.name}'")
