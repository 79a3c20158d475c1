"""Measured I-V sweeps and pulse trains: CSV files to what drives a device, and what it answered."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.diagnostics import Diagnostics, NetcError, Span, printable

Array = NDArray[np.float64]

_PREFIXES = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "\N{MICRO SIGN}": 1e-6, "\N{GREEK SMALL LETTER MU}": 1e-6, "m": 1e-3}
_PREFIXES |= {"k": 1e3, "M": 1e6, "": 1.0}
_COLUMNS = {
    "time": ("s", ("time", "t")),
    "voltage": ("V", ("voltage", "v", "amplitude", "pulse")),
    "current": ("A", ("current", "i")),
    "width": ("s", ("width", "duration")),
    "conductance": ("S", ("conductance", "g")),
}
_HEADING = re.compile(r"\s*([A-Za-z]+)\s*(?:[\[(_ ]\s*(.*?)\s*[\])]?)?\s*")
_EDGE = 0.01
"""Rise and fall of a pulse, as a share of its width."""

_SHORTEST = 3


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a device was driven with, and its current at some moments.

    Attributes:
        name: of the file.
        kind: ``sweep`` or ``pulses``.
        time: corners of the driving voltage, seconds, rising from 0.
        voltage: at those corners, V; straight in between.
        sampled: moments at which the current was read, seconds.
        current: then, A.
    """

    name: str
    kind: str
    time: Array
    voltage: Array
    sampled: Array
    current: Array

    @property
    def duration(self) -> float:
        """Seconds from the first to the last corner."""
        return float(self.time[-1])

    def driven_at(self, time: Array) -> Array:
        """Return the driving voltage at some times, V."""
        return np.interp(time, self.time, self.voltage)


def read_measurement(
    path: Path | str, *, sweep_rate: float | None = None, read_voltage: float = 0.1, read_width: float | None = None
) -> Measurement:
    """Read a CSV file whose first line names the columns.

    A heading has a unit in brackets where the column is not in SI units: ``current (uA)``.  A *sweep* has ``time``,
    ``voltage`` and ``current``; without ``time`` its pace is ``sweep_rate``.  A *pulse train* has ``voltage``
    (amplitude), ``width``, and the ``conductance`` read after each pulse (or the ``current`` then).

    Args:
        path: the file.
        sweep_rate: V/s, of a sweep without times.
        read_voltage: V, at which a pulse train's answers were read.
        read_width: s, of the read after each pulse; as long as the pulse when ``None``.

    Raises:
        NetcError: columns that are neither, or cells that are no numbers: all of them at once, with their places.
    """
    path = Path(path)
    table = _table(path)
    if "width" in table:
        return _pulses(path, table, read_voltage, read_width)
    missing = [name for name in ("voltage", "current") if name not in table]
    if missing:
        raise NetcError(
            f"{path} has no column {' and none for '.join(missing)}",
            hint="a sweep has time, voltage, current; a pulse train voltage, width, conductance",
        )
    voltage, current = table["voltage"], table["current"]
    if "time" in table:
        time = table["time"] - table["time"][0]
    elif sweep_rate is not None and 0 < sweep_rate < math.inf:
        time = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(voltage))))) / sweep_rate
        moves = np.concatenate(([True], np.diff(time) > 0))  # two readings at one voltage would be at one time
        time, voltage, current = time[moves], voltage[moves], current[moves]
    else:
        raise NetcError(f"{path} has no column time", hint="say how fast the voltage moved with --sweep-rate, in V/s")
    if len(time) < _SHORTEST:
        raise NetcError(f"{path} has {len(time)} readings, too few to fit anything")
    return Measurement(path.name, "sweep", time, voltage, time, current)


def _pulses(path: Path, table: dict[str, Array], read_voltage: float, read_width: float | None) -> Measurement:
    if "voltage" not in table or not {"conductance", "current"} & set(table):
        raise NetcError(f"{path} has widths of pulses, but not both their voltage and the conductance after them")
    if not (math.isfinite(read_voltage) and read_voltage != 0):
        raise NetcError(f"--read-voltage must be a voltage other than 0, not {read_voltage}")
    width = table["width"]
    current = table["current"] if "current" in table else table["conductance"] * read_voltage
    corners, levels, sampled, now = [0.0], [0.0], [], 0.0
    for amplitude, lasting in zip(table["voltage"], width, strict=True):
        reading = lasting if read_width is None else read_width
        for level, time in ((float(amplitude), float(lasting)), (read_voltage, float(reading))):
            edge = _EDGE * time
            corners += [now + edge, now + time - edge, now + time]
            levels += [level, level, 0.0]
            sampled += [now + time / 2] if level is read_voltage else []
            now += time
    return Measurement(
        path.name, "pulses", np.array(corners), np.array(levels), np.array(sampled), current.astype(np.float64)
    )


def _table(path: Path) -> dict[str, Array]:
    """Return the columns by meaning, in SI units."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(text.splitlines())
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NetcError(f"cannot read {path}: {error}") from error
    if not rows:
        raise NetcError(f"{path} is empty", hint="its first line names the columns: time,voltage,current")
    headings = rows[0][1]
    meanings = [_meaning(path, heading) for heading in headings]
    names = [name for name, _ in meanings if name]
    if len(names) != len(set(names)):
        raise NetcError(f"{path} has two columns of the same meaning: {', '.join(map(printable, headings))}")
    found = Diagnostics({str(path): text.splitlines()})
    columns: dict[str, list[float]] = {name: [] for name in names}
    for line, row in rows[1:]:
        if len(row) != len(meanings):
            found.error(f"{len(row)} cells where the first line has {len(meanings)}", Span(str(path), line))
            continue
        for cell, (name, factor) in zip(row, meanings, strict=True):
            if name:
                columns[name].append(_number(cell, Span(str(path), line), found) * factor)
    _check(columns, [line for line, _ in rows[1:]], str(path), found)
    found.raise_if_failed()
    if len(rows) == 1:
        raise NetcError(f"{path} has no readings below its first line")
    return {name: np.array(values) for name, values in columns.items()}


def _check(columns: dict[str, list[float]], lines: Sequence[int], path: str, found: Diagnostics) -> None:
    """Report times that do not rise, and widths that are none."""
    time, width = columns.get("time", []), columns.get("width", [])
    for before, now, line in zip(time, time[1:], lines[1:], strict=False):
        if now <= before:
            found.error("time does not rise here", Span(path, line))
    for lasting, line in zip(width, lines, strict=False):
        if lasting <= 0:
            found.error("a pulse has to last longer than 0 s", Span(path, line))


def _meaning(path: Path, heading: str) -> tuple[str, float]:
    """Return what a column holds and the size of its unit; an empty name for columns of no interest."""
    match = _HEADING.fullmatch(heading)
    word, unit = (match[1].lower(), match[2] or "") if match else ("", "")
    for name, (base, words) in _COLUMNS.items():
        if word in words:
            prefix = unit.removesuffix(base) if unit.endswith(base) else unit
            if unit and (not unit.endswith(base) or prefix not in _PREFIXES):
                raise NetcError(
                    f"{path} gives {name} in {printable(unit)!r}",
                    hint=f"units are {base} with a prefix, such as m{base}",
                )
            return name, _PREFIXES[prefix]
    return "", 1.0


def _number(cell: str, place: Span, found: Diagnostics) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        found.error(f"{printable(cell.strip())!r} is no number", place)
    return value
