"""The figures a run ends with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What ``netc train`` and ``netc evaluate`` print as their last line.

    Attributes:
        test_accuracy: share of test samples classified rightly, 0 to 1.
        test_loss: mean negative log-likelihood of the test samples.
        train_seconds: wall time of training, all sittings together, without the last evaluation.
        epochs: finished epochs.
        samples: training samples learnt from.
        test_samples: test samples used.
        best_epoch: the epoch whose values were tested, chosen on the validation samples; ``None``: the last one's.
        validation_accuracy: of that epoch.
        validation_samples: training samples held out.
        spikes_per_neuron: by layer, mean over its membranes and the test samples.
        activity: by layer, share of time steps its membranes are above the switching voltage.
        hidden_activity: the mean of that over the membranes of all layers but the output's.
        seed: of the run.
        steps: time steps per sample.
        dt: time step in seconds.
        backend: what ran the circuit, ``torch`` or ``cpp``.
        data: the data set's name.
        data_order: which samples, in which order.
        train_available: training samples of the whole set.
        test_available: test samples of the whole set.
        directory: the run folder.
    """

    test_accuracy: float
    test_loss: float
    train_seconds: float
    epochs: int
    samples: int
    test_samples: int
    best_epoch: int | None
    validation_accuracy: float | None
    validation_samples: int
    spikes_per_neuron: dict[str, float]
    activity: dict[str, float]
    hidden_activity: float
    seed: int
    steps: int
    dt: float
    backend: str
    data: str
    data_order: str
    train_available: int
    test_available: int
    directory: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def line(self) -> str:
        """Return the one-line JSON object."""
        return json.dumps(self.to_json(), allow_nan=False)
