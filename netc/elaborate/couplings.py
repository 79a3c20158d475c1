"""``K`` cards: which inductors are coupled, and how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import netc.parse.ast as ast
from netc.elaborate.circuit import Circuit, Coupling
from netc.elaborate.scopes import Scope


def couple(
    cards: Sequence[tuple[ast.Coupling, Scope]], circuit: Circuit, find: Callable[[Scope, str], int | None]
) -> None:
    """Add the couplings of ``cards`` to ``circuit``; ``find`` returns the branch an element's name means."""
    seen: dict[tuple[int, int], str] = {}
    for card, scope in cards:
        context = scope.context
        value = scope.value(card.coefficient)
        number = context.number(value)
        if math.isnan(number):
            continue
        if not 0 < abs(number) < 1:
            hint = "0.999 is a good transformer" if abs(number) == 1 else None
            what = "an ideal coupling of 1 leaves the currents undetermined" if abs(number) == 1 else "|k| is above 0"
            context.error(f"the coefficient of {card.name} must be between -1 and 1: {what}", card.span, hint)
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
        for first, second in combinations(numbers, 2):
            pair = (min(first, second), max(first, second))
            if first == second:
                context.error(f"{card.name} couples an inductor with itself", card.span)
            elif pair in seen:
                context.error(f"{card.name} couples the inductors of {seen[pair]} again", card.span)
            else:
                seen[pair] = card.name
                circuit.couplings.append(Coupling(scope.prefix + card.name, (first, second), value, card.span))
