"""``.measure`` from parse trees to the syntax tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from lark import Token

from netc.diagnostics import Span
from netc.parse import ast
from netc.parse.build import map_expressions, rebuild
from netc.parse.element_cards import ElementBuilder, Keyword
from netc.parse.expressions import node_name
from netc.parse.lines import LogicalLine

_ANALYSIS = re.compile(r"\.\w+\s+(tran|ac|dc|op|noise|tf|sp|fft|ac_sig)(?=\s)")
_SIGNAL = re.compile(r"(?<![\w.])([vi])\s*\(\s*([^\s(),]+)\s*(?:,\s*([^\s(),]+)\s*)?\)")
_EDGES = ("rise", "fall", "cross")
_SAME = {"integral": "integ", "derivative": "deriv"}


def without_analysis(line: LogicalLine) -> tuple[LogicalLine, str | None]:
    """Return ``line`` with the name of the analysis blanked out, and that name."""
    found = _ANALYSIS.match(line.text)
    if found is None:
        return line, None
    start, end = found.span(1)
    text = line.text[:start] + " " * (end - start) + line.text[end:]
    return replace(line, text=text), found[1]


def signals_in(line: LogicalLine) -> tuple[ast.Voltage | ast.Current, ...]:
    """Return the plain voltages and currents that a line mentions."""
    found: list[ast.Voltage | ast.Current] = []
    for match in _SIGNAL.finditer(line.text):
        span = line.span(match.start(), match.end() - match.start())
        first, second = match[2], match[3]
        if match[1] == "i":
            found.append(ast.Current(first, span))
        else:
            found.append(ast.Voltage(node_name(first), None if second is None else node_name(second), span))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Formula:
    expression: ast.Expression


@dataclass(frozen=True, slots=True)
class _Statistic:
    function: str
    expression: ast.Expression
    span: Span


@dataclass(frozen=True, slots=True)
class _Event:
    word: str
    left: ast.Expression
    right: ast.Expression | None
    span: Span


def _unwrapped(root: ast.Expression) -> ast.Expression:
    """Return what ``par('...')`` encloses."""

    def change(node: ast.Expression) -> ast.Expression:
        if isinstance(node, ast.Call) and node.function == "par" and len(node.arguments) == 1:
            return node.arguments[0]
        return node

    return rebuild(root, change)


class MeasureBuilder(ElementBuilder):
    """Turns the parse tree of a ``.measure`` line into its card."""

    def formula(self, children: list[Any]) -> _Formula:
        """Build ``param = expression``."""
        return _Formula(children[1])

    def statistic(self, children: list[Any]) -> _Statistic:
        """Build ``avg expression`` and the like."""
        word = str(children[0])
        return _Statistic(_SAME.get(word, word), children[1], self.span(children[0]))

    def found(self, children: list[Any]) -> _Statistic:
        """Build ``find expression`` and ``derivative expression``."""
        word = str(children[0])
        return _Statistic(_SAME.get(word, word), children[1], self.span(children[0]))

    def event(self, children: list[Any]) -> _Event:
        """Build ``when left = right``, ``trig left`` and ``targ left``."""
        return _Event(str(children[0]), children[1], children[2] if len(children) > 2 else None, self.span(children[0]))

    def measure(self, children: list[Any]) -> ast.Measure:
        """Build ``.measure``."""
        name: Token = children[1]
        items = [map_expressions(item, _unwrapped) for item in children[2:]]
        whole = self.line.whole
        formulas = [item for item in items if isinstance(item, _Formula)]
        if formulas:
            if len(items) > 1:
                self.error(f"{name} has more than a formula", whole)
            return ast.Measure(str(name), "param", formulas[0].expression, None, None, (None, None), whole)
        statistics = [item for item in items if isinstance(item, _Statistic)]
        if len(statistics) > 1:
            self.error(f"{name} measures more than one thing", statistics[1].span)
        groups: list[tuple[_Event | None, list[Keyword]]] = [(None, [])]
        for item in items:
            if isinstance(item, _Event):
                groups.append((item, []))
            elif isinstance(item, Keyword):
                groups[-1][1].append(item)
        events = {}
        for head, keywords in groups[1:]:
            assert head is not None
            if head.word in events:
                self.error(f"'{head.word}' is given twice", head.span)
            events[head.word] = self._event(head, keywords)
        return self._measure(str(name), statistics[0] if statistics else None, events, groups, whole)

    def _measure(
        self,
        name: str,
        statistic: _Statistic | None,
        events: dict[str, ast.Event],
        groups: list[tuple[_Event | None, list[Keyword]]],
        whole: Span,
    ) -> ast.Measure:
        loose = {k.name: k for _, keywords in groups for k in keywords if k.name in ("from", "to", "at")}
        start, stop = (loose[key].value if key in loose else None for key in ("from", "to"))
        trigger, target = events.get("trig"), events.get("targ")
        when = events.get("when")
        if (trigger is None) != (target is None):
            self.error(f"{name} needs both trig and targ", whole)
        for keyword in groups[0][1]:
            if keyword.name not in ("from", "to", "at"):
                self.error(f"'{keyword.name}=' does not belong here", keyword.span)
        if statistic is None:
            if trigger is None and when is None:
                hint = "such as max v(out), find v(out) at=1m, when v(out)=1, or trig ... targ ..."
                self.error(f"{name} does not say what to measure", whole, hint)
            if when is not None:
                return ast.Measure(name, "find", None, when, None, (start, stop), whole)
            return ast.Measure(name, "delay", None, trigger, target, (start, stop), whole)
        function, expression = statistic.function, statistic.expression
        if function in ("find", "deriv"):
            at = loose.get("at")
            if when is None and at is not None and at.value is not None:
                when = ast.Event(None, None, at.value, None, "cross", None, at.span)
            if when is None:
                self.error(f"{name} does not say where to find it", statistic.span, "add at=time, or when a=b")
            return ast.Measure(name, function, expression, when, None, (start, stop), whole)
        return ast.Measure(name, function, expression, trigger, target, (start, stop), whole)

    def _event(self, head: _Event, keywords: list[Keyword]) -> ast.Event:
        given: dict[str, Keyword] = {}
        for keyword in keywords:
            if keyword.name in given:
                self.error(f"'{keyword.name}=' is given twice", keyword.span)
            if keyword.name not in (*_EDGES, "val", "td", "from", "to"):
                self.error(f"'{keyword.name}=' does not belong here", keyword.span)
            given[keyword.name] = keyword
        edges = [edge for edge in _EDGES if edge in given]
        if len(edges) > 1:
            self.error("one of rise, fall and cross", given[edges[1]].span)
        delay = given["td"].value if "td" in given else None
        if isinstance(head.left, ast.Name) and head.left.name == "at" and head.right is not None:
            return ast.Event(None, None, head.right, delay, "cross", None, head.span)
        right = head.right
        if "val" in given:
            if right is not None:
                self.error("a level is given twice", given["val"].span)
            right = given["val"].value
        if right is None:
            self.error(f"{head.word} has no level", head.span, "write v(node)=level or val=level")
        edge = edges[0] if edges else "cross"
        return ast.Event(head.left, right, None, delay, edge, given[edge].value if edges else None, head.span)
