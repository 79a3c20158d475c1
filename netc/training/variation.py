"""Training and testing on devices that are not alike: each few samples run on a chip of their own.

::

    one set of values, all samples of a batch    ->    chip 1, samples 1 to 16;  chip 2, samples 17 to 32;  ...

A chip is a copy of the module with drawn values (:mod:`netc.variability`), so any engine runs it as it stands.  Drawn
conductances are a factor times the nominal one, so their gradient times that factor is the gradient of the nominal
value: pathwise gradients, exact for each draw.  As many chips as samples are a fresh draw for every sample; fewer
leave the expected gradient what it is, make its variance a little larger and cost less, for a kernel prepares weights
once a chip and runs its samples side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.ir.program import Coordinate, ParameterBlock, Program
from netc.training.activity import Counts
from netc.training.contract import CircuitModule
from netc.training.engines import KernelEngine, TorchEngine
from netc.variability import Devices

TRAINING, VALIDATION = 1, 2
"""What chips are drawn for; chips of one purpose are never those of another."""


class Variation:
    """Runs samples on drawn chips.

    Attributes:
        each: samples that one chip runs in training.
    """

    def __init__(
        self, engine: KernelEngine | TorchEngine, module: CircuitModule, program: Program, devices: Devices, each: int
    ) -> None:
        """``engine`` runs ``module``, the nominal circuit; see :class:`Devices` for how chips differ from it."""
        self.each = each
        self.devices = devices
        self._module: Any = module
        self._chip: Any = copy.deepcopy(module)
        self._nominal = engine
        self._blocks = [b for b in program.parameters if b.trained is not None or (b.spreads and devices.declared)]

    def learn(
        self, samples: Tensor, labels: Tensor, weights: Tensor | None, key: Sequence[int], first: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`netc.training.engines.Engine.learn` does, each few samples run on a chip of their own.

        Args:
            samples: as engines take them.
            labels: class numbers ``(batch,)``.
            weights: of penalties, which take a gradient.
            key: numbers that tell this batch from all others.
            first: place of the first sample in the whole batch, of which workers have parts.
        """
        nominal = list(self._module.parameters())
        found = [torch.zeros_like(p) for p in nominal]
        weighed = None if weights is None else torch.zeros_like(weights)
        losses, scores = torch.zeros((), dtype=torch.float64), []
        for chip, part in self._parts(len(labels), first):
            slopes = self._draw((TRAINING, *key, chip))
            given = None if weights is None else weights.detach()[part].requires_grad_()
            loss, score = self._engine.learn(samples[..., part, :], labels[part], given)
            leaves = [*self._chip.parameters(), *([] if given is None else [given])]
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
            share = (part.stop - part.start) / len(labels)
            for total, gradient, slope in zip(found, gradients, slopes, strict=False):
                if gradient is not None:
                    total.addcmul_(gradient, slope, value=share)
            if weighed is not None and gradients[-1] is not None:
                weighed[part] = share * gradients[-1]
            losses += share * loss.detach().to("cpu", torch.float64)
            scores.append(score)
        learnt = nominal if weights is None else [*nominal, weights]
        total = _Gradients.apply(losses.to(scores[0]), [*found, *([] if weighed is None else [weighed])], *learnt)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
        return total, torch.cat(scores)

    def tally(
        self, samples: Tensor, nodes: Sequence[str], threshold: float, key: Sequence[int]
    ) -> tuple[Tensor, Counts]:
        """Return what :meth:`netc.training.engines.Engine.tally` does, all samples run on one chip."""
        self._draw((VALIDATION, *key))
        return self._engine.tally(samples, nodes, threshold)

    @cached_property
    def _engine(self) -> KernelEngine | TorchEngine:
        """The engine on the chip; made when the other one has been set up."""
        if isinstance(self._nominal, TorchEngine):
            return replace(self._nominal, module=self._chip, batch=min(self._nominal.batch, self.each))
        return replace(self._nominal, module=self._chip)

    def _parts(self, samples: int, first: int) -> Iterator[tuple[int, slice]]:
        """Yield numbers of chips, and the samples that each of them runs."""
        at = 0
        while at < samples:
            chip = (first + at) // self.each
            end = min(samples, (chip + 1) * self.each - first)
            yield chip, slice(at, end)
            at = end

    def _draw(self, key: Sequence[int]) -> list[Tensor]:
        """Give the chip values of its own; return the derivatives of its positions by the nominal ones, in order."""
        slopes: dict[str, Tensor] = {}
        places = {name: held for name, (held, *_) in self._module.BLOCKS.items()}
        with torch.no_grad():
            for block in self._blocks:
                here, there = getattr(self._module, places[block.name]), getattr(self._chip, places[block.name])
                if block.trained is None:
                    drawn = self.devices.spread_of(block, here.cpu().numpy(), key)
                    there.copy_(torch.from_numpy(drawn))
                    continue
                low, high = programmable(block)
                if self.devices.multiplies(block):
                    slope = self._factors(block, here, key)
                    offset = low / (high - low)  # of a value of 0 from the lower bound, in positions
                    torch.mul(here, slope, out=there).add_(slope, alpha=offset).sub_(offset)
                else:
                    x = here.cpu().mul(high - low).add_(low)
                    moved = self.devices.moved(block, x.numpy(), low, high, key)
                    there.copy_(torch.from_numpy(moved.values).sub_(low).div_(high - low))
                    slope = torch.from_numpy(moved.slopes).to(here.device)
                slopes[places[block.name]] = slope
        return [slopes[name] for name, _ in self._chip.named_parameters()]

    def _factors(self, block: ParameterBlock, like: Tensor, key: Sequence[int]) -> Tensor:
        found = self.devices.factor(block, like.numel(), np.dtype(str(like.dtype).removeprefix("torch.")), key)
        return torch.ones_like(like) if found is None else torch.from_numpy(found).to(like.device)


class _Gradients(torch.autograd.Function):
    """A loss whose gradients have been found."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Sequence[Tensor], *leaves: Tensor) -> Tensor:
        """Return ``loss``; its gradient by each of ``leaves`` is in ``gradients``."""
        ctx.found = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Scale the gradients by what the loss counts for."""
        scale = seeds[0].item()
        return (None, None, *(g if scale == 1.0 else g * scale for g in ctx.found))


def programmable(block: ParameterBlock) -> tuple[float, float]:
    """Return the bounds of a trained block in the coordinate it is learnt in."""
    bounds = block.trained
    if bounds is None:
        raise ValueError(f"{block.name} is not trained")
    low, high = bounds.minimum, bounds.maximum
    return (1 / high, 1 / low) if bounds.coordinate is Coordinate.RECIPROCAL else (low, high)
