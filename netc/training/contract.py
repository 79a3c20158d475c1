"""What training needs of a compiled deck: see docs/architecture.md, "What the emitted module promises"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import Tensor

from netc.data import Dataset
from netc.diagnostics import Diagnostics, NetcError, printable
from netc.ir.program import Program

State = tuple[Tensor, ...]


class Simulator(Protocol):
    """What runs a circuit for some time steps."""

    def __call__(
        self,
        steps: int,
        dt: float,
        inputs: Tensor | None = None,
        *,
        observe: Sequence[str] | None = None,
        state: State | None = None,
        first_step: int = 0,
    ) -> tuple[Tensor, State]:
        """Simulate; ``(steps + 1, batch, len(observe))`` in volts and the state at the end."""


class CircuitModule(Simulator, Protocol):
    """The emitted ``nn.Module``, as far as training uses it."""

    NODES: tuple[str, ...]
    OUTPUTS: tuple[str, ...]
    FEATURES: int
    compiled: bool
    recompute: bool
    stretch: int

    def values(self) -> dict[str, Tensor]:
        """Physical values by parameter block, SI units."""

    def project(self) -> None:
        """Clamp trained positions to [0, 1]."""

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Trained blocks by name."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Trained blocks."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers by name."""

    def to(self, device: torch.device) -> Any:
        """Move to a device."""


class Compilation(Protocol):
    """A compiled deck."""

    @property
    def path(self) -> Any:
        """The deck's file."""

    @property
    def dialect(self) -> str:
        """The simulator the deck is written for."""

    @property
    def source(self) -> str:
        """The emitted Python text."""

    @property
    def program(self) -> Program:
        """What was emitted."""

    @property
    def circuit(self) -> Any:
        """The flat circuit, an ``elaborate.circuit.Circuit``."""

    @property
    def continuous(self) -> Program:
        """The program with the circuit's own derivatives, whatever the integrator."""

    @property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """The lines of the deck and of every file it includes, by path; there once the program is."""

    def module(self, dtype: torch.dtype) -> Any:
        """Return a fresh :class:`CircuitModule`."""


def check_trainable(module: CircuitModule, dataset: Dataset) -> None:
    """Refuse a circuit that cannot learn this data set.

    Raises:
        NetcError: no ``*.netc input``, ``output`` or ``train`` in the deck, features or classes that do not fit.
    """
    found = Diagnostics()
    if not list(module.parameters()):
        found.error("the deck has nothing to train", hint="add a line such as: *.netc train R* min=1k max=100k")
    for problem, hint in _misfits(module, dataset):
        found.error(problem, hint=hint)
    found.raise_if_failed()


def check_runnable(module: CircuitModule, dataset: Dataset) -> None:
    """Refuse a circuit that cannot be evaluated on this data set; raises as :func:`check_trainable`."""
    found = Diagnostics()
    for problem, hint in _misfits(module, dataset):
        found.error(problem, hint=hint)
    found.raise_if_failed()


def _misfits(module: CircuitModule, dataset: Dataset) -> Iterator[tuple[str, str]]:
    if module.FEATURES == 0:
        yield "the deck has no input for data", "add a line such as: *.netc input V* (sources in feature order)"
    elif dataset.features != module.FEATURES:
        yield (
            f"the deck has {module.FEATURES} inputs, but a sample of {dataset.name} has {dataset.features} features",
            f"generate a deck whose first layer has {dataset.features} inputs, or choose another data set",
        )
    if not module.OUTPUTS:
        yield "the deck has no output for the loss", "add a line such as: *.netc output o* (nodes in class order)"
    elif len(module.OUTPUTS) < len(dataset.classes):
        yield (
            f"the deck has {len(module.OUTPUTS)} outputs, but {dataset.name} has {len(dataset.classes)} classes",
            "name one output node for each class in *.netc output",
        )


def membranes(module: CircuitModule, patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the nodes whose spikes are counted.

    Args:
        module: the circuit.
        patterns: globs of node names; without any, the nodes spelt like an output but for its numbers
            (``n2_9`` brings in ``n1_42``).

    Raises:
        NetcError: a pattern fits no node.
    """
    for pattern in patterns:
        if not any(fnmatchcase(node, pattern) for node in module.NODES):
            raise NetcError(
                f"no node fits {printable(pattern)!r}", hint="netc compile --emit graph lists the nodes of a deck"
            )
    if patterns:
        return tuple(n for n in module.NODES if any(fnmatchcase(n, p) for p in patterns))
    forms = {_form(name) for name in module.OUTPUTS}
    return tuple(n for n in module.NODES if _form(n) in forms)


def _form(name: str) -> str:
    return re.sub(r"\d+", "#", name)
