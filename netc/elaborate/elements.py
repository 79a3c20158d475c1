"""From element cards to laws: once for each line of text, whatever the number of instances."""

from __future__ import annotations

from collections.abc import Sequence

import netc.parse.ast as ast
from netc.elaborate.context import Context
from netc.elaborate.expressions import Template, TemplateTranslator
from netc.elaborate.passives import PassiveValue, TemperatureFactor, known_parameters
from netc.elaborate.polynomials import polynomial
from netc.elaborate.prepared import BehaviouralLines, Prepared, Source, with_multiplicity
from netc.elaborate.scopes import Definition
from netc.elaborate.tables import rounded
from netc.elaborate.waveforms import shape_of
from netc.ir.build import div, mul
from netc.ir.nodes import Expr, Slot
from netc.parse.messages import split_suffix

_VALUE = Slot("value", 0)
_VOLTAGE = Slot("voltage", 0)
_CURRENT = Slot("current", 0)
_UNITS = {"R": "Ohm", "C": "F", "L": "H", "V": "V", "I": "A"}
_NAMES = {"R": "resistor", "C": "capacitor", "L": "inductor"}
_LINEAR = {
    "E": ("V", mul(_VALUE, _VOLTAGE), "V/V"),
    "G": ("I", mul(_VALUE, _VOLTAGE), "A/V"),
    "F": ("I", mul(_VALUE, _CURRENT), "A/A"),
    "H": ("V", mul(_VALUE, _CURRENT), "V/A"),
}


