"""From syntax to expressions: numbers at once, signals as templates with numbered holes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Value
from netc.elaborate.context import NAN, Context, as_expr, as_value, close_match
from netc.elaborate.functions import (
    NOT_YET,
    NUMBER_FUNCTIONS,
    OPERATORS,
    PREFIXES,
    SIGNAL_FUNCTIONS,
    Function,
)
from netc.elaborate.random import RANDOM
from netc.elaborate.tables import interpolated
from netc.ir.build import add, select
from netc.ir.nodes import Const, Expr, Slot, Time
from netc.parse.dialects import known_elsewhere

_POWERS = frozenset({"pow", "pwr"})
_HELD = 3

# Functions that call one another grow exponentially: how many calls one expression, and a whole deck, may expand into.
_MOST_CALLS = 10_000
_MOST_CALLS_IN_ALL = 2_000_000


class Functions(Protocol):
    """Where a text stands: the ``.func`` it can call."""

    def find_function(self, name: str) -> tuple[ast.Func, Functions] | None:
        """Return the ``.func`` called ``name`` and where it is defined."""

    def visible_functions(self) -> set[str]:
        """Return the names of all ``.func`` in reach."""


class Numbers(Protocol):
    """Where a text is used: what its parameters are."""

    @property
    def definition(self) -> Functions:
        """Where the text stands."""

    def resolve(self, name: str, span: Span) -> Value:
        """Return the value of the parameter ``name``; NaN after an error."""


@dataclass(slots=True)
class _Argument:
    """An actual argument of a ``.func`` call: translated where first used, in the caller's environment."""

    expression: ast.Expression
    environment: _Environment
    translated: Expr | None = None


@dataclass(slots=True)
class _Environment:
    """Where an expression stands: what gives its functions, the formals around it, the functions it is in the body of.

    An argument is translated where it is used but stands where it was written: ``f(f(x))`` is no recursion.
    """

    definition: Functions
    formals: dict[str, _Argument]
    functions: tuple[str, ...] = ()


class _TooLong(Exception):
    """An expression whose functions expand into too many calls; its argument is the call."""

    def __init__(self, call: ast.Call) -> None:
        self.call = call


