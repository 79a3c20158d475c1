"""Waveforms from ngspice's own times onto netc's grid."""

from __future__ import annotations

import numpy as np

from netc.signoff.curves import on_grid


def test_curves_are_met_better_than_by_lines() -> None:
    times = np.sort(np.append(np.arange(0.0, 10.0, 0.3), [2.0, 2.0 + 1e-9, 2.0 + 3e-9]))
    grid = np.arange(0.0, 9.5, 0.1)
    volts = np.exp(-times / 3) * np.sin(times)
    exact = np.exp(-grid / 3) * np.sin(grid)
    found = on_grid(grid, times, [volts, 2 * volts])
    lines = np.interp(grid, times, volts)
    assert np.sqrt(np.mean((found[0] - exact) ** 2)) < 0.4 * np.sqrt(np.mean((lines - exact) ** 2))
    np.testing.assert_array_equal(found[1], 2 * found[0])


def test_a_step_does_not_ring_and_ends_hold() -> None:
    times = np.array([0.5, 1.0, 2.0, 2.0, 2.0 + 1e-9, 3.0, 4.0])
    found = on_grid(np.linspace(0.0, 5.0, 101), times, [np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])])
    assert found.min() == 0.0 and found.max() == 1.0
    assert found[0, 0] == 0.0 and found[0, -1] == 1.0
    assert on_grid(np.arange(3.0), np.array([1.0, 1.0]), [np.array([2.0, 3.0])]).tolist() == [[3.0, 3.0, 3.0]]
