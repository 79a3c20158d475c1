"""Frames of events as stimuli: each driven source plays its feature, frame after frame."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from netc.diagnostics import NetcError
from netc.signoff.order import plain_lines

_TWO_NODES = re.compile(r"([vi]\S*)\s+(\S+)\s+(\S+)(\s.*)?", re.IGNORECASE)
_EDGE = 0.1  # of a step: how long a source takes from one frame to the next, the middle where netc's changes
_PER_LINE = 8


class FrameStimuli:
    """ngspice's netlist for any recording: the values of driven V and I sources become piecewise linear waveforms."""

    merged = 0

    def __init__(self, text: str, driven: Mapping[str, str], dt: float, hold: int) -> None:
        """Find the sources.

        Args:
            text: ngspice's netlist.
            driven: names in feature order, with the kind of their law.
            dt: netc's step, seconds.
            hold: steps that a frame lasts.

        Raises:
            NetcError: one is not a V or I source of the deck itself on a line of its own.
        """
        self._lines = text.split("\n")
        self._dt, self._hold = dt, hold
        places = {self._lines[number].split(None, 1)[0].lower(): number for number in plain_lines(self._lines)}
        self._sources: list[tuple[int, str]] = []
        for name in driven:
            place = places.get(name)
            found = _TWO_NODES.fullmatch(self._lines[place]) if place is not None else None
            if place is None or found is None:
                raise NetcError(
                    f"the driven source {name!r} cannot play frames in ngspice",
                    hint="frames drive V and I sources of the deck itself, each on one line",
                )
            self._sources.append((place, f"{found[1]} {found[2]} {found[3]}"))

    def scaled(self, recording: np.ndarray) -> str:
        """Return the netlist for one recording, ``(frames, features)``: volts or amperes of each source."""
        given = np.asarray(recording, dtype=np.float64)
        lines = list(self._lines)
        for (place, head), values in zip(self._sources, given.T, strict=True):
            lines[place] = f"{head} {self._waveform(values)}"
        return "\n".join(lines)

    def _waveform(self, values: np.ndarray) -> str:
        """Return a source's value: constant, or its corners where it changes."""
        changes = np.flatnonzero(values[1:] != values[:-1]) + 1
        if not len(changes):
            return repr(float(values[0]))
        corners = [(0.0, float(values[0]))]
        half = _EDGE * self._dt / 2
        for frame in changes:
            middle = float(frame) * self._hold * self._dt
            corners += [(middle - half, float(values[frame - 1])), (middle + half, float(values[frame]))]
        words = [f"{time!r} {value!r}" for time, value in corners]
        rows = [" ".join(words[k : k + _PER_LINE]) for k in range(0, len(words), _PER_LINE)]
        return "PWL(" + "\n+ ".join(rows) + ")"
