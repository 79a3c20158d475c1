"""A finished or interrupted run, opened again: its deck, its circuit with the learnt values, how it was simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from netc.cache import DeckCache
from netc.training.contract import CircuitModule
from netc.training.options import TrainingOptions
from netc.training.run_folder import CONFIG, RunFolder
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
        events: how its recordings became frames; ``None`` where it has none.
    """

    directory: Path
    compilation: Compilation
    module: CircuitModule
    options: TrainingOptions
    steps: Steps
    data: str
    events: dict[str, Any] | None


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
    events = data.get("events")
    return SavedRun(
        folder.directory,
        compilation,
        module,
        options,
        steps,
        str(data.get("name", "")),
        events if isinstance(events, dict) else None,
    )
