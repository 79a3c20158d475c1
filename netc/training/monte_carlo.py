"""How well a trained circuit classifies on chips whose devices are not alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.training import inputs
from netc.training.contract import check_runnable
from netc.training.engines import KernelEngine, TorchEngine, choose
from netc.training.saved import SavedRun
from netc.variability import Devices, draw


@dataclass(frozen=True, slots=True)
class Trials:
    """What chips of one kind make of the test samples.

    Attributes:
        devices: how they differ.
        accuracies: share of samples that each chip classifies rightly, 0 to 1.
        samples: test samples.
        samples_per_draw: samples that ran with one draw of what changes from use to use; ``None``: nothing does.
    """

    devices: Devices
    accuracies: tuple[float, ...]
    samples: int
    samples_per_draw: int | None

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy from chip to chip."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: what differs, and "accuracy_mean", "_std", "_min", "_max" and that of each chip."""
        devices = self.devices
        return {
            "spread": devices.spread,
            "read_noise": devices.read_noise,
            "stuck_at": devices.stuck_at,
            "levels": devices.levels,
            "noise_law": devices.law,
            "declared": devices.declared,
            "seed": devices.seed,
            "chips": len(self.accuracies),
            "accuracy_mean": self.mean,
            "accuracy_std": self.deviation,
            "accuracy_min": min(self.accuracies),
            "accuracy_max": max(self.accuracies),
            "accuracies": list(self.accuracies),
            "test_samples": self.samples,
            "samples_per_draw": self.samples_per_draw,
        }


class MonteCarlo:
    """Tests chips of a run: its trained values, each changed as the chip's number says."""

    def __init__(
        self, saved: SavedRun, dataset: Dataset, *, backend: str | None = None, notify: Callable[[str], None] = print
    ) -> None:
        """Prepare.

        Args:
            saved: the run; its module has other values while chips are tested.
            dataset: its test samples are used.
            backend: ``auto``, ``torch`` or ``cpp``; that of the training when ``None``.
            notify: takes notices.

        Raises:
            NetcError: the data do not fit the circuit.
        """
        check_runnable(saved.module, dataset)
        inputs.check_kind(saved.compilation.program, dataset)
        options = replace(saved.options, backend=backend or saved.options.backend, clip_sample=None, epochs=1)
        self.program = saved.compilation.program
        self._saved, self._options, self._dataset = saved, options, dataset
        hold = inputs.steps_a_frame(saved.steps.count, dataset)
        self._engine: KernelEngine | TorchEngine = choose(
            self.program, saved.module, options, saved.steps, notify, hold=hold
        )
        self._labels = torch.from_numpy(dataset.test_y)

    def run(
        self,
        devices: Devices,
        chips: int,
        *,
        each: int = 16,
        done: Callable[[int, float], None] = lambda chip, accuracy: None,
    ) -> Trials:
        """Test chips number 0 to ``chips`` - 1; one where all would be alike.

        Args:
            devices: how they differ.
            chips: how many.
            each: samples that run with one draw of what changes from use to use; 1 is a draw for every sample, more are
                quicker and leave the mean accuracy what it is.
            done: told of every chip.

        Raises:
            NetcError: options make no sense, or the circuit diverges.
        """
        devices.check()
        program, module = self.program, self._saved.module
        learnt = {
            name: value.detach().cpu().numpy().astype(np.float64)
            for name, value in module.values().items()
            if any(block.name == name and (block.trained or block.spreads) for block in program.parameters)
        }
        trained = {b.name: learnt[b.name] for b in program.parameters if b.trained is not None}
        by_sample = devices.changes_by_sample(program)
        stride = each if by_sample else self._options.batch
        accuracies = []
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        try:
            for chip in range(chips if devices.differs(program) else 1):
                correct = 0
                for first in range(0, len(self._labels), stride):
                    if first == 0 or by_sample:
                        self._set(draw(program, trained, devices, chip, first // stride))
                    correct += self._correct(first, stride)
                accuracies.append(correct / len(self._labels))
                done(chip, accuracies[-1])
        finally:
            self._set(learnt)
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    parameter.copy_(before[name])
        return Trials(devices, tuple(accuracies), len(self._labels), each if by_sample else None)

    def _set(self, values: dict[str, np.ndarray]) -> None:
        module: Any = self._saved.module
        with torch.no_grad():
            module.set_values({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in values.items()})

    def _correct(self, first: int, count: int) -> int:
        """Return how many of some samples are classified rightly."""
        part = np.ascontiguousarray(self._dataset.test_x[first : first + count])
        device = torch.device(self._options.device)
        given: Tensor = inputs.in_time(torch.from_numpy(part).to(device, self._options.torch_dtype))
        with torch.no_grad():
            scores = self._engine.scores(given)
        if not bool(torch.isfinite(scores).all()):
            raise NetcError(
                "the circuit diverges on a drawn chip",
                hint="a smaller spread, or a network trained with a smaller --dt",
            )
        return int((scores.argmax(dim=-1).cpu() == self._labels[first : first + count]).sum())
