"""PULSE, SIN, EXP, PWL, SFFM and AM as expressions of time, with a value slot for every argument.

Equations and defaults are those of the ngspice manual, "Independent sources for voltage or current"; an
argument that is missing or 0 is taken from ``.tran`` where the manual says so.

Levels and frequencies have the role ``source``.  Times have none: the waveform has kinks there, and a value has no
derivative with respect to a time at which a kink meets a step of the simulation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Value
from netc.elaborate.context import NAN, Context, as_expr, as_value
from netc.elaborate.scopes import Scope
from netc.ir.build import add, binary, div, mul, neg, select, sub, unary
from netc.ir.nodes import Columns, Const, Expr, Interpolate, Slot, Time
from netc.ir.program import Timing

_RADIANS_PER_TURN = 6.283185307179586
_MOST_NAMED_POINTS = 16  # the values of a longer table are data, not parameters worth a name each
_JUMP = 1e-12  # how long a jump between two points at one time takes, relative to the time
_SHORT = 1e-6  # s
_RADIANS_PER_DEGREE = _RADIANS_PER_TURN / 360.0


@dataclass(frozen=True, slots=True)
class Defaulted:
    """An argument that ``.tran`` gives where the deck says nothing or 0; ``added`` to another argument, if any."""

    given: ast.Expression | None
    default: Callable[[Timing], float]
    kind: str
    span: Span
    added: Defaulted | None = None

    def value(self, scope: Scope) -> Value:
        """Return the argument, evaluated in ``scope``."""
        context = scope.context
        if self.given is not None:
            value = scope.value(self.given)
            if context.number(value) != 0:
                return value
        if context.timing is None:
            if not context.timing_failed:
                context.error(
                    f"an argument of {self.kind.upper()} is missing or 0, which stands for a time of .tran, "
                    "and there is no .tran",
                    self.span,
                    "give the argument or add a .tran card",
                )
            return NAN
        value = self.default(context.timing)
        return value if self.added is None else as_value(add(as_expr(self.added.value(scope)), value))


WaveformSource = float | ast.Expression | Defaulted


@dataclass(slots=True)
class Shape:
    """A waveform's template, and the sources, roles and units of its slots."""

    template: Expr = field(default_factory=lambda: Const(0.0))
    sources: list[WaveformSource] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    ascending: tuple[int, int] | None = None  # slots that must ascend: the times of a PWL

    def slot(self, source: WaveformSource, unit: str, role: str = "source") -> Expr:
        """Return a new value slot."""
        self.roles.append("" if unit == "s" else role)
        self.sources.append(source.value if isinstance(source, ast.Number) else source)
        self.units.append(unit)
        slot: Expr = Slot("value", len(self.sources) - 1)
        return slot


def shape_of(waveform: ast.Waveform, unit: str, context: Context) -> Shape | None:
    """Return the shape of a source card's waveform, in ``unit`` (V or A), or ``None`` after an error."""
    builder, least, most = _WAVEFORMS[waveform.kind.lower()]
    count = len(waveform.arguments)
    if count < least or (most is not None and count > most):
        wanted = f"{least} or more" if most is None else f"{least} to {most}"
        context.error(
            f"{waveform.kind.upper()} takes {wanted} arguments, {count} given",
            waveform.arguments[most].span if most is not None and count > most else waveform.span,
        )
        return None
    if waveform.kind.lower() != "pwl" and waveform.parameters:
        name, value = waveform.parameters[0]
        context.error(f"{name}= beside {waveform.kind.upper()} is not supported", value.span, "write its values out")
        return None
    shape = Shape()
    template = builder(shape, waveform, unit, context)
    if template is None:
        return None
    shape.template = template
    return shape


def _since(shape: Shape, delay: ast.Expression | Defaulted | None) -> Expr:
    time = Time()
    return time if delay is None else sub(time, shape.slot(delay, "s"))


