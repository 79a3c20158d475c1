"""How well two sets of waveforms agree: root-mean-square difference over range, and spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netc.diagnostics import NetcError
from netc.ngspice.bridge import Waveforms

# A node is constant to ngspice where it moves less than ngspice itself resolves: vntol, or reltol of its level.
RESOLUTION_VOLTS = 1e-9
RESOLUTION_RELATIVE = 1e-6
SMALLEST_LEVEL = 1e-6

# Share of the range around the threshold that a waveform must cross as a whole to count as a spike.
HYSTERESIS = 0.1


@dataclass(frozen=True, slots=True)
class NodeAgreement:
    """One signal of netc against the same of ngspice.

    Attributes:
        nrmse: root-mean-square difference over the signal's range in ngspice (:func:`signal_scale`).
        max_abs: largest difference, volts (or amperes).
        spikes: upward crossings of the threshold, (netc, ngspice).
        spike_shift_s: mean time between a spike and its counterpart, seconds; ``None`` where no spike has one.
    """

    nrmse: float
    max_abs: float
    spikes: tuple[int, int]
    spike_shift_s: float | None


def compare(
    times: np.ndarray,
    values: Mapping[str, np.ndarray],
    waveforms: Waveforms,
    *,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
) -> dict[str, NodeAgreement]:
    """Compare waveforms on netc's grid with those of ngspice.

    ngspice is interpolated linearly onto ``times``; run it with a maximum step no longer than the grid's, and what
    interpolation adds stays far below the error of an Euler step.  Rows before ngspice's first (there is none at
    t = 0 with ``uic``) and after its last are left out.

    Args:
        times: seconds, increasing, shape ``(rows,)``.
        values: by signal, shape ``(rows,)``.
        waveforms: what ngspice gave.
        names: signals to compare; those of ``values`` when ``None``.
        threshold: spike threshold, volts; the middle of each signal's range in ngspice when ``None``.

    Raises:
        NetcError: ngspice has no such signal, or the two share no time.
    """
    inside = shared_rows(times, waveforms)
    grid = times[inside]
    agreements = {}
    for name in values if names is None else names:
        reference = _reference(waveforms, name)
        mine = np.asarray(values[name], dtype=np.float64)[inside]
        interpolated = np.interp(grid, waveforms.times, reference)
        difference = mine - interpolated
        ours, theirs, shift = _spikes(grid, mine, waveforms.times, reference, threshold)
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverged
            rms = float(np.sqrt(np.mean(difference**2)))
        agreements[name] = NodeAgreement(
            nrmse=rms / signal_scale(interpolated),
            max_abs=float(np.max(np.abs(difference))),
            spikes=(ours, theirs),
            spike_shift_s=shift,
        )
    return agreements


def shared_rows(times: np.ndarray, waveforms: Waveforms) -> np.ndarray:
    """Return a mask of the rows of ``times`` that lie within ngspice's, shape ``(rows,)``.

    Raises:
        NetcError: there is none.
    """
    slack = 1e-9 * float(waveforms.times[-1])
    inside: np.ndarray = (times >= waveforms.times[0]) & (times <= waveforms.times[-1] + slack)
    if not inside.any():
        raise NetcError("netc's waveforms and those of ngspice share no point in time")
    return inside


def signal_scale(reference: np.ndarray) -> float:
    """Return what a difference from ``reference`` is divided by: its range, volts or amperes.

    A signal that ngspice holds constant (it moves less than vntol or reltol of its level) has no range; its level
    stands in, and not less than 1 uV (a thousand vntol).
    """
    if is_constant(reference):
        return max(float(np.max(np.abs(reference))), SMALLEST_LEVEL)
    return float(np.ptp(reference))


def is_constant(reference: np.ndarray) -> bool:
    """Whether ``reference`` moves less than ngspice resolves."""
    peak = float(np.max(np.abs(reference)))
    return bool(np.ptp(reference) <= max(RESOLUTION_VOLTS, RESOLUTION_RELATIVE * peak))


def spike_times(times: np.ndarray, values: np.ndarray, threshold: float, hysteresis: float) -> np.ndarray:
    """Return when ``values`` crosses ``threshold`` upward, seconds, by linear interpolation.

    A crossing counts once the signal has come from below ``threshold - hysteresis`` and reaches
    ``threshold + hysteresis``, so that ripple around the threshold is one spike; its time is that of the last
    passage through ``threshold`` on the way.
    """
    band = np.zeros(len(values), dtype=np.int8)
    band[values < threshold - hysteresis] = -1
    band[values >= threshold + hysteresis] = 1
    decided = np.flatnonzero(band)
    rises = np.flatnonzero((band[decided[:-1]] < 0) & (band[decided[1:]] > 0))
    found = []
    for rise in rises:
        first, last = decided[rise], decided[rise + 1]
        below = first + int(np.flatnonzero(values[first:last] < threshold)[-1])
        step = values[below + 1] - values[below]
        part = (threshold - values[below]) / step
        found.append(times[below] + part * (times[below + 1] - times[below]))
    return np.array(found, dtype=np.float64)


def _spikes(
    grid: np.ndarray, mine: np.ndarray, times: np.ndarray, reference: np.ndarray, threshold: float | None
) -> tuple[int, int, float | None]:
    if is_constant(reference) and threshold is None:
        return 0, 0, None
    level = float(reference.min() + reference.max()) / 2 if threshold is None else threshold
    # A threshold near the top or the bottom still counts what passes it.
    room = min(float(reference.max()) - level, level - float(reference.min())) / 2
    margin = max(0.0, min(HYSTERESIS * float(np.ptp(reference)), room))
    ours = spike_times(grid, mine, level, margin)
    theirs = spike_times(times, reference, level, margin)
    shifts = _matched_shifts(ours, theirs)
    return len(ours), len(theirs), float(shifts.mean()) if len(shifts) else None


def _matched_shifts(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return |time difference| of the pairs of spikes that are each other's nearest (all, in order, if as many)."""
    if len(ours) == len(theirs):
        in_order: np.ndarray = np.abs(ours - theirs)
        return in_order
    if not len(ours) or not len(theirs):
        return np.empty(0)
    distance = np.abs(ours[:, None] - theirs[None, :])
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(ours))
    shifts: np.ndarray = distance.min(axis=1)[mutual]
    return shifts


def _reference(waveforms: Waveforms, name: str) -> np.ndarray:
    try:
        return waveforms.values[name]
    except KeyError:
        raise NetcError(f"ngspice has no signal called '{name}'") from None
