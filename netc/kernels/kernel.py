"""Kernels of a program: built once, then called like the emitted module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from netc.emit import support
from netc.emit.schedule import Schedule, frontier, schedule
from netc.ir.nodes import Const, Expr, Input, Parameter, Rate, State, Time, postorder
from netc.ir.program import Program
from netc.kernels import library
from netc.kernels.call import Compiled, Loss, Reads, Trajectories
from netc.kernels.exponentials import SPREAD
from netc.kernels.file import NAMES, source
from netc.kernels.layer_source import LayerSource
from netc.kernels.layers import layers
from netc.kernels.loops import STEP_SIZE, Loop, Unsupported, backward, loops
from netc.kernels.outside import Evaluator
from netc.kernels.source import LoopSource
from netc.kernels.text import Tables

_REAL = {torch.float32: "float", torch.float64: "double"}
_MOST_CONSTANTS = 10_000
Values = dict[Expr, Tensor]


def _times(steps: int, dt: float, first_step: int) -> Tensor:
    return torch.arange(first_step, first_step + steps + 1, dtype=torch.float64).mul(dt).unsqueeze(-1)


def build(
    program: Program,
    dtype: torch.dtype = torch.float32,
    *,
    threads: int | None = None,
    notify: library.Notify = library.to_stderr,
) -> Kernel | None:
    """Return the kernel of a program; ``None``, after one line of notice, where there can be none.

    Args:
        program: without algebraic blocks.
        dtype: float32 or float64.
        threads: over which tiles of samples are spread; what torch uses when ``None``.
        notify: takes the notice.
    """
    if dtype not in _REAL:
        notify(f"there is no fused kernel for {dtype}; PyTorch runs instead")
        return None
    try:
        kernel = Kernel(program, dtype, threads or torch.get_num_threads(), notify)
        found = kernel.variant((), share=True, trained=True)
    except Unsupported as reason:
        notify(f"no fused kernel for this circuit: {reason}; PyTorch runs instead")
        return None
    return kernel if found is not None else None


@dataclass(slots=True, eq=False)
class Variant:
    """The loops compiled with gradients of some of their reads: of the loss only, where they are layered."""

    wanted: frozenset[Expr]
    share: bool
    layered: bool
    loops: dict[str, Compiled]
    sources: dict[str, LoopSource]


@dataclass(slots=True, eq=False)
class _Outside:
    """Values found outside the kernels for one call."""

    steps: int
    batch: int
    prepared: Values  # float64
    rounded: Values  # rate PARAMETER, in the kernel's type
    waves: Values  # rate TIME without states, in the kernel's type, (steps + 1, lanes)
    inputs: Values
    first_states: dict[int, Tensor]
    share: bool


class Kernel:
    """Fused loops of one program; made by :func:`build`."""

    def __init__(self, program: Program, dtype: torch.dtype, threads: int, notify: library.Notify) -> None:
        if program.algebraic:
            raise Unsupported("its algebraic equations have not been solved")
        if len({block.mode for block in program.inputs}) > 1:
            raise Unsupported("it takes both amplitudes and whole waveforms")
        self.program = program
        self.dtype = dtype
        self.threads = max(1, threads)
        self._notify = notify
        self._plan: Schedule = schedule(program)
        found = loops(self._plan)
        self._loops: dict[str, Loop] = {name: loop for name, loop in zip(NAMES, found, strict=True) if loop}
        if not self._loops:
            raise Unsupported("it has no states")
        self._variants: list[Variant] = []
        self._place = {
            name: (family, lane) for family, o in enumerate(program.observables) for lane, name in enumerate(o.lanes)
        }

    @property
    def has_loss(self) -> bool:
        """Whether :meth:`loss` is there: the outputs depend on the inputs."""
        loop = self._loops.get("sampled")
        return loop is not None and loop.outputs is not None

    # ------------------------------------------------------------------ what is called

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
        """
        return self.classify(module, inputs, labels, steps, dt, logit_scale)[0]

    def classify(
        self, module: Any, inputs: Any, labels: Tensor, steps: int, dt: float, logit_scale: float
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`loss` and, without gradients, the mean log-probabilities ``(batch, classes)``."""
        if not self.has_loss:
            raise Unsupported("its outputs do not depend on its inputs")
        outside = self._outside(module, steps, dt, inputs, 0, None)
        loop = self._loops["sampled"]
        labels = torch.as_tensor(labels, dtype=torch.int64).contiguous()
        classes = loop.outputs.size if loop.outputs is not None else 0
        if labels.shape != (outside.batch,) or bool(((labels < 0) | (labels >= classes)).any()):
            raise ValueError(f"labels must be {outside.batch} numbers from 0 to {classes - 1}")
        histories, _ = self._common(outside)
        variant, reads = self._reads("sampled", outside, histories, loss=True)
        loss, found = Loss.apply(variant.loops["sampled"], reads, labels, outside.steps, logit_scale, *reads.tensors())  # type: ignore[no-untyped-call]
        return loss.to(self.dtype), found.to(self.dtype)

    def log_probabilities(self, module: Any, inputs: Any, steps: int, dt: float, logit_scale: float) -> Tensor:
        """Return the mean log-probabilities ``(batch, classes)`` without gradients; nothing over time is stored."""
        with torch.no_grad():
            given = torch.as_tensor(inputs)
            labels = torch.zeros(given.shape[-2], dtype=torch.int64)
            return self.classify(module, inputs, labels, steps, dt, logit_scale)[1]

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
        names = tuple(self._place) if observe is None else tuple(observe)
        wanted = support.find_places([o.lanes for o in self.program.observables], tuple(self._place), names)
        outside = self._outside(module, steps, dt, inputs, first_step, state)
        roots = [self._plan.observed[family] for family in wanted]
        lanes = self._lanes(wanted)
        histories, ends = self._common(outside, lanes)
        found: dict[Expr, Tensor] = {leaf: rows.unsqueeze(1) for leaf, rows in histories.items()}
        if "sampled" in self._loops:
            rows, more = self._trajectories("sampled", outside, histories, lanes)
            found |= rows
            ends |= more
        parts: dict[int, Tensor] = {}
        values = self._observed(roots, outside, found)
        for family, root, value in zip(wanted, roots, values, strict=True):
            picked = lanes.get(root) if isinstance(root, State) else None
            size = len(self.program.observables[family].lanes)
            if picked is not None and value.shape[-1] == picked.numel() < size:
                # only lanes asked for were stored: put them where the others would be
                place = {int(lane): k for k, lane in enumerate(picked)}
                columns = torch.tensor([place.get(lane, 0) for lane in range(size)])
                value = value.index_select(-1, columns)
            parts[family] = value
        families = [o.lanes for o in self.program.observables]
        rows_of_all = support.collect(parts, wanted, families, outside.steps, outside.batch)
        return rows_of_all, tuple(ends[k] for k in range(len(self.program.states)))

    # ------------------------------------------------------------------ variants

    def variant(
        self, wanted: Sequence[Expr], *, share: bool, loss: bool = True, trained: bool = False
    ) -> Variant | None:
        """Return loops with gradients of at least ``wanted``, compiled now if they are not there yet.

        Args:
            wanted: reads and states (their start) of the loops.
            share: let logistic functions share an exponential.
            loss: the gradients are those of the loss, not of signals.
            trained: ask for what follows from trained values as well.
        """
        asked = frozenset(wanted)
        for known in self._variants:
            if known.share == share and asked <= known.wanted and (not asked or loss or not known.layered):
                return known
        if trained:
            asked |= self._trained
        tables = Tables()
        sources = {name: self._source(name, asked, tables, share, loss) for name in self._loops}
        loaded = library.load(source(list(sources.values()), tables, _REAL[self.dtype]), self._notify)
        if loaded is None:
            return None
        compiled = {
            name: Compiled(
                loaded,
                name,
                tuple(s.size for s in part.loop.states),
                part.loop.outputs.size if part.loop.outputs is not None else 0,
                part.backward is not None or part.layers is not None,
                self.threads if name == "sampled" else 1,
            )
            for name, part in sources.items()
        }
        found = Variant(asked, share, any(part.layers for part in sources.values()), compiled, sources)
        self._variants.append(found)
        return found

    def _source(self, name: str, asked: frozenset[Expr], tables: Tables, share: bool, loss: bool) -> LoopSource:
        loop = self._loops[name]
        mine = [e for e in loop.reads if e in asked]
        if not mine and not asked & set(loop.states) and (not asked or name == "common"):
            return LoopSource(name, loop, None, tables, share)
        if loss and (found := layers(loop, mine)) is not None:
            layered = LoopSource(name, loop, None, tables, share, found)
            try:
                LayerSource(layered, found).context()
                return layered
            except Unsupported:  # then the loop as a whole
                pass
        return LoopSource(name, loop, backward(loop, mine), tables, share)

    @cached_property
    def _trained(self) -> frozenset[Expr]:
        """Reads that follow from trained values."""
        leaves: set[Expr] = {Parameter(b.name, len(b.values)) for b in self.program.parameters if b.trained}
        found: set[Expr] = set()
        for loop in self._loops.values():  # the common one first: what follows from its states may follow from them
            more = {e for e in loop.reads if any(x in leaves for x in postorder(e))}
            found |= more
            if more:
                leaves |= set(loop.states)
        return frozenset(found)

    def _needed(self, tensors: Mapping[Expr, Tensor], share: bool, loss: bool) -> Variant:
        needs = [e for e, t in tensors.items() if t.requires_grad] if torch.is_grad_enabled() else []
        found = self.variant(needs, share=share, loss=loss)
        if found is None:
            raise Unsupported("the kernel for these gradients could not be compiled")
        return found

    # ------------------------------------------------------------------ outside the loops

    @cached_property
    def _everything(self) -> list[Expr]:
        roots = [*self._plan.initials, *self._plan.observed]
        for loop in self._loops.values():
            roots += [e for e in loop.reads if not isinstance(e, State)]
        return roots

    def _is_fixed(self, expr: Expr) -> bool:
        return next(iter(self._loops.values())).rates.fixed(expr)

    @cached_property
    def _moving_waves(self) -> Callable[[Expr], bool]:
        rates = self._loops["sampled"].rates if "sampled" in self._loops else self._loops["common"].rates
        stateless: dict[Expr, bool] = {}

        def inside(expr: Expr) -> bool:
            for node in postorder(expr):
                if node not in stateless:
                    stateless[node] = not isinstance(node, State) and all(stateless[c] for c in node.children)
            return stateless[expr] and rates(expr) is Rate.TIME

        return inside

    @cached_property
    def _wave_roots(self) -> list[Expr]:
        """Waveforms that do not follow from states: computed in float64, all steps at once."""
        is_wave = self._moving_waves
        return list(dict.fromkeys(e for e in frontier(self._everything, lambda e: not is_wave(e)) if is_wave(e)))

    @cached_property
    def _fixed_roots(self) -> list[Expr]:
        """All that follows from the parameters and is read by something that does not."""
        found = [e for e in frontier(self._everything, lambda e: not self._is_fixed(e)) if self._is_fixed(e)]
        found += [e for e in frontier(self._wave_roots, lambda e: not self._is_fixed(e)) if self._is_fixed(e)]
        return list(dict.fromkeys(found))

    @cached_property
    def _prepare(self) -> Evaluator:
        given = [Parameter(b.name, len(b.values)) for b in self.program.parameters]
        return Evaluator(self._fixed_roots, [*given, STEP_SIZE])

    @cached_property
    def _waves(self) -> Evaluator:
        return Evaluator(self._wave_roots, [Time(), *self._fixed_roots])

    @cached_property
    def _spreads(self) -> Evaluator:
        members = [m.exponent for loop in self._loops.values() for g in loop.groups for m in g.members]
        given = [Parameter(b.name, len(b.values)) for b in self.program.parameters]
        return Evaluator([e for e in members if not isinstance(e, Const)], [*given, STEP_SIZE, *self._fixed_roots])

    def _outside(
        self, module: Any, steps: int, dt: float, inputs: Any, first_step: int, state: Sequence[Tensor] | None
    ) -> _Outside:
        steps, dt, first_step = support.check_steps(steps, dt, first_step)
        given, batch = self._inputs(inputs, steps, state)
        values = module.values()
        leaves: Values = {Parameter(b.name, len(b.values)): values[b.name] for b in self.program.parameters}
        leaves[STEP_SIZE] = self._kept("dt", dt, lambda: torch.tensor([dt], dtype=torch.float64))
        prepared = leaves | dict(zip(self._fixed_roots, self._prepare(leaves, torch.float64), strict=True))
        with torch.no_grad():
            spreads = self._spreads(prepared, torch.float64)
            largest = max((s.abs().max().item() for s in spreads), default=0.0)
        share = largest <= SPREAD[_REAL[self.dtype]]
        rounded = {e: self._round(prepared[e]) for e in self._fixed_roots}
        time = self._kept("time", (steps, dt, first_step), lambda: _times(steps, dt, first_step))
        found = self._waves(prepared | {Time(): time}, torch.float64)
        waves = {e: self._round(w) for e, w in zip(self._wave_roots, found, strict=True)}
        first: dict[int, Tensor] = {}
        if state is not None:
            if len(state) != len(self.program.states):
                raise ValueError(f"the program has {len(self.program.states)} state blocks, not {len(state)}")
            first = dict(enumerate(state))
        return _Outside(steps, batch, prepared, rounded, waves, given, first, share)

    def _kept(self, name: str, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """Return the tensor made for this key in the last call, or a new one."""
        last = self._constants.get(name)
        if last is None or last[0] != key:
            self._constants[name] = last = key, make()
        return last[1]

    @cached_property
    def _constants(self) -> dict[str, tuple[Any, Tensor]]:
        return {}

    @cached_property
    def _rounded(self) -> dict[int, tuple[Tensor, int, Tensor]]:
        return {}

    def _round(self, value: Tensor) -> Tensor:
        """Return ``value`` in the kernel's type: the same tensor for the same constant."""
        if value.requires_grad:
            return value.to(self.dtype)
        last = self._rounded.get(id(value))
        if last is None or last[0] is not value or last[1] != value._version:
            if len(self._rounded) > _MOST_CONSTANTS:
                self._rounded.clear()
            last = value, value._version, value.to(self.dtype)
            self._rounded[id(value)] = last
        return last[2]

    def _inputs(self, inputs: Any, steps: int, state: Sequence[Tensor] | None) -> tuple[Values, int]:
        blocks = self.program.inputs
        if not blocks:
            if inputs is not None:
                raise ValueError("this circuit takes no inputs")
            return {}, 1
        features = sum(b.size for b in blocks)
        shape = (steps, None, features) if blocks[0].mode == "waveform" else (None, features)
        given = support.check_inputs(inputs, shape, self.dtype, torch.device("cpu"))
        result: Values = {}
        start = 0
        for block in blocks:
            result[Input(block.name, block.size)] = given[..., start : start + block.size]
            start += block.size
        return result, given.shape[-2]

    # ------------------------------------------------------------------ loops

    def _common(
        self, outside: _Outside, lanes: Mapping[Expr, Tensor | None] | None = None
    ) -> tuple[dict[Expr, Tensor], dict[int, Tensor]]:
        """Run the loop of the common states; return histories ``(steps + 1, lanes)`` and the states at the end."""
        if "common" not in self._loops:
            return {}, {}
        loop = self._loops["common"]
        wanted: dict[Expr, Tensor | None] = {}
        for leaf in loop.states:
            whole = leaf in self._plan.sequence_states
            asked = (lanes or {}).get(leaf)
            if whole or asked is not None:
                wanted[leaf] = torch.arange(leaf.size)
        rows, ends = self._trajectories("common", outside, {}, wanted)
        return {leaf: row.squeeze(1) for leaf, row in rows.items()}, ends

    def _trajectories(
        self, name: str, outside: _Outside, histories: Mapping[Expr, Tensor], lanes: Mapping[Expr, Tensor | None]
    ) -> tuple[dict[Expr, Tensor], dict[int, Tensor]]:
        loop = self._loops[name]
        variant, reads = self._reads(name, outside, histories)
        picked = [lanes.get(leaf) for leaf in loop.states]
        batch = 1 if name == "common" else outside.batch
        found = Trajectories.apply(variant.loops[name], reads, batch, outside.steps, picked, *reads.tensors())  # type: ignore[no-untyped-call]
        count = sum(x is not None for x in picked)
        leaves = [leaf for leaf, x in zip(loop.states, picked, strict=True) if x is not None]
        return dict(zip(leaves, found[:count], strict=True)), dict(zip(loop.numbers, found[count:], strict=True))

    def _reads(
        self, name: str, outside: _Outside, histories: Mapping[Expr, Tensor], *, loss: bool = False
    ) -> tuple[Variant, Reads]:
        loop = self._loops[name]
        batch = 1 if name == "common" else outside.batch
        known: Values = outside.rounded | outside.waves | outside.inputs | dict(histories)
        exact = [outside.prepared[e].expand(e.shape) for e in loop.parameters]
        parameters = [outside.rounded[e].detach().expand(e.shape).contiguous() for e in loop.parameters]
        samples = self._evaluate(loop.samples, known)
        samples = [x.expand(batch, e.size).contiguous() for e, x in zip(loop.samples, samples, strict=True)]
        times = self._evaluate(loop.times, known)
        times = [x.expand(outside.steps + 1, e.size).contiguous() for e, x in zip(loop.times, times, strict=True)]
        driven = [outside.inputs[e].contiguous() for e in loop.driven]
        initial = self._initial(name, outside, known, batch)
        tensors = dict(zip(loop.reads, [*exact, *samples, *times, *driven], strict=True))
        tensors |= dict(zip(loop.states, initial, strict=True))
        variant = self._needed(tensors, outside.share, loss)
        extra = [e for e in variant.sources[name].fixed if e not in set(loop.parameters)]
        with torch.no_grad():
            found = self._more(extra)(outside.prepared, torch.float64)
            more = [self._round(x).expand(e.shape).contiguous() for e, x in zip(extra, found, strict=True)]
        return variant, Reads(exact, parameters, more, samples, times, driven, initial)

    def _more(self, roots: Sequence[Expr]) -> Evaluator:
        key = tuple(roots)
        if key not in self._evaluators:
            given = [Parameter(b.name, len(b.values)) for b in self.program.parameters]
            self._evaluators[key] = Evaluator(roots, [*given, STEP_SIZE, *self._fixed_roots])
        return self._evaluators[key]

    @cached_property
    def _evaluators(self) -> dict[tuple[Expr, ...], Evaluator]:
        return {}

    def _evaluate(self, roots: Sequence[Expr], known: Values) -> list[Tensor]:
        key = (Time(), *roots)  # not the key of fixed ones
        if key not in self._evaluators:
            leaves = {n for n in postorder(*roots) if isinstance(n, State | Input)}
            self._evaluators[key] = Evaluator(roots, [*self._fixed_roots, *self._wave_roots, *leaves])
        return self._evaluators[key](known, self.dtype)

    def _initial(self, name: str, outside: _Outside, known: Values, batch: int) -> list[Tensor]:
        loop = self._loops[name]
        if outside.first_states:
            given = [torch.as_tensor(outside.first_states[k], dtype=self.dtype) for k in loop.numbers]
            return [x.expand(batch, s.size).contiguous() for x, s in zip(given, loop.states, strict=True)]
        now = dict(known)
        for e in self._wave_roots:
            now[e] = outside.waves[e][0]
        for e, u in outside.inputs.items():
            now[e] = u[0] if u.ndim == 3 else u
        found = self._evaluate([self._plan.initials[k] for k in loop.numbers], now)
        return [x.expand(batch, s.size).contiguous() for x, s in zip(found, loop.states, strict=True)]

    # ------------------------------------------------------------------ signals

    def _lanes(self, wanted: Mapping[int, Sequence[tuple[int, int]]]) -> dict[Expr, Tensor | None]:
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

    def _observed(self, roots: Sequence[Expr], outside: _Outside, found: Mapping[Expr, Tensor]) -> list[Tensor]:
        known: Values = dict(outside.rounded)
        for e, w in outside.waves.items():
            known[e] = w.unsqueeze(1)
        for e, u in outside.inputs.items():
            known[e] = torch.cat((u, u[-1:])) if u.ndim == 3 else u
        known |= found
        values: list[Tensor] = []
        for root in roots:
            values += self._evaluate([root], known)
        return values
