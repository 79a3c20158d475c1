"""Area, power and latency of a network on tiles of crossbar, by the method of the MEMprop paper's Table IV.

Every number the method assumes is an attribute, with the paper's value; the figures follow from them by arithmetic.
Source: P. Zhou et al., "Gradient-based Neuromorphic Learning on Dynamical RRAM Arrays", 2022, Table IV, equation (3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SQUARE_MILLIMETRE = 1e-6


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the method takes for granted, in SI units.

    Attributes:
        tile: rows and columns of a tile.
        tile_area: of a tile, m^2.
        voltage: mean voltage across a device that is read, V.
        resistance: mean resistance of a device, ohm.
        activity: share of time in which devices are read.
        converters: analog-to-digital converters a tile of the mixed-signal design.
        converter_area: of one, m^2.
        converter_power: of one, W.
        converter_time: that one takes for a step, s.
        delay: from input to output of the analog network, s.
    """

    tile: int = 128
    tile_area: float = 2.77e-3 * SQUARE_MILLIMETRE
    voltage: float = 57.5e-3
    resistance: float = 50.5e3
    activity: float = 0.02
    converters: int = 4
    converter_area: float = 3e-3 * SQUARE_MILLIMETRE
    converter_power: float = 0.2e-3
    converter_time: float = 6.8e-6
    delay: float = 0.64e-3


@dataclass(frozen=True, slots=True)
class Figures:
    """Area (m^2), power (W) and latency (s) of one design."""

    area: float
    power: float
    latency: float

    def over(self, other: Figures) -> Figures:
        """Return how many times those of ``other`` these are."""
        return Figures(self.area / other.area, self.power / other.power, self.latency / other.latency)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The fully memristive network beside a mixed-signal one of the same size.

    Attributes:
        cells: devices.
        tiles: tiles that hold them.
        memristive: membranes drive the next layer by themselves.
        mixed: bit lines are digitised at every step.
    """

    cells: int
    tiles: int
    memristive: Figures
    mixed: Figures


def estimate(layers: Sequence[int], steps: int, assumptions: Assumptions | None = None, devices: int = 2) -> Estimate:
    """Return the figures of a network of ``layers`` sizes with ``devices`` a synapse, over ``steps`` time steps."""
    a = assumptions or Assumptions()
    cells = devices * sum(rows * columns for rows, columns in pairwise(layers))
    tiles = math.ceil(cells / a.tile**2)
    power = tiles * a.tile**2 * a.voltage**2 / a.resistance * a.activity
    converters = tiles * a.converters
    memristive = Figures(tiles * a.tile_area, power, a.delay)
    mixed = Figures(
        memristive.area + converters * a.converter_area,
        power + converters * a.converter_power,
        steps * a.converter_time + a.delay,
    )
    return Estimate(cells, tiles, memristive, mixed)
