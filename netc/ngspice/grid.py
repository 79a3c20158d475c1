"""The error of the model alone: both integrate by backward Euler on the same points in time.

ngspice chooses the points (method Gear, order 1); netc takes exactly these.  The two then solve the same algebraic
equations, so what is left is the difference of the circuits' equations, down to the tolerance of Newton's method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice.bridge import DEFAULT_TIMEOUT, run
from netc.ngspice.compare import is_constant, signal_scale
from netc.ngspice.netlist import ngspice_text
from netc.parse.ast import Deck

OnGrid = Callable[[np.ndarray, Sequence[str]], np.ndarray]
"""``on_grid(times, names)`` gives netc's backward Euler on ``times`` ``(rows,)`` seconds: ``(rows, len(names))``."""

# The truncation error is not what is looked at: the largest step bounds the points.
OPTIONS = "method=gear maxord=1 trtol=1000"


@dataclass(frozen=True, slots=True)
class ModelError:
    """The largest NRMSE of a signal, which signal, at how many points; or why it was not measured."""

    nrmse: float | None
    node: str = ""
    points: int = 0
    reason: str = ""


def model_error(
    deck: Deck,
    on_grid: OnGrid,
    timing: Timing,
    names: Sequence[str],
    *,
    dt: float,
    tstop: float,
    engine: str = "auto",
    timeout: float = DEFAULT_TIMEOUT,
) -> ModelError:
    """Return how far netc's circuit is from ngspice's, free of any error of a time step.

    Args:
        deck: the parsed deck; ngspice runs its own lines.
        on_grid: netc's side.
        timing: the deck's transient analysis.
        names: signals.
        dt: ngspice's largest step, seconds.
        tstop: end, seconds.
        engine, timeout: see :func:`netc.ngspice.bridge.run`.
    """
    asked = replace(timing, tstop=tstop, tstart=0.0, tmax=dt)
    waveforms = run(
        ngspice_text(deck, asked, nodes=names, options=OPTIONS), nodes=names, timeout=timeout, engine=engine
    )
    times = waveforms.times
    first = int(times[0] > 0.0)
    try:
        found = on_grid(np.concatenate([np.zeros(first), times]), names)[first:]
    except NetcError as stopped:
        return ModelError(None, reason=stopped.diagnostics[0].message)
    worst, node = 0.0, ""
    for column, name in enumerate(names):
        reference = waveforms.values[name]
        error = float(np.sqrt(np.mean((found[:, column] - reference) ** 2))) / signal_scale(reference)
        if error >= worst and not (is_constant(reference) and node):
            worst, node = error, name
    return ModelError(worst, node, len(times))
