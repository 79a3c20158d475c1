"""A parameter that is the same for all lanes becomes one lane.

    parameter c_1 (110) = 1e-7, 1e-7, ...   ->   parameter c_1 (1) = 1e-7, lanes ("xn*.c1",)

Trained blocks and those with a spread keep their lanes: they will not stay equal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from netc.ir.nodes import Expr, Parameter
from netc.ir.program import ParameterBlock, Program
from netc.optimise.rewriting import rewritten


def run(program: Program, *, keep: Collection[str] = ()) -> Program:
    """Return ``program`` with uniform blocks narrowed, except those named in ``keep``."""
    narrowed: dict[Expr, Expr] = {}
    blocks: list[ParameterBlock] = []
    for block in program.parameters:
        size = len(block.values)
        uniform = size > 1 and block.trained is None and not block.spreads and block.name not in keep
        if uniform and (block.values == block.values[0]).all():
            narrowed[Parameter(block.name, size)] = Parameter(block.name, 1)
            block = replace(block, values=block.values[:1], lanes=(pattern(block.lanes),), spans=block.spans[:1])
        blocks.append(block)
    return rewritten(replace(program, parameters=tuple(blocks)), narrowed.get)


def pattern(names: tuple[str, ...]) -> str:
    """Return what ``names`` have in common at their start and end, ``*`` for what differs."""
    start = _common(names)
    shortest = min(map(len, names)) - len(start)
    end = _common([name[::-1] for name in names])[:shortest][::-1]
    return f"{start}*{end}" if len(set(names)) > 1 else names[0]


def _common(names: Sequence[str]) -> str:
    low, high = min(names), max(names)
    return low[: next((k for k, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]
