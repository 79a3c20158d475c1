"""The function phi1(z) = (exp(z) - 1) / z of numbers and of 2 x 2 matrices, lane by lane.

phi1(z) is the integral of exp(s z) over s from 0 to 1, so it has no pole; its derivatives are the integrals I_k of
s^k exp(s z).  Near 0, where the quotients cancel, power series stand in.
"""

from __future__ import annotations

import math

from netc.ir import build
from netc.ir.build import add, binary, div, mul, select, sub, unary
from netc.ir.nodes import Expr

_SMALL = 0.1
_SERIES = 8
_SMALL_MATRIX = 0.25  # of m^2 + |q|
_MATRIX_SERIES = 14
_NEARLY_DOUBLE = 0.01


def phi1(z: Expr) -> Expr:
    """Return phi1 of every lane."""
    small = binary("lt", unary("abs", z), _SMALL)
    series: Expr = build.ZERO
    for k in reversed(range(_SERIES)):
        series = add(mul(series, z), 1.0 / math.factorial(k + 1))
    away = select(small, build.ONE, z)
    return select(small, series, div(sub(unary("exp", away), 1.0), away))


def phi1_pair(m: Expr, q: Expr) -> tuple[Expr, Expr]:
    """Return ``(u, v)`` with phi1(m I + N) = u I + v N where N^2 = q I: every 2 x 2 matrix is of this form.

    ``m`` is half its trace, ``m +- sqrt(q)`` its eigenvalues.
    """
    size = add(mul(m, m), unary("abs", q))
    small = binary("lt", size, _SMALL_MATRIX)
    u, v = _series(select(small, m, 0.0), select(small, q, 0.0))
    # beyond the series each case gets operands that are harmless where another one applies
    one = build.ONE
    m = select(small, one, m)
    q = select(small, one, q)
    real, complex_ = binary("gt", q, _NEARLY_DOUBLE), binary("lt", q, -_NEARLY_DOUBLE)
    at_real = _real(m, select(real, q, one))
    at_complex = _complex(m, select(complex_, unary("neg", q), one))
    near = binary("and", unary("not", real), unary("not", complex_))
    at_double = _double(select(near, m, one), select(near, q, 0.0))
    found = [
        select(small, series, select(real, a, select(complex_, b, c)))
        for series, a, b, c in zip((u, v), at_real, at_complex, at_double, strict=True)
    ]
    return found[0], found[1]


def _series(m: Expr, q: Expr) -> tuple[Expr, Expr]:
    u: Expr = build.ZERO
    v: Expr = build.ZERO
    for k in reversed(range(_MATRIX_SERIES)):
        u, v = add(add(mul(u, m), mul(v, q)), 1.0 / math.factorial(k + 1)), add(u, mul(v, m))
    return u, v


def _real(m: Expr, q: Expr) -> tuple[Expr, Expr]:
    root = unary("sqrt", q)
    a, b = phi1(add(m, root)), phi1(sub(m, root))
    return mul(0.5, add(a, b)), div(mul(0.5, sub(a, b)), root)


def _complex(m: Expr, q: Expr) -> tuple[Expr, Expr]:
    w = unary("sqrt", q)
    e = unary("exp", m)
    cosine, sine = sub(mul(e, unary("cos", w)), 1.0), mul(e, unary("sin", w))
    size = add(mul(m, m), q)
    u = div(add(mul(cosine, m), mul(sine, w)), size)
    v = div(sub(mul(sine, m), mul(cosine, w)), mul(size, w))
    return u, v


def _double(m: Expr, q: Expr) -> tuple[Expr, Expr]:
    e = unary("exp", m)
    integrals = [phi1(m)]
    for k in range(1, 6):
        integrals.append(div(sub(e, mul(float(k), integrals[-1])), m))
    square = mul(q, q)
    u = add(add(integrals[0], mul(q, mul(0.5, integrals[2]))), mul(square, div(integrals[4], 24.0)))
    v = add(add(integrals[1], mul(q, div(integrals[3], 6.0))), mul(square, div(integrals[5], 120.0)))
    return u, v
