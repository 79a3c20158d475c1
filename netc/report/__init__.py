"""Pictures of waveforms, training and conductances."""

from netc.report.plots import conductance_histograms, learning_curve, maps, membranes, waveforms
from netc.report.run import draw_run

__all__ = ["conductance_histograms", "draw_run", "learning_curve", "maps", "membranes", "waveforms"]
