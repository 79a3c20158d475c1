"""ngspice's netlists of a trained network: the exported deck, read again, with a sample as stimulus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from netc.compiler import compile_deck
from netc.elaborate.circuit import Circuit
from netc.export import export
from netc.ir.program import Timing
from netc.ngspice.netlist import ngspice_text
from netc.ngspice.task import Stimuli
from netc.signoff.frames import FrameStimuli
from netc.signoff.merge import MergedStimuli
from netc.signoff.order import ordered
from netc.training.saved import SavedRun

Values = Mapping[str, np.ndarray]
"""Physical values by block, as :func:`netc.export.trained_values` gives them."""


class Scaled(Protocol):
    """A netlist that takes samples."""

    def scaled(self, amplitudes: np.ndarray) -> str:
        """Return the netlist for one sample."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the deck of a run with given values, and what ngspice runs of it.

    Attributes:
        saved: the run.
        nodes: what ngspice keeps.
        times: netc's grid, seconds, ``(rows,)``.
        max_step: ngspice's largest step, in steps of netc's.
        tolerances: as ``.options``.
        options: more of them.
        merge_rows: merge rows that ideal sources drive.
        hold: steps that a frame lasts; 0 where samples are amplitudes.
    """

    saved: SavedRun
    nodes: tuple[str, ...]
    times: np.ndarray
    max_step: float
    tolerances: str
    options: str
    merge_rows: bool
    hold: int

    def text(self, values: Values, path: Path) -> str:
        """Export ``values`` to ``path`` and return ngspice's netlist of what was written."""
        compilation = self.saved.compilation
        export(compilation, values, path)
        deck = compile_deck(path, dialect=compilation.dialect).deck
        dt, stop = float(self.times[1]), float(self.times[-1])
        given = compilation.circuit.timing or Timing(dt, stop, uic=True)
        timing = replace(given, tstep=dt, tstop=stop, tstart=0.0, tmax=self.max_step * dt)
        netlist = ngspice_text(deck, timing, nodes=self.nodes, options=self.options, tolerances=self.tolerances)
        return ordered(netlist)

    def stimuli(self, text: str) -> Stimuli | FrameStimuli:
        """Return a netlist that takes samples.

        Raises:
            NetcError: a driven source cannot be.
        """
        circuit: Circuit = self.saved.compilation.circuit
        driven = {circuit.branches[d.branch].name: circuit.branches[d.branch].law.kind for d in circuit.driven}
        if self.hold:
            return FrameStimuli(text, driven, float(self.times[1]), self.hold)
        return MergedStimuli(text, driven) if self.merge_rows else Stimuli(text, driven)


class OneChip:
    """The same netlist for all samples."""

    def __init__(self, stimuli: Scaled) -> None:
        self._stimuli = stimuli

    def netlist(self, number: int, sample: np.ndarray) -> str:
        """Return what ngspice runs for a sample."""
        return self._stimuli.scaled(sample)


class ChipASample:
    """A netlist for each sample, of its own values; its deck is written when its turn comes, and not kept."""

    def __init__(self, writer: Writer, values: Mapping[int, Values], folder: Path) -> None:
        self._writer, self._values, self._folder = writer, values, folder
        self._turn = Lock()  # one deck at a time is in memory as a syntax tree

    def netlist(self, number: int, sample: np.ndarray) -> str:
        """See :meth:`OneChip.netlist`."""
        path = self._folder / f"sample-{number:06d}.cir"
        with self._turn:
            text = self._writer.text(self._values[number], path)
            path.unlink(missing_ok=True)
        return self._writer.stimuli(text).scaled(sample)
