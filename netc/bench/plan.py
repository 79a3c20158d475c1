"""Which circuit, at which sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netc.bench.circuits import CIRCUITS, LAYERED, make_task
from netc.bench.problem import Task, make_problem
from netc.diagnostics import NetcError

_LAYERS = (784, 100, 10)
_BATCH, _STEPS = 128, 1000


@dataclass(slots=True)
class Plan:
    """Sizes asked for; those that are ``None`` are the circuit's own.

    Attributes:
        circuit: of :data:`~netc.bench.circuits.CIRCUITS`, or :data:`~netc.bench.circuits.LAYERED`.
        folder: where decks are written.
        layers: neurons per layer.
        batch: samples.
        steps: time steps.
        threads: CPU threads.
        disable: names of passes to leave out.
    """

    circuit: str
    folder: Path
    layers: tuple[int, ...] | None = None
    batch: int | None = None
    steps: int | None = None
    threads: int = 1
    disable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.layers is not None and not self.sizes:
            raise NetcError(f"the circuit {self.circuit} has no layers", hint="leave --layers out")

    @property
    def layered(self) -> bool:
        """Whether it is the layered network, which other variants have equations of."""
        return self.circuit == LAYERED

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per layer, inputs first; none where the circuit has no layers."""
        usual = _LAYERS if self.layered else CIRCUITS[self.circuit].layers
        return self.layers or usual if usual else ()

    def task(self, layers: tuple[int, ...] | None = None) -> Task:
        """Return the training step, its deck compiled; ``layers`` in place of the plan's."""
        sizes = layers or self.sizes
        if self.layered:
            batch, steps = self.batch or _BATCH, self.steps or _STEPS
            return make_problem(
                self.folder, layers=sizes, batch=batch, steps=steps, threads=self.threads, disable=self.disable
            )
        return make_task(
            self.circuit,
            self.folder,
            layers=sizes or None,
            batch=self.batch,
            steps=self.steps,
            threads=self.threads,
            disable=self.disable,
        )
