"""What an element's line becomes before it is bound: its laws, and what each instance binds into them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Law, Value
from netc.elaborate.context import Context
from netc.elaborate.expressions import Template
from netc.elaborate.scopes import Scope
from netc.ir.build import ONE, ZERO, add, div, mul, neg
from netc.ir.derivative import tangent
from netc.ir.nodes import Expr, Slot, postorder, substitute

GROUND = ("0", "0")


class Computed(Protocol):
    """A value that takes more than one expression to work out."""

    def value(self, scope: Scope) -> Value:
        """Return the value in the instance ``scope``."""


Source = float | ast.Expression | Computed


@dataclass(slots=True)
class Prepared:
    """An element line ready to be bound: its law, and by name or as syntax what each instance binds into it.

    ``plain`` says that all sources are numbers, ``ascending`` which of them are times in order.
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
    counted: bool = False  # whether its card has an m=


def bind_value(source: Source, scope: Scope) -> Value:
    """Return what ``source`` is in the instance ``scope``."""
    if isinstance(source, float):
        return source
    if isinstance(source, _SYNTAX):
        return scope.value(source)
    return source.value(scope)


_SYNTAX = (ast.Number, ast.Name, ast.Call, ast.Unary, ast.Binary, ast.Ternary, ast.Voltage, ast.Current)


def multiplied(context: Context, law: Law) -> Law:
    """Return the law of as many such branches in parallel as one more value slot, the last, says.

    Currents and capacitances add up, resistances and inductances share the current.
    """
    count: Expr = Slot("value", len(law.roles))
    template = mul(law.template, count) if law.kind in "IC" else div(law.template, count)
    return context.law(law.kind, law.letter, template, (*law.roles, ""), (*law.units, ""))


def with_multiplicity(context: Context, item: Prepared, parameters: tuple[tuple[str, ast.Expression], ...]) -> Prepared:
    """Return ``item`` with the ``m=`` of its card, if there is one."""
    count = dict(parameters).get("m")
    if count is None:
        return item
    law = multiplied(context, item.law)
    return replace(item, law=law, sources=(*item.sources, count), plain=False, counted=True)


@dataclass(frozen=True, slots=True)
class BehaviouralLines:
    """Makes the branches of an element that an expression of signals gives."""

    context: Context

    def lines(
        self, name: str, nodes: tuple[str, str], kind: str, letter: str, template: Template, span: Span
    ) -> list[Prepared]:
        """Return the branch with this law, and the derivatives and integrals it reads.

        A current that is proportional to the rate of change of the element's own voltage becomes a capacitance: the
        voltage is then a state, where a rate of change could not be known before it.
        """
        self._name_auxiliaries(name, template)
        extra: list[Prepared] = []
        if kind == "I":
            extra = self._own_capacitance(name, nodes, letter, template, span)
        lines = [self._line(name, nodes, kind, letter, template.expr, template, span)]
        for auxiliary in template.auxiliaries:
            lines.append(
                self._line(
                    template.currents[auxiliary.slot], GROUND, auxiliary.kind, letter, auxiliary.expr, template, span
                )
            )
            if auxiliary.kind == "S":
                lines[-1].initial = 0.0
        return lines + extra

    @staticmethod
    def _name_auxiliaries(name: str, template: Template) -> None:
        for auxiliary in template.auxiliaries:
            template.currents[auxiliary.slot] = name + template.currents[auxiliary.slot]

    def _own_capacitance(
        self, name: str, nodes: tuple[str, str], letter: str, template: Template, span: Span
    ) -> list[Prepared]:
        """Take ``c(...) ddt(q(v, ...))`` with v the element's own voltage out of a current: c dq/dv is a capacitance.

        What else q depends on stays in the current, as c dq/du ddt(u).
        """
        own = [Slot("voltage", k) for k, pair in enumerate(template.voltages) if {*pair} == {*nodes}]
        found: list[Prepared] = []
        for auxiliary in [a for a in template.auxiliaries if a.kind == "D"]:
            slot: Expr = Slot("current", auxiliary.slot)
            mine = [s for s in own if s in set(postorder(auxiliary.expr))]
            if not mine or any(slot in set(postorder(other.expr)) for other in template.auxiliaries):
                continue
            factor = tangent(template.expr, {slot: ONE})
            if slot in set(postorder(factor)):
                self.context.error(
                    "the current depends on the rate of change of its own voltage in a way that is not linear: "
                    "not supported yet",
                    span,
                )
                continue
            slope: Expr = ZERO
            for s in mine:
                turned = template.voltages[s.index] != nodes
                part = tangent(auxiliary.expr, {s: ONE})
                slope = add(slope, neg(part) if turned else part)
            rest = _without(template.expr, slot)
            others = [
                n for n in postorder(auxiliary.expr) if isinstance(n, Slot) and n.kind != "value" and n not in mine
            ]
            template.auxiliaries.remove(auxiliary)
            for other in dict.fromkeys(others):
                known = len(template.auxiliaries)
                rate = template.auxiliary("D", other)
                if len(template.auxiliaries) > known:
                    template.currents[-1] = f"{name}{template.currents[-1]}#{len(template.currents)}"
                rest = add(rest, mul(mul(factor, tangent(auxiliary.expr, {other: ONE})), rate))
            template.expr = rest
            part_name = f"{name}#c{auxiliary.slot}"
            found.append(self._line(part_name, nodes, "C", letter, mul(factor, slope), template, span))
        return found

    def _line(
        self,
        name: str,
        nodes: tuple[str, str],
        kind: str,
        letter: str,
        expr: Expr,
        template: Template,
        span: Span,
    ) -> Prepared:
        """Return a branch with the law ``expr``, whose slots are the template's."""
        slots: dict[str, list[int]] = {"value": [], "voltage": [], "current": []}
        for node in postorder(expr):
            if isinstance(node, Slot):
                slots[node.kind].append(node.index)
        places = {kind: {index: place for place, index in enumerate(sorted(set(used)))} for kind, used in slots.items()}
        renumbered = substitute(
            expr, lambda node: Slot(node.kind, places[node.kind][node.index]) if isinstance(node, Slot) else None
        )
        count = len(places["value"])
        sources = tuple(template.sources[index] for index in places["value"])
        return Prepared(
            name,
            nodes,
            self.context.law(kind, letter, renumbered, ("",) * count, ("",) * count),
            sources,
            span,
            tuple(template.voltages[index] for index in places["voltage"]),
            tuple(template.currents[index] for index in places["current"]),
            plain=all(isinstance(source, float) for source in sources),
        )


def _without(expr: Expr, slot: Expr) -> Expr:
    return substitute(expr, lambda node: ZERO if node is slot else None)
