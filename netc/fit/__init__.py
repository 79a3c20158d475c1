"""Fit a memristor model's parameters to measurements, by gradients through its simulation."""

from netc.fit.device import Model, find_model
from netc.fit.fitting import FitOptions, FitResult, fit
from netc.fit.library import rewritten
from netc.fit.measurement import Measurement, read_measurement

__all__ = ["FitOptions", "FitResult", "Measurement", "Model", "find_model", "fit", "read_measurement", "rewritten"]
