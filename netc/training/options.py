"""What a user may choose about a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from netc.diagnostics import Diagnostics, NetcError, printable
from netc.discretise import INTEGRATORS
from netc.kernels.circuit import BACKENDS
from netc.kernels.passes import ALL as KERNEL_PASSES
from netc.optimise import OPTIONAL
from netc.training import augmentation
from netc.variability import Devices

SCHEDULES = ("cosine", "exponential", "constant")
_LISTS = ("activity_nodes", "augment", "disable_passes", "spike_target")
_POSITIVE = ("learning_rate", "learning_rate_final", "logit_scale", "dt", "clip_gradient", "clip_layer", "clip_sample")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """All options of a run; saved with it.

    Attributes:
        epochs: times through the training samples.
        batch: samples per update.
        learning_rate: Adam's, in units of the normalised position in [0, 1] between a value's bounds.
        learning_rate_final: where the rate ends; ``None``: ``cosine`` at 0, ``exponential`` at a hundredth.
        schedule: ``cosine``, ``exponential`` (geometric) or ``constant``, over all updates.
        warmup: epochs over which the rate rises from 0 in proportion to the updates.
        steps: time steps per sample; ``None`` takes the deck's ``.tran``.
        dt: time step in seconds; ``None`` takes the deck's.
        logit_scale: what multiplies output voltages (V) before the softmax, in 1/V; 40 is 1 over 25 mV.
        seed: of the order of samples and of dropout.
        threads: CPU threads; ``None`` leaves torch's choice.  Same numbers need the same count.
        clip_gradient: largest norm of the gradient of one update; ``None`` does not clip.
        clip_layer: largest norm of the gradient of each block of trained values, such as a crossbar.
        clip_sample: largest norm of what one sample adds to the gradient of values that only its inputs drive, over
            the median norm of its batch; ``None`` does not clip.
        input_dropout: share of features set to 0 in training; the others are scaled up to keep the mean.
        augment: how training images are warped, ``shift=2``; see :mod:`netc.training.augmentation`.
        label_smoothing: share of each training label that is spread evenly over all classes.
        validation: training samples held out, a number or, below 1, a share; 0 holds out none.
        patience: epochs without a better validation accuracy after which training stops; 0 never stops early.
        spike_target: least and largest share of time that the mean hidden membrane is to be above threshold.
        spike_weight: strength of the pull into that band; see :mod:`netc.training.penalties`.
        energy_weight: loss per joule dissipated in trained conductances in one sample.
        lower_pairs: whether conductances that count against each other lose what they have in common after every
            update; see :mod:`netc.training.pairs`.
        spread: relative standard deviation of trained values from device to device, drawn anew in training; with the
            next four, see :class:`netc.variability.Devices`.
        read_noise: the same from use to use.
        stuck_at: probability that a device is stuck at one of its bounds.
        levels: levels that a device can be programmed to; gradients go straight through.
        noise_law: distribution of spread and noise.
        nominal: leave out the spread that the deck declares.
        draws_per_batch: chips that the samples of a batch are shared among, at most; as many as samples: a draw each.
            ``None``: 8 where there is spread alone, else 4, each of whose draws takes longer.
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
    learning_rate_final: float | None = None
    schedule: str = "cosine"
    warmup: float = 0.0
    steps: int | None = None
    dt: float | None = None
    logit_scale: float = 40.0
    seed: int = 0
    threads: int | None = None
    clip_gradient: float | None = None
    clip_layer: float | None = None
    clip_sample: float | None = None
    input_dropout: float = 0.0
    augment: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    validation: float = 0.0
    patience: int = 0
    spike_target: tuple[float, ...] = ()
    spike_weight: float = 100.0
    energy_weight: float = 0.0
    lower_pairs: bool = False
    spread: float = 0.0
    read_noise: float = 0.0
    stuck_at: float = 0.0
    levels: int | None = None
    noise_law: str = "normal"
    nominal: bool = False
    draws_per_batch: int | None = None
    chunk: int | None = None
    test_every: int = 0
    spike_threshold: float = 0.11
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
        least_of = {"epochs": 1, "batch": 1, "seed": 0, "test_every": 0, "patience": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                found.error(f"{_flag(name)} must be at least {least}, not {getattr(self, name)}")
        for name, least in (("steps", 1), ("threads", 1), ("chunk", 0), ("draws_per_batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                found.error(f"{_flag(name)} must be at least {least}, not {value}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                found.error(f"{_flag(name)} must be a positive number, not {value}")
        for name in ("input_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                found.error(f"{_flag(name)} must be at least 0 and below 1, not {getattr(self, name)}")
        for name in ("warmup", "validation", "spike_weight", "energy_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                found.error(f"{_flag(name)} must be a number of at least 0, not {getattr(self, name)}")
        if self.validation > 1 and self.validation != int(self.validation):
            found.error(f"--validation must be a whole number of samples or a share below 1, not {self.validation}")
        if self.patience and not self.validation:
            found.error("--patience needs samples to judge by", hint="hold some out: --validation 5000")
        if self.spike_target and not (
            len(self.spike_target) == 2 and 0 <= self.spike_target[0] < self.spike_target[1] <= 1
        ):
            found.error("--spike-target must be two shares of time, LOW,HIGH", hint="such as 0.01,0.05")
        for problem, hint in replace(self.devices, seed=0).problems():
            found.error(problem, hint=hint)
        for problem in augmentation.problems(self.augment):
            found.error(problem, hint=f"one of {augmentation.usage()}")
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
    def devices(self) -> Devices:
        """How devices differ in training."""
        return Devices(
            self.levels, 0.0, self.noise_law, self.stuck_at, self.seed, self.spread, self.read_noise, not self.nominal
        )

    @property
    def samples_per_draw(self) -> int:
        """How many samples a chip runs in training."""
        more = self.levels is not None or self.stuck_at > 0 or self.read_noise > 0
        return math.ceil(self.batch / (self.draws_per_batch or (4 if more else 8)))

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
        # a plain function of progress: nothing to save, nothing to restore
        rising = min(1.0, progress * self.epochs / self.warmup) if self.warmup else 1.0
        first, last = self.learning_rate, self.learning_rate_final
        if self.schedule == "cosine":
            last = 0.0 if last is None else last
            return rising * (last + (first - last) * math.cos(progress * math.pi / 2) ** 2)
        if self.schedule == "exponential":
            return rising * first * math.pow(0.01 if last is None else last / first, progress)
        return rising * first

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


FREE_ON_RESUME = frozenset(
    {"epochs", "patience", "threads", "chunk", "test_every", "spike_threshold", "activity_nodes"}
)
"""Options that may change when a run is resumed; all others would make the two halves different trainings."""


def _flag(name: str) -> str:
    known = {"learning_rate": "--lr", "learning_rate_final": "--lr-final"}
    return known.get(name, "--" + name.replace("_", "-"))
