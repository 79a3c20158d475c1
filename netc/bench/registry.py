"""The variants: a name, the function that builds it, and what it does.  A new one is a file and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.bench.problem import Problem, Task


class Unavailable(Exception):
    """A variant cannot run here; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a step found.

    Attributes:
        loss: mean over samples and steps of minus the log-probability of the right class; ``None`` of a forward run.
        gradients: gives the gradient of each crossbar's signed weights, ``(inputs, neurons)``, 1/S; of a circuit that
            is no layered network that of each trained block's positions.
        samples: how many samples were run, for variants that take fewer than the batch.
    """

    loss: float | None
    gradients: Callable[[], tuple[NDArray[Any], ...]] | None = None
    samples: int | None = None


Step = Callable[[], Outcome]


@dataclass(frozen=True, slots=True)
class Variant:
    """How to make a variant: ``module`` of :mod:`netc.bench.variants` with a function ``build(task, **options)``.

    ``any_circuit`` ones take every :class:`~netc.bench.problem.Task`, others need a
    :class:`~netc.bench.problem.Problem`.  ``slow`` ones run only when they are named, and once.
    ``any_threads`` ones can be built with another number of threads in the same process, at little cost.
    """

    module: str
    options: tuple[tuple[str, Any], ...] = ()
    forward_only: bool = False
    slow: bool = False
    any_circuit: bool = False
    any_threads: bool = False

    def build(self, task: Task) -> Step:
        """Return the training step, compiled; raises :class:`Unavailable`."""
        if not (self.any_circuit or isinstance(task, Problem)):
            raise Unavailable("written for the layered network of MIF neurons")
        build = importlib.import_module(f"netc.bench.variants.{self.module}").build
        step: Step = build(task, **dict(self.options))
        return step


VARIANTS: dict[str, Variant] = {
    "netc-cpp": Variant("netc_cpp", any_circuit=True, any_threads=True),
    "netc-torch": Variant("netc_torch", any_circuit=True),
    "torch-loop": Variant("torch_loop", any_circuit=True, any_threads=True),
    "torch-eager": Variant("torch_eager", (("hoisted", False),), any_threads=True),
    "torch-eager-hoisted": Variant("torch_eager", (("hoisted", True),), any_threads=True),
    "torch-compile": Variant("torch_compile"),
    "jax": Variant("jax_scan", (("checkpointed", False),)),
    "jax-checkpoint": Variant("jax_scan", (("checkpointed", True),)),
    "handwritten": Variant("handwritten", any_threads=True),
    "brian2-forward": Variant("brian2_forward", forward_only=True),
    "ngspice-forward": Variant("ngspice_forward", forward_only=True, slow=True, any_circuit=True),
}


def default_variants(*, layered: bool) -> tuple[str, ...]:
    """Return what runs when no variants are named, for the layered network or for another circuit.

    The layered network has the equations written out as baseline, other circuits the emitted module's time loop.
    """
    return tuple(
        name
        for name, variant in VARIANTS.items()
        if not variant.slow and (name != "torch-loop" if layered else variant.any_circuit)
    )


def optional(name: str) -> Any:
    """Import a package that netc does without.

    Raises:
        Unavailable: it is not there, or not usable beside the other packages.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise Unavailable(f"{name} cannot be imported: {error}") from error
        raise Unavailable("not installed: pip install 'netc[bench]'") from error
    except Exception as error:  # a package made for other versions fails in ways of its own
        raise Unavailable(f"{name} cannot be imported: {error}") from error


def crossbar_gradients(positions: list[Any], task: Task) -> tuple[NDArray[Any], ...]:
    """Return gradients of signed weights from those of the positions of device pairs; only the plus device is read.

    Those of a circuit that is no layered network are returned as they are.
    """
    if not isinstance(task, Problem):
        return tuple(np.asarray(p) for p in positions)
    return tuple(
        np.asarray(p).reshape(n, m, 2)[..., 0] / slope
        for p, n, m, slope in zip(positions, task.layers, task.layers[1:], task.slopes, strict=False)
    )
