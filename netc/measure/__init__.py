"""Results of ``.measure`` cards from waveforms."""

from netc.measure.evaluate import Result, evaluate, observed

__all__ = ["Result", "evaluate", "observed"]