class Preparation:
    """Prepares the element cards of one definition."""

    def __init__(self, context: Context, definition: Definition) -> None:
        self.context = context
        self.definition = definition
        self._behaviour = BehaviouralLines(context)
        self._simple = {
            kind: context.law(kind, kind, _VALUE, ("R" if kind == "R" else kind,), (_UNITS[kind],)) for kind in "RCL"
        }
        self._constant = {kind: context.law(kind, kind, _VALUE, ("source",), (_UNITS[kind],)) for kind in "VI"}
        self._linear = {
            letter: context.law(kind, letter, template, ("gain",), (unit,))
            for letter, (kind, template, unit) in _LINEAR.items()
        }

    def prepare(self, card: ast.Element) -> Sequence[Prepared]:
        """Return the branches of a card, none after an error.  Devices, couplings and instances are made elsewhere."""
        match card:
            case ast.Passive():
                return self._passive(card)
            case ast.IndependentSource():
                return self._independent(card)
            case ast.ControlledSource():
                return self._controlled(card)
            case ast.PolynomialSource():
                return self._polynomial(card)
            case ast.TableSource():
                return self._table(card)
            case ast.BehaviouralSource():
                return self._behavioural(card)
            case ast.Device() | ast.Coupling() | ast.Instance():
                return ()

    def _passive(self, card: ast.Passive) -> Sequence[Prepared]:
        kind = card.kind.upper()
        value = card.value
        if isinstance(value, ast.Number) and not card.parameters and card.model is None and not card.charge:
            return (Prepared(card.name, card.nodes, self._simple[kind], (value.value,), card.span, plain=True),)
        if not known_parameters(self.context, card):
            return ()
        if card.charge and value is not None:
            return self._charge(card, value)
        signal = self._signal(value) if value is not None else None
        if signal is not None:
            return self._behavioural_passive(card, signal)
        found = self.definition.find_model(card.model) if card.model is not None else None
        if card.model is not None and found is None:
            self._undefined_model(card)
            return ()
        sources: tuple[Source, ...]
        if found is None and all(name == "ic" for name, _ in card.parameters) and value is not None:
            sources = (value.value if isinstance(value, ast.Number) else value,)
        else:
            sources = (PassiveValue(card, found),)
        initial = dict(card.parameters).get("ic")
        return (Prepared(card.name, card.nodes, self._simple[kind], sources, card.span, initial=initial),)

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

    def _behavioural_passive(self, card: ast.Passive, template: Template) -> Sequence[Prepared]:
        kind = card.kind.upper()
        if not self._means_something(card):
            return ()
        if template.auxiliaries and kind != "R":
            self.context.error(
                f"a {_NAMES[kind]} whose value depends on a rate of change or an integral is not supported yet",
                card.span,
            )
            return ()
        if kind == "R":
            pair = card.nodes
            if pair not in template.voltages:
                template.voltages.append(pair)
            template.expr = div(Slot("voltage", template.voltages.index(pair)), template.expr)
            kind = "I"
        return self._lines(card, kind, template)

    def _charge(self, card: ast.Passive, value: ast.Expression) -> Sequence[Prepared]:
        """A capacitor given by its charge: its current is the rate of change of that."""
        if not self._means_something(card):
            return ()
        template = TemplateTranslator(self.context, self.definition).template_of(value)
        if template is None:
            return ()
        template.expr = template.auxiliary("D", template.expr)
        return self._lines(card, "I", template)

    def _lines(self, card: ast.Passive, kind: str, template: Template) -> Sequence[Prepared]:
        lines = self._behaviour.lines(card.name, card.nodes, kind, card.kind.upper(), template, card.span)
        for line in lines:
            if line.law.kind in "CL":
                line.initial = dict(card.parameters).get("ic")
        return self._multiplied(lines, card.parameters)

    def _multiplied(
        self, lines: Sequence[Prepared], parameters: tuple[tuple[str, ast.Expression], ...]
    ) -> Sequence[Prepared]:
        """Apply the ``m=`` of a card to all its branches that carry current."""
        return [with_multiplicity(self.context, x, parameters) if x.law.kind in "RCLI" else x for x in lines]

    def _means_something(self, card: ast.Passive) -> bool:
        """Report the parameters of a card that have no meaning beside an expression of signals."""
        known = {"m", "noisy"} | ({"ic"} if card.kind.upper() != "R" else set())
        wrong = [(name, value) for name, value in card.parameters if name not in known]
        for name, value in wrong:
            what = _NAMES[card.kind.upper()]
            self.context.error(f"{name}= has no meaning for a {what} given by an expression of signals", value.span)
        return not wrong

    def _undefined_model(self, card: ast.Passive) -> None:
        if any(card.model in definition.parameters for definition in self.definition.around()):
            hint: str | None = f"{card.model!r} is a parameter: write {{{card.model}}}"
        else:
            written = f"{card.value.value:g} {card.model}" if isinstance(card.value, ast.Number) else ""
            hint = split_suffix(written) or "a value is a number or an expression in braces"
        self.context.error(f"undefined model {card.model!r}", card.span, hint)

    def _independent(self, card: ast.IndependentSource) -> Sequence[Prepared]:
        kind = card.kind.upper()
        if card.waveform is None:
            source = card.dc if card.dc is not None else 0.0
            if isinstance(source, ast.Number):
                source = source.value
            plain = isinstance(source, float)
            item = Prepared(card.name, card.nodes, self._constant[kind], (source,), card.span, plain=plain)
            return (with_multiplicity(self.context, item, card.parameters),)
        if isinstance(card.dc, ast.Number) and card.dc.value != 0:
            self.context.note(
                f"in a transient {card.name} follows its {card.waveform.kind.upper()}: the dc value is not used",
                card.dc.span,
            )
        shape = shape_of(card.waveform, _UNITS[kind], self.context)
        if shape is None:
            return ()
        law = self.context.law(kind, kind, shape.template, tuple(shape.roles), tuple(shape.units))
        item = Prepared(card.name, card.nodes, law, tuple(shape.sources), card.span, ascending=shape.ascending)
        return (with_multiplicity(self.context, item, card.parameters),)

    def _controlled(self, card: ast.ControlledSource) -> Sequence[Prepared]:
        law = self._linear[card.kind.upper()]
        gain = card.gain
        source = gain.value if isinstance(gain, ast.Number) else gain
        item = Prepared(card.name, card.nodes, law, (source,), card.span, plain=isinstance(source, float))
        if isinstance(card.control, str):
            item.currents = (card.control,)
        else:
            item.voltages = (card.control,)
        return (with_multiplicity(self.context, item, card.parameters),)

    def _polynomial(self, card: ast.PolynomialSource) -> Sequence[Prepared]:
        template = Template(_VALUE, [c.value if isinstance(c, ast.Number) else c for c in card.coefficients])
        controls: list[Expr] = []
        for control in card.controls:
            if isinstance(control, str):
                template.currents.append(control)
                controls.append(Slot("current", len(template.currents) - 1))
            else:
                template.voltages.append(control)
                controls.append(Slot("voltage", len(template.voltages) - 1))
        template.expr = polynomial(controls, [Slot("value", k) for k in range(len(card.coefficients))])
        kind = _LINEAR[card.kind.upper()][0]
        lines = self._behaviour.lines(card.name, card.nodes, kind, card.kind.upper(), template, card.span)
        return self._multiplied(lines, card.parameters)

    def _table(self, card: ast.TableSource) -> Sequence[Prepared]:
        translator = TemplateTranslator(self.context, self.definition)
        template = translator.template_of(card.expression)
        if template is None:
            return ()
        xs = [translator.slot(x.value if isinstance(x, ast.Number) else x) for x, _ in card.points]
        ys = [translator.slot(y.value if isinstance(y, ast.Number) else y) for _, y in card.points]
        template.expr = rounded(template.expr, xs, ys)
        kind = _LINEAR[card.kind.upper()][0]
        lines = self._behaviour.lines(card.name, card.nodes, kind, card.kind.upper(), template, card.span)
        return self._multiplied(lines, card.parameters)

    def _behavioural(self, card: ast.BehaviouralSource) -> Sequence[Prepared]:
        translator = TemplateTranslator(self.context, self.definition)
        template = translator.template_of(card.expression)
        if template is None:
            return ()
        if any(name != "m" for name, _ in card.parameters):
            template.sources.append(TemperatureFactor(card.parameters))
            template.expr = mul(template.expr, Slot("value", len(template.sources) - 1))
        kind = card.quantity.upper()
        lines = self._behaviour.lines(card.name, card.nodes, kind, card.kind.upper(), template, card.span)
        return self._multiplied(lines, card.parameters)
