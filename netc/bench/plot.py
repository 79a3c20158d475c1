"""The picture of sweeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from netc.bench.sweep import AXES, Sweep
from netc.report.style import GREY, PALETTE, figure, in_style

_MARKS = "osD^vP"


@in_style
def draw_sweeps(sweeps: Sequence[Sweep], path: Path | str) -> None:
    """Draw processor time of a training step over each size, both logarithmic, and a line in proportion to the size.

    Args:
        sweeps: one picture each, side by side.
        path: the PNG.

    Raises:
        NetcError: the file cannot be written.
    """
    columns = min(2, len(sweeps))
    rows = math.ceil(len(sweeps) / columns)
    with figure(path, 4.4 * columns, 3.1 * rows + 0.4) as drawn:
        panels = drawn.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        drawn.suptitle(f"{sweeps[0].title}: one training step", fontsize=10)
        handles = {}
        for axes, sweep in zip(panels, sweeps, strict=False):
            values = np.array(sweep.values, dtype=float)
            highest = 0.0
            for number, (name, figures) in enumerate(sweep.figures.items()):
                times = np.array([np.nan if f.cpu_ms is None else f.cpu_ms for f in figures])
                mark, colour = _MARKS[number % len(_MARKS)], PALETTE[number % len(PALETTE)]
                handles[name] = axes.plot(values, times, marker=mark, ms=4, color=colour)[0]
                highest = max(highest, float(np.nanmax(times, initial=0.0)))
            if highest > 0:
                guide = 2 * highest * values / values[-1]
                handles["in proportion"] = axes.plot(values, guide, color=GREY, ls=":", zorder=0)[0]
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(FixedLocator(list(values)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticklabels([f"{v:,}" for v in sweep.values])
            axes.set_xlabel(f"{AXES[sweep.axis]} ({sweep.fixed})")
        for axes in panels[::columns]:
            axes.set_ylabel("processor time (ms)")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        for axes in panels[len(sweeps) :]:
            axes.set_visible(False)
        drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
