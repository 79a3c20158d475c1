"""From parse trees to the cards of the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lark import Token

from netc.diagnostics import Span
from netc.parse import ast
from netc.parse.expressions import ExpressionBuilder, node_name

Assignments = tuple[tuple[str, ast.Expression], ...]

_VALUE_NAMES = {"R": ("r", "resistance"), "C": ("c", "capacitance"), "L": ("l", "inductance")}
_WAVES = {"pulse": "PULSE", "sin": "SIN", "sine": "SIN", "exp": "EXP", "pwl": "PWL"}
_BRACES = "put the expression in braces: {...}"


@dataclass(frozen=True, slots=True)
class _Keyword:
    name: str
    value: ast.Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class _Dc:
    value: ast.Expression


@dataclass(frozen=True, slots=True)
class _Ac:
    pass


class CardBuilder(ExpressionBuilder):
    """Turns the parse tree of one logical line into a card; method names are those of the grammar's rules."""

    def keyword(self, children: list[Any]) -> _Keyword:
        """Build ``name = value``."""
        return _Keyword(str(children[0]), children[1], self.span(children[0]))

    setting = keyword

    def option(self, children: list[Any]) -> _Keyword:
        """Build a word, or ``name = value``."""
        return _Keyword(str(children[0]), children[1] if len(children) > 1 else None, self.span(children[0]))

    def _assignments(self, keywords: list[_Keyword]) -> Assignments:
        seen: set[str] = set()
        for keyword in keywords:
            if keyword.name in seen:
                self.error(f"'{keyword.name}' is given twice", keyword.span)
            seen.add(keyword.name)
        return tuple((k.name, k.value) for k in keywords if k.value is not None)

    def _refuse(self, keywords: list[Any], hint: str | None = None) -> None:
        for keyword in keywords:
            self.error(f"'{keyword.name}=' is not supported on this element", keyword.span, hint)

    # ------------------------------------------------------------------ elements

    def _head(self, children: list[Any]) -> tuple[str, str, tuple[str, str], Span]:
        name = str(children[0])
        return name[0].upper(), name, (node_name(str(children[1])), node_name(str(children[2]))), self.line.whole

    def passive(self, children: list[Any]) -> ast.Passive:
        """Build R, C or L.

        A word in the place of a value is a model or a parameter; which one is settled when all models are known.
        """
        kind, name, nodes, span = self._head(children)
        values = [c for c in children[3:] if not isinstance(c, _Keyword)]
        keywords = [c for c in children[3:] if isinstance(c, _Keyword)]
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
        named = [k for k in keywords if k.name in _VALUE_NAMES[kind]]
        if named:
            if isinstance(value, ast.Name) and model is None:
                model, value = value.name, None
            if value is not None or len(named) > 1:
                self.error(f"{name} has more than one value", named[-1].span)
            value = named[0].value
        if value is None and not self.failed:
            self.error(f"{name} has no value", span, "expected a value after the two nodes, as in R1 a b 10k")
        return ast.Passive(
            kind, name, nodes, value, span, model, self._assignments([k for k in keywords if k not in named])
        )

    def source(self, children: list[Any]) -> ast.IndependentSource:
        """Build V or I; what AC gives has no meaning in a transient and is not kept."""
        kind, name, nodes, span = self._head(children)
        dc: ast.Expression | None = None
        waveform: ast.Waveform | None = None
        for item in children[3:]:
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
        return ast.IndependentSource(kind, name, nodes, dc, waveform, span)

    def dc(self, children: list[Any]) -> _Dc:
        """Build ``DC value``."""
        return _Dc(children[1])

    def ac(self, children: list[Any]) -> _Ac:
        """Accept ``AC magnitude phase``."""
        return _Ac()

    def waveform(self, children: list[Any]) -> ast.Waveform:
        """Build PULSE, SIN, EXP or PWL."""
        keywords = [c for c in children[1:] if isinstance(c, _Keyword)]
        arguments = tuple(c for c in children[1:] if not isinstance(c, _Keyword))
        kind, span = _WAVES[str(children[0])], self.span(children[0])
        if not arguments:
            self.error(f"{kind} has no values", span)
        return ast.Waveform(kind, arguments, span, self._assignments(keywords))

    def controlled(self, children: list[Any]) -> ast.ControlledSource:
        """Build a linear E or G."""
        kind, name, nodes, span = self._head(children)
        self._refuse(children[6:], "multiply the gain instead")
        control = (node_name(str(children[3])), node_name(str(children[4])))
        return ast.ControlledSource(kind, name, nodes, control, children[5], span)

    def sensed(self, children: list[Any]) -> ast.ControlledSource:
        """Build a linear F or H."""
        kind, name, nodes, span = self._head(children)
        self._refuse(children[5:], "multiply the gain instead")
        return ast.ControlledSource(kind, name, nodes, str(children[3]), children[4], span)

    def by_expression(self, children: list[Any]) -> ast.BehaviouralSource:
        """Build E or G given by an expression."""
        kind, name, nodes, span = self._head(children)
        wrong = "cur" if kind == "E" else "vol"
        if str(children[3]) == wrong:
            self.error(
                f"'{wrong}=' does not belong on {kind}",
                self.span(children[3]),
                "E gives a voltage (vol= or value=), G a current (cur= or value=)",
            )
        self._refuse(children[5:], "multiply the expression instead")
        return ast.BehaviouralSource(kind, name, nodes, "v" if kind == "E" else "i", children[4], span)

    def behavioural(self, children: list[Any]) -> ast.BehaviouralSource:
        """Build B."""
        kind, name, nodes, span = self._head(children)
        self._refuse(children[5:], "multiply the expression instead")
        return ast.BehaviouralSource(kind, name, nodes, str(children[3]), children[4], span)

    def instance(self, children: list[Any]) -> ast.Instance:
        """Build X."""
        words = [str(c) for c in children if isinstance(c, Token)]
        keywords = [c for c in children if isinstance(c, _Keyword)]
        if len(words) < 2:
            self.error(f"{words[0]} names no subcircuit", self.line.whole, "expected X1 node node ... subcircuit")
            words.append("")
        nodes = tuple(node_name(word) for word in words[1:-1])
        return ast.Instance(words[0], nodes, words[-1], self._assignments(keywords), self.line.whole)

    # ------------------------------------------------------------------ dot cards

    def subckt(self, children: list[Any]) -> ast.Subcircuit:
        """Build the head of a subcircuit; its cards are filled in when its end is known."""
        words = [c for c in children if isinstance(c, Token)]
        keywords = [c for c in children if isinstance(c, _Keyword)]
        if len(words) < 2:
            self.error(".subckt has no name", self.line.whole, "expected .subckt name node node ...")
            return ast.Subcircuit("", (), (), (), self.line.whole)
        ports = tuple(node_name(str(word)) for word in words[2:])
        for index, word in enumerate(words[2:]):
            if ports[index] in ports[:index]:
                self.error(f"port '{word}' is given twice", self.span(word))
        return ast.Subcircuit(str(words[1]), ports, self._assignments(keywords), (), self.line.whole)

    def param(self, children: list[Any]) -> tuple[ast.Param | ast.Func, ...]:
        """Build .param; functions defined on it become cards of their own, in order."""
        cards: list[ast.Param | ast.Func] = []
        run: list[_Keyword] = []
        for item in [*children[1:], None]:
            if isinstance(item, _Keyword):
                run.append(item)
                continue
            if run:
                cards.append(ast.Param(tuple((k.name, k.value) for k in run if k.value is not None), self.line.whole))
                run = []
            if item is not None:
                cards.append(item)
        return tuple(cards)

    def definition(self, children: list[Any]) -> ast.Func:
        """Build ``name(formals) = body``."""
        formals: list[Token] = children[1]
        for index, formal in enumerate(formals):
            if formal in formals[:index]:
                self.error(f"'{formal}' is given twice", self.span(formal))
        return ast.Func(str(children[0]), tuple(map(str, formals)), children[2], self.line.whole)

    def formals(self, children: list[Token]) -> list[Token]:
        """Pass on the names of a function's arguments."""
        return children

    def func(self, children: list[Any]) -> ast.Func:
        """Build .func."""
        return self.definition(children[1:])

    def model(self, children: list[Any]) -> ast.Model:
        """Build .model."""
        return ast.Model(str(children[1]), str(children[2]), self._assignments(children[3:]), self.line.whole)

    def initial(self, children: list[Any]) -> tuple[Any, ast.Expression]:
        """Pass on one ``v(node) = value``."""
        return children[0], children[1]

    def ic(self, children: list[Any]) -> ast.InitialCondition:
        """Build .ic or .nodeset."""
        for target, _ in children[1:]:
            if not isinstance(target, ast.Voltage):
                self.error(
                    "only voltages can be set here", target.span, "give an inductor's current as IC= on the inductor"
                )
        return ast.InitialCondition(tuple(children[1:]), self.line.whole, children[0] == ".nodeset")

    def tran(self, children: list[Any]) -> ast.Tran:
        """Build .tran."""
        values: list[ast.Expression] = children[1:]
        uic = [v for v in values if isinstance(v, ast.Name) and v.name == "uic"]
        arguments = tuple(v for v in values if v not in uic)
        if not 1 <= len(arguments) <= 4:
            self.error(
                ".tran takes one to four values", self.line.whole, "expected .tran tstep tstop [tstart [tmax]] [uic]"
            )
        return ast.Tran(arguments, bool(uic), self.line.whole)

    def options(self, children: list[Any]) -> ast.Options:
        """Build .options."""
        return ast.Options(tuple((k.name, k.value) for k in children[1:]), self.line.whole)

    def temp(self, children: list[Any]) -> ast.Temp:
        """Build .temp."""
        return ast.Temp(children[1], self.line.whole)

    def global_nodes(self, children: list[Any]) -> ast.Global:
        """Build .global."""
        return ast.Global(tuple(node_name(str(c)) for c in children[1:]), self.line.whole)

    def output(self, children: list[Any]) -> ast.Output:
        """Build .save, .print or .plot."""
        kind = str(children[0])[1:]
        items = children[1:]
        if items and isinstance(items[0], Token) and items[0] == "tran":
            items = items[1:]
        signals: list[ast.Voltage | ast.Current] = []
        for item in items:
            if not isinstance(item, Token):
                signals.append(item)
            elif item == "all":
                return ast.Output(kind, (), self.line.whole)
            else:
                signals.append(self._vector(item))
        return ast.Output(kind, tuple(signals), self.line.whole)

    def _vector(self, token: Token) -> ast.Voltage | ast.Current:
        """Read ``node``, ``v1#branch`` or ``@r1[i]``."""
        word, span = str(token), self.span(token)
        if word.endswith("#branch"):
            return ast.Current(word.removesuffix("#branch"), span)
        if word.startswith("@"):
            if not word.endswith("[i]"):
                self.error(f"'{word}' cannot be observed", span, "voltages v(node) and currents i(element) can")
            return ast.Current(word[1:].removesuffix("[i]"), span)
        return ast.Voltage(node_name(word), None, span)

    def directive(self, children: list[Any]) -> ast.Directive:
        """Build netc's own word."""
        items: list[_Keyword] = children[1:]
        if not items or items[0].value is not None:
            self.error("the directive has no word", self.line.whole, "expected *.netc input, output or train")
            return ast.Directive("", (), (), self.line.whole)
        parameters = tuple(
            (k.name, k.value.name if isinstance(k.value, ast.Name) else k.value)
            for k in items[1:]
            if k.value is not None
        )
        targets = tuple(k.name for k in items[1:] if k.value is None)
        return ast.Directive(items[0].name, targets, parameters, self.line.whole)
