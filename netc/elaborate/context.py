"""What every part of elaboration shares: messages, interned laws, named parameters, the numbers behind expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice

import numpy as np

from netc.diagnostics import Diagnostic, Diagnostics, Severity, Span
from netc.elaborate.circuit import Law, SharedParameter, Value
from netc.ir.nodes import BINARY, UNARY, Binary, Const, Expr, Parameter, Select, Unary, postorder
from netc.ir.program import Spread, Timing

NAN = float("nan")
"""Stands for a value whose error has been reported already."""

_MOST_GUESSES = 2000
_LONGEST_GUESSED = 200


def as_expr(value: Value) -> Expr:
    """Return ``value`` as an expression."""
    return value if isinstance(value, Expr) else Const(value)


def as_value(expr: Expr) -> Value:
    """Return a constant expression as its number."""
    return expr.value if isinstance(expr, Const) else expr


def close_match(name: str, known: Iterable[str], what: str) -> str | None:
    """Return a hint that names the closest of ``known`` (of the first thousands, if there are more), or ``None``."""
    if len(name) > _LONGEST_GUESSED:
        return None
    some = [c for c in islice(known, _MOST_GUESSES) if len(c) <= _LONGEST_GUESSED and c != name]
    matches = get_close_matches(name, some, n=1, cutoff=0.6 if len(name) > 3 else 0.5)
    return f"did you mean {what} {matches[0]!r}?" if matches else None


def close_element(name: str, known: Iterable[str], what: str = "the element") -> str | None:
    """Return a hint as :func:`close_match` does, only of elements of the same kind: the same letter."""
    return close_match(name, (candidate for candidate in known if letter_of(candidate) == letter_of(name)), what)


def letter_of(element: str) -> str:
    """Return the letter that says what kind of element a flattened name is of."""
    return element.rpartition(".")[2][:1]


@dataclass(slots=True)
class Context:
    """State of one elaboration.  Temperatures are in degrees Celsius."""

    diagnostics: Diagnostics
    dialect: str = "ngspice"
    scale: float = 1.0  # of the lengths and widths of transistors
    sizes: dict[str, float] = field(default_factory=dict)  # those of transistors that give none, m or m^2
    temperature: float = 27.0
    nominal_temperature: float = 27.0
    timing: Timing | None = None
    timing_failed: bool = False
    gmin: float = 1e-12  # S, across every junction
    random: np.random.Generator | None = None  # None: random parameters stand for their nominal values
    calls: int = 0  # of .func functions expanded so far
    parameters: dict[str, SharedParameter] = field(default_factory=dict)
    apart: Callable[[str], bool] | None = None  # which parameters of instances have a spread each, by flat name
    spreads: dict[str, Spread] = field(default_factory=dict)  # of parameters that are random, by name
    _laws: dict[tuple[str, str, int, tuple[str, ...], tuple[str, ...]], Law] = field(default_factory=dict)
    _reported: set[tuple[str, Span | None]] = field(default_factory=set)
    _numbers: dict[int, tuple[Expr, float]] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether ngspice itself is to read the deck."""
        return self.dialect == "ngspice"

    def report(self, severity: Severity, message: str, span: Span | None, hint: str | None = None) -> None:
        """Record a diagnostic once, however many instances run into it."""
        if (message, span) not in self._reported:
            self._reported.add((message, span))
            self.diagnostics.add(Diagnostic(severity, message, span, hint))

    def error(self, message: str, span: Span | None, hint: str | None = None) -> None:
        """Record an error once."""
        self.report(Severity.ERROR, message, span, hint)

    def warning(self, message: str, span: Span | None, hint: str | None = None) -> None:
        """Record a warning once."""
        self.report(Severity.WARNING, message, span, hint)

    def note(self, message: str, span: Span | None, hint: str | None = None) -> None:
        """Record a note once."""
        self.report(Severity.NOTE, message, span, hint)

    def law(self, kind: str, letter: str, template: Expr, roles: tuple[str, ...], units: tuple[str, ...]) -> Law:
        """Return the one law with this content."""
        key = (kind, letter, id(template), roles, units)
        law = self._laws.get(key)
        if law is None:
            law = self._laws[key] = Law(kind, letter, template, roles, units)
        return law

    def leaf(self, name: str, value: float, span: Span) -> Parameter:
        """Return the leaf of an independent number, registered under ``name``.

        A subcircuit and an instance may have the same name; the second then gets a prime.
        """
        while (known := self.parameters.get(name)) is not None and known.span != span:
            name += "'"
        if known is None:
            self.parameters[name] = SharedParameter(name, value, span)
        leaf: Parameter = Parameter(name)
        return leaf

    def number(self, value: Value) -> float:
        """Return what ``value`` is with all parameters at the deck's values."""
        if not isinstance(value, Expr):
            return value
        known = self._numbers.get(id(value))
        if known is None:
            for node in postorder(value):
                if id(node) not in self._numbers:
                    self._numbers[id(node)] = (node, self._evaluate(node))
            known = self._numbers[id(value)]
        return known[1]

    def _evaluate(self, node: Expr) -> float:
        operands = [self._numbers[id(child)][1] for child in node.children]
        with np.errstate(all="ignore"):
            match node:
                case Const():
                    return node.value
                case Parameter():
                    return self.parameters[node.name].value
                case Unary():
                    return float(UNARY[node.op](operands[0]))
                case Binary():
                    return float(BINARY[node.op](operands[0], operands[1]))
                case Select():
                    return operands[1] if operands[0] != 0 else operands[2]
        raise TypeError(f"{type(node).__name__} in a bound value")

    def checked(self, value: Value, span: Span) -> Value:
        """Return ``value``, or report that it is not a finite number and return NaN."""
        number = self.number(value)
        if math.isfinite(number):
            return value
        self.error("the value of this expression is not a finite number", span)
        return NAN
