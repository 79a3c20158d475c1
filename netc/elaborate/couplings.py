"""``K`` cards: which inductors are coupled, and how much.

An ideal coupling, k = 1, has no inverse of its matrix of inductances.  It is an ideal transformer across the first
inductance: with n = sqrt(L2 / L1),

    v_1 = L_1 d(i_1 + n i_2)/dt,    v_2 = n v_1

so the first inductor carries i_1 + n i_2, a source beside it -n i_2, and the second becomes a voltage source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import netc.parse.ast as ast
from netc.elaborate.circuit import Branch, Circuit, Coupling, Law, Value
from netc.elaborate.context import Context, as_expr, as_value
from netc.elaborate.scopes import Scope
from netc.elaborate.terminals import Terminals
from netc.ir.build import add, div, mul, unary
from netc.ir.nodes import Slot

_WINDING = Law("V", "L", mul(Slot("value", 0), Slot("voltage", 0)), ("",), ("",))
_CARRIED = Law("I", "L", mul(Slot("value", 0), Slot("current", 0)), ("",), ("",))


def couple(
    cards: Sequence[tuple[ast.Coupling, Scope]],
    circuit: Circuit,
    find: Callable[[Scope, str], int | None],
    terminals: Terminals,
) -> None:
    """Add the couplings of ``cards`` to ``circuit``; ``find`` returns the branch an element's name means.

    Currents of the circuit may be bound after this only: an ideally coupled inductor becomes two branches.
    """
    seen: dict[tuple[int, int], str] = {}
    ideal: list[tuple[ast.Coupling, Scope, list[int], float]] = []
    for card, scope in cards:
        context = scope.context
        value = scope.value(card.coefficient)
        number = context.number(value)
        if math.isnan(number):
            continue
        if not 0 < abs(number) <= 1:
            context.error(f"the coefficient of {card.name} must be between -1 and 1, and not 0", card.span)
            continue
        numbers: list[int] = []
        for name in card.inductors:
            found = find(scope, name)
            if found is None or circuit.branches[found].law.kind != "L":
                context.error(f"{card.name} couples {name!r}, which is no inductor", card.span)
            else:
                numbers.append(found)
        if len(numbers) < len(card.inductors):
            continue
        if abs(number) == 1:
            ideal.append((card, scope, numbers, number))
        for first, second in combinations(numbers, 2):
            pair = (min(first, second), max(first, second))
            if first == second:
                context.error(f"{card.name} couples an inductor with itself", card.span)
            elif pair in seen:
                context.error(f"{card.name} couples the inductors of {seen[pair]} again", card.span)
            else:
                seen[pair] = card.name
                if abs(number) == 1:
                    continue
                circuit.couplings.append(Coupling(scope.prefix + card.name, (first, second), value, card.span))
    for card, scope, numbers, sign in ideal:
        others = {n for c in circuit.couplings for n in c.inductors}
        others |= {n for other in ideal if other[0] is not card for n in other[2]}
        if others & {*numbers} or len({*numbers}) < len(numbers):
            message = f"{card.name} couples ideally inductors that other K cards couple as well: not supported yet"
            scope.context.error(message, card.span, "use a coefficient of 0.999")
        elif any(isinstance(circuit.branches[n].law.template, Slot) is False for n in numbers):
            message = f"{card.name} couples ideally an inductor that signals change: not supported yet"
            scope.context.error(message, card.span, "use a coefficient of 0.999")
        elif sign < 0 and len(numbers) > _PAIR:
            message = f"the coefficient -1 of {card.name} cannot hold between more than two inductors"
            scope.context.error(message, card.span)
        else:
            _couple_ideally(circuit, scope.context, numbers, sign, terminals)


_PAIR = 2


def _couple_ideally(circuit: Circuit, context: Context, numbers: list[int], sign: float, terminals: Terminals) -> None:
    first = circuit.branches[numbers[0]]
    start: Value | None = first.initial
    parts = [(numbers[0], 0)]
    for number in numbers[1:]:
        winding = circuit.branches[number]
        turns = mul(sign, unary("sqrt", div(as_expr(winding.values[0]), as_expr(first.values[0]))))
        ratio = as_value(turns)
        winding.law, winding.values, winding.voltages = _WINDING, (ratio,), (first.nets,)
        if winding.initial is not None:
            given = as_expr(start if start is not None else 0.0)
            start = as_value(add(given, mul(turns, as_expr(winding.initial))))
            winding.initial = None
        carried = Branch(
            f"{first.name}#{winding.name.rpartition('.')[2]}",
            first.nets,
            _CARRIED,
            (as_value(mul(-1.0, turns)),),
            first.span,
            currents=(number,),
        )
        parts.append((len(circuit.branches), 0))
        circuit.branches.append(carried)
    first.initial = start
    terminals.add(first.name, parts, first.span)
    first.name = f"{first.name}#magnetising"
