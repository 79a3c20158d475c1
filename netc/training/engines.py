"""What runs a circuit in training: the emitted PyTorch module, or a fused kernel of the same program.

Both give the same numbers to rounding (``tests/kernels`` checks values and gradients); a run keeps to one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.kernels import Kernel, build, library
from netc.kernels.circuit import kernel_for
from netc.kernels.loss import smoothed
from netc.training import memory
from netc.training.activity import Counter, Counts, count, with_counters
from netc.training.contract import CircuitModule, Simulator, State
from netc.training.inputs import held, length, stretch
from netc.training.options import TrainingOptions
from netc.training.penalties import Penalties
from netc.training.timing import Steps
from netc.training.unroll import log_probabilities_and_means, mean_log_probabilities

_SCORED_AT_ONCE = 200  # time steps
_WHOLE_BLOCKS = 10  # a multiple of the steps of any compiled block

# What a step of an update takes step by step, roughly: calls of PyTorch, and arithmetic for one state of a sample.
_SECONDS_A_STEP = 4e-4
_SECONDS_A_LANE = 3.5e-8
_SECONDS_WORTH_COMPILING = 120.0


class Engine(Protocol):
    """One way to run a circuit; ``name`` is what results say of it."""

    name: str

    def learn(self, samples: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss, differentiable, and the mean log-probabilities ``(batch, classes)``.

        With ``weights`` of penalties the gradient of the loss is that with their terms, whether they are in its value
        or not.
        """

    def scores(self, samples: Tensor) -> Tensor:
        """Return the mean log-probabilities ``(batch, classes)`` without gradients."""

    def tally(self, samples: Tensor, nodes: Sequence[str], threshold: float) -> tuple[Tensor, Counts]:
        """Return :meth:`scores` and how often ``nodes`` cross, and are above, ``threshold`` volts."""