class Translator(ABC):
    """Walks a syntax tree and builds its expression.  Errors are reported; ``failed`` says there were some."""

    functions: dict[str, Function]

    def __init__(self, context: Context, definition: Functions) -> None:
        self.context = context
        self.failed = False
        self._environment = _Environment(definition, {})
        self._calls = 0

    @abstractmethod
    def number(self, value: float) -> Expr:
        """Return a literal."""

    @abstractmethod
    def name(self, name: str, span: Span) -> Expr:
        """Return what a name that is no formal stands for."""

    @abstractmethod
    def signal(self, node: ast.Voltage | ast.Current) -> Expr:
        """Return a voltage or a current."""

    def translate(self, node: ast.Expression) -> Expr:
        """Return the expression of ``node``; a constant NaN where it has an error."""
        try:
            return self._translate(node, self._environment)
        except RecursionError:
            return self.fail("this expression is nested too deeply", node.span, "split it with .param or .func")
        except _TooLong as error:
            return self.fail(
                f"{error.call.function}() and the functions it uses expand into more than {_MOST_CALLS:,} calls",
                node.span,
                "give what is used more than once a node of its own, with a B source",
            )

    def fail(self, message: str, span: Span, hint: str | None = None) -> Expr:
        """Report an error and return a stand-in."""
        self.context.error(message, span, hint)
        self.failed = True
        return Const(NAN)

    def _translate(self, node: ast.Expression, env: _Environment) -> Expr:
        match node:
            case ast.Number():
                return self.number(node.value)
            case ast.Name():
                return self._name(node, env)
            case ast.Binary():
                return self._binary(node, env)
            case ast.Unary():
                return PREFIXES[node.operator](self._translate(node.operand, env))
            case ast.Ternary():
                parts = [self._translate(part, env) for part in (node.condition, node.then, node.otherwise)]
                return select(*parts)
            case ast.Call():
                return self._call(node, env)
            case ast.Voltage() | ast.Current():
                accessor = "v" if isinstance(node, ast.Voltage) else "i"
                if accessor in env.formals:
                    return self.fail(
                        f"{accessor!r} is a formal of .func {env.functions[-1]!r} here and hides {accessor}()",
                        node.span,
                        "give the formal another name",
                    )
                return self.signal(node)

    def _name(self, node: ast.Name, env: _Environment) -> Expr:
        argument = env.formals.get(node.name)
        if argument is None:
            return self.name(node.name, node.span)
        if argument.translated is None:
            argument.translated = self._translate(argument.expression, argument.environment)
        return argument.translated

    def _binary(self, node: ast.Binary, env: _Environment) -> Expr:
        # a sum of a thousand terms leans to the left as far: go down in a loop
        spine: list[ast.Binary] = [node]
        while isinstance(spine[-1].left, ast.Binary):
            spine.append(spine[-1].left)
        result = self._translate(spine[-1].left, env)
        for part in reversed(spine):
            if part.operator == "^":
                right = self._exponent(part.right, env)
            else:
                right = self._translate(part.right, env)
            if part.operator == "/" and _literal(part.right, env) == 0:
                self.fail("division by zero", part.span)
            result = OPERATORS[part.operator](result, right)
        return result

    def _exponent(self, node: ast.Expression, env: _Environment) -> Expr:
        """A whole literal exponent belongs to the form of the expression and is no value."""
        literal = _literal(node, env)
        return Const(literal) if literal is not None and literal.is_integer() else self._translate(node, env)

    def _call(self, node: ast.Call, env: _Environment) -> Expr:
        found = env.definition.find_function(node.function)
        if found is not None:
            return self._expand(node, env, *found)
        special = self.special(node, lambda argument: self._translate(argument, env))
        if special is not None:
            return special
        function = self.functions.get(node.function)
        if function is None:
            return self._unknown_function(node, env)
        if len(node.arguments) != function.count:
            return self.wrong_count(node, str(function.count))
        if function.caution:
            self.context.warning(function.caution, node.span)
        is_power = node.function in _POWERS
        arguments = [
            self._exponent(argument, env) if is_power and position == 1 else self._translate(argument, env)
            for position, argument in enumerate(node.arguments)
        ]
        result = function.build(*arguments)
        self._check_domain(node, env, function)
        return result

    def _check_domain(self, node: ast.Call, env: _Environment, function: Function) -> None:
        literals = [_literal(argument, env) for argument in node.arguments]
        constants = [Const(literal) for literal in literals if literal is not None]
        if len(constants) == len(literals) and not isinstance(function.build(*constants), Const):
            shown = ", ".join(f"{constant.value:g}" for constant in constants)
            self.fail(f"{node.function}({shown}) has no real value", node.span)

    def _unknown_function(self, node: ast.Call, env: _Environment) -> Expr:
        if node.function in NOT_YET:
            return self.fail(f"{node.function}() is not supported yet", node.span, NOT_YET[node.function])
        elsewhere = NUMBER_FUNCTIONS if self.functions is SIGNAL_FUNCTIONS else SIGNAL_FUNCTIONS
        if node.function in elsewhere:
            place = ".param and element values" if elsewhere is NUMBER_FUNCTIONS else "B, E and G expressions"
            return self.fail(f"{node.function}() is known only in {place}", node.span)
        known = {*self.functions, *env.definition.visible_functions()}
        hint = known_elsewhere(node.function) or close_match(node.function, known, "the function")
        return self.fail(f"unknown function {node.function!r}", node.span, hint)

    def special(self, node: ast.Call, translate: Callable[[ast.Expression], Expr]) -> Expr | None:
        """Return a call of a function that is more than an expression of its arguments, ``None`` for all others."""
        return None

    def wrong_count(self, node: ast.Call, wanted: str) -> Expr:
        """Report a wrong number of arguments and return a stand-in."""
        plural = "" if wanted == "1" else "s"
        return self.fail(
            f"{node.function}() takes {wanted} argument{plural}, {len(node.arguments)} given",
            node.span,
        )

    def _expand(self, node: ast.Call, env: _Environment, function: ast.Func, home: Functions) -> Expr:
        if len(node.arguments) != len(function.formals):
            return self.wrong_count(node, str(len(function.formals)))
        if function.name in env.functions:
            chain = " -> ".join([*env.functions[env.functions.index(function.name) :], function.name])
            return self.fail(f".func {function.name!r} calls itself: {chain}", function.span)
        self._calls += 1
        self.context.calls += 1
        if self._calls > _MOST_CALLS or self.context.calls > _MOST_CALLS_IN_ALL:
            raise _TooLong(node)
        formals = {
            formal: _Argument(argument, env) for formal, argument in zip(function.formals, node.arguments, strict=True)
        }
        return self._translate(function.body, _Environment(home, formals, (*env.functions, function.name)))


