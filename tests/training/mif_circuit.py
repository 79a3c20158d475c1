"""A memristive integrate-and-fire network written by hand to the contract of docs/architecture.md.

It stands in for a compiled deck, so that training is tested by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from netc.ir.program import InputBlock, Program, Timing

GMIN, GMAX = 1e-5, 1e-3
MEMBRANE_CAPACITANCE = 100e-9
TAU, VT, VON, VOFF, HOLD, REST = 1e-3, 25e-3, 110e-3, 5e-3, 0.6, 50e-3
GAINS = (7e-6 / (GMAX - GMIN), 1e-3 / (GMAX - GMIN))  # A per unit input, then S from membrane to membrane


class MifNetwork(torch.nn.Module):
    compiled = recompute = False  # it runs one way only
    stretch = 100

    def __init__(self, sizes: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.FEATURES = sizes[0]
        self.NODES = tuple(f"m{layer}_{k}" for layer in range(1, len(sizes)) for k in range(1, sizes[layer] + 1))
        self.OUTPUTS = tuple(f"m{len(sizes) - 1}_{k}" for k in range(1, sizes[-1] + 1))
        generator = torch.Generator().manual_seed(3)
        for layer, (rows, columns) in enumerate(pairwise(sizes)):
            spread = min(1.0, 2 / math.sqrt(rows))
            weight = (2 * torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 1) * spread
            for sign, name in ((1, "plus"), (-1, "minus")):
                self.register_parameter(f"r_{name}_{layer}", torch.nn.Parameter((0.5 + sign * weight / 2).to(dtype)))

    def values(self) -> dict[str, Tensor]:
        return {name: GMIN + (GMAX - GMIN) * p for name, p in self.named_parameters()}

    def project(self) -> None:
        with torch.no_grad():
            for p in self.parameters():
                p.clamp_(0, 1)

    def forward(self, steps, dt, inputs=None, *, observe=None, state=None, first_step=0, values=None):  # type: ignore[no-untyped-def]
        values = values or self.values()
        weights = [
            (values[f"r_plus_{k}"] - values[f"r_minus_{k}"]) * GAINS[min(k, 1)] for k in range(len(self.sizes) - 1)
        ]
        first = inputs @ weights[0]
        if state is None:
            state = tuple(
                torch.zeros(len(inputs), n, dtype=first.dtype, device=first.device)
                for n in self.sizes[1:]
                for _ in range(3)
            )
        state = list(state)
        rows = [torch.cat(state[0::3], dim=-1)]
        for n in range(steps):
            time = (first_step + n) * dt
            since = math.fmod(time, 1e-3) / 0.64e-3
            new = []
            for k in range(len(weights)):
                v, x1, x2 = state[3 * k : 3 * k + 3]
                current = first * (since * math.exp(1 - since)) if k == 0 else state[3 * k - 3] @ weights[k]
                g1, g2 = (GMIN + (GMAX - GMIN) * x for x in (x1, x2))
                new.append(v + dt / MEMBRANE_CAPACITANCE * (current - g1 * v - g2 * (v - REST)))
                new.append(x1 + dt * _switch(x1, v))
                new.append(x2 + dt * _switch(x2, REST - v))
            state = new
            rows.append(torch.cat(state[0::3], dim=-1))
        chosen = [self.NODES.index(name) for name in (self.NODES if observe is None else observe)]
        return torch.stack(rows)[..., chosen], tuple(state)


def _switch(x: Tensor, v: Tensor) -> Tensor:
    on = torch.sigmoid((v - VON) / VT)
    hold = torch.sigmoid((v - VOFF) / VT)
    return ((1 - x) * on - x * (1 - HOLD * hold)) / TAU


@dataclass
class HandMade:
    """A compilation with everything training asks for."""

    sizes: tuple[int, ...] = (64, 16, 10)
    steps: int = 20
    dt: float = 50e-6
    path: Path = Path("hand/made.cir")
    mode: str = "amplitude"
    dialect: str = "ngspice"
    text: tuple[str, ...] = ("hand-made network", ".include part.lib", ".end")
    source: str = "# emitted\n"
    modules: list[MifNetwork] = field(default_factory=list)

    @cached_property
    def sources(self) -> dict[str, tuple[str, ...]]:
        return {str(self.path): self.text, str(self.path.parent.parent / "models/part.lib"): ("* part",)}

    @cached_property
    def program(self) -> Program:
        lanes = tuple(f"ein{k}" for k in range(1, self.sizes[0] + 1))
        return Program(
            title=self.text[0],
            parameters=(),
            inputs=(InputBlock("inputs", self.mode, lanes),),
            states=(),
            algebraic=(),
            observables=(),
            outputs=(),
            selected=(),
            timing=Timing(tstep=self.dt, tstop=self.dt * self.steps),
        )

    def module(self, dtype: torch.dtype = torch.float32) -> MifNetwork:
        self.modules.append(MifNetwork(self.sizes, dtype))
        return self.modules[-1]
