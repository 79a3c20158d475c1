"""Cards about the run: ``.tran``, ``.options``, ``.temp``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import netc.parse.ast as ast
from netc.elaborate.circuit import Circuit
from netc.elaborate.scopes import Scope
from netc.ir.program import Timing


def read_settings(cards: Sequence[ast.Card], scope: Scope, circuit: Circuit) -> None:
    """Fill in options and temperatures (degrees Celsius); ``.temp`` outranks ``.options temp=``."""
    context = scope.context
    for card in cards:
        if isinstance(card, ast.Options):
            for name, expression in card.settings:
                value = None if expression is None else context.number(scope.value(expression))
                circuit.options[name] = value
                if value is not None and name == "temp":
                    context.temperature = value
                elif value is not None and name == "tnom":
                    context.nominal_temperature = value
    for card in cards:
        if isinstance(card, ast.Temp):
            context.temperature = context.number(scope.value(card.value))
    circuit.temperature = context.temperature


def read_timing(cards: Sequence[ast.Card], scope: Scope) -> Timing | None:
    """Return the deck's timing; a ``.tran`` card outranks the ``tran`` of a ``.control`` block."""
    context = scope.context
    runs = [card for card in cards if isinstance(card, ast.Tran)]
    own = [card for card in runs if not card.from_control]
    chosen = own or runs
    if not chosen:
        return None
    for card in chosen[:-1]:
        context.warning(f".tran is given again, at {chosen[-1].span}: the last one counts", card.span)
    timing = _timing(chosen[-1], scope)
    context.timing_failed = timing is None
    return timing


def _timing(card: ast.Tran, scope: Scope) -> Timing | None:
    context = scope.context
    if not 2 <= len(card.arguments) <= 4:
        context.error(
            f".tran takes 2 to 4 numbers, {len(card.arguments)} given", card.span, ".tran tstep tstop [tstart [tmax]]"
        )
        return None
    numbers = [context.number(scope.value(argument)) for argument in card.arguments]
    if any(math.isnan(number) for number in numbers):
        return None
    good = True
    whats = ("step", "stop time", "start time", "maximum step")
    for what, number, argument in zip(whats, numbers, card.arguments, strict=False):
        if number < 0 or (number == 0 and what in ("step", "stop time")):
            context.error(f"the {what} of .tran must be above 0, not {number:g} s", argument.span)
            good = False
    start = numbers[2] if len(numbers) > 2 else 0.0
    if good and start >= numbers[1]:
        context.error(f".tran starts to save at {start:g} s, not before it stops at {numbers[1]:g} s", card.span)
        good = False
    # 0 is how a deck says "no maximum" when it only wants uic or a start time
    maximum = numbers[3] if len(numbers) > 3 and numbers[3] > 0 else None
    return Timing(numbers[0], numbers[1], start, maximum, card.uic) if good else None