def _literal(node: ast.Expression, env: _Environment) -> float | None:
    """Return the number ``node`` is written as, through signs and formals, or ``None``."""
    sign = 1.0
    while True:
        if isinstance(node, ast.Unary) and node.operator in "+-":
            sign = -sign if node.operator == "-" else sign
            node = node.operand
        elif isinstance(node, ast.Name) and node.name in env.formals:
            argument = env.formals[node.name]
            node, env = argument.expression, argument.environment
        else:
            return sign * node.value if isinstance(node, ast.Number) else None


def random_number(translator: Translator, node: ast.Call, translate: Callable[[ast.Expression], Expr]) -> Expr:
    """Return the nominal value of a random number, or one that is drawn where the deck gives a seed."""
    function, context = RANDOM[node.function], translator.context
    if len(node.arguments) != function.count:
        return translator.wrong_count(node, str(function.count))
    if context.random is None:
        context.note(
            f"{node.function}() stands for its nominal value",
            node.span,
            "with .options seed=1 it is drawn at random; train and variability draw it where it is a whole value",
        )
        return translate(node.arguments[0])
    return function.draw(context.random, *(translate(argument) for argument in node.arguments))


class NumberTranslator(Translator):
    """Translates what must be a number: parameters stand for their values, signals are errors."""

    functions = NUMBER_FUNCTIONS

    def __init__(self, context: Context, scope: Numbers) -> None:
        super().__init__(context, scope.definition)
        self.scope = scope

    def number(self, value: float) -> Expr:
        """Return a constant."""
        return Const(value)

    def name(self, name: str, span: Span) -> Expr:
        """Return the value of a parameter."""
        value = self.scope.resolve(name, span)
        if not isinstance(value, Expr) and math.isnan(value):
            self.failed = True
        return as_expr(value)

    def signal(self, node: ast.Voltage | ast.Current) -> Expr:
        """Refuse a signal."""
        return self.fail(
            "a number is needed here, not a voltage or a current", node.span, "use a B source for what depends on them"
        )

    def special(self, node: ast.Call, translate: Callable[[ast.Expression], Expr]) -> Expr | None:
        """Return the nominal value of a random number, or one that is drawn."""
        if node.function not in RANDOM or (node.function == "limit" and len(node.arguments) == _HELD):
            return None  # limit(x, low, high) holds x
        return random_number(self, node, translate)

    def value(self, node: ast.Expression) -> Value:
        """Return the value of ``node``; NaN after an error."""
        expr = self.translate(node)
        return NAN if self.failed else self.context.checked(as_value(expr), node.span)


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A derivative (``D``) or an integral (``S``) an expression needs: its integrand, over the expression's slots.

    The expression reads it as its current slot ``slot``.
    """

    kind: str
    slot: int
    expr: Expr


@dataclass(slots=True)
class Template:
    """A law's expression with what goes into its holes: values as syntax, nodes and elements by name."""

    expr: Expr
    sources: list[Any] = field(default_factory=list)  # numbers, syntax, or what computes a value in a scope
    voltages: list[tuple[str, str]] = field(default_factory=list)
    currents: list[str] = field(default_factory=list)
    auxiliaries: list[Auxiliary] = field(default_factory=list)
    timed: bool = False

    @property
    def is_signal(self) -> bool:
        """Whether the expression depends on anything that changes during a simulation."""
        return self.timed or bool(self.voltages) or bool(self.currents)

    def auxiliary(self, kind: str, expr: Expr) -> Expr:
        """Return the slot of the derivative or integral of ``expr``."""
        for known in self.auxiliaries:
            if known.kind == kind and known.expr is expr:
                return Slot("current", known.slot)
        self.currents.append(f"#{kind.lower()}{len(self.auxiliaries) + 1}")
        self.auxiliaries.append(Auxiliary(kind, len(self.currents) - 1, expr))
        slot: Expr = Slot("current", len(self.currents) - 1)
        return slot


