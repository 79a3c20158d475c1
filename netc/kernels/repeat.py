"""The loss of a circuit again, where nothing but trained values, inputs and labels can have changed since.

values of the module -> fixed values -> reads of the loop    ->    trained positions -> weights -> inputs times weights
-> loss, and back through torch's graph, operation by              -> loss, and back: one call of the library, of
operation                                                          arrays that stay where they are

Between the time loops of two steps of training there are otherwise hundreds of small operations, the code and data of
which the loop has driven out of the caches, on one thread: a tenth of the whole.  The call shares all of it between the
threads of the loop (``templates/products.cpp.j2``).  It is done this way where all that is trained makes
weights (:class:`~netc.kernels.weights.Weights`), and what the loop reads of them are weights or products of inputs with
weights.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netc.ir.nodes import Expr, Input, MatVec, Parameter, postorder
from netc.ir.program import Program
from netc.kernels.binding import Binding
from netc.kernels.call import Compiled, Frame, Reads, room
from netc.kernels.loops import Loop
from netc.kernels.stages import Outside, Stages
from netc.kernels.weights import pointers


@dataclass(frozen=True, slots=True)
class Product:
    """Samples read number ``read`` of the loop, ``x`` times weights number ``root``."""

    read: int
    x: Expr
    root: int


def products(program: Program, stages: Stages, loop: Loop, others: Sequence[Loop]) -> tuple[Product, ...] | None:
    """Return the products of inputs with weights; ``None`` where the loss of the program cannot be had this way.

    Args:
        program: the program.
        stages: its values outside of the loops.
        loop: the loop that the loss reads.
        others: the loops before it.
    """
    found = stages.weights
    if found is None or loop.driven or loop.penalties:
        return None
    trained = {Parameter(b.name, len(b.values)) for b in program.parameters if b.trained}
    roots = set(found.roots)
    fixed = [e for e in stages.fixed_roots if e not in roots]
    start = [program.states[k].initial for k in loop.numbers]
    before = [e for other in others for e in other.reads]
    before += [program.states[k].initial for other in others for k in other.numbers]
    standing = [*fixed, *stages.exponents, *stages.wave_roots, *loop.times, *start, *before]
    if any(node in trained or node in roots for node in postorder(*standing)):
        return None
    if any(isinstance(node, Input) for node in postorder(*start, *before, *loop.times)):
        return None
    if any(e not in roots and not roots.isdisjoint(postorder(e)) for e in loop.parameters):
        return None
    result = []
    for k, e in enumerate(loop.samples):
        if roots.isdisjoint(postorder(e)):
            continue
        if not (isinstance(e, MatVec) and e.matrix in roots and roots.isdisjoint(postorder(e.x))):
            return None
        result.append(Product(k, e.x, found.roots.index(e.matrix)))
    return tuple(result)


class _Product(ctypes.Structure):
    """``struct Product`` of ``templates/products.cpp.j2``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "matrix", "seed", "y", "gradient")),
        *((name, ctypes.c_int64) for name in ("n", "m")),
        ("scratch", ctypes.c_void_p),
    ]


class _Seed(ctypes.Structure):
    """``struct Seed`` of the same file."""

    _fields_ = [*((name, ctypes.c_void_p) for name in ("to", "of_loop", "more")), ("count", ctypes.c_int64)]


