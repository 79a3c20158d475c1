"""LTspice's sources written as ngspice's: a number of cycles, and ``.tran ... startup``.

Source: LTspice XVII help, "V. Voltage Source" and ".TRAN modifiers".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from netc.diagnostics import Diagnostics
from netc.parse import ast
from netc.parse.build import binary, call, number, written

_MOST_CYCLES = 10_000
_STARTUP = 20e-6
"""s, how long the sources take to rise."""


def with_cycles(card: ast.IndependentSource, diagnostics: Diagnostics) -> Iterator[ast.Card]:
    """Write a PULSE or SINE that ends after some cycles as a PWL or an expression."""
    wave = card.waveform
    limits = {"PULSE": 8, "SIN": 7}
    if wave is None or len(wave.arguments) != limits.get(wave.kind):
        yield card
        return
    count = written(wave.arguments[-1])
    if count == 0:
        yield replace(card, waveform=replace(wave, arguments=wave.arguments[:-1]))
        return
    if wave.kind == "SIN":
        yield from _ending_sine(card, wave)
        return
    if count is None or not count.is_integer() or not 0 < count <= _MOST_CYCLES:
        hint = "write the pulses as a PWL"
        diagnostics.error(
            f"the number of cycles is a whole number from 1 to {_MOST_CYCLES:,}", wave.arguments[-1].span, hint
        )
        return
    if any(written(edge) == 0 for edge in (*wave.arguments[3:5], *wave.arguments[6:7])):
        diagnostics.error(
            "a rise, fall and period of 0 beside a number of cycles are not supported", wave.span, "write them out"
        )
    yield replace(card, waveform=_pulses(wave, int(count)))


def _pulses(wave: ast.Waveform, count: int) -> ast.Waveform:
    low, high, delay, rise, fall, width, period, _ = wave.arguments
    span = wave.span
    corners = [(number(0.0, span), low), (rise, high), (width, high), (fall, low)]
    arguments: list[ast.Expression] = []
    for cycle in range(count):
        time = binary("+", delay, binary("*", cycle, period, span), span)
        for step, level in corners:
            time = time if step is corners[0][0] else binary("+", time, step, span)
            arguments += [time, level]
    return replace(wave, kind="PWL", arguments=tuple(arguments))


def _ending_sine(card: ast.IndependentSource, wave: ast.Waveform) -> Iterator[ast.Card]:
    """Write the sine, from its end on constant; a voltage source keeps its name, for what reads its current."""
    offset, amplitude, frequency, delay, damping, phase, cycles = wave.arguments
    span = wave.span
    run = binary("-", ast.Name("time", span), delay, span)
    end = binary("/", cycles, frequency, span)
    since = call("min", call("max", run, number(0.0, span)), end)
    turn = binary("*", binary("*", 2 * math.pi, frequency, span), since, span)
    angle = binary("+", turn, binary("*", math.pi / 180, phase, span), span)
    decay = call("exp", binary("*", -1, binary("*", since, damping, span), span))
    swing = binary("*", binary("*", amplitude, decay, span), call("sin", angle), span)
    value = binary("+", offset, swing, span)
    name = f"b_{card.name}"
    if card.kind == "I":
        yield ast.BehaviouralSource("B", name, card.nodes, "i", value, span, card.parameters)
        return
    inner = f"{card.name}_sine"
    yield replace(card, nodes=(card.nodes[0], inner), dc=None, waveform=None)
    yield ast.BehaviouralSource("B", name, (inner, card.nodes[1]), "v", value, span)


def rising(card: ast.IndependentSource, diagnostics: Diagnostics) -> ast.IndependentSource:
    """Return a constant source that rises from 0 in the first 20 us."""
    if card.waveform is not None:
        hint = "leave startup out, and write the rise into the waveform"
        diagnostics.error(f"startup beside the waveform of {card.name} is not supported", card.waveform.span, hint)
        return card
    if card.dc is None or written(card.dc) == 0:
        return card
    span = card.span
    points = (number(0.0, span), number(0.0, span), number(_STARTUP, span), card.dc)
    return replace(card, dc=None, waveform=ast.Waveform("PWL", points, span))
