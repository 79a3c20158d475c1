"""Kernels of a program: built once, then called like the emitted module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from netc.emit import support
from netc.emit.schedule import schedule
from netc.ir.nodes import Expr, Input, State, postorder
from netc.ir.program import Program
from netc.kernels import library
from netc.kernels.call import Loss, Reads, Trajectories, scored
from netc.kernels.exponentials import SPREAD
from netc.kernels.file import NAMES
from netc.kernels.loops import Loop, Unsupported, loops
from netc.kernels.loss import from_outputs
from netc.kernels.outside import COVERED
from netc.kernels.passes import enabled
from netc.kernels.repeat import Product, Repeat, RepeatedLoss, products, takes
from netc.kernels.solutions import with_solutions
from netc.kernels.stages import Outside, Stages
from netc.kernels.variants import Variant, Variants

_Common = tuple[tuple[Any, ...], Reads, dict[Expr, Tensor], dict[int, Tensor]]
"""What the loop of the common states was run from, and what it returned."""

_REAL = {torch.float32: "float", torch.float64: "double"}


def build(
    program: Program,
    dtype: torch.dtype = torch.float32,
    *,
    threads: int | None = None,
    notify: library.Notify = library.to_stderr,
    disable: Collection[str] = (),
    gradients: bool = True,
) -> Kernel | None:
    """Return the kernel of a program; ``None``, after one line of notice, where there can be none.

    Args:
        program: without algebraic blocks.
        dtype: float32 or float64.
        threads: over which tiles of samples are spread; what torch uses when ``None``.
        notify: takes the notice.
        disable: names of :data:`~netc.kernels.passes.PASSES` to leave out.
        gradients: whether those of training are compiled now; without, only once they are asked for.

    Raises:
        ValueError: for a pass that does not exist.
    """
    passes = enabled(disable)
    if dtype not in _REAL:
        notify(f"there is no fused kernel for {dtype}; PyTorch runs instead")
        return None
    try:
        kernel = Kernel(program, dtype, threads or torch.get_num_threads(), notify, passes)
        return kernel if kernel.start(gradients) else None
    except Unsupported as reason:
        notify(f"no fused kernel for this circuit: {reason}; PyTorch runs instead")
        return None


def _roots(program: Program) -> list[Expr]:
    return [e for s in program.states for e in (s.initial, s.derivative)] + [o.value for o in program.observables]


class Kernel:
    """Fused loops of one program; made by :func:`build`.  One thread at a time may call it."""

    def __init__(
        self, program: Program, dtype: torch.dtype, threads: int, notify: library.Notify, passes: frozenset[str]
    ) -> None:
        if program.algebraic:
            raise Unsupported("its algebraic equations have not been solved")
        other = {type(n).__name__ for n in postorder(*_roots(program)) if n.children and not isinstance(n, COVERED)}
        if other:
            raise Unsupported(f"there is no rule for {', '.join(sorted(other))}")
        if len({block.mode for block in program.inputs}) > 1:
            raise Unsupported("it takes both amplitudes and whole waveforms")
        self.program = program = with_solutions(program)
        self.dtype = dtype
        self.threads = max(1, threads)
        self._passes = passes
        self._plan = schedule(program)
        found = loops(self._plan, passes)
        self._loops: dict[str, Loop] = {name: loop for name, loop in zip(NAMES, found, strict=True) if loop}
        if not self._loops:
            raise Unsupported("it has no states")
        if sum(len(loop.penalties) for loop in found if loop) < len(program.penalties):
            raise Unsupported("it has penalties on what does not depend on the inputs")
        self._stages = Stages(self._plan, self._loops, dtype, passes)
        self._variants = Variants(
            program, self._loops, self._stages.weights, _REAL[dtype], self.threads, notify, passes
        )
        self._last_common: _Common | None = None
        self._last_loss: Repeat | None = None
        self._place = {
            name: (family, lane) for family, o in enumerate(program.observables) for lane, name in enumerate(o.lanes)
        }

    def start(self, gradients: bool = True) -> bool:
        """Compile what training needs, or only the way forward; return whether that is possible."""
        return self._variants.start(gradients)

    @property
    def has_loss(self) -> bool:
        """Whether :meth:`loss` is there: the outputs depend on the inputs."""
        loop = self._loops.get("sampled")
        return loop is not None and loop.outputs is not None

    # ------------------------------------------------------------------ loss

    def loss(self, module: Any, inputs: Any, labels: Tensor, steps: int, dt: float, logit_scale: float) -> Tensor:
        """Return the mean over samples and steps 1 to ``steps`` of minus the log-probability of the right class.

        Differentiable in what ``module.values()`` follows from and in the inputs.  See
        :func:`netc.training.unroll.mean_log_probabilities` for the definition.

        Args:
            module: the emitted circuit, whose values are read.
            inputs: amplitudes ``(batch, features)`` or waveforms ``(steps, batch, features)``.
            labels: class numbers ``(batch,)``.
            steps: time steps.
            dt: step in seconds.
            logit_scale: multiplies voltages before the softmax, 1/V.

        Raises:
            ValueError: for labels that are no classes or do not fit the batch.
            Unsupported: where :attr:`has_loss` is not.
        """
        return self.classify(module, inputs, labels, steps, dt, logit_scale)[0]

    def classify(
        self,
        module: Any,
        inputs: Any,
        labels: Tensor,
        steps: int,
        dt: float,
        logit_scale: float,
        watch: Callable[[Tensor], None] | None = None,
        hold: int = 1,
        smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`loss` and, without gradients, the mean log-probabilities ``(batch, classes)``.

        ``watch`` is given each value ``(batch, lanes)`` that inputs drive and gradients flow to, to hook on to.
        Each row of waveforms lasts ``hold`` steps, so that there are ``steps / hold``;
        ``smoothing`` is that of the labels in the loss, see :func:`netc.kernels.loss.smoothed`.
        """
        loop = self._loops.get("sampled")
        if loop is None or loop.outputs is None:
            raise Unsupported("its outputs do not depend on its inputs")
        labels = torch.as_tensor(labels, dtype=torch.int64).contiguous()
        repeatable = torch.is_grad_enabled() and watch is None
        repeat = self._repeat(loop, module, inputs, steps, dt) if repeatable else None
        if repeat is not None and labels.shape == inputs.shape[:1]:
            given = torch.as_tensor(inputs, dtype=self.dtype)
            return RepeatedLoss.apply(repeat, given, labels, logit_scale, smoothing, *repeat.positions())  # type: ignore[no-untyped-call,no-any-return]  # torch leaves Function.apply untyped
        outside = self._stages.outside(module, inputs, steps, dt, 0, None, self._variants.library, hold)
        classes = loop.outputs.size
        if labels.shape != (outside.batch,) or bool(((labels < 0) | (labels >= classes)).any()):
            raise ValueError(f"labels must be {outside.batch} numbers from 0 to {classes - 1}")
        histories, _ = self._common(outside, {})
        if "loss_fusion" not in self._passes:
            return self._classify_signals(loop, outside, histories, labels, logit_scale, smoothing)
        variant, reads = self._reads("sampled", outside, histories, loss=True)
        compiled = variant.loops["sampled"]
        for expr, value in zip(loop.samples, reads.samples, strict=True):
            if watch is not None and value.requires_grad and not isinstance(expr, Input):
                watch(value)
        tensors = reads.tensors()
        needs = [t.requires_grad and torch.is_grad_enabled() for t in tensors]
        moving = [t for t, need in zip(tensors, needs, strict=True) if need]
        loss, found = Loss.apply(compiled, reads, labels, outside.steps, logit_scale, smoothing, needs, *moving)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
        return loss.to(self.dtype), found.to(self.dtype)

    def _repeat(self, loop: Loop, module: Any, inputs: Any, steps: int, dt: float) -> Repeat | None:
        """Return what runs the loss of these where little changes from call to call; ``None`` where it cannot."""
        last = self._last_loss
        if last is not None and last.fits(module, inputs, steps, dt):
            return last
        self._last_loss = None
        found = self._products if "loss_fusion" in self._passes and takes(inputs) else None
        binding = self._stages.binding(module) if found is not None else None
        if found is None or binding is None:
            return None
        outside = self._stages.outside(module, inputs, steps, dt, 0, None, self._variants.library)
        variant, reads = self._reads("sampled", outside, self._common(outside, {})[0], loss=True)
        call = inputs.shape, steps, dt
        compiled = variant.loops["sampled"]
        last = Repeat(self._stages, loop, compiled, module, binding, outside, reads, found, call)
        self._last_loss = last if last.fits(module, inputs, steps, dt) else None
        return self._last_loss

    @cached_property
    def _products(self) -> tuple[Product, ...] | None:
        others = [loop for name, loop in self._loops.items() if name != "sampled"]
        return products(self.program, self._stages, self._loops["sampled"], others)

    def _classify_signals(
        self,
        loop: Loop,
        outside: Outside,
        histories: Mapping[Expr, Tensor],
        labels: Tensor,
        logit_scale: float,
        smoothing: float,
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`classify` returns from stored trajectories, by torch."""
        outputs = loop.outputs
        if outputs is None:
            raise Unsupported("its outputs do not depend on its inputs")
        read = [x for x in postorder(outputs) if isinstance(x, State) and x in loop.states]
        rows, _ = self._trajectories("sampled", outside, histories, {x: torch.arange(x.size) for x in read})
        logits = self._stages.signals([outputs], outside, {h: x.unsqueeze(1) for h, x in histories.items()} | rows)[0]
        return from_outputs(logits, labels, logit_scale, smoothing)

    def log_probabilities(
        self, module: Any, inputs: Any, steps: int, dt: float, logit_scale: float, hold: int = 1
    ) -> Tensor:
        """Return the mean log-probabilities ``(batch, classes)`` without gradients; nothing over time is stored."""
        with torch.no_grad():
            labels = torch.zeros(1 if inputs is None else torch.as_tensor(inputs).shape[-2], dtype=torch.int64)
            return self.classify(module, inputs, labels, steps, dt, logit_scale, hold=hold)[1]

    def tally(
        self, module: Any, inputs: Any, steps: int, dt: float, logit_scale: float, hold: int = 1
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return :meth:`log_probabilities` and, by name, the states at the end ``(batch, lanes)``.

        Only states that differ between samples are there.

        Raises:
            Unsupported: where :attr:`has_loss` is not.
        """
        loop = self._loops.get("sampled")
        if loop is None or loop.outputs is None:
            raise Unsupported("its outputs do not depend on its inputs")
        with torch.no_grad():
            outside = self._stages.outside(module, inputs, steps, dt, 0, None, self._variants.library, hold)
            histories, _ = self._common(outside, {})
            variant, reads = self._reads("sampled", outside, histories, loss=True)
            found, ends = scored(variant.loops["sampled"], reads, outside.batch, outside.steps, logit_scale)
        names = (self.program.states[k].name for k in loop.numbers)
        return found.to(self.dtype), dict(zip(names, ends, strict=True))

    # ------------------------------------------------------------------ signals

    def simulate(
        self, module: Any, steps: int, dt: float, inputs: Any = None, observe: Sequence[str] | None = None
    ) -> Tensor:
        """Return signals ``(steps + 1, batch, len(observe))`` as the module does; only what they need is stored."""
        return self.run(module, steps, dt, inputs, observe=observe)[0]

    def run(
        self,
        module: Any,
        steps: int,
        dt: float,
        inputs: Any = None,
        *,
        observe: Sequence[str] | None = None,
        state: Sequence[Tensor] | None = None,
        first_step: int = 0,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what ``module(steps, dt, inputs, ...)`` returns: signals and the state at the end."""
        families = [o.lanes for o in self.program.observables]
        names = tuple(self._place) if observe is None else observe
        wanted = support.find_places(families, tuple(self._place), names)
        outside = self._stages.outside(module, inputs, steps, dt, first_step, state, self._variants.library)
        roots = [self._plan.observed[family] for family in wanted]
        lanes = self._lanes(wanted)
        histories, ends = self._common(outside, lanes)
        found: dict[Expr, Tensor] = {leaf: rows.unsqueeze(1) for leaf, rows in histories.items()}
        if "sampled" in self._loops:
            rows, more = self._trajectories("sampled", outside, histories, lanes)
            found |= rows
            ends |= more
        parts: dict[int, Tensor] = {}
        values = self._stages.signals(roots, outside, found)
        for family, root, value in zip(wanted, roots, values, strict=True):
            picked = lanes.get(root) if isinstance(root, State) else None
            size = len(families[family])
            if picked is not None and value.shape[-1] == picked.numel() < size:
                # only lanes asked for were stored: put them where the others would be
                place = {int(lane): k for k, lane in enumerate(picked)}
                value = value.index_select(-1, torch.tensor([place.get(lane, 0) for lane in range(size)]))
            parts[family] = value
        signals = support.collect(parts, wanted, families, outside.steps, outside.batch)
        return signals, tuple(ends[k] for k in range(len(self.program.states)))

    def _lanes(self, wanted: Mapping[int, Sequence[tuple[int, int]]]) -> dict[Expr, Tensor]:
        """Return which lanes of each state have to be stored: all, where more than the state itself is asked for."""
        asked: dict[Expr, set[int]] = {}
        for family, places in wanted.items():
            root = self._plan.observed[family]
            if isinstance(root, State):
                asked.setdefault(root, set()).update(lane for lane, _ in places if lane < root.size)
            else:
                for leaf in postorder(root):
                    if isinstance(leaf, State):
                        asked.setdefault(leaf, set()).update(range(leaf.size))
        return {leaf: torch.tensor(sorted(lanes)) for leaf, lanes in asked.items()}

    # ------------------------------------------------------------------ loops

    def _common(self, outside: Outside, lanes: Mapping[Expr, Tensor]) -> tuple[dict[Expr, Tensor], dict[int, Tensor]]:
        """Run the loop of the common states; return histories ``(steps + 1, lanes)`` and the states at the end."""
        if "common" not in self._loops:
            return {}, {}
        states = self._loops["common"].states
        read = [leaf for leaf in states if leaf in self._plan.sequence_states or leaf in lanes]
        whole: dict[Expr, Tensor] = {leaf: torch.arange(leaf.size) for leaf in read}
        variant, reads = self._reads("common", outside, {}, loss=False)
        read_by = (*reads.parameters, *reads.more, *reads.times, *reads.initial)
        key = (outside.steps, tuple(read), *((id(t), t._version) for t in read_by))
        fixed = not torch.is_inference_mode_enabled() and not any(t.requires_grad for t in reads.tensors())
        last = self._last_common
        if not fixed or last is None or last[0] != key:
            rows, ends = self._called("common", variant, reads, outside, whole)
            last = key, reads, {leaf: row.squeeze(1) for leaf, row in rows.items()}, ends
            if not fixed:
                return last[2:]
            self._last_common = last
        _, _, histories, ends = last
        return {leaf: row.clone() for leaf, row in histories.items()}, {k: x.clone() for k, x in ends.items()}

    def _trajectories(
        self, name: str, outside: Outside, histories: Mapping[Expr, Tensor], lanes: Mapping[Expr, Tensor]
    ) -> tuple[dict[Expr, Tensor], dict[int, Tensor]]:
        variant, reads = self._reads(name, outside, histories, loss=False)
        return self._called(name, variant, reads, outside, lanes)

    def _called(
        self, name: str, variant: Variant, reads: Reads, outside: Outside, lanes: Mapping[Expr, Tensor]
    ) -> tuple[dict[Expr, Tensor], dict[int, Tensor]]:
        loop = self._loops[name]
        picked = [lanes.get(leaf) for leaf in loop.states]
        batch = 1 if name == "common" else outside.batch
        compiled = variant.loops[name]
        found = Trajectories.apply(compiled, reads, batch, outside.steps, picked, *reads.tensors())  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
        leaves = [leaf for leaf, x in zip(loop.states, picked, strict=True) if x is not None]
        count = len(leaves)
        return dict(zip(leaves, found[:count], strict=True)), dict(zip(loop.numbers, found[count:], strict=True))

    def _reads(
        self, name: str, outside: Outside, histories: Mapping[Expr, Tensor], *, loss: bool
    ) -> tuple[Variant, Reads]:
        loop = self._loops[name]
        reads = self._stages.reads(name, outside, histories)
        tensors = dict(zip([*loop.reads, *loop.states], reads.tensors(), strict=True))
        needs = [e for e, t in tensors.items() if t.requires_grad] if torch.is_grad_enabled() else []
        share = outside.spread <= SPREAD[_REAL[self.dtype]]
        variant = self._variants.get(needs, share=share, loss=loss)
        reads.more = self._stages.more(variant.sources[name].extra, outside)
        return variant, reads
