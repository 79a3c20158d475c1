"""From parse trees to the elements of the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lark import Token

from netc.diagnostics import Span
from netc.parse import ast
from netc.parse.build import binary, call
from netc.parse.dialects import dialect_hint
from netc.parse.expressions import ExpressionBuilder, node_name
from netc.parse.messages import OPERATIONAL
from netc.parse.numbers import read_plain

Assignments = tuple[tuple[str, ast.Expression], ...]

_VALUE_NAMES = {
    "R": ("r", "resistance"),
    "C": ("c", "capacitance", "q", "charge"),
    "L": ("l", "inductance"),
}
_CHARGE = ("q", "charge")
_WAVES = {
    "pulse": "PULSE",
    "sin": "SIN",
    "sine": "SIN",
    "exp": "EXP",
    "pwl": "PWL",
    "sffm": "SFFM",
    "am": "AM",
}
_ON_SOURCES = frozenset({"m"})
_BESIDE = frozenset({"rser", "lser", "rpar", "cpar"})  # LTspice's resistors and so on around an element
_MOST_DIMENSIONS = 20


@dataclass(frozen=True, slots=True)
class Keyword:
    """``name = value``, or a word alone; ``further`` are the values after the first."""

    name: str
    value: ast.Expression | None
    span: Span
    further: tuple[ast.Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class _Further:
    value: ast.Expression


@dataclass(frozen=True, slots=True)
class _Item:
    """A word as it is written, or the expression that stands in braces."""

    word: str | None
    expression: ast.Expression | None
    token: Token | None
    span: Span


@dataclass(frozen=True, slots=True)
class _Dc:
    value: ast.Expression


@dataclass(frozen=True, slots=True)
class _Ac:
    pass


class ElementBuilder(ExpressionBuilder):
    """Turns the parse tree of an element's line into its card; method names are those of the grammar's rules."""

    def keyword(self, children: list[Any]) -> Keyword:
        """Build ``name = value``."""
        return Keyword(str(children[0]), children[1], self.span(children[0]))

    setting = keyword

    def further(self, children: list[Token]) -> _Further:
        """Build one more value of the keyword before."""
        number = self.number(children[-1:])
        return _Further(replace(number, value=-number.value) if len(children) > 1 else number)

    def item(self, children: list[Any]) -> _Item:
        """Build a word, or an expression in braces."""
        first = children[0]
        if isinstance(first, Token):
            return _Item(str(first), None, first, self.span(first))
        return _Item(None, first, None, first.span)

    def _split(self, children: list[Any]) -> tuple[list[Any], list[Keyword]]:
        """Return what are no keywords, and the keywords with all their values."""
        others: list[Any] = []
        keywords: list[Keyword] = []
        for child in children:
            if isinstance(child, _Further) and not keywords:
                self.error("this value belongs to no keyword", child.value.span)
            elif isinstance(child, _Further):
                keywords[-1] = replace(keywords[-1], further=(*keywords[-1].further, child.value))
            elif isinstance(child, Keyword):
                keywords.append(child)
            else:
                others.append(child)
        return others, keywords

    def _single(self, keywords: list[Keyword]) -> Assignments:
        """Return keywords that may have one value each."""
        for keyword in keywords:
            if keyword.further:
                self.error(f"'{keyword.name}=' takes one value here", keyword.further[0].span)
        return self._assignments(keywords)

    def _assignments(self, keywords: list[Keyword]) -> Assignments:
        seen: set[str] = set()
        for keyword in keywords:
            if keyword.name in seen:
                self.error(f"'{keyword.name}' is given twice", keyword.span)
            seen.add(keyword.name)
        return tuple((k.name, k.value) for k in keywords if k.value is not None)

    def _only(self, keywords: list[Keyword], known: frozenset[str], hint: str | None = None) -> Assignments:
        for keyword in keywords:
            if keyword.name not in known:
                self.error(f"'{keyword.name}=' is not supported on this element", keyword.span, hint)
        return self._single(keywords)

    def _head(self, children: list[Any]) -> tuple[str, str, tuple[str, str], Span]:
        name = str(children[0])
        return name[0].upper(), name, (node_name(str(children[1])), node_name(str(children[2]))), self.line.whole

    def _value_of(self, item: _Item) -> ast.Expression:
        """Return an item that stands for a number."""
        if item.expression is not None:
            return item.expression
        assert item.token is not None
        return self.plain([item.token]) if item.token[0] in "+-.0123456789" else self.bare([item.token])

    # ------------------------------------------------------------------ passive elements

    def passive(self, children: list[Any]) -> ast.Passive:
        """Build R, C or L.

        A word in the place of a value is a model or a parameter; which one is settled when all models are known.
        """
        kind, name, nodes, span = self._head(children)
        values, keywords = self._split(children[3:])
        value: ast.Expression | None = None
        model: str | None = None
        for item in values:
            if value is None:
                value = item
            elif model is None and isinstance(item, ast.Name):
                model = item.name
            elif model is None and isinstance(value, ast.Name):
                model, value = value.name, item
            else:
                self.error(f"{name} has more than one value", item.span)
        keywords = self._temperature_pair(keywords)
        named = [k for k in keywords if k.name in _VALUE_NAMES[kind]]
        if named:
            if isinstance(value, ast.Name) and model is None:
                model, value = value.name, None
            if value is not None or len(named) > 1:
                self.error(f"{name} has more than one value", named[-1].span)
            value = named[0].value
        if value is None and not self.failed:
            self.error(f"{name} has no value", span, "expected a value after the two nodes, as in R1 a b 10k")
        charge = bool(named) and named[0].name in _CHARGE
        parameters = self._single([k for k in keywords if k not in named])
        return ast.Passive(kind, name, nodes, value, span, model, parameters, charge)

    def _temperature_pair(self, keywords: list[Keyword]) -> list[Keyword]:
        """Write ``tc=first,second`` as ``tc1=first tc2=second``."""
        result: list[Keyword] = []
        for keyword in keywords:
            if keyword.name != "tc":
                result.append(keyword)
                continue
            values = (keyword.value, *keyword.further)
            if len(values) > 2:
                self.error("'tc=' takes one or two values", keyword.span)
            result += [Keyword(name, value, keyword.span) for name, value in zip(("tc1", "tc2"), values, strict=False)]
        return result

    # ------------------------------------------------------------------ independent sources

    def source(self, children: list[Any]) -> ast.IndependentSource:
        """Build V or I; what AC gives has no meaning in a transient and is not kept."""
        kind, name, nodes, span = self._head(children)
        dc: ast.Expression | None = None
        waveform: ast.Waveform | None = None
        others, settings = self._split(children[3:])
        for item in others:
            if isinstance(item, _Ac):
                continue
            if isinstance(item, ast.Waveform):
                if waveform is not None:
                    self.error(f"{name} has more than one waveform", item.span)
                waveform = item
                continue
            value = item.value if isinstance(item, _Dc) else item
            if dc is not None:
                self.error(f"{name} has more than one DC value", value.span)
            dc = value
        own = [k for k in settings if k.name in _ON_SOURCES or k.name in self.dialect.source_settings]
        for keyword in own:
            if kind == "V" and keyword.name in _ON_SOURCES:
                hint = "sources in parallel are one source"
                self.error("'m=' has no meaning on a voltage source", keyword.span, hint)
        rest = [k for k in settings if k not in own]
        if rest and waveform is None:
            self.error(f"'{rest[0].name}=' is not supported on this element", rest[0].span)
        elif rest and waveform is not None:
            waveform = replace(waveform, parameters=(*waveform.parameters, *self._single(rest)))
        return ast.IndependentSource(kind, name, nodes, dc, waveform, span, self._single(own))

    def dc(self, children: list[Any]) -> _Dc:
        """Build ``DC value``."""
        return _Dc(children[1])

    def ac(self, children: list[Any]) -> _Ac:
        """Accept ``AC magnitude phase``."""
        return _Ac()

    def waveform(self, children: list[Any]) -> ast.Waveform:
        """Build PULSE, SIN, EXP, PWL, SFFM or AM."""
        others, keywords = self._split(children[1:])
        kind, span = _WAVES[str(children[0])], self.span(children[0])
        named = [k.name for k in keywords]
        if "file" in named:
            place = keywords[named.index("file")].span
            self.error(f"file= of {kind} is not supported yet", place, "write the points out: PWL(t1 v1 t2 v2)")
        elif not others:
            self.error(f"{kind} has no values", span)
        return ast.Waveform(kind, tuple(others), span, self._single(keywords))

    # ------------------------------------------------------------------ controlled sources

    def controlled(self, children: list[Any]) -> ast.ControlledSource | ast.BehaviouralSource:
        """Build a linear E or G; one that HSPICE bounds by ``max=`` and ``min=`` is an expression."""
        kind, name, nodes, span = self._head(children)
        _, keywords = self._split(children[6:])
        control = (node_name(str(children[3])), node_name(str(children[4])))
        if self.dialect.name == "hspice" and control[0] in OPERATIONAL:
            self.error(f"{control[0].upper()} is not supported yet", self.span(children[3]), OPERATIONAL[control[0]])
        bounds = [k for k in keywords if k.name in self.dialect.gain_bounds and k.value is not None]
        if bounds:
            value: ast.Expression = ast.Voltage(*control, self.span(children[3]))
            value = binary("*", children[5], value, span)
            for bound in sorted(bounds, key=lambda k: k.name):  # max first
                assert bound.value is not None
                value = call("min" if bound.name == "max" else "max", value, bound.value)
            parameters = self._multiplied(kind, [k for k in keywords if k not in bounds])
            return ast.BehaviouralSource(kind, name, nodes, "v" if kind == "E" else "i", value, span, parameters)
        return ast.ControlledSource(kind, name, nodes, control, children[5], span, self._multiplied(kind, keywords))

    def sensed(self, children: list[Any]) -> ast.ControlledSource:
        """Build a linear F or H."""
        kind, name, nodes, span = self._head(children)
        _, keywords = self._split(children[5:])
        parameters = self._multiplied(kind, keywords)
        return ast.ControlledSource(kind, name, nodes, str(children[3]), children[4], span, parameters)

    def _multiplied(self, kind: str, keywords: list[Keyword]) -> Assignments:
        """Return the keywords of a controlled source: ``m=`` of one that gives a current."""
        known = _ON_SOURCES if kind in "GF" else frozenset()
        return self._only(keywords, known, "multiply the gain or the expression instead")

    def by_expression(self, children: list[Any]) -> ast.BehaviouralSource:
        """Build E, G, F or H given by an expression."""
        kind, name, nodes, span = self._head(children)
        gives_voltage = kind in "EH"
        if str(children[3]) == ("cur" if gives_voltage else "vol"):
            right = "a voltage (vol= or value=)" if gives_voltage else "a current (cur= or value=)"
            self.error(f"'{children[3]}=' does not belong on {kind}", self.span(children[3]), f"{kind} gives {right}")
        _, keywords = self._split(children[5:])
        quantity = "v" if gives_voltage else "i"
        parameters = self._multiplied(kind, keywords)
        return ast.BehaviouralSource(kind, name, nodes, quantity, children[4], span, parameters)

    def behavioural(self, children: list[Any]) -> ast.BehaviouralSource:
        """Build B."""
        kind, name, nodes, span = self._head(children)
        _, keywords = self._split(children[5:])
        known = frozenset({"tc1", "tc2", "temp", "dtemp"}) | (_ON_SOURCES if children[3] == "i" else frozenset())
        known |= self.dialect.behavioural_settings
        elements = any(keyword.name in _BESIDE for keyword in keywords)
        hint = "write it as an element of its own" if elements else "multiply the expression instead"
        parameters = self._only(self._temperature_pair(keywords), known, hint)
        return ast.BehaviouralSource(kind, name, nodes, str(children[3]), children[4], span, parameters)

    def polynomial(self, children: list[Any]) -> ast.PolynomialSource:
        """Build E, G, F or H with POLY."""
        kind, name, nodes, span = self._head(children)
        count = self._dimensions(children[4])
        items, keywords = self._split(children[5:])
        pairs = kind in "EG"
        names = [str(item.word) for item in items[: 2 * count if pairs else count]]
        if len(names) < (2 * count if pairs else count) or len(items) == len(names):
            wanted = f"{count} {'pairs of nodes' if pairs else 'elements'} and then coefficients"
            self.error(f"POLY({count}) wants {wanted}", self.span(children[3]))
        controls: tuple[tuple[str, str] | str, ...] = tuple(names)
        if pairs:
            nodes_of = [node_name(word) for word in names]
            controls = tuple(zip(nodes_of[::2], nodes_of[1::2], strict=False))
        coefficients = tuple(self._value_of(item) for item in items[len(names) :])
        parameters = self._multiplied(kind, keywords)
        return ast.PolynomialSource(kind, name, nodes, controls, coefficients, span, parameters)

    def _dimensions(self, value: ast.Expression) -> int:
        """Return the n of ``POLY(n)``."""
        if isinstance(value, ast.Number) and value.value.is_integer() and 1 <= value.value <= _MOST_DIMENSIONS:
            return int(value.value)
        self.error(f"the number in POLY() is a whole number from 1 to {_MOST_DIMENSIONS}", value.span)
        return 1

    def table(self, children: list[Any]) -> ast.TableSource:
        """Build E or G with TABLE."""
        kind, name, nodes, span = self._head(children)
        items, keywords = self._split(children[5:])
        values = [self._value_of(item) for item in items]
        if len(values) < 4 or len(values) % 2:
            self.error("TABLE wants two or more pairs of x and y", self.span(children[3]), "(x1,y1) (x2,y2) ...")
        points = tuple(zip(values[::2], values[1::2], strict=False))
        return ast.TableSource(kind, name, nodes, children[4], points, span, self._multiplied(kind, keywords))

    def piecewise(self, children: list[Any]) -> ast.TableSource:
        """Build E or G with ``pwl(1)``: two nodes, then points; constant beyond them."""
        items, keywords = self._split(children[5:])
        if len(items) < 2 or any(item.word is None for item in items[:2]):
            self.error("PWL(1) wants two nodes and then points", self.span(children[3]), "x1,y1 x2,y2 ...")
            items = [*items, *items][:2] or [_Item("0", None, None, self.line.whole)] * 2
        first, second = (node_name(str(item.word)) for item in items[:2])
        voltage = ast.Voltage(first, second, items[0].span)
        return self.table([*children[:4], voltage, *items[2:], *keywords])

    def control_table(self, children: list[Any]) -> ast.TableSource:
        """Build LTspice's E or G with two nodes and ``table=(x1,y1,x2,y2)``."""
        token = children[5]
        if self.dialect.name != "ltspice":
            self.error("table= belongs to LTspice", self.span(token), dialect_hint("ltspice"))
        first, second = (node_name(str(child)) for child in children[3:5])
        voltage = ast.Voltage(first, second, self.span(children[3]))
        return self.table([*children[:3], token, voltage, *children[6:]])

    # ------------------------------------------------------------------ devices and instances

    def device(self, children: list[Any]) -> ast.Device:
        """Build D, M, Q, J, S or W."""
        name = str(children[0])
        items, keywords = self._split(children[1:])
        words: list[str | ast.Expression] = [
            node_name(item.word) if item.word is not None else item.expression for item in items
        ]
        seen: set[str] = set()
        for keyword in keywords:
            if keyword.name in seen:
                self.error(f"'{keyword.name}' is given twice", keyword.span)
            seen.add(keyword.name)
        parameters = tuple((k.name, (k.value, *k.further)) for k in keywords if k.value is not None)
        return ast.Device(name[0].upper(), name, tuple(words), parameters, self.line.whole)

    def coupling(self, children: list[Any]) -> ast.Coupling:
        """Build K."""
        name, *items = children
        words = [str(item.word) for item in items[:-1]]
        if len(words) < 2:
            hint = "expected two inductors and the coefficient, as in K1 L1 L2 0.99"
            self.error(f"{name} couples fewer than two inductors", self.line.whole, hint)
            return ast.Coupling(str(name), (), ast.Number(0.0, self.line.whole), self.line.whole)
        return ast.Coupling(str(name), tuple(words), self._value_of(items[-1]), self.line.whole)

    def instance(self, children: list[Any]) -> ast.Instance:
        """Build X."""
        others, keywords = self._split(children)
        words = [str(c) for c in others]
        if len(words) < 2:
            self.error(f"{words[0]} names no subcircuit", self.line.whole, "expected X1 node node ... subcircuit")
            words.append("")
        nodes = tuple(node_name(word) for word in words[1:-1])
        return ast.Instance(words[0], nodes, words[-1], self._single(keywords), self.line.whole)


def number_written(word: str) -> float | None:
    """Return the number a word is, or ``None``: a node, a model or a parameter."""
    if not word or word[0] not in "+-.0123456789":
        return None
    literal = read_plain(word)
    return None if literal.problem or literal.oddity else literal.value
