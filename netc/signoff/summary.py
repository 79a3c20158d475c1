"""The figures a sign-off ends with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.ngspice.task import SampleAgreement


@dataclass(frozen=True, slots=True)
class Draw:
    """One set of device values: what was found for each sample, by its number, and the samples that failed.

    Attributes:
        number: of the draw; 0 where nothing is drawn.
        samples: by number.
        seconds: that ngspice took, by number.
        failed: number of the sample and why.
        processor_seconds: of ngspice for a sample, mean over those run in this sitting; ``None`` where none was.
    """

    number: int
    samples: dict[int, SampleAgreement]
    seconds: dict[int, float]
    failed: dict[int, str]
    processor_seconds: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = list(self.samples.values())
        return {
            "draw": self.number,
            "samples": len(found),
            "failed": len(self.failed),
            "class_agreement": _share(s.classes[0] == s.classes[1] for s in found),
            "accuracy_ngspice": _share(s.classes[1] == s.label for s in found),
            "accuracy_netc": _share(s.classes[0] == s.label for s in found),
        }


@dataclass(frozen=True, slots=True)
class Signoff:
    """All draws.

    Attributes:
        draws: at least one.
        outputs: nodes in class order.
        seconds: wall time of this sitting.
        settings: how ngspice ran.
    """

    draws: tuple[Draw, ...]
    outputs: tuple[str, ...]
    seconds: float
    settings: dict[str, Any]

    @property
    def samples(self) -> list[SampleAgreement]:
        """Every sample of every draw."""
        return [sample for draw in self.draws for sample in draw.samples.values()]

    @property
    def failures(self) -> int:
        """Samples ngspice gave nothing for."""
        return sum(len(draw.failed) for draw in self.draws)

    @property
    def class_agreement(self) -> float:
        """Share of samples of which both find the same class, right or wrong."""
        return _share(s.classes[0] == s.classes[1] for s in self.samples) or 0.0

    @property
    def worst(self) -> tuple[int, int] | None:
        """Draw and number of the sample whose outputs differ most; one of another class before all others."""
        ranked = [
            (s.classes[0] != s.classes[1], _mean(s.nrmse.values()), draw.number, number)
            for draw in self.draws
            for number, s in draw.samples.items()
        ]
        return max(ranked)[2:] if ranked else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        samples = self.samples
        errors = [value for s in samples for value in s.nrmse.values()]
        apart = [np.abs(s.by_membrane[0] - s.by_membrane[1]) for s in samples if s.by_membrane.size]
        seconds = [value for draw in self.draws for value in draw.seconds.values()]
        figures: dict[str, Any] = {
            "samples": len(samples),
            "failed": self.failures,
            "class_agreement": self.class_agreement if samples else None,
            "accuracy_ngspice": _share(s.classes[1] == s.label for s in samples),
            "accuracy_netc": _share(s.classes[0] == s.label for s in samples),
            "nrmse": _finite(_mean(errors)),
            "nrmse_worst": _finite(max(errors, default=math.nan)),
            "spikes_netc": _finite(_mean(s.spikes[0] for s in samples)),
            "spikes_ngspice": _finite(_mean(s.spikes[1] for s in samples)),
            "spike_difference": _finite(_mean(float(a.mean()) for a in apart)),
            "same_spike_count": _finite(_mean(float((a == 0).mean()) for a in apart)),
            "processor_seconds_a_sample": _finite(
                _mean(draw.processor_seconds for draw in self.draws if draw.processor_seconds is not None)
            ),
            "seconds_a_sample": _finite(float(np.median(seconds)) if seconds else math.nan),
            "seconds": self.seconds,
            **self.settings,
        }
        if len(self.draws) > 1:
            each = [draw.figures() for draw in self.draws]
            figures["draws"] = each
            for side in ("accuracy_ngspice", "accuracy_netc"):
                known = [one[side] for one in each if one[side] is not None]
                figures[f"{side}_std"] = float(np.std(known)) if known else None
        return figures


def _share(hits: Any) -> float | None:
    counted: Sequence[bool] = list(hits)
    return sum(counted) / len(counted) if counted else None


def _mean(numbers: Any) -> float:
    known = list(numbers)
    return float(np.mean(known)) if known else math.nan


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
