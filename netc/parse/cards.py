"""From parse trees to the cards of the syntax tree."""

from __future__ import annotations

from typing import Any

from lark import Token

from netc.parse import ast
from netc.parse.element_cards import Keyword
from netc.parse.expressions import node_name
from netc.parse.measure_cards import MeasureBuilder


class CardBuilder(MeasureBuilder):
    """Turns the parse tree of one logical line into a card; method names are those of the grammar's rules."""

    def option(self, children: list[Any]) -> Keyword:
        """Build a word, or ``name = value``."""
        return Keyword(str(children[0]), children[1] if len(children) > 1 else None, self.span(children[0]))

    # ------------------------------------------------------------------ dot cards

    def subckt(self, children: list[Any]) -> ast.Subcircuit:
        """Build the head of a subcircuit; its cards are filled in when its end is known."""
        words, keywords = self._split(children)
        if len(words) < 2:
            self.error(".subckt has no name", self.line.whole, "expected .subckt name node node ...")
            return ast.Subcircuit("", (), (), (), self.line.whole)
        ports = tuple(node_name(str(word)) for word in words[2:])
        for index, word in enumerate(words[2:]):
            if ports[index] in ports[:index]:
                self.error(f"port '{word}' is given twice", self.span(word))
        return ast.Subcircuit(str(words[1]), ports, self._single(keywords), (), self.line.whole)

    def param(self, children: list[Any]) -> tuple[ast.Param | ast.Func, ...]:
        """Build .param; functions defined on it become cards of their own, in order."""
        cards: list[ast.Param | ast.Func] = []
        run: list[Keyword] = []
        for item in [*children[1:], None]:
            if isinstance(item, Keyword):
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
        return ast.Model(
            str(children[1]), str(children[2]), self._single(self._split(children[3:])[1]), self.line.whole
        )

    def initial(self, children: list[Any]) -> tuple[Any, ast.Expression]:
        """Pass on one ``v(node) = value``."""
        return children[0], children[1]

    def ic(self, children: list[Any]) -> ast.InitialCondition:
        """Build .ic or .nodeset."""
        pairs = children[1:]
        voltages = tuple(pair for pair in pairs if isinstance(pair[0], ast.Voltage))
        currents = tuple(pair for pair in pairs if isinstance(pair[0], ast.Current))
        if currents and not self.dialect.initial_currents:
            hint = "give an inductor's current as IC= on the inductor"
            self.error("only voltages can be set here", currents[0][0].span, hint)
        return ast.InitialCondition(voltages, self.line.whole, children[0] == ".nodeset", currents)

    def tran(self, children: list[Any]) -> ast.Tran:
        """Build .tran."""
        values: list[ast.Expression] = children[1:]
        uic = [v for v in values if isinstance(v, ast.Name) and v.name == "uic"]
        arguments = tuple(v for v in values if v not in uic)
        modifiers = [v for v in arguments if isinstance(v, ast.Name) and v.name in self.dialect.run_modifiers]
        sweep = next((v for v in arguments if isinstance(v, ast.Name) and v.name == "sweep"), None)
        if sweep is not None:
            self.error("a sweep of .tran is not supported", sweep.span, "netc runs one circuit: delete it")
        elif not 1 <= len(arguments) - len(modifiers) <= 4:
            self.error(
                ".tran takes one to four values", self.line.whole, "expected .tran tstep tstop [tstart [tmax]] [uic]"
            )
        return ast.Tran(arguments, bool(uic), self.line.whole)

    def options(self, children: list[Any]) -> ast.Options:
        """Build .options."""
        return ast.Options(tuple((k.name, k.value) for k in children[1:]), self.line.whole)

    def condition(self, children: list[Any]) -> ast.Branch:
        """Build .if or .elseif; the cards below are filled in when its end is known."""
        return ast.Branch(children[1], (), self.line.whole)

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
            elif item == "time":
                continue
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
        items: list[Keyword] = children[1:]
        if not items or items[0].value is not None:
            self.error("the directive has no word", self.line.whole, "expected *.netc input, output, train or spread")
            return ast.Directive("", (), (), self.line.whole)
        parameters = tuple(
            (k.name, k.value.name if isinstance(k.value, ast.Name) else k.value)
            for k in items[1:]
            if k.value is not None
        )
        targets = tuple(k.name for k in items[1:] if k.value is None)
        return ast.Directive(items[0].name, targets, parameters, self.line.whole)
