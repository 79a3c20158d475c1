"""Polynomials of several variables in the order SPICE 2 wrote their coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations_with_replacement, count

from netc.ir.build import ZERO, add, mul
from netc.ir.nodes import Expr


def polynomial(variables: Sequence[Expr], coefficients: Sequence[Expr]) -> Expr:
    """Return the polynomial with these ``coefficients``, by degree: of x and y 1, x, y, x^2, x y, y^2, x^3, ...

    A lone coefficient is the constant, as in ngspice (not the slope, as in SPICE 2).
    """
    terms = chain.from_iterable(combinations_with_replacement(variables, degree) for degree in count())
    result: Expr = ZERO
    for coefficient, factors in zip(coefficients, terms, strict=False):
        term = coefficient
        for factor in factors:
            term = mul(term, factor)
        result = add(result, term)
    return result
