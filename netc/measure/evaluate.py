"""``.measure`` on waveforms between whose samples signals are straight lines, as ngspice takes them to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netc.elaborate.quantities import Event, Measure, Quantity
from netc.ir.interpret import evaluate as interpret
from netc.ir.nodes import Expr, Slot, Time

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Result:
    """One measure: its value in the SI unit of what it measures, ``None`` with a reason where it has none.

    ``details`` are the numbers around it, such as the times it was taken between.
    """

    name: str
    value: float | None
    details: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def line(self) -> str:
        """Return the result as a line of text."""
        if self.value is None:
            return f"{self.name} = failed: {self.reason}"
        around = "".join(f"  {name}= {value:.6g}" for name, value in self.details.items())
        return f"{self.name} = {self.value:.6e}{around}"

    def to_json(self) -> dict[str, object]:
        """Return the result as plain data: value, what is around it, or why it failed."""
        return {"value": self.value, **self.details, **({"failed": self.reason} if self.reason else {})}


def observed(measures: Iterable[Measure]) -> list[str]:
    """Return the signals that have to be simulated for ``measures``, each once."""
    return list(dict.fromkeys(name for measure in measures for name in measure.signals))


def evaluate(measures: Sequence[Measure], times: Array, signals: Mapping[str, Array]) -> list[Result]:
    """Return the result of each measure, in order; later ones may use the values of earlier ones.

    Args:
        measures: bound to the circuit, see :attr:`netc.elaborate.circuit.Circuit.measures`.
        times: ``(rows,)``, seconds, ascending.
        signals: by name ``(rows,)``, volts and amperes: at least those of :func:`observed`.
    """
    evaluation = _Evaluation(np.asarray(times, dtype=np.float64), signals)
    return [evaluation.result(measure) for measure in measures]


class _Failed(Exception):
    """A measure has no value; its argument says why."""


class _Evaluation:
    def __init__(self, times: Array, signals: Mapping[str, Array]) -> None:
        self.times = times
        self.signals = signals
        self.known: dict[str, float] = {}

    def result(self, measure: Measure) -> Result:
        """Return one result and remember its value."""
        try:
            value, details = self._measured(measure)
            if not math.isfinite(value):
                raise _Failed("the value is not a finite number")
        except _Failed as failure:
            self.known.pop(measure.name, None)
            return Result(measure.name, None, {}, str(failure))
        self.known[measure.name] = value
        return Result(measure.name, value, details)

    def _measured(self, measure: Measure) -> tuple[float, dict[str, float]]:
        quantity = measure.quantity
        if measure.function == "param":
            assert quantity is not None
            return self.scalar(quantity), {}
        start, stop = self._window(measure)
        if measure.function == "delay":
            assert measure.trigger is not None and measure.target is not None
            first, last = self.moment(measure.trigger, start, stop), self.moment(measure.target, start, stop)
            return last - first, {"targ": last, "trig": first}
        if measure.function in ("find", "deriv"):
            assert measure.trigger is not None
            at = self.moment(measure.trigger, start, stop)
            if quantity is None:
                return at, {}
            return self.at(quantity, at, slope=measure.function == "deriv"), {"at": at}
        assert quantity is not None
        if measure.trigger is not None and measure.target is not None:
            start, stop = (self.moment(event, start, stop) for event in (measure.trigger, measure.target))
        return self._statistic(measure.function, quantity, start, stop)

    def _window(self, measure: Measure) -> tuple[float, float]:
        begin, end = float(self.times[0]), float(self.times[-1])
        start = max(begin, self.scalar(measure.start)) if measure.start is not None else begin
        stop = min(end, self.scalar(measure.stop)) if measure.stop is not None else end
        return start, stop

    def _statistic(
        self, function: str, quantity: Quantity, start: float, stop: float
    ) -> tuple[float, dict[str, float]]:
        if not start < stop:
            raise _Failed(f"nothing lies between {start:g} s and {stop:g} s")
        inside = self.times[(self.times > start) & (self.times < stop)]
        times = np.concatenate([[start], inside, [stop]])
        values = np.interp(times, self.times, self.values(quantity))
        if function in _EXTREMES:
            find, gives_time = _EXTREMES[function]
            index = int(find(values))
            value, time = float(values[index]), float(times[index])
            return (time, {"with": value}) if gives_time else (value, {"at": time})
        return float(_STATISTICS[function](times, values)), {"from": start, "to": stop}

    # ------------------------------------------------------------------ times

    def moment(self, event: Event, start: float, stop: float) -> float:
        """Return when ``event`` happens, in seconds."""
        if event.at is not None:
            at = self.scalar(event.at)
            if not self.times[0] <= at <= self.times[-1]:
                raise _Failed(f"{at:g} s is outside of what was simulated")
            return at
        assert event.left is not None and event.right is not None
        begin = max(start, self.scalar(event.delay)) if event.delay is not None else start
        found = self._crossings(self.values(event.left) - self.values(event.right), event.edge)
        found = found[(found >= begin) & (found <= stop)]
        count = 1 if event.count is None else round(self.scalar(event.count))
        if event.last and len(found):
            return float(found[-1])
        if count < 1:
            raise _Failed(f"crossings are counted from 1, not {count}")
        if event.last or len(found) < count:
            times = "once" if len(found) == 1 else f"{len(found)} times"
            raise _Failed(f"the level is crossed {times}" if len(found) else "the level is not crossed")
        return float(found[count - 1])

    def _crossings(self, difference: Array, edge: str) -> Array:
        """Return the times at which ``difference`` passes 0; where it starts at 0 it passes when it leaves."""
        side = np.sign(difference)
        if not side.any():
            return np.empty(0)
        first = int(np.flatnonzero(side)[0])
        side[:first] = -side[first]
        # a sample on the level belongs to the side it came from
        last = np.maximum.accumulate(np.where(side != 0, np.arange(len(side)), 0))
        side = side[last]
        change = side[1:] - side[:-1]
        rows = np.flatnonzero({"rise": change > 0, "fall": change < 0}.get(edge, change != 0))
        low, high = difference[rows], difference[rows + 1]
        times = self.times
        found: Array = times[rows] + (times[rows + 1] - times[rows]) * low / (low - high)
        return found

    # ------------------------------------------------------------------ values

    def at(self, quantity: Quantity, time: float, *, slope: bool = False) -> float:
        """Return ``quantity`` at a time, or its slope: those of parabolas through three samples, interpolated."""
        values = self.values(quantity)
        if slope:
            if len(values) < 3:
                raise _Failed("a slope needs three samples")
            values = np.gradient(values, self.times, edge_order=2)
        return float(np.interp(time, self.times, values))

    def scalar(self, quantity: Quantity) -> float:
        """Return a quantity that no signal is part of."""
        if quantity.signals:
            raise _Failed("a number is needed where a signal is given")
        return float(self.values(quantity)[0])

    def values(self, quantity: Quantity) -> Array:
        """Return ``quantity`` over time, shape ``(rows,)``."""
        environment: dict[Expr, Array] = {Time(): self.times[:, None]}
        for index, value in enumerate(quantity.values):
            if isinstance(value, str):
                if value not in self.known:
                    raise _Failed(f"{value!r} has no value")
                value = self.known[value]
            environment[Slot("value", index)] = np.array([value])
        for index, (positive, negative) in enumerate(quantity.voltages):
            environment[Slot("voltage", index)] = self._node(positive) - self._node(negative)
        for index, name in enumerate(quantity.currents):
            environment[Slot("current", index)] = self.signals[f"i({name})"][:, None]
        with np.errstate(all="ignore"):
            result = interpret([quantity.expr], environment)[0]
        return np.broadcast_to(result, (len(self.times), 1))[:, 0]

    def _node(self, name: str) -> Array:
        return np.zeros((len(self.times), 1)) if name == "0" else self.signals[name][:, None]


def _integral(times: Array, values: Array) -> float:
    return float(np.sum((values[1:] + values[:-1]) * np.diff(times)) / 2)


def _mean(times: Array, values: Array) -> float:
    return _integral(times, values) / float(times[-1] - times[0])


_EXTREMES: dict[str, tuple[Callable[[Array], np.intp], bool]] = {
    "min": (np.argmin, False),
    "max": (np.argmax, False),
    "min_at": (np.argmin, True),
    "max_at": (np.argmax, True),
}
_STATISTICS: dict[str, Callable[[Array, Array], float]] = {
    "pp": lambda times, values: float(np.ptp(values)),
    "integ": _integral,
    "avg": _mean,
    "rms": lambda times, values: math.sqrt(_mean(times, values * values)),
}
