"""Waveforms of ngspice, at its own times, on netc's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator


def on_grid(grid: np.ndarray, times: np.ndarray, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Return waveforms at other times, by cubic pieces that rise and fall only where the points do.

    Lines between points that are six of netc's steps apart would be off by a third more than ngspice itself is;
    cubic splines would ring at the corners of pulses.  Outside of ``times`` the first and the last value hold.

    Args:
        grid: seconds, ``(rows,)``.
        times: seconds, not decreasing, ``(points,)``; of equal times the last counts.
        waveforms: ``(points,)`` each.

    Returns:
        float64, ``(waveforms, rows)``.

    References:
        F. N. Fritsch and R. E. Carlson, "Monotone Piecewise Cubic Interpolation", SIAM J. Numer. Anal. 17 (1980).
    """
    values = np.stack([np.asarray(waveform, dtype=np.float64) for waveform in waveforms])
    kept = np.append(np.diff(times) > 0, True)
    if np.count_nonzero(kept) < 2:
        return np.repeat(values[:, -1:], len(grid), axis=1)
    found: np.ndarray = PchipInterpolator(times[kept], values[:, kept], axis=1)(np.clip(grid, times[0], times[-1]))
    return found
