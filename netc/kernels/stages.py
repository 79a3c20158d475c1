"""What is computed outside the loops for a call: fixed values, waveforms, samples, the start.

The emitted module's schedule: fixed values and waveforms in float64, then rounded once; all else in the kernel's type.
What does not change from one call to the next is not computed again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from netc.emit import support
from netc.emit.schedule import Schedule, frontier
from netc.ir.nodes import Const, Expr, Input, Parameter, Rate, State, Time, postorder
from netc.kernels.binding import Binding, bind, from_position
from netc.kernels.call import Reads
from netc.kernels.loops import STEP_SIZE, Loop
from netc.kernels.outside import Evaluator
from netc.kernels.weights import Weights, WeightValues, weights

Values = dict[Expr, Tensor]


@dataclass(slots=True, eq=False)
class Outside:
    """Values of one call.

    ``prepared`` are fixed values in float64 (large ones in the kernel's type), ``rounded`` the same in the kernel's
    type; ``waves`` waveforms ``(steps + 1, lanes)`` that do not follow from states; ``spread`` how far exponents
    that may share an exponential lie apart; ``hold`` how many steps a row of waveforms in ``inputs`` lasts.
    """

    steps: int
    batch: int
    prepared: Values
    rounded: Values
    waves: Values
    inputs: Values
    start: tuple[Tensor, ...] | None
    spread: float
    hold: int = 1


class Stages:
    """Computes what the loops of one program read."""

    def __init__(self, plan: Schedule, loops: Mapping[str, Loop], dtype: torch.dtype, passes: frozenset[str]) -> None:
        self.plan = plan
        self.program = plan.program
        self.dtype = dtype
        self._loops = loops
        self._passes = passes
        self._parameters = [Parameter(b.name, len(b.values)) for b in self.program.parameters]
        self._rates = list(loops.values())[-1].rates
        self._evaluators: dict[tuple[Expr, ...], Evaluator] = {}
        self._rounded: dict[Expr, tuple[Tensor, int, Tensor]] = {}
        self._laid: dict[Expr, tuple[Tensor, Tensor]] = {}
        self._constants: dict[str, tuple[Any, Any]] = {}
        self._bindings: WeakKeyDictionary[Any, Binding | None] = WeakKeyDictionary()

    def outside(
        self,
        module: Any,
        inputs: Any,
        steps: int,
        dt: float,
        first_step: int,
        state: Sequence[Tensor] | None,
        library: ctypes.CDLL,
        hold: int = 1,
    ) -> Outside:
        """Return the values of a call; see :meth:`netc.kernels.kernel.Kernel.run`.

        Raises:
            ValueError: for steps, inputs or a state that do not fit.
        """
        steps, dt, first_step = support.check_steps(steps, dt, first_step)
        given, batch = self._inputs(inputs, steps, hold)
        if state is not None and len(state) != len(self.program.states):
            raise ValueError(f"the program has {len(self.program.states)} state blocks, not {len(state)}")
        prepared = self._prepared(module, dt, library)
        with torch.no_grad():
            spreads = self._spreads(prepared, torch.float64)
        key = tuple(map(id, spreads))
        spread = self._kept("spread", key, lambda: max((s.abs().max().item() for s in spreads), default=0.0))
        self._constants["spreads"] = key, spreads  # so that no other tensors get their ids
        time = self._kept("time", (steps, dt, first_step), lambda: _times(steps, dt, first_step))
        found = self._waves(prepared | {Time(): time}, torch.float64)
        waves = {e: self._round(e, w) for e, w in zip(self.wave_roots, found, strict=True)}
        rounded = {e: self._round(e, prepared[e]) for e in self.fixed_roots}
        return Outside(steps, batch, prepared, rounded, waves, given, tuple(state) if state else None, spread, hold)

    def reads(self, name: str, outside: Outside, histories: Mapping[Expr, Tensor]) -> Reads:
        """Return what a loop reads; ``histories`` are states ``(steps + 1, lanes)`` of the loop before."""
        loop = self._loops[name]
        batch = 1 if name == "common" else outside.batch
        known: Values = outside.rounded | outside.waves | outside.inputs | dict(histories)
        exact = [_widened(outside.prepared[e], e.shape) for e in loop.parameters]
        parameters = [self._flat(e, _fixed(outside.rounded[e]), e.shape) for e in loop.parameters]
        samples = zip(loop.samples, self.evaluate(loop.samples, known), strict=True)
        times = zip(loop.times, self.evaluate(loop.times, known), strict=True)
        return Reads(
            exact,
            parameters,
            [],
            [x.expand(batch, e.size).contiguous() for e, x in samples],
            [self._flat(e, x, (outside.steps + 1, e.size)) for e, x in times],
            self._driven(loop, outside),
            self._start(name, outside, known, batch),
        )

    def _driven(self, loop: Loop, outside: Outside) -> list[Tensor]:
        known = outside.rounded | outside.inputs
        found = dict(zip(loop.products, self.evaluate([*loop.products.values()], known), strict=True))
        return [_held(found[e] if e in found else outside.inputs[e], outside.hold).contiguous() for e in loop.driven]

    def more(self, roots: Sequence[Expr], outside: Outside) -> list[Tensor]:
        """Return further fixed values, without gradients."""
        key = tuple(roots)
        if key not in self._evaluators:
            self._evaluators[key] = Evaluator(roots, [*self._parameters, STEP_SIZE, *self.fixed_roots])
        with torch.no_grad():
            found = self._evaluators[key](outside.prepared, torch.float64)
            return [self._flat(e, self._round(e, x), e.shape) for e, x in zip(roots, found, strict=True)]

    def signals(self, roots: Sequence[Expr], outside: Outside, found: Mapping[Expr, Tensor]) -> list[Tensor]:
        """Return observables over time and samples from the states in ``found``, ``(steps + 1, batch, lanes)``."""
        known: Values = dict(outside.rounded)
        for e, w in outside.waves.items():
            known[e] = w.unsqueeze(1)
        for e, u in outside.inputs.items():
            known[e] = torch.cat((_held(u, outside.hold), u[-1:])) if u.ndim == 3 else u
        known |= found
        return [self.evaluate([root], known)[0] for root in roots]

    def evaluate(self, roots: Sequence[Expr], known: Values) -> list[Tensor]:
        """Return expressions of any rate in the kernel's type."""
        key = (Time(), *roots)  # not the key of fixed ones
        if key not in self._evaluators:
            leaves = {n for n in postorder(*roots) if isinstance(n, State | Input)}
            self._evaluators[key] = Evaluator(roots, [*self.fixed_roots, *self.wave_roots, *leaves])
        return self._evaluators[key](known, self.dtype)

    # ------------------------------------------------------------------ which expressions

    @cached_property
    def _everything(self) -> list[Expr]:
        reads = [e for loop in self._loops.values() for e in loop.reads if not isinstance(e, State)]
        products = [e for loop in self._loops.values() for e in loop.products.values()]
        return [*self.plan.initials, *self.plan.observed, *reads, *products]

    @cached_property
    def wave_roots(self) -> list[Expr]:
        """Waveforms that do not follow from states."""
        stateless: dict[Expr, bool] = {}
        for node in postorder(*self._everything):
            stateless[node] = not isinstance(node, State) and all(stateless[c] for c in node.children)

        def is_wave(expr: Expr) -> bool:
            return stateless[expr] and self._rates(expr) is Rate.TIME

        return list(dict.fromkeys(e for e in frontier(self._everything, lambda e: not is_wave(e)) if is_wave(e)))

    @cached_property
    def fixed_roots(self) -> list[Expr]:
        """All that follows from the parameters and is read by something that does not."""
        return self._fixed_below([*self._everything, *self.wave_roots])

    def _fixed_below(self, roots: Sequence[Expr]) -> list[Expr]:
        fixed = self._rates.fixed
        return list(dict.fromkeys(e for e in frontier(roots, lambda e: not fixed(e)) if fixed(e)))

    @cached_property
    def weights(self) -> Weights | None:
        """Large fixed roots that are computed in one pass."""
        if "weights" not in self._passes:
            return None
        waves = set(self._fixed_below(self.wave_roots))  # those are read in float64
        return weights(self.program, [e for e in self.fixed_roots if e not in waves])

    @cached_property
    def _prepare(self) -> Evaluator:
        return Evaluator(self.fixed_roots, [*self._parameters, STEP_SIZE])

    @cached_property
    def _prepare_rest(self) -> tuple[list[Expr], Evaluator]:
        large = set(self.weights.roots) if self.weights is not None else set()
        rest = [e for e in self.fixed_roots if e not in large]
        return rest, Evaluator(rest, [*self._parameters, STEP_SIZE])

    @cached_property
    def _waves(self) -> Evaluator:
        return Evaluator(self.wave_roots, [Time(), *self.fixed_roots])

    @cached_property
    def exponents(self) -> list[Expr]:
        """Exponents that may share an exponential and that follow from parameters."""
        members = [m.exponent for loop in self._loops.values() for g in loop.groups for m in g.members]
        return [e for e in members if not isinstance(e, Const)]

    @cached_property
    def _spreads(self) -> Evaluator:
        return Evaluator(self.exponents, [*self._parameters, STEP_SIZE, *self.fixed_roots])

    # ------------------------------------------------------------------ their values

    def _prepared(self, module: Any, dt: float, library: ctypes.CDLL) -> Values:
        leaves: Values = {STEP_SIZE: self._kept("dt", dt, lambda: torch.tensor([dt], dtype=torch.float64))}
        found = self.weights
        binding = self.binding(module) if found is not None else None
        positions = [getattr(module, binding.positions[x.name]) for x in found.positions] if found and binding else []
        if found is None or binding is None or any(p.dtype != self.dtype for p in positions):
            values = module.values()
            leaves |= {leaf: values[leaf.name] for leaf in self._parameters}
            return leaves | dict(zip(self.fixed_roots, self._prepare(leaves, torch.float64), strict=True))
        rest, evaluate = self._prepare_rest
        for block, leaf in zip(self.program.parameters, self._parameters, strict=True):
            if block.name in binding.buffers:
                leaves[leaf] = getattr(module, binding.buffers[block.name])
            elif block.trained and leaf in evaluate.reads:
                leaves[leaf] = from_position(getattr(module, binding.positions[block.name]), block.trained)
        large = WeightValues.apply(library, found, self.scalars(leaves), self.dtype, *positions)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
        leaves |= dict(zip(rest, evaluate(leaves, torch.float64), strict=True))
        return leaves | dict(zip(found.roots, large, strict=True))

    def scalars(self, known: Values) -> Tensor:
        """Return the fixed values that the large ones are made of besides positions, in float64."""
        leaves = self.weights.scalars if self.weights is not None else []
        return torch.cat([known[x] for x in leaves]) if leaves else torch.zeros(1, dtype=torch.float64)

    def binding(self, module: Any) -> Binding | None:
        """Return where ``module`` keeps its values, ``None`` where that is not known."""
        try:
            if module not in self._bindings:
                self._bindings[module] = bind(module, self.program)
            return self._bindings[module]
        except TypeError:  # it cannot be remembered
            return None

    def _inputs(self, inputs: Any, steps: int, hold: int) -> tuple[Values, int]:
        blocks = self.program.inputs
        if not blocks:
            if inputs is not None:
                raise ValueError("this circuit takes no inputs")
            return {}, 1
        features = sum(b.size for b in blocks)
        if blocks[0].mode == "waveform" and steps % hold:
            raise ValueError(f"{steps} steps are no whole number of rows that last {hold}")
        shape = (steps // hold, None, features) if blocks[0].mode == "waveform" else (None, features)
        given = support.check_inputs(inputs, shape, self.dtype, torch.device("cpu"))
        return self.parts(given), given.shape[-2]

    def parts(self, given: Tensor) -> Values:
        """Return the inputs by their leaves."""
        blocks = self.program.inputs
        ends = accumulate(b.size for b in blocks)
        return {Input(b.name, b.size): given[..., end - b.size : end] for b, end in zip(blocks, ends, strict=True)}

    def _start(self, name: str, outside: Outside, known: Values, batch: int) -> list[Tensor]:
        loop = self._loops[name]
        if outside.start is not None:
            found = [torch.as_tensor(outside.start[k], dtype=self.dtype) for k in loop.numbers]
        else:
            now = dict(known)
            for e in self.wave_roots:
                now[e] = outside.waves[e][0]
            for e, u in outside.inputs.items():
                now[e] = u[0] if u.ndim == 3 else u
            found = self.evaluate([self.plan.initials[k] for k in loop.numbers], now)
        return [self._flat(s, x, (batch, s.size)) for x, s in zip(found, loop.states, strict=True)]

    # ------------------------------------------------------------------ what stays the same

    def _kept(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for this key in the last call, or make it."""
        last = self._constants.get(name)
        if last is None or last[0] != key:
            self._constants[name] = last = key, make()
        return last[1]

    def _round(self, expr: Expr, value: Tensor) -> Tensor:
        """Return ``value`` in the kernel's type: the same tensor as in the last call where the value is."""
        if value.requires_grad or value.dtype == self.dtype:
            return value.to(self.dtype)
        last = self._rounded.get(expr)
        if last is None or last[0] is not value or last[1] != value._version:
            self._rounded[expr] = last = value, value._version, value.to(self.dtype)
        return last[2]

    def _flat(self, expr: Expr, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return ``value`` repeated to ``shape`` in contiguous memory: the same tensor where the value is."""
        if value.shape == shape and value.is_contiguous():
            return value
        last = self._laid.get(expr)
        if last is None or last[0] is not value or last[1].shape != shape:
            laid = value.expand(shape).contiguous()
            if value.requires_grad:
                return laid
            self._laid[expr] = last = value, laid
        return last[1]


def _held(rows: Tensor, steps: int) -> Tensor:
    return rows if steps == 1 else rows.repeat_interleave(steps, dim=0)


def _widened(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return value if value.shape == shape else value.expand(shape)


def _fixed(value: Tensor) -> Tensor:
    return value.detach() if value.requires_grad else value


def _times(steps: int, dt: float, first_step: int) -> Tensor:
    return torch.arange(first_step, first_step + steps + 1, dtype=torch.float64).mul(dt).unsqueeze(-1)
