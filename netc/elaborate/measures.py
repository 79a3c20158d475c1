"""``.measure`` cards bound to the circuit: signals by their flattened names, values as numbers or earlier results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import netc.parse.ast as ast
from netc.diagnostics import Diagnostic, Diagnostics, Severity
from netc.elaborate.expressions import TemplateTranslator
from netc.elaborate.observe import Names
from netc.elaborate.quantities import Event, Measure, Quantity
from netc.elaborate.scopes import Scope


def bind_measures(cards: Sequence[ast.Card], scope: Scope, names: Names) -> list[Measure]:
    """Return the measures of a deck; what cannot be measured gets a warning and is left out."""
    measures: list[Measure] = []
    for card in cards:
        if not isinstance(card, ast.Measure):
            continue
        binder = _Binder(scope, names, {m.name for m in measures})
        found = binder.measure(card)
        for problem in binder.problems():
            scope.context.warning(f".measure {card.name} is left out: {problem.message}", problem.span, problem.hint)
        if found is not None:
            measures.append(found)
    return measures


class _Binder:
    """Binds one card; errors go into a list of its own."""

    def __init__(self, scope: Scope, names: Names, results: set[str]) -> None:
        self.scope = scope
        self.names = names
        self.results = results
        self.context = replace(scope.context, diagnostics=Diagnostics())

    def problems(self) -> Iterator[Diagnostic]:
        return (d for d in self.context.diagnostics if d.severity is Severity.ERROR)

    def measure(self, card: ast.Measure) -> Measure | None:
        result = Measure(
            card.name,
            card.function,
            self.quantity(card.expression),
            self.event(card.trigger),
            self.event(card.target),
            self.quantity(card.window[0]),
            self.quantity(card.window[1]),
            card.span,
        )
        return None if self.context.diagnostics.failed else result

    def event(self, event: ast.Event | None) -> Event | None:
        if event is None:
            return None
        last = isinstance(event.count, ast.Name) and event.count.name == "last"
        return Event(
            self.quantity(event.left),
            self.quantity(event.right),
            self.quantity(event.at),
            self.quantity(event.delay),
            event.edge,
            None if last else self.quantity(event.count),
            last,
        )

    def quantity(self, expression: ast.Expression | None) -> Quantity | None:
        if expression is None:
            return None
        translator = TemplateTranslator(self.context, self.scope.definition)
        template = translator.template_of(expression)
        if template is None:
            return None
        if template.auxiliaries:
            self.context.error("a derivative or an integral cannot be measured", expression.span, "use a B source")
            return None
        values = tuple([self.value(source) for source in template.sources])
        voltages = tuple([(self.node(a, expression), self.node(b, expression)) for a, b in template.voltages])
        currents = tuple([self.element(name, expression) for name in template.currents])
        return Quantity(template.expr, values, voltages, currents)

    def value(self, source: float | ast.Expression) -> float | str:
        if isinstance(source, float):
            return source
        if isinstance(source, ast.Name) and source.name in self.results:
            return source.name
        around, self.scope.context = self.scope.context, self.context  # an error here is one of the measure
        try:
            return self.context.number(self.scope.value(source))
        finally:
            self.scope.context = around

    def node(self, name: str, place: ast.Expression) -> str:
        found = "0" if name == "0" else self.names.node(name)
        if found is None:
            self.context.error(f"there is no node {name!r}", place.span)
        return found or "0"

    def element(self, name: str, place: ast.Expression) -> str:
        found = self.names.element(name)
        if found is None:
            self.context.error(f"there is no element {name!r}", place.span)
        return found or name
