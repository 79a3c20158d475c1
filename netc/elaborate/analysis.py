"""Cards about the run: ``.tran``, ``.options``, ``.temp``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import netc.parse.ast as ast
from netc.elaborate.circuit import Circuit
from netc.elaborate.scopes import Scope
from netc.elaborate.spreads import apart
from netc.ir.program import Timing
from netc.parse.dialects import dialect_hint


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEMPERATURES = frozenset({"temp", "tnom"})
_STEPPING = _words(
    """
    method maxord xmu reltol abstol vntol chgtol trtol itl1 itl2 itl3 itl4 itl5 itl6 gminsteps srcsteps gmindc
    minbreak pivtol pivrel ramptime convstep convabsstep autostop trytocompact noopiter noinit klu sparse
    """
)
"""How another simulator solves and steps: netc takes explicit Euler steps of one length."""
_CIRCUIT = {
    "rshunt": "connect a resistor from each node to ground",
    "cshunt": "connect a capacitor from each node to ground",
    "rseries": "put a resistor in series with each inductor",
    "maxstep": "give it as the fourth number of .tran",
}
"""What changes the circuit or the run, and what to write instead."""
_NEUTRAL = {"cshunt": 0.0, "rseries": 0.0}
"""Values with which it changes nothing."""
_HARMLESS = _words(
    """
    acct noacct list node opts page nopage nomod interp width numdgt measdgt post brief probe ingold filetype
    savecurrents keepopinfo seedinfo limpts lvlcod lvltim cptime cputime warn hush badmos3 bypass oldlimit
    plotwinsize plotreltol plotvntol plotabstol csdf captab nosqrt trace noprint parhier
    """
)
"""What changes no waveform, or only that of elements netc does not have."""


_SIZES = {"defl": "l", "defw": "w", "defad": "ad", "defas": "as"}
"""Sizes of transistors whose cards give none."""

_MOST_STEPS = 1e15


def read_settings(cards: Sequence[ast.Card], scope: Scope, circuit: Circuit) -> None:
    """Fill in options and temperatures (degrees Celsius); ``.temp`` outranks ``.options temp=``.

    An option is a word, a number or another word.  What would change the circuit is refused, what changes how
    another simulator steps gets a note, an option nobody knows a warning.
    """
    context = scope.context
    context.apart = apart(cards)
    for card in cards:
        if isinstance(card, ast.Options):
            _options(card, scope, circuit)
    for card in cards:
        if isinstance(card, ast.Temp):
            context.temperature = context.number(scope.value(card.value))
    circuit.temperature = context.temperature


def _options(card: ast.Options, scope: Scope, circuit: Circuit) -> None:
    context = scope.context
    for name, expression in card.settings:
        place = card.span if expression is None else expression.span
        if name in _NEUTRAL and isinstance(expression, ast.Number) and expression.value == _NEUTRAL[name]:
            circuit.options[name] = expression.value
        elif name in _CIRCUIT:
            context.error(f"the option {name!r} is not supported yet", place, _CIRCUIT[name])
        elif name in _TEMPERATURES:
            if expression is None:
                context.error(f"the option {name!r} needs a temperature, as in {name}=27", place)
                continue
            value = circuit.options[name] = context.number(scope.value(expression))
            if name == "temp":
                context.temperature = value
            else:
                context.nominal_temperature = value
        elif name in _SIZES:
            value = math.nan if expression is None else context.number(scope.value(expression))
            if value >= 0:
                context.sizes[_SIZES[name]] = circuit.options[name] = value
            else:
                context.error(f"the option {name!r} needs a size, as in {name}=1u", place)
        elif name in ("gmin", "seed", "scale"):
            value = math.nan if expression is None else context.number(scope.value(expression))
            if name == "gmin" and value >= 0:
                context.gmin = value
            elif name == "seed" and value >= 0 and value.is_integer():
                context.random = np.random.default_rng(int(value))
            elif name == "scale" and value > 0:
                context.scale = value
            else:
                wanted = {"gmin": "a conductance in siemens", "seed": "a whole number"}.get(name, "a number above 0")
                context.error(f"the option {name!r} needs {wanted}", place)
            circuit.options[name] = value
        else:
            circuit.options[name] = expression.value if isinstance(expression, ast.Number) else None
            if name not in _STEPPING and name not in _HARMLESS:
                context.warning(f"the option {name!r} is not known to netc and has no effect", place)
    stepping = [name for name, _ in card.settings if name in _STEPPING]
    if stepping:
        shown = ", ".join(stepping)
        context.note(f"{shown}: no effect in netc, which takes explicit Euler steps of one length", card.span)


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
            f".tran takes 2 to 4 numbers, {len(card.arguments)} given",
            card.span,
            ".tran tstep tstop [tstart [tmax]]; " + dialect_hint("ltspice"),
        )
        return None
    numbers = [context.number(scope.value(argument)) for argument in card.arguments]
    if any(math.isnan(number) for number in numbers):
        return None
    good = True
    whats = ("step", "stop time", "start time", "maximum step")
    for what, number, argument in zip(whats, numbers, card.arguments, strict=False):
        if number < 0 or (number == 0 and what in ("step", "stop time")):
            hint = dialect_hint("ltspice", "pspice") if what == "step" and number == 0 else None
            context.error(f"the {what} of .tran must be above 0, not {number:g} s", argument.span, hint)
            good = False
    start = numbers[2] if len(numbers) > 2 else 0.0
    if good and start >= numbers[1]:
        context.error(f".tran starts to save at {start:g} s, not before it stops at {numbers[1]:g} s", card.span)
        good = False
    # 0 is how a deck says "no maximum" when it only wants uic or a start time
    maximum = numbers[3] if len(numbers) > 3 and numbers[3] > 0 else None
    if good and not numbers[1] / (maximum or numbers[0]) < _MOST_STEPS:
        context.error(f".tran takes more than {_MOST_STEPS:g} steps", card.span, "use a larger step")
        good = False
    return Timing(numbers[0], numbers[1], start, maximum, card.uic) if good else None
