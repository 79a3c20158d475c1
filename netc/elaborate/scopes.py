"""Scopes as ngspice has them.

Subcircuits, models and functions are found where the text stands: in the enclosing definitions, innermost
first.  Parameters are found where the text is *used*: in the instance, then in the instance around it, up to
the top (so a subcircuit sees the parameters of whatever instantiates it).  The order of ``.param`` cards does
not matter; of two definitions of a name the last one counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Value
from netc.elaborate.context import NAN, Context, close_match
from netc.elaborate.expressions import LANGUAGE_NAMES, NumberTranslator
from netc.elaborate.random import RANDOM, Nominal, spread_of


class Binding(NamedTuple):
    """A parameter's expression, and the name its leaf has where it turns out to be a plain number."""

    expression: ast.Expression
    leaf: str
    span: Span


def flat_cards(cards: Sequence[ast.Card]) -> Iterator[ast.Card]:
    """Yield cards with those of included files in place; subcircuit bodies are not entered."""
    for card in cards:
        if isinstance(card, ast.Include):
            yield from flat_cards(card.cards)
        else:
            yield card


class Definition:
    """A subcircuit's text, or the whole deck's: what it defines, and the elements of its body.

    ``name`` is the lexical path, ``outer.inner`` for a subcircuit defined inside another, empty for the deck.
    """

    def __init__(
        self,
        context: Context,
        name: str,
        cards: Sequence[ast.Card],
        parent: Definition | None = None,
        header: ast.Subcircuit | None = None,
    ) -> None:
        self.context = context
        self.name = name
        self.parent = parent
        self.header = header
        self.parameters: dict[str, Binding] = {}
        self.subcircuits: dict[str, Definition] = {}
        self.models: dict[str, ast.Model] = {}
        self.functions: dict[str, ast.Func] = {}
        self.elements: list[ast.Element] = []
        self.other: list[ast.Card] = []
        self.conditionals: list[ast.Conditional] = []
        self.cards = cards
        self.origin = self
        self._variants: dict[tuple[int, ...], Definition] = {}
        if header is not None:
            self._header(header)
        for card in flat_cards(cards):
            self._card(card)

    def _header(self, header: ast.Subcircuit) -> None:
        for position, port in enumerate(header.ports):
            if port in header.ports[:position]:
                self.context.error(f"subcircuit {header.name!r} names the port {port!r} twice", header.span)
        for name, expression in header.parameters:
            if name in self.parameters:
                self.context.error(f"subcircuit {header.name!r} has the parameter {name!r} twice", header.span)
            self._parameter(name, expression, header.span)

    def _card(self, card: ast.Card) -> None:
        match card:
            case ast.Passive() | ast.IndependentSource() | ast.ControlledSource() | ast.BehaviouralSource():
                self.elements.append(card)
            case ast.PolynomialSource() | ast.TableSource() | ast.Device() | ast.Coupling() | ast.Instance():
                self.elements.append(card)
            case ast.Param():
                self._param(card)
            case ast.Subcircuit():
                self._subcircuit(card)
            case ast.Model():
                if card.name in self.models:
                    self.context.error(
                        f"model {card.name!r} is defined twice", card.span, f"first at {self.models[card.name].span}"
                    )
                self.models.setdefault(card.name, card)
            case ast.Func():
                if card.name in self.functions:
                    self.context.warning(f".func {card.name!r} is defined twice: the last one counts", card.span)
                self.functions[card.name] = card
            case ast.Conditional():
                self.conditionals.append(card)
            case _:
                self.other.append(card)

    def variant(self, choices: tuple[int, ...], cards: Sequence[ast.Card]) -> Definition:
        """Return this definition with ``cards`` for its own: those of the branches that ``choices`` name."""
        known = self._variants.get(choices)
        if known is None:
            known = self._variants[choices] = Definition(self.context, self.name, cards, self.parent, self.header)
            known.origin = self
        return known

    def _param(self, card: ast.Param) -> None:
        for name, expression in card.assignments:
            known = self.parameters.get(name)
            # a .param in a body gives a parameter of the header another default: no news
            if known is not None and (self.header is None or known.span != self.header.span):
                self.context.warning(f"parameter {name!r} is defined twice: the last one counts", card.span)
            self._parameter(name, expression, card.span)

    def _parameter(self, name: str, expression: ast.Expression, span: Span) -> None:
        if name in LANGUAGE_NAMES:
            self.context.warning(
                f"in B, E and G expressions {name!r} keeps the meaning the language gives it, not this parameter's",
                span,
                "give the parameter another name",
            )
        self.parameters[name] = Binding(expression, f"{self.name}.{name}" if self.name else name, span)

    def _subcircuit(self, card: ast.Subcircuit) -> None:
        if card.name in self.subcircuits:
            first = self.subcircuits[card.name].header
            self.context.error(
                f"subcircuit {card.name!r} is defined twice", card.span, f"first at {first.span}" if first else None
            )
            return
        path = f"{self.name}.{card.name}" if self.name else card.name
        self.subcircuits[card.name] = Definition(self.context, path, card.cards, self, card)

    def around(self) -> Iterator[Definition]:
        """Yield this definition and those around it, innermost first."""
        definition: Definition | None = self
        while definition is not None:
            yield definition
            definition = definition.parent

    def find_function(self, name: str) -> tuple[ast.Func, Definition] | None:
        """Return the ``.func`` called ``name`` and where it is defined."""
        for definition in self.around():
            if name in definition.functions:
                return definition.functions[name], definition
        return None

    def visible_functions(self) -> set[str]:
        """Return the names of all ``.func`` in reach."""
        return {name for definition in self.around() for name in definition.functions}

    def find_model(self, name: str) -> tuple[ast.Model, Definition] | None:
        """Return the model called ``name`` and where it is defined."""
        for definition in self.around():
            if name in definition.models:
                return definition.models[name], definition
        return None

    def subcircuit(self, name: str) -> Definition | None:
        """Return the subcircuit called ``name`` as seen from here, or ``None``."""
        for definition in self.around():
            if name in definition.subcircuits:
                return definition.subcircuits[name]
        return None

    def find_subcircuit(self, card: ast.Instance) -> Definition | None:
        """Return the subcircuit an X line means, or report that there is none."""
        if (found := self.subcircuit(card.subcircuit)) is not None:
            return found
        known = {name for definition in self.around() for name in definition.subcircuits}
        self.context.error(
            f"undefined subcircuit {card.subcircuit!r}",
            card.span,
            close_match(card.subcircuit, known, "the subcircuit")
            or "is an .include missing, or is it defined inside another subcircuit?",
        )
        return None