class _Training(ctypes.Structure):
    """``struct Training`` of the same file."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("loop", "positions", "scalars", "roots", "root_seeds", "gradients")),
        *((name, ctypes.c_void_p) for name in ("products", "seeds")),
        *((name, ctypes.c_int64) for name in ("product_count", "seed_count")),
    ]


class Repeat:
    """Arrays and arguments of a call of the loss, kept for the calls after it.  One thread at a time may call it."""

    def __init__(
        self,
        stages: Stages,
        loop: Loop,
        compiled: Compiled,
        module: torch.nn.Module,
        binding: Binding,
        outside: Outside,
        reads: Reads,
        found: Sequence[Product],
        call: tuple[torch.Size, int, float],
    ) -> None:
        """Keep what a call needs.

        Args:
            stages: values outside of the loops, some of which are weights.
            loop: the loop that the loss reads.
            compiled: the same compiled.
            module: the circuit.
            binding: where it keeps its values.
            outside: the values of a call.
            reads: what ``loop`` reads in it.
            found: what :func:`products` returned.
            call: shape of the inputs, steps and length of a step in that call.
        """
        weights = stages.weights
        if weights is None:
            raise ValueError("there are no weights")
        self._stages, self._compiled, self._weights = stages, compiled, weights
        self._module, self._call = module, call
        buffers: dict[str, Tensor] = {name: getattr(module, name) for name in binding.buffers.values()}
        self._buffers = [(name, x, x._version) for name, x in buffers.items()]
        self._names = [binding.positions[leaf.name] for leaf in weights.positions]
        dtype, numbers = stages.dtype, {root: k for k, root in enumerate(weights.roots)}
        roots, seeds = ([torch.empty(r.shape, dtype=dtype) for r in weights.roots] for _ in range(2))
        scalars = stages.scalars(outside.prepared)
        self._fixed = {e: x for e, x in outside.rounded.items() if e not in numbers}  # what samples may read besides
        self._kept: list[Any] = [scalars, reads, roots, seeds]  # what addresses are taken of
        for k, e in enumerate(loop.parameters):
            if e in numbers:
                reads.parameters[k] = roots[numbers[e]]
        multiplied = {p.read for p in found}
        self._standalone = [
            (e, reads.samples[k])
            for k, e in enumerate(loop.samples)
            if k not in multiplied and any(isinstance(node, Input) for node in postorder(e))
        ]
        for k in multiplied:
            reads.samples[k] = torch.empty_like(reads.samples[k])
        shape, steps, _ = call
        self._frame = Frame(compiled, reads, shape[0], steps, [None] * len(compiled.state_lanes))
        self._frame.arguments.weight = 1.0 / (shape[0] * steps)
        wanted = {*numbers, *(loop.samples[k] for k in multiplied)}
        made = room(
            self._frame, compiled, reads, [*(e in wanted for e in loop.reads), *(False for _ in loop.states)], steps
        )
        sums = [
            _Seed(seeds[numbers[e]].data_ptr(), g.data_ptr(), None, g.numel())
            for e, g in zip(loop.parameters, made.rows[0], strict=True)
            if e in numbers and g is not None
        ]
        written = {numbers[e] for e in loop.parameters if e in numbers}
        library = compiled.library
        library.product_bytes.restype, library.product_bytes.argtypes = ctypes.c_int64, [ctypes.c_int64]
        self._factors = [p.x for p in found]
        self._products = (_Product * max(1, len(found)))()
        for product, p in zip(self._products, found, strict=False):
            n, m = weights.roots[p.root].shape
            to = seeds[p.root]
            if p.root in written:
                to = self._room(torch.empty_like(to))
                sums.append(_Seed(seeds[p.root].data_ptr(), None, to.data_ptr(), to.numel()))
            written.add(p.root)
            gradient = made.rows[1][p.read]
            assert gradient is not None
            scratch = self._room(torch.zeros(library.product_bytes(m) * compiled.threads + 64, dtype=torch.uint8))
            product.matrix, product.seed = roots[p.root].data_ptr(), gradient.data_ptr()
            product.y, product.gradient = reads.samples[p.read].data_ptr(), to.data_ptr()
            product.n, product.m, product.scratch = n, m, -(-scratch.data_ptr() // 64) * 64
        self._kept += [made, pointers(roots), pointers(seeds), (_Seed * max(1, len(sums)))(*sums)]
        self._training = _Training(
            loop=ctypes.addressof(self._frame.arguments),
            scalars=scalars.data_ptr(),
            **{
                name: ctypes.addressof(x)
                for name, x in zip(("roots", "root_seeds", "seeds"), self._kept[-3:], strict=True)
            },
            products=ctypes.addressof(self._products),
            product_count=len(found),
            seed_count=len(sums),
        )
        self._train = library.train
        self._train.restype = ctypes.c_bool

    def _room(self, array: Tensor) -> Tensor:
        self._kept.append(array)
        return array

    def fits(self, module: Any, inputs: Any, steps: int, dt: float) -> bool:
        """Whether a call differs from this one in trained values, inputs and labels alone, and trains all of them."""
        if module is not self._module or not takes(inputs) or (inputs.shape, steps, dt) != self._call:
            return False
        here = module._buffers
        if any(here.get(name) is not x or x._version != version for name, x, version in self._buffers):
            return False
        dtype = self._stages.dtype
        return all(p.requires_grad and p.dtype == dtype and p.is_contiguous() for p in self.positions())

    def positions(self) -> list[Tensor]:
        """Return the trained positions that the weights are made of."""
        return [getattr(self._module, name) for name in self._names]

    def run(
        self, inputs: Tensor, labels: Tensor, logit_scale: float, smoothing: float, positions: Sequence[Tensor]
    ) -> tuple[float, Tensor, list[Tensor]]:
        """Return the loss, the mean log-probabilities ``(batch, classes)`` and the gradients of ``positions``.

        Raises:
            ValueError: for labels that are no classes.
        """
        stages, training = self._stages, self._training
        known = self._fixed | stages.parts(inputs)
        factors = [_value(stages, x, known) for x in self._factors]
        for product, x in zip(self._products, factors, strict=False):
            product.x = x.data_ptr()
        for e, to in self._standalone:
            to.copy_(_value(stages, e, known))
        arguments = self._frame.arguments
        found = torch.empty(len(labels), self._compiled.classes, dtype=torch.float64)
        arguments.log_probabilities, arguments.labels = found.data_ptr(), labels.data_ptr()
        arguments.logit_scale, arguments.smoothing = logit_scale, smoothing
        made = self._weights.room(positions)
        places, gradients = pointers(positions), pointers(made)
        training.positions, training.gradients = ctypes.addressof(places), ctypes.addressof(gradients)
        loss, fit = ctypes.c_double(), True

        def train(_: Any) -> None:
            nonlocal fit
            fit = self._train(ctypes.byref(training), ctypes.byref(loss))

        self._compiled.backward(arguments, train)
        if not fit:
            raise ValueError(f"labels must be numbers from 0 to {self._compiled.classes - 1}")
        return loss.value, found, [g.to(p.dtype) for g, p in zip(made, positions, strict=True)]


def takes(inputs: Any) -> bool:
    """Whether inputs are amplitudes that no gradient is asked of."""
    amplitudes = isinstance(inputs, Tensor) and inputs.ndim == 2 and not inputs.requires_grad
    return amplitudes and not torch.is_inference_mode_enabled()


def _value(stages: Stages, e: Expr, known: dict[Expr, Tensor]) -> Tensor:
    return (known[e] if e in known else stages.evaluate([e], known)[0]).contiguous()


class RepeatedLoss(torch.autograd.Function):
    """:meth:`Repeat.run` in torch's graph."""

    @staticmethod
    def forward(
        ctx: Any,
        repeat: Repeat,
        inputs: Tensor,
        labels: Tensor,
        logit_scale: float,
        smoothing: float,
        *positions: Tensor,
    ) -> Any:
        """Return the loss and the mean log-probabilities ``(batch, classes)``, in the type of the positions."""
        call = repeat, inputs, labels, logit_scale, smoothing
        loss, found, ctx.made = repeat.run(inputs, labels, logit_scale, smoothing, positions)
        ctx.call = call, positions, [x._version for x in (inputs, labels, *positions)]
        scores = found.to(positions[0].dtype)
        ctx.mark_non_differentiable(scores)
        return scores.new_tensor(loss), scores

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Scale the gradients by what the loss counts for; they are found again for every call but the first."""
        (repeat, *given), positions, versions = ctx.call
        made, ctx.made = ctx.made, None
        if made is None:
            inputs, labels, logit_scale, smoothing = given
            if versions != [x._version for x in (inputs, labels, *positions)]:
                raise RuntimeError("the trained values have changed since the loss was computed")
            made = repeat.run(inputs, labels, logit_scale, smoothing, positions)[2]
        scale = seeds[0].item()
        return (*(None,) * 5, *(made if scale == 1.0 else [g * scale for g in made]))
