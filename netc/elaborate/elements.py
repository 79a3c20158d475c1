"""From element cards to laws: once for each line of text, whatever the number of instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Law, Value
from netc.elaborate.context import Context
from netc.elaborate.expressions import Template, TemplateTranslator
from netc.elaborate.passives import PassiveValue, known_parameters
from netc.elaborate.scopes import Definition, Scope
from netc.elaborate.waveforms import shape_of
from netc.ir.build import div, mul
from netc.ir.nodes import Slot
from netc.parse.messages import split_suffix

_VALUE = Slot("value", 0)
_VOLTAGE = Slot("voltage", 0)
_CURRENT = Slot("current", 0)
_UNITS = {"R": "Ohm", "C": "F", "L": "H", "V": "V", "I": "A"}
_LINEAR = {
    "E": ("V", mul(_VALUE, _VOLTAGE), "V/V"),
    "G": ("I", mul(_VALUE, _VOLTAGE), "A/V"),
    "F": ("I", mul(_VALUE, _CURRENT), "A/A"),
    "H": ("V", mul(_VALUE, _CURRENT), "V/A"),
}


class Computed(Protocol):
    """A value that takes more than one expression to work out."""

    def value(self, scope: Scope) -> Value:
        """Return the value in the instance ``scope``."""


Source = float | ast.Expression | Computed


@dataclass(slots=True)
class Prepared:
    """An element line ready to be bound: its law, and by name or as syntax what each instance binds into it.

    ``plain`` says that all sources are numbers.
    """

    name: str
    nodes: tuple[str, str]
    law: Law
    sources: tuple[Source, ...]
    span: Span
    voltages: tuple[tuple[str, str], ...] = ()
    currents: tuple[str, ...] = ()
    initial: Source | None = None
    plain: bool = False
    ascending: tuple[int, int] | None = None


def bind_value(source: Source, scope: Scope) -> Value:
    """Return what ``source`` is in the instance ``scope``."""
    if isinstance(source, float):
        return source
    if isinstance(source, _SYNTAX):
        return scope.value(source)
    return source.value(scope)


_SYNTAX = (ast.Number, ast.Name, ast.Call, ast.Unary, ast.Binary, ast.Ternary, ast.Voltage, ast.Current)


class Preparation:
    """Prepares the element cards of one definition."""

    def __init__(self, context: Context, definition: Definition) -> None:
        self.context = context
        self.definition = definition
        self._simple = {
            kind: context.law(kind, kind, _VALUE, ("R" if kind == "R" else kind,), (_UNITS[kind],)) for kind in "RCL"
        }
        self._constant = {kind: context.law(kind, kind, _VALUE, ("source",), (_UNITS[kind],)) for kind in "VI"}
        self._linear = {
            letter: context.law(kind, letter, template, ("gain",), (unit,))
            for letter, (kind, template, unit) in _LINEAR.items()
        }

    def prepare(self, card: ast.Element) -> Prepared | None:
        """Return the card prepared, or ``None`` after an error.  Instances are not prepared."""
        match card:
            case ast.Passive():
                return self._passive(card)
            case ast.IndependentSource():
                return self._independent(card)
            case ast.ControlledSource():
                return self._controlled(card)
            case ast.BehaviouralSource():
                return self._behavioural(card)
            case ast.Instance():
                return None

    def _passive(self, card: ast.Passive) -> Prepared | None:
        kind = card.kind.upper()
        value = card.value
        if isinstance(value, ast.Number) and not card.parameters and card.model is None:
            return Prepared(card.name, card.nodes, self._simple[kind], (value.value,), card.span, plain=True)
        if not known_parameters(self.context, card):
            return None
        signal = self._signal(value) if value is not None else None
        if signal is not None:
            return self._behavioural_passive(card, signal)
        found = self.definition.find_model(card.model) if card.model is not None else None
        if card.model is not None and found is None:
            self._undefined_model(card)
            return None
        sources: tuple[Source, ...]
        if found is None and all(name == "ic" for name, _ in card.parameters) and value is not None:
            sources = (value.value if isinstance(value, ast.Number) else value,)
        else:
            sources = (PassiveValue(card, found),)
        initial = dict(card.parameters).get("ic")
        return Prepared(card.name, card.nodes, self._simple[kind], sources, card.span, initial=initial)

    def _signal(self, value: ast.Expression) -> Template | None:
        """Return the template of a value that depends on signals, or ``None`` for a number."""
        if isinstance(value, ast.Number | ast.Name) and not (isinstance(value, ast.Name) and value.name == "time"):
            return None
        if not self._mentions_signal(value, set()):
            return None
        template = TemplateTranslator(self.context, self.definition).template_of(value)
        return template if template is None or template.is_signal else None

    def _mentions_signal(self, root: ast.Expression, seen: set[str]) -> bool:
        stack: list[ast.Expression] = [root]
        while stack:
            node = stack.pop()
            match node:
                case ast.Voltage() | ast.Current():
                    return True
                case ast.Name():
                    if node.name == "time":
                        return True
                case ast.Unary():
                    stack.append(node.operand)
                case ast.Binary():
                    stack += (node.left, node.right)
                case ast.Ternary():
                    stack += (node.condition, node.then, node.otherwise)
                case ast.Call():
                    stack += node.arguments
                    found = self.definition.find_function(node.function)
                    if found is not None and node.function not in seen:
                        seen.add(node.function)
                        stack.append(found[0].body)
                case ast.Number():
                    pass
        return False

    def _behavioural_passive(self, card: ast.Passive, template: Template) -> Prepared | None:
        if card.kind.upper() != "R":
            what = "capacitor" if card.kind.upper() == "C" else "inductor"
            self.context.error(
                f"a {what} whose value depends on a voltage, a current or time is not supported yet", card.span
            )
            return None
        if card.parameters:
            self.context.error(
                f"{card.parameters[0][0]}= has no meaning for a resistor given by an expression of signals",
                card.parameters[0][1].span,
            )
            return None
        pair = card.nodes
        if pair not in template.voltages:
            template.voltages.append(pair)
        own = Slot("voltage", template.voltages.index(pair))
        template.expr = div(own, template.expr)
        return self._from_template(card.name, card.nodes, "I", "R", template, card.span)

    def _from_template(
        self, name: str, nodes: tuple[str, str], kind: str, letter: str, template: Template, span: Span
    ) -> Prepared:
        count = len(template.sources)
        law = self.context.law(kind, letter, template.expr, ("",) * count, ("",) * count)
        sources = tuple(template.sources)
        return Prepared(
            name,
            nodes,
            law,
            sources,
            span,
            tuple(template.voltages),
            tuple(template.currents),
            plain=all(isinstance(source, float) for source in sources),
        )

    def _undefined_model(self, card: ast.Passive) -> None:
        if any(card.model in definition.parameters for definition in self.definition.around()):
            hint: str | None = f"{card.model!r} is a parameter: write {{{card.model}}}"
        else:
            written = f"{card.value.value:g} {card.model}" if isinstance(card.value, ast.Number) else ""
            hint = split_suffix(written) or "a value is a number or an expression in braces"
        self.context.error(f"undefined model {card.model!r}", card.span, hint)

    def _independent(self, card: ast.IndependentSource) -> Prepared | None:
        kind = card.kind.upper()
        if card.waveform is None:
            source = card.dc if card.dc is not None else 0.0
            if isinstance(source, ast.Number):
                source = source.value
            plain = isinstance(source, float)
            return Prepared(card.name, card.nodes, self._constant[kind], (source,), card.span, plain=plain)
        if isinstance(card.dc, ast.Number) and card.dc.value != 0:
            self.context.note(
                f"in a transient {card.name} follows its {card.waveform.kind.upper()}: the dc value is not used",
                card.dc.span,
            )
        shape = shape_of(card.waveform, _UNITS[kind], self.context)
        if shape is None:
            return None
        law = self.context.law(kind, kind, shape.template, tuple(shape.roles), tuple(shape.units))
        return Prepared(card.name, card.nodes, law, tuple(shape.sources), card.span, ascending=shape.ascending)

    def _controlled(self, card: ast.ControlledSource) -> Prepared | None:
        law = self._linear[card.kind.upper()]
        gain = card.gain
        source = gain.value if isinstance(gain, ast.Number) else gain
        plain = isinstance(source, float)
        if isinstance(card.control, str):
            return Prepared(card.name, card.nodes, law, (source,), card.span, currents=(card.control,), plain=plain)
        return Prepared(card.name, card.nodes, law, (source,), card.span, voltages=(card.control,), plain=plain)

    def _behavioural(self, card: ast.BehaviouralSource) -> Prepared | None:
        template = TemplateTranslator(self.context, self.definition).template_of(card.expression)
        if template is None:
            return None
        kind = card.quantity.upper()
        return self._from_template(card.name, card.nodes, kind, card.kind.upper(), template, card.span)
