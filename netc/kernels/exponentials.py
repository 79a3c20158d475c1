"""Logistic functions of one argument up to constants, which share one exponential.

sigmoid(a v + c1), sigmoid(a v + c2), sigmoid(c3 - a v)   with   e = exp(-(a v + c)), c the mean of c1, c2, -c3
->   1 / (1 + e exp(c - c1)),   1 / (1 + e exp(c - c2)),   e / (e + exp(-(c + c3)))

The constants are fixed, so they are computed outside the time loop.  ``e`` is held between exp(-REACH) and
exp(REACH); that changes no value by more than exp(SPREAD - REACH) as long as no constant is beyond exp(+-SPREAD).

Where many lanes read differences of few, as the devices of a crossbar do, the exponentials are those of the few:

exp(a (v[row] - w[column]))   ->   exp(a v)[row] * exp(-a w)[column]

each kept as a fraction and a power of two, since one of them alone may be too large for a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netc.ir.build import ONE, ZERO, add, mul, neg, sub, unary
from netc.ir.nodes import Binary, Const, Expr, Gather, Unary, intern_node
from netc.kernels.affine import AffineForms

REACH = {"float": 31.0, "double": 245.0}
"""How far the exponent may go: the product of two denominators, each up to exp(REACH + SPREAD), has a reciprocal."""

SPREAD = {"float": 12.5, "double": 100.0}
"""How far exponents of one group may lie from their mean."""

_LOG2_E = Const(math.log2(math.e))
_FEWER = 4  # so many times more lanes read an exponential before it is computed apart
_MOST_TERMS = 3

_Test = Callable[[Expr], bool]


class Whole(Expr):
    """``round(factor * x + offset)``; ``biased``: plus what makes its low bits an exponent."""

    __slots__ = ("biased", "factor", "offset", "x")
    fields = ("biased", "x", "factor", "offset")
    biased: bool
    x: Expr
    factor: Expr
    offset: Expr

    def __new__(cls, biased: bool, x: Expr, factor: Expr, offset: Expr) -> Whole:
        """Return the one node of these operands."""
        return intern_node(cls, x.shape, biased, x, factor, offset)


class Fraction(Expr):
    """``2 ** (factor * x + offset - whole)``, with the product exact."""

    __slots__ = ("biased", "factor", "offset", "whole", "x")
    fields = ("biased", "x", "factor", "offset", "whole")
    biased: bool
    x: Expr
    factor: Expr
    offset: Expr
    whole: Expr

    def __new__(cls, whole: Whole) -> Fraction:
        """Return the one node of this operand."""
        return intern_node(cls, whole.shape, whole.biased, whole.x, whole.factor, whole.offset, whole)


@dataclass(slots=True, eq=False)
class Member:
    """One logistic function: ``rising`` with the argument of the group, or falling."""

    node: Expr
    rising: bool
    exponent: Expr  # logarithm of the constant
    constant: Expr


@dataclass(frozen=True, slots=True)
class Power:
    """``fraction`` times two to the ``whole``, from ``lanes`` exponentials that read ``constants``."""

    fraction: Expr
    whole: Expr
    constants: tuple[Expr, ...]
    lanes: int


@dataclass(slots=True, eq=False)
class Group:
    """Logistic functions that share ``2 ** (factor * base + offset)``, where there is one computed as ``power``."""

    base: Expr
    factor: Expr
    offset: Expr
    power: Power | None = None
    members: list[Member] = field(default_factory=list)

    @property
    def constants(self) -> list[Expr]:
        """All fixed expressions the group is computed from."""
        own = self.power.constants if self.power else (self.factor, self.offset)
        return [*own, *(m.constant for m in self.members)]

    @property
    def operands(self) -> tuple[Expr, ...]:
        """What changes with every step."""
        return (self.power.fraction, self.power.whole) if self.power else (self.base,)

    @property
    def exponentials(self) -> int:
        """How many exponentials are computed."""
        return self.power.lanes if self.power else self.members[0].node.size


def groups(nodes: Iterable[Expr], forms: AffineForms, fixed: _Test, moves: _Test) -> list[Group]:
    """Return the groups of logistic functions among ``nodes``.

    Args:
        nodes: all that a step computes.
        forms: affine forms with fixed factors and offsets.
        fixed: whether an expression is computed outside the time loop.
        moves: whether it is computed at every step.
    """
    found: dict[tuple[Expr, Expr, tuple[int, ...]], list[tuple[Expr, bool, Expr]]] = {}
    for node in nodes:
        if not isinstance(node, Unary) or node.op != "sigmoid" or fixed(node):
            continue
        slope, base, offset = forms(node.x)
        if (base, neg(slope), node.shape) in found:
            found[base, neg(slope), node.shape].append((node, False, neg(offset)))
        else:
            found.setdefault((base, slope, node.shape), []).append((node, True, offset))
    made = (_group(slope, base, members, moves) for (base, slope, _), members in found.items())
    return [group for group in made if _is_narrow(group)]


def _is_narrow(group: Group) -> bool:
    """Whether what is known of the exponents does not lie too far apart; the others are looked at in every call."""
    known = [abs(m.exponent.value) for m in group.members if isinstance(m.exponent, Const)]
    return max(known, default=0.0) <= min(SPREAD.values())


def _group(slope: Expr, base: Expr, members: list[tuple[Expr, bool, Expr]], moves: _Test) -> Group:
    total: Expr = ZERO
    for _, _, offset in members:
        total = add(total, offset)
    centre = mul(1.0 / len(members), total)
    scale = neg(_LOG2_E)
    factor, offset = mul(slope, scale), mul(centre, scale)
    group = Group(base, factor, offset, _power(base, factor, offset, moves))
    for node, rising, own in members:
        exponent = sub(centre, own) if rising else sub(own, centre)
        group.members.append(Member(node, rising, exponent, unary("exp", exponent)))
    return group


def _power(base: Expr, factor: Expr, offset: Expr, moves: _Test) -> Power | None:
    """Return ``2 ** (factor * base + offset)`` as a product of powers of fewer lanes, ``None`` where it is none."""
    terms = _terms(base)
    if not terms or factor.shape != (1,) or offset.shape != (1,):
        return None
    fraction: Expr = ONE
    whole: Expr = ZERO
    constants: list[Expr] = []
    lanes = 0
    for k, (sign, term) in enumerate(terms):
        source = term.x if isinstance(term, Gather) else term
        if not moves(source) or source.size * _FEWER > base.size:
            return None
        own = (factor if sign > 0 else neg(factor), ZERO if k else offset)
        power = Whole(k == 0, source, *own)
        parts: tuple[Expr, Expr] = Fraction(power), power
        if isinstance(term, Gather):
            parts = Gather(parts[0], term.index), Gather(parts[1], term.index)
        fraction, whole = mul(fraction, parts[0]), add(whole, parts[1])
        constants += own
        lanes += source.size
    return Power(fraction, whole, tuple(constants), lanes)


def _terms(base: Expr) -> list[tuple[int, Expr]]:
    """Return what a base is the sum of, each with its sign: gathered values, or values of one lane; none otherwise."""
    found: list[tuple[int, Expr]] = []
    stack = [(1, base)]
    while stack and len(stack) + len(found) <= _MOST_TERMS:
        sign, node = stack.pop()
        if isinstance(node, Gather) or node.shape == (1,):
            found.append((sign, node))
        elif isinstance(node, Unary) and node.op == "neg":
            stack.append((-sign, node.x))
        elif isinstance(node, Binary) and node.op in ("add", "sub"):
            stack += [(sign if node.op == "add" else -sign, node.b), (sign, node.a)]
        else:
            return []
    return [] if stack else found
