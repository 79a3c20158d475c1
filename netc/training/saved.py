"""A finished or interrupted run, opened again: its deck, its circuit with the learnt values, how it was simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from netc.cache import DeckCache
from netc.data import Dataset
from netc.kernels.circuit import kernel_for
from netc.training.contract import CircuitModule, check_runnable
from netc.training.options import TrainingOptions
from netc.training.run_folder import CONFIG, RunFolder, presented
from netc.training.timing import Steps
from netc.training.trainer import _compile_copy, _entry, load_trained

if TYPE_CHECKING:
    from netc.compiler import Compilation


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a run folder holds.

    Attributes:
        directory: the run folder.
        compilation: the folder's own copy of the deck, compiled as in training.
        module: the circuit with the learnt values.
        options: those of the training.
        steps: number and length of the time steps of a sample.
        data: the data set's name.
        presented: how its samples became features, as :func:`netc.data.load` takes it.
    """

    directory: Path
    compilation: Compilation
    module: CircuitModule
    options: TrainingOptions
    steps: Steps
    data: str
    presented: dict[str, Any]

    def simulator(self, notify: Callable[[str], None], backend: str | None = None) -> Simulator:
        """Return what runs samples through the circuit, with the values ``module`` has when it is called.

        Args:
            notify: takes a notice where there is no kernel.
            backend: ``auto``, ``torch`` or ``cpp``; that of the training when ``None``.

        Raises:
            NetcError: ``cpp`` was asked for and there can be no kernel.
        """
        options = self.options
        kernel = kernel_for(
            options.backend if backend is None else backend,
            self.compilation.program,
            options.torch_dtype,
            notify=notify,
            disable=options.kernel_passes,
        )
        module: Any = self.module

        def simulate(samples: np.ndarray, nodes: Sequence[str]) -> Tensor:
            given = torch.from_numpy(np.ascontiguousarray(samples)).to(options.torch_dtype)
            with torch.no_grad():
                if kernel is not None:
                    return kernel.simulate(module, self.steps.count, self.steps.dt, given, tuple(nodes))
                found: Tensor = module(self.steps.count, self.steps.dt, given, observe=tuple(nodes))[0]
                return found

        return simulate


Simulator = Callable[[np.ndarray, Sequence[str]], Tensor]
"""``simulate(samples (batch, ...), nodes)`` gives voltages ``(steps + 1, batch, nodes)``."""


def accuracy(saved: SavedRun, dataset: Dataset, simulate: Simulator) -> float:
    """Return the share of test samples that the circuit classifies rightly, as training counts it.

    Raises:
        NetcError: the data do not fit the circuit.
    """
    check_runnable(saved.module, dataset)
    correct = 0
    for first in range(0, len(dataset.test_y), saved.options.batch):
        part = slice(first, first + saved.options.batch)
        volts = simulate(dataset.test_x[part], saved.module.OUTPUTS)[1:]
        scores = torch.log_softmax(saved.options.logit_scale * volts, dim=-1).mean(dim=0)
        correct += int((scores.argmax(dim=-1).cpu().numpy() == dataset.test_y[part]).sum())
    return correct / len(dataset.test_y)


def open_run(directory: Path | str, *, last: bool = False, cache: DeckCache | None = None) -> SavedRun:
    """Open a run folder.

    Args:
        directory: what ``netc train`` wrote.
        last: take the values of the last update, not those of the epoch that was best on validation samples.
        cache: where the deck may be compiled already.

    Raises:
        NetcError: the folder is no run, or its checkpoints are damaged.
    """
    folder = RunFolder(Path(directory))
    config = folder.read_json(CONFIG)
    options = TrainingOptions.from_json(_entry(config, "options"))
    compilation = cast("Compilation", _compile_copy(folder, config, options, cache))
    module, options, steps = load_trained(folder.directory, compilation=compilation, last=last)
    data = _entry(config, "data")
    return SavedRun(
        folder.directory,
        compilation,
        module,
        options,
        steps,
        str(data.get("name", "")),
        presented(data),
    )
