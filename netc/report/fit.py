"""Pictures of fitted devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netc.report.style import BLUE, GREY, figure, in_style, safe, scale

Array = NDArray[np.float64]


class Measured(Protocol):
    """A measurement, see :class:`netc.fit.Measurement`."""

    @property
    def name(self) -> str:
        """Of the file."""

    @property
    def kind(self) -> str:
        """``sweep`` or ``pulses``."""

    @property
    def sampled(self) -> Array:
        """Moments of the readings, s."""

    @property
    def current(self) -> Array:
        """Readings, A."""

    def driven_at(self, time: Array) -> Array:
        """Return the voltage at some times, V."""


@in_style
def fitted(measurements: Sequence[Measured], currents: Sequence[Array], path: Path | str, *, title: str = "") -> None:
    """Draw measured and fitted currents: a sweep over voltage and time, a pulse train as conductance by pulse.

    Args:
        measurements: what was measured.
        currents: the fitted device's at the same moments, A.
        path: the PNG.
        title: of the picture.
    """
    with figure(path, 8.4, 3.0 * len(measurements) + 0.4) as drawn:
        drawn.suptitle(safe(title, 70), fontsize=10)
        parts = drawn.subfigures(len(measurements), 1, squeeze=False).flatten()
        for part, measurement, current in zip(parts, measurements, currents, strict=True):
            voltage = measurement.driven_at(measurement.sampled)
            pulses = measurement.kind == "pulses"
            answers, unit = (measurement.current / voltage, "S") if pulses else (measurement.current, "A")
            model = current / voltage if pulses else current
            factor, shown = scale(answers, unit)
            second, time_unit = scale(measurement.sampled, "s")
            panels = part.subplots(1, 1 if pulses else 2, squeeze=False)[0]
            if pulses:
                across = [(np.arange(1.0, len(answers) + 1), "pulse")]
            else:
                across = [(voltage, "voltage (V)"), (measurement.sampled / second, f"time ({time_unit})")]
            for axes, (x, label) in zip(panels, across, strict=True):
                axes.plot(x, answers / factor, ls="", marker=".", ms=4, color=GREY, label="measured")
                axes.plot(x, model / factor, color=BLUE, label="fitted")
                axes.set_xlabel(label)
            panels[0].set_ylabel(f"{'conductance' if pulses else 'current'} ({shown})")
            panels[0].set_title(safe(measurement.name), loc="left")
            panels[0].legend()