class Scope:
    """An instance of a definition: its path, its nets by local name, the values of its parameters."""

    __slots__ = ("_overrides", "_values", "context", "definition", "multiplicity", "nets", "parent", "path", "prefix")

    def __init__(
        self,
        context: Context,
        definition: Definition,
        path: str = "",
        parent: Scope | None = None,
        overrides: dict[str, Binding] | None = None,
    ) -> None:
        self.context = context
        self.definition = definition
        self.path = path
        self.prefix = f"{path}." if path else ""
        self.parent = parent
        self.multiplicity: Value | None = None  # how many such instances lie in parallel: m= on X lines
        self.nets: dict[str, int] = {}
        self._overrides = overrides or {}
        self._values: dict[str, Value | None] = {}

    def value(self, expression: ast.Expression) -> Value:
        """Return a number's expression evaluated here: a float, or an expression over parameter leaves."""
        if isinstance(expression, ast.Number):
            return expression.value
        if isinstance(expression, ast.Name):
            return self.resolve(expression.name, expression.span)
        found = NumberTranslator(self.context, self).value(expression)
        if isinstance(expression, ast.Call) and expression.function in RANDOM and isinstance(found, float):
            return self._random(expression, found)
        return found

    def _random(self, call: ast.Call, nominal: float) -> float:
        """Return the nominal value of a random number with the spread it has, where that is known."""
        if self.context.random is not None or len(call.arguments) != RANDOM[call.function].count:
            return nominal
        numbers = [self.context.number(self.value(argument)) for argument in call.arguments]
        spread = spread_of(call.function, numbers)
        return nominal if spread is None else Nominal(nominal, spread)

    def resolve(self, name: str, span: Span) -> Value:
        """Return the value of the parameter ``name`` as seen from this instance; NaN after an error."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._values:
                value = scope._values[name]
                return scope._circular(name, span) if value is None else value
            if name in scope._overrides or name in scope.definition.parameters:
                return scope._bind(name)
            scope = scope.parent
        if name == "temper":
            return self.context.temperature
        self.context.error(f"undefined parameter {name!r}", span, self._hint(name))
        return NAN

    def _bind(self, name: str) -> Value:
        override = self._overrides.get(name)
        binding = override or self.definition.parameters[name]
        where = self.parent if override is not None and self.parent is not None else self
        self._values[name] = None
        value = where.value(binding.expression)
        if not isinstance(value, float) or math.isnan(value):
            result = value
        else:
            name_here, spread = binding.leaf, value.spread if isinstance(value, Nominal) else None
            if self.path and (spread or (self.context.apart is not None and self.context.apart(self.prefix + name))):
                name_here = self.prefix + name
            leaf = self.context.leaf(name_here, float(value), binding.span)
            if spread is not None:
                self.context.spreads[leaf.name] = spread
            result = leaf
        if self._values[name] is None:
            self._values[name] = result
        bound = self._values[name]
        return result if bound is None else bound

    def _circular(self, name: str, span: Span) -> Value:
        waiting = [pending for pending, value in self._values.items() if value is None]
        chain = " -> ".join([*waiting[waiting.index(name) :], name])
        self.context.error(f"parameter {name!r} is defined by itself: {chain}", span)
        self._values[name] = NAN
        return NAN

    def _hint(self, name: str) -> str | None:
        if name in ("pi", "e"):
            return f"ngspice knows {name!r} only in B, E and G expressions; write the number"
        if name == "time":
            return "only B, E and G expressions may depend on time"
        known: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            known |= scope.definition.parameters.keys()
            scope = scope.parent
        return close_match(name, known, "the parameter")

    def within(self, definition: Definition) -> Scope:
        """Return the innermost instance of ``definition`` around this one, for what it defines."""
        scope: Scope | None = self
        while scope is not None:
            if scope.definition is definition:
                return scope
            scope = scope.parent
        return self