def _pulse(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr:
    given = (*waveform.arguments, *(None,) * 8)

    def tstep(position: int) -> Expr:
        return shape.slot(Defaulted(given[position], lambda t: t.tstep, "pulse", waveform.span), "s")

    def tstop(position: int) -> Expr:
        return shape.slot(Defaulted(given[position], lambda t: t.tstop, "pulse", waveform.span), "s")

    low = shape.slot(waveform.arguments[0], unit)
    high = shape.slot(waveform.arguments[1], unit)
    since = _since(shape, given[2])
    rise, fall, width, period = tstep(3), tstep(4), tstop(5), tstop(6)
    turns = unary("floor", div(since, period))
    phase = select(binary("gt", since, period), sub(since, mul(period, turns)), since)
    end = add(add(rise, width), fall)
    edge = binary("min", div(phase, rise), div(sub(end, phase), fall))
    height = binary("min", binary("max", edge, 0.0), 1.0)
    if given[7] is not None:  # so many pulses; 0 stands for no end
        cycles = shape.slot(given[7], "", role="")
        endless = binary("le", cycles, 0.0)
        height = select(binary("max", binary("lt", since, mul(period, cycles)), endless), height, 0.0)
    return add(low, mul(sub(high, low), height))


def _sin(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr:
    given = (*waveform.arguments, *(None,) * 6)
    offset = shape.slot(waveform.arguments[0], unit)
    amplitude = shape.slot(waveform.arguments[1], unit)
    frequency = shape.slot(Defaulted(given[2], lambda t: 1.0 / t.tstop, "sin", waveform.span), "Hz")
    since = Time() if given[3] is None else binary("max", _since(shape, given[3]), 0.0)
    angle = mul(mul(_RADIANS_PER_TURN, frequency), since)
    if given[5] is not None:
        angle = add(angle, mul(_RADIANS_PER_DEGREE, shape.slot(given[5], "deg")))
    wave = mul(amplitude, unary("sin", angle))
    if given[4] is not None:
        wave = mul(wave, unary("exp", neg(mul(since, shape.slot(given[4], "1/s")))))
    return add(offset, wave)


def _exp(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr:
    given = (*waveform.arguments, *(None,) * 6)

    def source(position: int, added: Defaulted | None = None) -> Defaulted:
        return Defaulted(given[position], lambda t: t.tstep, "exp", waveform.span, added)

    low = shape.slot(waveform.arguments[0], unit)
    high = shape.slot(waveform.arguments[1], unit)
    first = source(2)

    def saturation(start: Defaulted, constant: Defaulted) -> Expr:
        since = binary("max", _since(shape, start), 0.0)
        return sub(1.0, unary("exp", neg(div(since, shape.slot(constant, "s")))))

    rising = saturation(first, source(3))
    falling = saturation(source(4, first), source(5))
    return add(low, mul(sub(high, low), sub(rising, falling)))


def _pwl(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr | None:
    arguments = waveform.arguments
    if len(arguments) % 2:
        context.error("PWL takes pairs of time and value; the last time has no value", arguments[-1].span)
        return None
    named = dict(waveform.parameters)
    for name, value in waveform.parameters:
        if name not in ("td", "r"):
            context.error(f"{name}= of PWL is not supported yet", value.span, "write the points out")
            return None
    role = "source" if len(arguments) <= 2 * _MOST_NAMED_POINTS else ""
    values = [shape.slot(value, unit, role) for value in arguments[1::2]]
    if len(values) == 1:
        return values[0]
    first = len(shape.sources)
    times = [shape.slot(time, "s") for time in arguments[0::2]]
    shape.ascending = (first, len(shape.sources))
    since = _since(shape, named.get("td"))
    if "r" in named:
        # after the last point the waveform goes on from the point at r
        again = shape.slot(named["r"], "s")
        length = sub(times[-1], again)
        turns = unary("floor", div(sub(since, again), length))
        since = select(binary("gt", since, times[-1]), sub(since, mul(length, turns)), since)
    points: Expr = Interpolate(since, Columns(*times), Columns(*values))
    return points


def _sffm(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr:
    """offset + amplitude sin(2 pi fc t + phase + index sin(2 pi fs t + phase of the signal))."""
    given = (*waveform.arguments, *(None,) * 8)
    offset, amplitude = shape.slot(waveform.arguments[0], unit), shape.slot(waveform.arguments[1], unit)
    carrier = _turning(shape, Time(), waveform.arguments[2], given[5])
    signal = _turning(shape, Time(), waveform.arguments[4], given[6])
    index = shape.slot(waveform.arguments[3], "")
    return add(offset, mul(amplitude, unary("sin", add(carrier, mul(index, unary("sin", signal))))))


def _am(shape: Shape, waveform: ast.Waveform, unit: str, context: Context) -> Expr:
    """amplitude (offset + sin(2 pi fm t)) sin(2 pi fc t), 0 before the delay."""
    given = (*waveform.arguments, None)
    amplitude, offset = shape.slot(waveform.arguments[0], unit), shape.slot(waveform.arguments[1], "")
    since = Time() if given[4] is None else binary("max", _since(shape, given[4]), 0.0)
    modulation = unary("sin", _turning(shape, since, waveform.arguments[2], None))
    carrier = unary("sin", _turning(shape, since, waveform.arguments[3], None))
    return mul(mul(amplitude, add(offset, modulation)), carrier)


def _turning(shape: Shape, since: Expr, frequency: ast.Expression, phase: ast.Expression | None) -> Expr:
    """Return an angle that turns with a frequency in Hz from a phase in degrees."""
    angle = mul(mul(_RADIANS_PER_TURN, shape.slot(frequency, "Hz")), since)
    return angle if phase is None else add(angle, mul(_RADIANS_PER_DEGREE, shape.slot(phase, "deg")))


_Builder = Callable[[Shape, ast.Waveform, str, Context], Expr | None]
_WAVEFORMS: dict[str, tuple[_Builder, int, int | None]] = {
    "pulse": (_pulse, 2, 8),
    "sin": (_sin, 2, 6),
    "exp": (_exp, 2, 6),
    "pwl": (_pwl, 2, None),
    "sffm": (_sffm, 5, 7),
    "am": (_am, 4, 5),
}


def ascending(shape_slots: tuple[int, int], values: tuple[Value, ...], scope: Scope, span: Span) -> tuple[Value, ...]:
    """Return the values of a PWL with equal times moved apart by next to nothing; report times that descend.

    Two points at one time are a jump: the earlier counts at that time, the later right after, as in ngspice.
    """
    first, end = shape_slots
    numbers = [scope.context.number(value) for value in values[first:end]]
    result = list(values)
    for earlier, later in pairwise(numbers):
        if later < earlier:
            scope.context.error(
                f"the times of PWL must ascend: {later:g} s follows {earlier:g} s",
                span,
                "write the points in order of time",
            )
            return values
    for k in range(len(numbers) - 1):
        if numbers[k] >= numbers[k + 1]:
            short = _JUMP * max(abs(numbers[k]), _SHORT)
            numbers[k] += short
            numbers[k + 1] = numbers[k] + short
            result[first + k : first + k + 2] = numbers[k : k + 2]
    return tuple(result)
