"""``m=`` on an X line: so many instances in parallel, computed as one that carries all their current."""

from __future__ import annotations

import math

import netc.parse.ast as ast
from netc.elaborate.circuit import Law, Value
from netc.elaborate.context import Context, as_expr, as_value
from netc.elaborate.prepared import Prepared, multiplied
from netc.elaborate.scopes import Definition, Scope
from netc.ir.build import mul

_NOT_MULTIPLIED = frozenset("BSW")


def instances_in_parallel(card: ast.Instance, definition: Definition, scope: Scope) -> Value | None:
    """Return the ``m=`` of an X line in ``scope``, ``None`` for a single instance.

    A subcircuit that has a parameter ``m`` of its own means what it likes by it.
    """
    expression = dict(card.parameters).get("m")
    if expression is None or "m" in definition.parameters:
        return scope.multiplicity
    value = scope.value(expression)
    number = scope.context.number(value)
    if math.isnan(number) or (number == 1 and isinstance(value, float)):
        return scope.multiplicity
    if number <= 0:
        scope.context.error(f"m= must be above 0, not {number:g}", expression.span)
    if scope.multiplicity is not None and not scope.context.native:
        return as_value(mul(as_expr(scope.multiplicity), as_expr(value)))
    if scope.multiplicity is not None:
        scope.context.error(
            "m= of an instance inside one that has m= itself is not supported: ngspice forgets one of the two",
            expression.span,
            "write the product on the outer instance, or the instances out",
        )
    return value


def multiplied_values(
    context: Context, item: Prepared, values: tuple[Value, ...], count: Value
) -> tuple[Law, tuple[Value, ...]]:
    """Return law and values of ``item`` in an instance that stands for ``count`` of them."""
    law = item.law
    if law.kind not in "RCLI":
        return law, values
    trouble = None
    if item.counted and context.native:
        trouble = "of which ngspice forgets its own m="
    elif law.letter in _NOT_MULTIPLIED and law.kind == "I" and context.native:
        trouble = "which ngspice does not multiply"
    elif item.currents:
        trouble = "which reads a current, to ngspice that of all instances together"
    if trouble is not None:
        context.error(
            f"{item.name} stands in an instance with m=, {trouble}: not supported",
            item.span,
            "write the instances out, one X line each",
        )
    return multiplied(context, law), (*values, count)
