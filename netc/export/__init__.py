"""Trained values go back into the deck they came from: the author's own text, with other numbers in it."""

from netc.export.values import set_values, trained_values
from netc.export.write import Exported, export
from netc.variability import Devices

__all__ = ["Devices", "Exported", "export", "set_values", "trained_values"]
