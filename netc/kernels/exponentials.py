"""Logistic functions of one argument up to constants, which share one exponential.

sigmoid(a v + c1), sigmoid(a v + c2), sigmoid(c3 - a v)   with   e = exp(-(a v + c1))
->   1 / (1 + e),   1 / (1 + e exp(c1 - c2)),   e / (e + exp(-(c1 + c3)))

The constants are fixed, so they are computed outside the time loop.  ``e`` is held between exp(-REACH) and
exp(REACH); that changes no value by more than exp(SPREAD - REACH) as long as no constant is beyond exp(+-SPREAD).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netc.ir.build import add, mul, neg, sub, unary
from netc.ir.nodes import Const, Expr, Unary
from netc.kernels.affine import AffineForms

REACH = {"float": 33.0, "double": 245.0}
"""How far the exponent may go: the product of two denominators must not overflow."""

SPREAD = {"float": 10.0, "double": 100.0}
"""How far exponents of one group may lie apart."""

_LOG2_E = Const(math.log2(math.e))


@dataclass(slots=True, eq=False)
class Member:
    """One logistic function: ``rising`` with the argument of the group, or falling."""

    node: Expr
    rising: bool
    exponent: Expr  # logarithm of the constant
    constant: Expr


@dataclass(slots=True, eq=False)
class Group:
    """Logistic functions that share ``2 ** (factor * base + offset)``."""

    base: Expr
    factor: Expr
    offset: Expr
    members: list[Member] = field(default_factory=list)

    @property
    def constants(self) -> list[Expr]:
        """All fixed expressions the group is computed from."""
        return [self.factor, self.offset, *(m.constant for m in self.members)]


def groups(nodes: Iterable[Expr], forms: AffineForms, fixed: Callable[[Expr], bool]) -> list[Group]:
    """Return the groups of two or more logistic functions among ``nodes``."""
    found: dict[tuple[Expr, Expr, tuple[int, ...]], tuple[Group, Expr]] = {}
    for node in nodes:
        if not isinstance(node, Unary) or node.op != "sigmoid" or fixed(node):
            continue
        slope, base, offset = forms(node.x)
        falling = found.get((base, neg(slope), node.shape))
        group, first = falling or found.get((base, slope, node.shape)) or (None, offset)
        if group is None:
            scale = neg(_LOG2_E)
            group = Group(base, mul(slope, scale), mul(offset, scale))
            found[base, slope, node.shape] = group, offset
        exponent = neg(add(offset, first)) if falling else sub(first, offset)
        group.members.append(Member(node, not falling, exponent, unary("exp", exponent)))
    return [group for group, _ in found.values() if len(group.members) > 1]
