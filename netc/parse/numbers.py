"""SPICE numbers, read as ngspice 39 reads them (measured, see ``tests/parse/test_numbers.py``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SUFFIXES = {"t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
"""Powers of ten by suffix; ``mil`` (25.4e-6) is no power of ten and is handled apart."""

_LITERAL = re.compile(
    r"([+-]?)((?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([ed])([+-]?[0-9]+))?(meg|mil|[tgkmuµnpf])?(.*)", re.DOTALL
)
_INFIX = re.compile(r"([+-]?)([0-9]+)(meg|[tgkmuµnpf])([0-9]+)([a-zµ]*)")
_UNIT = re.compile(r"[a-z\N{GREEK CAPITAL LETTER OMEGA}\N{OHM SIGN}%°]*")
_MIL = 25.4e-6


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal read: its value, what is odd about it (it still has the value), or why it is none."""

    value: float
    oddity: str | None = None
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How a dialect writes numbers, beyond SPICE: more suffixes, and a suffix in the place of the point (``4k7``).

    ``suffixes`` are factors.
    """

    suffixes: Mapping[str, float] = field(default_factory=dict)
    infix: bool = False


SPICE = NumberStyle()


def read_plain(text: str, style: NumberStyle = SPICE) -> Literal:
    """Read a literal that stands for a value of its own, lower case: ``12.5k``, ``10pf``, ``4k7``."""
    return _styled(text, style) or _read(text, in_expression=False)


def read_in_expression(text: str, style: NumberStyle = SPICE) -> Literal:
    """Read a literal within an expression, lower case.

    What ngspice reads differently in ``.param``, in braces and in B sources is a problem, not a guess.
    """
    return _styled(text, style) or _read(text, in_expression=True)


def _styled(text: str, style: NumberStyle) -> Literal | None:
    """Read what only this style of writing has; ``None`` for all other numbers."""
    if style.infix and (found := _INFIX.fullmatch(text)):
        sign, whole, suffix, fraction, unit = found.groups()
        return Literal(float(f"{sign}{whole}.{fraction}e{SUFFIXES[suffix]}")) if _UNIT.fullmatch(unit) else None
    for suffix, factor in style.suffixes.items():
        found = re.fullmatch(rf"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{{1,3}})?){suffix}[a-z]*", text)
        if found:
            return Literal(float(found[1]) * factor)
    return None


def power_of_ten(mantissa: str, suffix: str | None) -> float:
    """Return ``mantissa`` (no exponent) with ``suffix`` applied, correctly rounded."""
    return float(f"{mantissa}e{SUFFIXES[suffix]}") if suffix else float(mantissa)


def _read(text: str, in_expression: bool) -> Literal:
    found = _LITERAL.fullmatch(text)
    if found is None:
        return Literal(0.0, problem=f"'{text}' is not a number")
    sign, mantissa, letter, exponent, suffix, rest = found.groups()
    if rest.startswith("x") and mantissa == "0" and suffix is None and not exponent and rest[1:2].isalnum():
        return Literal(0.0, problem=f"'{text}' is not a number", hint="hexadecimal numbers are not SPICE")
    if letter == "d" and (in_expression or exponent[0] in "+-"):
        return Literal(
            0.0,
            problem=f"the exponent of '{text}' is written with D, which ngspice does not read the same way everywhere",
            hint="write e for the exponent",
        )
    power = int(exponent or 0) if len(exponent or "") < 8 else 10**7 * (-1 if str(exponent).startswith("-") else 1)
    if suffix == "mil":
        if in_expression:
            return Literal(
                0.0,
                problem=f"'{text}': mil is 25.4e-6 on an element and milli in an expression, to ngspice",
                hint="write the factor out, as 25.4e-6 or 1e-3",
            )
        value = float(f"{mantissa}e{power}") * _MIL
    elif suffix is None and exponent is None:
        value = float(mantissa)
    else:
        value = float(f"{mantissa}e{power + (SUFFIXES[suffix] if suffix else 0)}")
    if math.isinf(value):
        return Literal(0.0, problem=f"'{text}' is too large for a number")
    value = -value if sign == "-" else value
    if _UNIT.fullmatch(rest) and rest != "e":
        return Literal(value)
    if in_expression:
        return Literal(value, problem=f"'{text}' is not a number", hint=_rewrite(text))
    if re.search(r"[-+*/^<>!&|?:]", rest):
        return Literal(value, problem=f"'{text}' is not a number", hint="put an expression in braces: {...}")
    return Literal(value, oddity=f"'{text}' reads as {value:g}: what follows is ignored", hint=_rewrite(text))


def _rewrite(text: str) -> str:
    between = re.fullmatch(r"([+-]?[0-9]+)(meg|[tgkmunpfr])([0-9]+)", text)
    if between:
        suffix = "" if between[2] == "r" else between[2]
        return f"write {between[1]}.{between[3]}{suffix}; if it is meant so, pass --dialect ltspice"
    return "write digits, an optional power of ten (e-3), an optional suffix (k, meg, m, u, n, p, f) and a unit"
