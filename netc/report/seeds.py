"""Learning curves of several seeds of one recipe in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from netc.report.style import BLUE, ORANGE, figure, in_style, safe

_ERRORS = (("training", "train_accuracy", BLUE), ("held out", "validation_accuracy", ORANGE))


@in_style
def learning_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path | str, *, title: str = "") -> None:
    """Draw training and validation errors and the hidden activity by epoch, a line for each seed.

    Args:
        runs: by seed, lines of ``metrics.jsonl``.
        path: the PNG.
        title: of the picture.
    """
    with figure(path, 8.0, 3.0) as drawn:
        drawn.suptitle(safe(title, 90), fontsize=10)
        errors, busy = drawn.subplots(1, 2)
        for number, history in enumerate(runs.values()):
            epochs = [line["epoch"] for line in history]
            for key, colour, name in (
                ("train_accuracy", BLUE, "training"),
                ("validation_accuracy", ORANGE, "held out"),
            ):
                known = [(e, 100 * (1 - line[key])) for e, line in zip(epochs, history, strict=True) if line.get(key)]
                if known:
                    errors.plot(*zip(*known, strict=True), color=colour, lw=0.9, label="" if number else name)
            share = [100 * line["hidden_activity"] for line in history]
            busy.plot(epochs, share, color=BLUE, lw=0.9)
        errors.set_yscale("log")
        errors.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        errors.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        errors.yaxis.set_minor_formatter(NullFormatter())
        errors.set_ylabel("error (%)")
        errors.legend(loc="upper right")
        busy.set_ylabel("hidden activity (%)")
        busy.set_ylim(bottom=0)
        for axes in (errors, busy):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
