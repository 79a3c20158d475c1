"""Functions of the expression language with the meaning ngspice 39 gives them in its default mode.

ngspice has two evaluators that disagree in places: one for signals (B, E, G, behavioural R) and one for
numbers (``.param``, element values).  Both are kept: ``pow(-2, 3)`` is 8 between signals and -8 in a ``.param``.

``exp`` is the exponential itself; ngspice cuts it near 1e99, far outside of what a circuit reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, select, sub, unary
from netc.ir.nodes import Const, Expr

_LARGEST_CHAIN = 64


@dataclass(frozen=True, slots=True)
class Function:
    """``build`` makes the expression of ``count`` arguments; ``caution`` is a warning to give."""

    build: Callable[..., Expr]
    count: int = 1
    caution: str | None = None


def _chain(x: Expr, exponent: int) -> Expr:
    """Return ``x * x * ...``, ``exponent`` factors, by repeated squaring."""
    result: Expr = ONE
    while exponent:
        if exponent & 1:
            result = mul(result, x)
        x = mul(x, x)
        exponent >>= 1
    return result


def _whole(exponent: Expr) -> int | None:
    if isinstance(exponent, Const) and exponent.value.is_integer() and abs(exponent.value) <= _LARGEST_CHAIN:
        return int(exponent.value)
    return None


def _power(x: Expr, exponent: Expr, odd: Callable[[Expr, int], Expr], even: Callable[[Expr, int], Expr]) -> Expr | None:
    """Return the power for a whole number as exponent: products have the right gradient at 0."""
    n = _whole(exponent)
    if n is None:
        return None
    result = (odd if n % 2 else even)(x, abs(n))
    return div(1.0, result) if n < 0 else result


def _magnitude(x: Expr, exponent: Expr) -> Expr:
    # at 0 the power is that of the constant 0, so that its infinite slope for exponents below 1 reaches no gradient
    magnitude = unary("abs", x)
    return select(binary("gt", magnitude, 0.0), binary("pow", magnitude, exponent), binary("pow", 0.0, exponent))


def power(x: Expr, exponent: Expr) -> Expr:
    """Return ``x ^ y``, which is ``|x|`` to the ``y``."""
    whole = _power(x, exponent, lambda x, n: mul(unary("abs", x), _chain(x, n - 1)), _chain)
    return whole if whole is not None else _magnitude(x, exponent)


def signed_power(x: Expr, exponent: Expr) -> Expr:
    """Return ``sign(x) * |x| ^ y``."""
    if exponent is ZERO:
        return unary("sign", x)
    whole = _power(x, exponent, _chain, lambda x, n: mul(unary("abs", x), _chain(x, n - 1)))
    return whole if whole is not None else mul(unary("sign", x), _magnitude(x, exponent))


def plain_power(x: Expr, exponent: Expr) -> Expr:
    """Return ``x`` to the ``y``, which keeps the sign of odd powers."""
    whole = _power(x, exponent, _chain, _chain)
    return whole if whole is not None else binary("pow", x, exponent)


def step(x: Expr) -> Expr:
    """Return 0 below, 0.5 at and 1 above 0."""
    return mul(0.5, add(unary("sign", x), 1.0))


def clip(x: Expr, low: Expr | float, high: Expr | float) -> Expr:
    """Return ``x`` held between ``low`` and ``high``."""
    return binary("min", binary("max", x, low), high)


def _unary(op: str) -> Function:
    return Function(lambda x: unary(op, x))


def _against_zero(op: str) -> Function:
    return Function(lambda x: binary(op, x, 0.0))


def _binary(op: str) -> Function:
    return Function(lambda a, b: binary(op, a, b), 2)


def _atan2(y: Expr, x: Expr) -> Expr:
    """Return the angle of (x, y), without a division by 0: both half planes by arcs that they hold."""
    radius = _hypot(y, x)
    # the half-angle formulas: y / (r + x) right of the axis, (r - x) / y left of it
    right = mul(2.0, unary("atan", div(y, select(binary("gt", x, ZERO), add(radius, x), ONE))))
    level = select(binary("eq", y, ZERO), ONE, y)
    left = select(
        binary("eq", y, ZERO),
        select(binary("lt", x, ZERO), Const(math.pi), ZERO),
        mul(2.0, unary("atan", div(sub(radius, x), level))),
    )
    return select(binary("gt", x, ZERO), right, left)


def _hypot(a: Expr, b: Expr) -> Expr:
    square = add(mul(a, a), mul(b, b))
    return select(binary("gt", square, ZERO), unary("sqrt", select(binary("gt", square, ZERO), square, ONE)), ZERO)


def _remainder(a: Expr, b: Expr) -> Expr:
    """Return ``a - b * int(a / b)``, which has the sign of ``a``."""
    return sub(a, mul(b, _toward_zero(div(a, b))))


def _toward_zero(x: Expr) -> Expr:
    return mul(unary("sign", x), unary("floor", unary("abs", x)))


def _rounded(x: Expr) -> Expr:
    """Return the nearest whole number, halves away from 0."""
    return mul(unary("sign", x), unary("floor", add(unary("abs", x), 0.5)))


def _foreign(name: str) -> str:
    return f"ngspice does not know {name}() in an expression of signals"


def _only_ltpsa(name: str) -> str:
    return f"ngspice knows {name}() only with ngbehavior=ltpsa"


_SAME_NAME = (
    *("exp", "abs", "sqrt", "floor", "ceil"),
    *("sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)

_COMMON = {
    **{name: _unary(name) for name in _SAME_NAME},
    "ln": _unary("log"),
    "log": _unary("log"),
    "log10": Function(lambda x: div(unary("log", x), 2.302585092994046)),
    "nint": _unary("round"),
    "min": _binary("min"),
    "max": _binary("max"),
    "sgn": _unary("sign"),
    "ternary_fcn": Function(select, 3),
    "limit": Function(
        clip,
        3,
        "limit() holds its first argument between the others, as with ngbehavior=ltpsa; "
        "ngspice's default mode draws a random number instead",
    ),
    "if": Function(select, 3, _only_ltpsa("if")),
    "stp": Function(step, caution=_only_ltpsa("stp")),
}

SIGNAL_FUNCTIONS: dict[str, Function] = {
    **_COMMON,
    "u": Function(step),
    "u2": Function(lambda x: clip(x, 0.0, 1.0)),
    "uramp": Function(lambda x: binary("max", x, 0.0)),
    "pow": Function(power, 2),
    "pwr": Function(signed_power, 2),
    **{f"{op}0": _against_zero(op) for op in ("eq", "ne", "gt", "lt", "ge", "le")},
    "atan2": Function(_atan2, 2, _foreign("atan2")),
    "hypot": Function(_hypot, 2, _foreign("hypot")),
    "mod": Function(_remainder, 2, _foreign("mod")),
    "fmod": Function(_remainder, 2, _foreign("fmod")),
    "round": Function(_rounded, caution=_foreign("round")),
    "int": Function(_toward_zero, caution=_foreign("int")),
    "sqr": Function(lambda x: mul(x, x), caution=_foreign("sqr")),
    "square": Function(lambda x: mul(x, x), caution=_foreign("square")),
    "buf": Function(lambda x: binary("gt", x, 0.5), caution=_foreign("buf")),
    "inv": Function(lambda x: binary("le", x, 0.5), caution=_foreign("inv")),
    "arctan": Function(lambda x: unary("atan", x), caution=_foreign("arctan")),
}
"""What a B source knows."""

NUMBER_FUNCTIONS: dict[str, Function] = {
    **_COMMON,
    "pow": Function(plain_power, 2),
    "pwr": Function(power, 2),
    "sqr": Function(lambda x: mul(x, x)),
    "arctan": _unary("atan"),
    "int": Function(_toward_zero),
}
"""What a ``.param`` or the value of an element knows."""

NOT_YET = {
    "delay": "a delay needs the past of a signal: build it of RC sections",
    "absdelay": "a delay needs the past of a signal: build it of RC sections",
    "white": "a random waveform has no reference to compare with: write a PWL of your own samples",
    "rand": "a random waveform has no reference to compare with: write a PWL of your own samples",
    "ddt": "only B, E and G expressions have a rate of change",
    "idt": "only B, E and G expressions can be integrated",
    "sdt": "only B, E and G expressions can be integrated",
    "pwl": "only B, E and G expressions know pwl()",
    "table": "only B, E and G expressions know table()",
}
"""Functions netc recognises and refuses, with what to do."""

OPERATORS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "/": div,
    "^": power,
    "<": lambda a, b: binary("lt", a, b),
    "<=": lambda a, b: binary("le", a, b),
    ">": lambda a, b: binary("gt", a, b),
    ">=": lambda a, b: binary("ge", a, b),
    "==": lambda a, b: binary("eq", a, b),
    "!=": lambda a, b: binary("ne", a, b),
    "&&": lambda a, b: binary("and", a, b),
    "||": lambda a, b: binary("or", a, b),
}
"""Binary operators of both evaluators."""

PREFIXES: dict[str, Callable[[Expr], Expr]] = {
    "-": neg,
    "+": lambda x: x,
    "!": lambda x: unary("not", x),
}
"""Unary operators of both evaluators."""
