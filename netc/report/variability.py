"""Pictures of accuracy against how much devices differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from netc.report.style import GREY, PALETTE, figure, in_style, safe


@in_style
def accuracy_curves(
    over: Sequence[float],
    runs: Mapping[str, Sequence[Sequence[float]]],
    path: Path | str,
    *,
    label: str,
    share: bool = True,
    ideal: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Draw the mean accuracy of chips, and the band from the worst to the best of them.

    Args:
        over: what changes from point to point.
        runs: by name of a run, accuracies of chips (0 to 1) at each point.
        path: the PNG.
        label: what changes.
        share: whether that is a share, to be written in per cent.
        ideal: accuracies without any of it, by run.
        title: of the picture.
    """
    x = np.asarray(over, dtype=np.float64) * (100 if share else 1)
    with figure(path, 6.0, 3.8) as drawn:
        axes = drawn.subplots()
        for number, (name, points) in enumerate(runs.items()):
            colour = PALETTE[number % len(PALETTE)]
            mean, low, high = (np.array([f(p) for p in points]) * 100 for f in (np.mean, np.min, np.max))
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(x, mean, color=colour, marker="o", ms=3.5, label=safe(name, 40))
            if ideal is not None and name in ideal:
                axes.axhline(100 * ideal[name], color=colour, ls=":", lw=0.8)
        axes.set_xlabel(f"{label} (%)" if share else label)
        axes.set_ylabel("accuracy (%)")
        axes.set_title(safe(title, 80), loc="left")
        axes.legend(loc="lower left")
        axes.annotate(
            "line: mean; band: worst to best chip" + ("; dotted: ideal devices" if ideal else ""),
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=7,
            color=GREY,
        )