class TemplateTranslator(Translator):
    """Translates a signal: literals and parameters become value slots, ``v()`` and ``i()`` voltage and current slots.

    A literal takes a slot each time it occurs, a parameter one for all its occurrences, so that two
    expressions of the same form have the same template.
    """

    functions = SIGNAL_FUNCTIONS

    def __init__(self, context: Context, definition: Functions) -> None:
        super().__init__(context, definition)
        self.template = Template(Const(0.0))
        self._names: dict[str, Expr] = {}
        self._voltages: dict[tuple[str, str], Expr] = {}
        self._currents: dict[str, Expr] = {}

    def template_of(self, node: ast.Expression) -> Template | None:
        """Return the template of ``node``, or ``None`` after an error."""
        self.template.expr = self.translate(node)
        return None if self.failed else self.template

    def slot(self, source: float | ast.Expression) -> Expr:
        """Return a new value slot bound to ``source``."""
        self.template.sources.append(source)
        slot: Expr = Slot("value", len(self.template.sources) - 1)
        return slot

    def number(self, value: float) -> Expr:
        """Return a new slot."""
        return self.slot(value)

    def name(self, name: str, span: Span) -> Expr:
        """Return a constant of the language, or the slot of a parameter."""
        if name == "time":
            self.template.timed = True
            time: Expr = Time()
            return time
        if name in _CONSTANTS:
            return Const(_CONSTANTS[name])
        if name == "hertz":
            return Const(0.0)  # the frequency of an AC analysis; there is none in a transient
        if name not in self._names:
            self._names[name] = self.slot(ast.Name(name, span))
        return self._names[name]

    def signal(self, node: ast.Voltage | ast.Current) -> Expr:
        """Return the slot of a voltage or a current."""
        if isinstance(node, ast.Voltage):
            return self.voltage(node.positive, node.negative or "0")
        if node.element not in self._currents:
            self.template.currents.append(node.element)
            self._currents[node.element] = Slot("current", len(self.template.currents) - 1)
        return self._currents[node.element]

    def special(self, node: ast.Call, translate: Callable[[ast.Expression], Expr]) -> Expr | None:
        """Return a derivative, an integral or a table."""
        count = len(node.arguments)
        if node.function == "ddt":
            if count != 1:
                return self.wrong_count(node, "1")
            return self.template.auxiliary("D", translate(node.arguments[0]))
        if node.function in ("idt", "sdt"):
            if count not in (1, 2):
                hint = "a third argument, which resets the integral, is not supported yet" if count > 2 else None
                return self.fail(f"{node.function}() takes 1 or 2 arguments, {count} given", node.span, hint)
            if self.context.native:
                self.context.warning(f"ngspice does not know {node.function}()", node.span)
            integral = self.template.auxiliary("S", translate(node.arguments[0]))
            return integral if count == 1 else add(integral, translate(node.arguments[1]))
        if node.function in ("pwl", "table"):
            return self._table(node, translate)
        if node.function in RANDOM and node.function != "limit":
            return random_number(self, node, translate)
        return None

    def _table(self, node: ast.Call, translate: Callable[[ast.Expression], Expr]) -> Expr:
        numbers = [_literal(argument, self._environment) for argument in node.arguments[1:]]
        if len(numbers) < 4 or len(numbers) % 2:
            return self.fail(f"{node.function}() takes a signal and then two or more pairs of x and y", node.span)
        if None in numbers:
            place = node.arguments[1 + numbers.index(None)].span
            return self.fail(f"the points of {node.function}() must be plain numbers", place)
        if node.function == "table" and self.context.native:
            self.context.warning(
                "ngspice does not know table(): pwl() is its name there, which goes on at the ends", node.span
            )
        xs, ys = [float(x or 0.0) for x in numbers[::2]], [float(y or 0.0) for y in numbers[1::2]]
        if any(later <= earlier for earlier, later in pairwise(xs)):
            return self.fail(f"the x of the points of {node.function}() must ascend", node.span)
        return interpolated(translate(node.arguments[0]), xs, ys, beyond=node.function == "pwl")

    def voltage(self, positive: str, negative: str) -> Expr:
        """Return the slot of the voltage between two nodes."""
        pair = (positive, negative)
        if pair not in self._voltages:
            self.template.voltages.append(pair)
            self._voltages[pair] = Slot("voltage", len(self.template.voltages) - 1)
        return self._voltages[pair]


_CONSTANTS = {"pi": math.pi, "e": math.e}

LANGUAGE_NAMES = frozenset({"time", "temper", "hertz", *_CONSTANTS})
"""Names with a meaning of their own between signals; ngspice lets no parameter hide them there."""
