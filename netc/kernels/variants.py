"""The loops of a program, compiled once for each set of values that gradients are asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netc.ir.nodes import Expr, Parameter, postorder
from netc.ir.program import Program
from netc.kernels import library
from netc.kernels.call import Compiled
from netc.kernels.file import source
from netc.kernels.layer_source import LayerSource
from netc.kernels.layers import layers
from netc.kernels.loops import Loop, Unsupported, backward
from netc.kernels.source import LoopSource
from netc.kernels.text import Tables
from netc.kernels.weights import Weights


@dataclass(slots=True, eq=False)
class Variant:
    """The loops compiled with gradients of some of their reads: of the loss only, where they are layered."""

    wanted: frozenset[Expr]
    share: bool
    layered: bool
    library: ctypes.CDLL
    loops: dict[str, Compiled]
    sources: dict[str, LoopSource]


class Variants:
    """Compiles loops on demand."""

    def __init__(
        self,
        program: Program,
        loops: Mapping[str, Loop],
        weights: Weights | None,
        real: str,
        threads: int,
        notify: library.Notify,
        passes: frozenset[str],
    ) -> None:
        self._program = program
        self._loops = loops
        self._weights = weights
        self._real = real
        self._threads = threads
        self._notify = notify
        self._passes = passes
        self._known: list[Variant] = []

    @property
    def library(self) -> ctypes.CDLL:
        """The first library that was compiled."""
        return self._known[0].library

    def get(self, wanted: Sequence[Expr], *, share: bool, loss: bool) -> Variant:
        """Return loops with gradients of at least ``wanted``, compiled now if they are not there yet.

        Args:
            wanted: reads and states (their start) of the loops.
            share: let logistic functions share an exponential.
            loss: the gradients are those of the loss, not of signals.

        Raises:
            Unsupported: where they cannot be compiled.
        """
        asked = frozenset(wanted)
        for known in self._known:
            if known.share == share and asked <= known.wanted and (not asked or loss or not known.layered):
                return known
        found = self._compiled(asked, share, loss)
        if found is None:
            raise Unsupported("the kernel for these gradients could not be compiled")
        return found

    def start(self, gradients: bool = True) -> bool:
        """Compile for gradients of the loss by what is trained, or for none; return whether that is possible."""
        return self._compiled(self._trained if gradients else frozenset(), True, True) is not None

    def _compiled(self, asked: frozenset[Expr], share: bool, loss: bool) -> Variant | None:
        tables = Tables()
        sources = {name: self._source(name, asked, tables, share, loss) for name in self._loops}
        loaded = library.load(source(list(sources.values()), tables, self._real, self._weights), self._notify)
        if loaded is None:
            return None
        loops = {
            name: Compiled(
                loaded,
                name,
                tuple(s.size for s in part.loop.states),
                part.loop.outputs.size if part.loop.outputs is not None else 0,
                part.backward is not None or part.layers is not None,
                self._threads if name == "sampled" else 1,
                part.plan if "checkpoints" in self._passes else None,
                {kind: frozenset(lanes.number for lanes in rows) for kind, rows in part.written.items()},
            )
            for name, part in sources.items()
        }
        found = Variant(asked, share, any(part.layers for part in sources.values()), loaded, loops, sources)
        self._known.append(found)
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
        leaves: set[Expr] = {Parameter(b.name, len(b.values)) for b in self._program.parameters if b.trained}
        found: set[Expr] = set()
        for loop in self._loops.values():  # the common one first: what follows from its states may follow from them
            more = {e for e in loop.reads if any(x in leaves for x in postorder(e))}
            found |= more
            if more:
                leaves |= set(loop.states)
        return frozenset(found)
