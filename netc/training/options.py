"""What a user may choose about a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from netc.diagnostics import Diagnostics, NetcError, printable
from netc.discretise import INTEGRATORS
from netc.kernels.circuit import BACKENDS
from netc.kernels.passes import ALL as KERNEL_PASSES
from netc.optimise import OPTIONAL

SCHEDULES = ("cosine", "exponential", "constant")
_LISTS = ("activity_nodes", "disable_passes")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """All options of a run; saved with it.

    Attributes:
        epochs: times through the training samples.
        batch: samples per update.
        learning_rate: Adam's, in units of the normalised position in [0, 1] between a value's bounds.
        schedule: ``cosine`` to 0, ``exponential`` to a hundredth, or ``constant``, over all updates.
        steps: time steps per sample; ``None`` takes the deck's ``.tran``.
        dt: time step in seconds; ``None`` takes the deck's.
        logit_scale: what multiplies output voltages (V) before the softmax, in 1/V; 40 is 1 over 25 mV.
        seed: of the order of samples and of dropout.
        threads: CPU threads; ``None`` leaves torch's choice.  Same numbers need the same count.
        clip_gradient: largest norm of the gradient of one update; ``None`` does not clip.
        input_dropout: share of features set to 0 in training; the others are scaled up to keep the mean.
        chunk: time steps kept at once for backpropagation, the rest recomputed; 0 keeps all; ``None``
            decides by the memory that is free.
        test_every: epochs between looks at the test set; 0 looks only at the end.
        spike_threshold: membrane voltage (V) whose upward crossing counts as a spike.
        activity_nodes: globs of the nodes whose spikes are counted; see :func:`~netc.training.contract.membranes`.
        dtype: ``float32`` or ``float64``.
        device: a torch device.
        integrator: what takes a step, one of :data:`netc.discretise.INTEGRATORS` or ``auto``.
        backend: ``auto`` (a fused kernel where there can be one), ``torch`` or ``cpp``.
        disable_passes: names of passes to leave out, of programs and of kernels.
    """

    epochs: int = 10
    batch: int = 128
    learning_rate: float = 0.01
    schedule: str = "cosine"
    steps: int | None = None
    dt: float | None = None
    logit_scale: float = 40.0
    seed: int = 0
    threads: int | None = None
    clip_gradient: float | None = None
    input_dropout: float = 0.0
    chunk: int | None = None
    test_every: int = 0
    spike_threshold: float = 0.1
    activity_nodes: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "cpu"
    backend: str = "auto"
    integrator: str = "euler"
    disable_passes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse values that make no sense, all at once.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0), ("test_every", 0)):
            if getattr(self, name) < least:
                found.error(f"{_flag(name)} must be at least {least}, not {getattr(self, name)}")
        for name, least in (("steps", 1), ("threads", 1), ("chunk", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                found.error(f"{_flag(name)} must be at least {least}, not {value}")
        for name in ("learning_rate", "logit_scale", "dt", "clip_gradient"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                found.error(f"{_flag(name)} must be a positive number, not {value}")
        if not 0 <= self.input_dropout < 1:
            found.error(f"--input-dropout must be at least 0 and below 1, not {self.input_dropout}")
        if self.schedule not in SCHEDULES:
            found.error(f"unknown schedule {self.schedule!r}", hint=f"one of {', '.join(SCHEDULES)}")
        if self.integrator not in (*INTEGRATORS, "auto"):
            found.error(f"unknown integrator {self.integrator!r}", hint=f"one of {', '.join(INTEGRATORS)}, auto")
        if self.backend not in BACKENDS:
            found.error(f"unknown backend {self.backend!r}", hint=f"one of {', '.join(BACKENDS)}")
        if self.dtype not in _DTYPES:
            found.error(f"unknown dtype {self.dtype!r}", hint=f"one of {', '.join(_DTYPES)}")
        for name in self.disable_passes:
            if name not in OPTIONAL and name not in KERNEL_PASSES:
                found.error(
                    f"there is no pass {printable(name)!r}",
                    hint=f"passes are {', '.join([*OPTIONAL, *sorted(KERNEL_PASSES)])}",
                )
        try:
            device = torch.device(self.device)
            if device.type == "cuda" and not torch.cuda.is_available():
                found.error("this torch has no CUDA device", hint="leave --device out to train on the CPU")
        except RuntimeError:
            found.error(f"unknown device {self.device!r}", hint="cpu, or cuda")
        found.raise_if_failed()

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch knows it."""
        return _DTYPES[self.dtype]

    @property
    def program_passes(self) -> tuple[str, ...]:
        """Names of the passes that are left out of the program."""
        return tuple(name for name in self.disable_passes if name in OPTIONAL)

    @property
    def kernel_passes(self) -> tuple[str, ...]:
        """Names of the passes that are left out of the kernel."""
        return tuple(name for name in self.disable_passes if name in KERNEL_PASSES)

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after the share ``progress`` (0 to 1) of all updates."""
        if self.schedule == "cosine":
            # a plain function of progress: nothing to save, nothing to restore
            return self.learning_rate * math.cos(progress * math.pi / 2) ** 2
        if self.schedule == "exponential":
            return self.learning_rate * math.pow(0.01, progress)
        return self.learning_rate

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _LISTS}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingOptions:
        """Return options read from a run folder.

        Raises:
            NetcError: a name this version does not know, or a value of the wrong kind.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise NetcError(f"the run was made by another version of netc: unknown option {unknown[0]!r}")
        try:
            options = cls(**{**values, **{name: tuple(values.get(name, ())) for name in _LISTS}})
            options.check()
        except TypeError as error:
            raise NetcError(f"the run's options cannot be read: {error}") from error
        return options


FREE_ON_RESUME = frozenset({"epochs", "threads", "chunk", "test_every", "spike_threshold", "activity_nodes"})
"""Options that may change when a run is resumed; all others would make the two halves different trainings."""


def _flag(name: str) -> str:
    return {"learning_rate": "--lr"}.get(name, "--" + name.replace("_", "-"))
