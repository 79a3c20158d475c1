"""Training of compiled circuits by gradient descent through their physics."""

from netc.training.interruption import TrainingInterrupted
from netc.training.options import TrainingOptions
from netc.training.result import TrainingResult
from netc.training.run_folder import presented_in
from netc.training.trainer import evaluate, load_trained, train

__all__ = [
    "TrainingInterrupted",
    "TrainingOptions",
    "TrainingResult",
    "evaluate",
    "load_trained",
    "presented_in",
    "train",
]
