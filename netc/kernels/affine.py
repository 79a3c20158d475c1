"""Chains of sums and products with what is fixed, collapsed to one product and one sum.

on * x + off * (1 - x)   ->   (on - off) * x + off        k * (e - v)   ->   -k * v + k * e

The new factors and offsets are fixed too, so they are computed once, outside the time loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netc.ir.build import ONE, ZERO, add, div, mul, neg, sub
from netc.ir.nodes import Binary, Const, Expr, Unary, postorder, rebuild

_MINUS_ONE = Const(-1.0)


class Affine(NamedTuple):
    """``factor * base + offset`` with a fixed factor and offset."""

    factor: Expr
    base: Expr
    offset: Expr


class AffineForms:
    """Affine forms of expressions, each found once."""

    def __init__(self, fixed: Callable[[Expr], bool]) -> None:
        """``fixed`` says which expressions may go into factors and offsets."""
        self._fixed = fixed
        self._known: dict[Expr, Affine] = {}
        self._seen: set[Expr] = set()

    def __call__(self, expr: Expr) -> Affine:
        """Return ``expr``, which is not fixed, as a factor, a base and an offset; the base may be ``expr`` itself."""
        for node in postorder(expr, known=self._seen):
            self._seen.add(node)
            if not self._fixed(node):
                self._known[node] = self._form(node)
        return self._known[expr]

    def _form(self, node: Expr) -> Affine:
        known = self._known
        itself = Affine(ONE, node, ZERO)
        if isinstance(node, Unary) and node.op == "neg":
            return _scaled(known[node.x], _MINUS_ONE)
        if not isinstance(node, Binary) or len(node.shape) > 1:
            return itself
        a, b, op = node.a, node.b, node.op
        wide_a, wide_b = (x in known and x.shape == node.shape for x in (a, b))
        if op == "mul" and wide_a and self._fixed(b):
            return _scaled(known[a], b)
        if op == "mul" and wide_b and self._fixed(a):
            return _scaled(known[b], a)
        if op == "div" and wide_a and self._fixed(b):
            return _scaled(known[a], div(ONE, b))
        if op not in ("add", "sub"):
            return itself
        if wide_a and self._fixed(b):
            factor, base, offset = known[a]
            return Affine(factor, base, add(offset, b) if op == "add" else sub(offset, b))
        if wide_b and self._fixed(a):
            factor, base, offset = known[b] if op == "add" else _scaled(known[b], _MINUS_ONE)
            return Affine(factor, base, add(a, offset))
        if wide_a and wide_b and known[a].base is known[b].base:
            one, other = known[a], known[b] if op == "add" else _scaled(known[b], _MINUS_ONE)
            return Affine(add(one.factor, other.factor), one.base, add(one.offset, other.offset))
        return itself


def _scaled(form: Affine, by: Expr) -> Affine:
    return Affine(mul(form.factor, by), form.base, ZERO if form.offset is ZERO else mul(form.offset, by))


def combined(form: Affine) -> Expr:
    """Return the expression of a form."""
    factor, base, offset = form
    if factor is _MINUS_ONE:
        return neg(base) if offset is ZERO else sub(offset, base)
    if isinstance(factor, Unary) and factor.op == "neg":  # so that one product serves both signs
        product = mul(factor.x, base)
        return neg(product) if offset is ZERO else sub(offset, product)
    if isinstance(offset, Const) and offset.value < 0.0:
        return sub(mul(factor, base), -offset.value)
    return add(mul(factor, base), offset)


def collapse(roots: Sequence[Expr], fixed: Callable[[Expr], bool]) -> list[Expr]:
    """Return ``roots`` with every affine chain collapsed; equal to rounding."""
    forms = AffineForms(fixed)
    done: dict[Expr, Expr] = {}
    for node in postorder(*roots):
        if fixed(node):
            done[node] = node
            continue
        form = forms(node)
        if form.base is node:
            done[node] = rebuild(node, tuple(done[child] for child in node.children))
        else:
            done[node] = combined(form._replace(base=done[form.base]))
    return [done[root] for root in roots]
