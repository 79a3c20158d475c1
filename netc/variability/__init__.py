"""Devices that are not alike: spread, noise, levels, stuck ones; one draw in training, Monte Carlo and ngspice."""

from netc.variability.chip import draw
from netc.variability.devices import Devices, Moved, Values
from netc.variability.draws import LAWS

__all__ = ["LAWS", "Devices", "Moved", "Values", "draw"]
