"""Functions of LTspice, PSpice and HSPICE written in the language netc and ngspice share.

Every form here means the same between signals and in a ``.param``, where ngspice's two evaluators differ (``pow``), so
a ``.func`` can be rewritten before it is known where it is called: ``x ^ y`` is ``|x|`` to the ``y`` in both.

Sources: LTspice XVII help, "B. Arbitrary behavioral sources" and ".PARAM"; PSpice A/D reference guide, "Analog
behavioral modeling", table of functions; HSPICE user guide, "Built-in functions and variables".
"""

from __future__ import annotations

import math
from collections.abc import Callable

from netc.parse import ast
from netc.parse.build import binary, call, choose, is_logical, literal, number, written

Rewrite = Callable[..., ast.Expression]
"""Takes the arguments of a call, gives the expression that stands for it."""


def truth(x: ast.Expression) -> ast.Expression:
    """Return whether ``x`` is true in LTspice: above 0.5."""
    return x if is_logical(x) else binary(">", x, 0.5, x.span)


def _truncated(x: ast.Expression) -> ast.Expression:
    value = written(x)
    if value is not None:
        return number(math.trunc(value), x.span)
    return binary("*", call("sgn", x), call("floor", call("abs", x)), x.span)


def power(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    """Return the real part of ``x`` to the ``y``: for negative ``x`` that is ``|x|^y cos(pi y)``."""
    exponent = written(y)
    span = x.span
    if exponent is not None and exponent.is_integer():
        if exponent % 2 == 0:
            return binary("^", x, y, span)
        return x if exponent == 1 else binary("*", x, binary("^", x, exponent - 1, span), span)
    base = written(x)
    if base is not None and base >= 0:
        return binary("^", x, y, span)
    if exponent is not None:
        factor: ast.Expression = number(math.cos(math.pi * (exponent % 2)), span)
    else:
        factor = call("cos", binary("*", number(math.pi, span), y, span))
    return binary("*", choose(binary("<", x, 0, span), factor, 1), binary("^", x, y, span), span)


def power_of_whole(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    """Return ``x`` to the whole part of ``y``, which is HSPICE's ``pow``."""
    return power(x, _truncated(y))


def power_whole_below_zero(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    """Return ``x`` to the ``y``, for negative ``x`` to the whole part of it: HSPICE's ``**``."""
    exponent = written(y)
    if exponent is not None and exponent.is_integer():
        return power(x, y)
    return choose(binary("<", x, 0, x.span), power_of_whole(x, y), binary("^", x, y, x.span))


def _magnitude(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    return binary("^", x, y, x.span)


def _signed(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    return binary("*", call("sgn", x), binary("^", x, y, x.span), x.span)


def _clip(x: ast.Expression, low: ast.Expression, high: ast.Expression) -> ast.Expression:
    return call("min", call("max", x, low), high)


def _middle(x: ast.Expression, a: ast.Expression, b: ast.Expression) -> ast.Expression:
    first, second = written(a), written(b)
    if first is not None and second is not None:
        return _clip(x, a, b) if first <= second else _clip(x, b, a)
    return _clip(x, call("min", a, b), call("max", a, b))


def _step(x: ast.Expression) -> ast.Expression:
    return choose(binary(">", x, 0, x.span), 1, 0)


def _angle(y: ast.Expression, x: ast.Expression) -> ast.Expression:
    span = y.span
    divisor = choose(binary("==", x, 0, span), 1, x)
    half_turn = choose(binary("<", y, 0, span), -math.pi, math.pi)
    turned = binary(
        "+", call("atan", binary("/", y, divisor, span)), choose(binary("<", x, 0, span), half_turn, 0), span
    )
    upright = binary("*", call("sgn", y), math.pi / 2, span)
    return choose(binary("==", x, 0, span), upright, turned)


def _hypotenuse(x: ast.Expression, y: ast.Expression) -> ast.Expression:
    return call("sqrt", binary("+", binary("^", x, 2, x.span), binary("^", y, 2, x.span), x.span))


def _round(x: ast.Expression) -> ast.Expression:
    return binary("*", call("sgn", x), call("floor", binary("+", call("abs", x), 0.5, x.span)), x.span)


def _cube_root(x: ast.Expression) -> ast.Expression:
    return _signed(x, number(1 / 3, x.span))


def _odd(function: str) -> Rewrite:
    """Return the function mirrored at 0: ``log(x)`` becomes ``sgn(x) log(|x|)``."""

    def rewritten(x: ast.Expression) -> ast.Expression:
        return binary("*", call("sgn", x), call(function, call("abs", x)), x.span)

    return rewritten


def _named(function: str) -> Rewrite:
    return lambda *arguments: call(function, *arguments)


def _decibels(x: ast.Expression) -> ast.Expression:
    logarithm = call("log10", call("abs", x))
    return binary("*", binary("*", call("sgn", x), 20, x.span), logarithm, x.span)


_SHARED: dict[tuple[str, int], Rewrite] = {
    ("atan2", 2): _angle,
    ("arctan", 1): _named("atan"),
    ("int", 1): _truncated,
}


def clamped_table(x: ast.Expression, *points: ast.Expression) -> ast.Expression:
    """Return straight lines between points and the end values beyond: ngspice's pwl() goes on at the ends."""
    return call("pwl", _clip(x, points[0], points[-2]), *points)


def _smooth_end(x: ast.Expression, z: ast.Expression) -> ast.Expression:
    """Return 0 below 0, a parabola to ``z`` at ``2 z``, and ``z`` beyond."""
    span = x.span
    twice = binary("*", 2, z, span)
    run = binary("/", call("min", call("max", number(0.0, span), x), twice), twice, span)
    back = binary("-", 1, run, span)
    return binary("*", binary("-", 1, binary("*", back, back, span), span), z, span)


def _upper_limit(x: ast.Expression, limit: ast.Expression, z: ast.Expression) -> ast.Expression:
    start = binary("-", limit, z, x.span)
    return binary("+", call("min", x, start), _smooth_end(binary("-", x, start, x.span), z), x.span)


def _lower_limit(x: ast.Expression, limit: ast.Expression, z: ast.Expression) -> ast.Expression:
    start = binary("+", limit, z, x.span)
    return binary("-", call("max", x, start), _smooth_end(binary("-", start, x, x.span), z), x.span)


LTSPICE: dict[tuple[str, int], Rewrite] = {
    **_SHARED,
    ("uplim", 3): _upper_limit,
    ("dnlim", 3): _lower_limit,
    ("if", 3): lambda c, a, b: choose(truth(c), a, b),
    ("limit", 3): _middle,
    ("u", 1): _step,
    ("stp", 1): _step,
    ("uramp", 1): lambda x: call("max", x, literal(0.0, x.span)),
    ("buf", 1): lambda x: choose(truth(x), 1, 0),
    ("inv", 1): lambda x: choose(truth(x), 0, 1),
    ("hypot", 2): _hypotenuse,
    ("round", 1): _round,
    ("cbrt", 1): _cube_root,
    ("pow", 2): power,
    ("pwr", 2): _magnitude,
    ("pwrs", 2): _signed,
    ("square", 1): lambda x: binary("^", x, 2, x.span),
    ("fabs", 1): _named("abs"),
    ("arccos", 1): _named("acos"),
    ("arcsin", 1): _named("asin"),
    ("arccosh", 1): _named("acosh"),
    ("arcsinh", 1): _named("asinh"),
    ("arctanh", 1): _named("atanh"),
}
"""By name and number of arguments; ``ddt``, ``idt``, ``sdt`` and ``table`` are netc's own."""

PSPICE: dict[tuple[str, int], Rewrite] = {
    **_SHARED,
    ("if", 3): choose,
    ("limit", 3): _clip,
    ("stp", 1): _step,
    ("pow", 2): power,
    ("pwr", 2): _magnitude,
    ("pwrs", 2): _signed,
}

HSPICE: dict[tuple[str, int], Rewrite] = {
    **_SHARED,
    ("pow", 2): power_of_whole,
    ("pwr", 2): _signed,
    ("log", 1): _odd("log"),
    ("ln", 1): _odd("log"),
    ("log10", 1): _odd("log10"),
    ("sqrt", 1): _odd("sqrt"),
    ("db", 1): _decibels,
    ("sign", 2): lambda x, y: binary("*", call("sgn", y), call("abs", x), x.span),
}


def _remainder(a: ast.Expression, b: ast.Expression) -> ast.Expression:
    whole = _truncated(binary("/", a, b, a.span))
    return binary("-", a, binary("*", b, whole, a.span), a.span)


NETC: dict[tuple[str, int], Rewrite] = {
    **_SHARED,
    ("hypot", 2): _hypotenuse,
    ("round", 1): _round,
    ("mod", 2): _remainder,
    ("fmod", 2): _remainder,
    ("sqr", 1): lambda x: binary("^", x, 2, x.span),
    ("square", 1): lambda x: binary("^", x, 2, x.span),
    ("buf", 1): lambda x: choose(truth(x), 1, 0),
    ("inv", 1): lambda x: choose(truth(x), 0, 1),
    ("if", 3): choose,
    ("limit", 3): _clip,
    ("stp", 1): lambda x: binary("*", binary("+", call("sgn", x), 1, x.span), 0.5, x.span),
}
"""What netc reads in its own dialect and ngspice's default mode does not, or reads otherwise."""