@dataclass(slots=True)
class TorchEngine:
    """Runs the emitted module.

    Attributes:
        module: the circuit.
        steps: number and length of the time steps.
        logit_scale: multiplies voltages before the softmax, 1/V.
        batch: samples of a full batch; smaller ones are filled up where each size would have to be compiled.
        compiled: whether blocks of steps are compiled by ``torch.compile``.
        chunk: time steps after which the backward pass finds a state that is kept, and recomputes from there; 0: it
            finds all that it needs.
        penalised: what penalties weigh.
        smoothing: share of each label that is spread over all classes.
        hold: steps that a frame lasts.
    """

    module: CircuitModule
    steps: Steps
    logit_scale: float
    batch: int = 0
    compiled: bool = False
    chunk: int = 0
    penalised: tuple[str, ...] = ()
    smoothing: float = 0.0
    hold: int = 1
    name: str = "torch"

    def learn(self, samples: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        samples = held(samples, self.hold)
        with self._mode():
            if weights is None:
                scores = self._scores(samples, 0)
                return smoothed(scores, labels, self.smoothing), scores.detach()
            scores, means = log_probabilities_and_means(
                self.module,
                samples,
                steps=length(samples, self.steps.count),
                dt=self.steps.dt,
                logit_scale=self.logit_scale,
                signals=self.penalised,
            )
        loss = smoothed(scores, labels, self.smoothing) + (means * weights).sum(dim=1).mean()
        return loss, scores.detach()

    def scores(self, samples: Tensor) -> Tensor:
        """See :class:`Engine`; keeps voltages of a few steps only."""
        with torch.no_grad(), self._mode():
            return self._scores(held(samples, self.hold), _SCORED_AT_ONCE)

    def tally(self, samples: Tensor, nodes: Sequence[str], threshold: float) -> tuple[Tensor, Counts]:
        """See :class:`Engine`."""
        counts = stretches(self.module, self.steps, held(samples, self.hold), nodes, threshold)
        return self.scores(samples), counts

    def bytes_per_step(self, samples: Tensor, batch: int) -> float:
        """Return what :func:`netc.training.memory.bytes_per_step` finds for this way to run the module."""
        with self._mode(), torch.compiler.set_stance("force_eager") if self.compiled else nullcontext():
            return memory.bytes_per_step(self.module, held(samples, self.hold), batch, self.steps.dt)

    def _scores(self, samples: Tensor, chunk: int) -> Tensor:
        size = samples.shape[-2]
        missing = self.batch - size if self.compiled else 0
        given = torch.nn.functional.pad(samples, (0, 0, 0, missing)) if missing > 0 else samples
        scores = mean_log_probabilities(
            self.module,
            given,
            steps=length(given, self.steps.count),
            dt=self.steps.dt,
            logit_scale=self.logit_scale,
            chunk=chunk,
        )
        return scores[:size]

    @contextmanager
    def _mode(self) -> Iterator[None]:
        """Have the module compiled and recomputing, while this engine runs it."""
        module = self.module
        before = module.compiled, module.recompute, module.stretch
        module.compiled = self.compiled
        if self.chunk > 0:
            module.recompute, module.stretch = True, self.chunk
            if self.compiled:  # whole blocks
                module.stretch = _WHOLE_BLOCKS * math.ceil(self.chunk / _WHOLE_BLOCKS)
        try:
            yield
        finally:
            module.compiled, module.recompute, module.stretch = before


@dataclass(slots=True)
class KernelEngine:
    """Runs a fused kernel with the values of the emitted module."""

    module: CircuitModule
    kernel: Kernel
    steps: Steps
    logit_scale: float
    build: Callable[[Program], Kernel | None]  # a kernel of a program that counts beside the circuit
    clip_sample: float | None = None
    hold: int = 1  # steps that a frame lasts
    smoothing: float = 0.0  # of the labels
    weighed: Kernel | None = None  # with penalties, to learn by
    name: str = "cpp"
    _counting: tuple[tuple[tuple[str, ...], float], Counter | None, Kernel | None] | None = None

    def learn(self, samples: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        watch = self._clip if self.clip_sample is not None else None
        count, dt = length(samples, self.steps.count, self.hold), self.steps.dt
        kernel, given = self.kernel, samples
        if weights is not None and self.weighed is not None:
            kernel, given = self.weighed, torch.cat([samples, weights], dim=1)
        return kernel.classify(
            self.module, given, labels, count, dt, self.logit_scale, watch, self.hold, self.smoothing
        )

    def _clip(self, value: Tensor) -> None:
        """Have the gradient of each sample by what its inputs drive clipped."""
        factor = self.clip_sample or 0.0

        def clipped(gradient: Tensor) -> Tensor:
            norms = gradient.norm(dim=1, keepdim=True)
            allowed: Tensor = factor * norms.median() / norms.clamp_min(torch.finfo(norms.dtype).tiny)
            return gradient * allowed.clamp(max=1)

        value.register_hook(clipped)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def scores(self, samples: Tensor) -> Tensor:
        """See :class:`Engine`."""
        count = length(samples, self.steps.count, self.hold)
        return self.kernel.log_probabilities(self.module, samples, count, self.steps.dt, self.logit_scale, self.hold)

    def tally(self, samples: Tensor, nodes: Sequence[str], threshold: float) -> tuple[Tensor, Counts]:
        """See :class:`Engine`; counted beside the circuit where the nodes are states."""
        key = tuple(nodes), threshold
        if self._counting is None or self._counting[0] != key:
            counter = with_counters(self.kernel.program, nodes, threshold)
            kernel = self.build(counter.program) if counter is not None else None
            self._counting = key, counter, kernel
        _, counter, kernel = self._counting
        if counter is None or kernel is None:
            return self.scores(samples), stretches(
                _Running(self.kernel, self.module), self.steps, held(samples, self.hold), nodes, threshold
            )
        count = length(samples, self.steps.count, self.hold)
        scores, finals = kernel.tally(self.module, samples, count, self.steps.dt, self.logit_scale, self.hold)
        return scores, counter.counts(finals)


@dataclass(frozen=True, slots=True)
class _Running:
    """A kernel called like the module whose values it takes."""

    kernel: Kernel
    module: CircuitModule

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
        return self.kernel.run(self.module, steps, dt, inputs, observe=observe, state=state, first_step=first_step)


def stretches(simulate: Simulator, steps: Steps, samples: Tensor, nodes: Sequence[str], threshold: float) -> Counts:
    """Count spikes while no more than a few steps of voltages are kept."""
    found, state = Counts.none(len(nodes)), None
    with torch.no_grad():
        whole = length(samples, steps.count)
        for first in range(0, whole, _SCORED_AT_ONCE):
            now = min(_SCORED_AT_ONCE, whole - first)
            given = stretch(samples, first, now)
            rows, state = simulate(now, steps.dt, given, observe=tuple(nodes), state=state, first_step=first)
            found.add(count(rows, threshold))
    found.samples = samples.shape[-2]
    return found


def choose(
    program: Program,
    module: CircuitModule,
    options: TrainingOptions,
    steps: Steps,
    notify: Callable[[str], None],
    samples: int = 0,
    penalties: Penalties | None = None,
    hold: int = 1,
) -> KernelEngine | TorchEngine:
    """Return the engine ``options.backend`` asks for; ``auto`` takes the kernel where there can be one.

    The emitted module is compiled by ``torch.compile`` where training on ``samples`` samples an epoch is far longer
    than compiling.  That hangs on the options alone, so that a resumed run takes the same way.  ``hold`` is over how
    many steps a frame of what drives the circuit lasts.

    Raises:
        NetcError: ``cpp`` was asked for and there can be no kernel.
    """
    kernel = kernel_for(
        options.backend,
        program,
        options.torch_dtype,
        notify=notify,
        loss=True,
        device=options.device,
        disable=options.kernel_passes,
    )
    if kernel is not None:

        def counting(extended: Program) -> Kernel | None:
            return build(extended, options.torch_dtype, notify=notify, disable=options.kernel_passes, gradients=False)

        engine = KernelEngine(
            module, kernel, steps, options.logit_scale, counting, options.clip_sample, hold, options.label_smoothing
        )
        if penalties is not None and penalties.terms:
            if "loss_fusion" in options.kernel_passes:
                raise NetcError("penalties are part of the fused loss", hint="leave loss_fusion on, or --backend torch")
            engine.weighed = build(penalties.weighed, options.torch_dtype, notify=notify, disable=options.kernel_passes)
            if engine.weighed is None:
                raise NetcError("there is no fused kernel with these penalties", hint="pass --backend torch")
        return engine
    if options.clip_sample is not None:
        raise NetcError("--clip-sample is done in the fused kernel", hint="leave it out, or use --clip-layer")
    batch = max(1, min(options.batch, samples))
    lanes = sum(state.size for state in program.states)
    worth_it = pays_to_compile(lanes, steps, batch, options.epochs * math.ceil(samples / batch))
    if worth_it and torch.device(options.device).type == "cpu" and library.compiler() is None:
        notify("no C++ compiler found ($CXX, c++, g++, clang++); PyTorch runs step by step, which takes longer")
        worth_it = False
    elif worth_it:
        notify("torch.compile makes blocks of steps of the PyTorch module at the first update, which takes a while")
    signals = penalties.signals if penalties is not None else ()
    return TorchEngine(
        module,
        steps,
        options.logit_scale,
        batch,
        compiled=worth_it,
        penalised=signals,
        smoothing=options.label_smoothing,
        hold=hold,
    )


def pays_to_compile(lanes: int, steps: Steps, batch: int, updates: int) -> bool:
    """Return whether so many updates of a circuit with so many states take far longer than ``torch.compile``."""
    an_update = steps.count * (_SECONDS_A_STEP + _SECONDS_A_LANE * batch * lanes)
    return updates * an_update > _SECONDS_WORTH_COMPILING
