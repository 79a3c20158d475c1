"""How a loop over lanes runs: in one go, in ranges without index tables, or row by row of a grid.

for i: x[table[i]], table = -1, 0, 1, 2     ->   i = 0: 0;   for i in 1, 2, 3: x[i - 1]
for i: a[i / 64] * b[i % 64]                ->   for r: for i: a[r] * b[i]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netc.ir.nodes import Index
from netc.kernels.shifts import runs
from netc.kernels.text import Tables

_MOST_RANGES = 5
_MOST_RUNS = 3  # of a table that ranges are made for


@dataclass(frozen=True, slots=True)
class Walk:
    """Lanes ``start`` to ``stop`` of a loop, ``columns`` of a row at a time where there are rows."""

    start: int
    stop: int
    columns: int = 0

    @property
    def lane(self) -> str:
        """Text of the lane in hand."""
        if self.columns:
            return f"(r * {self.columns} + i)"
        return "i" if self.stop - self.start > 1 else str(self.start)

    @property
    def head(self) -> list[str]:
        """The beginning of the loop; ``i`` is its number."""
        if self.columns:
            return [f"for (long i = 0; i < {self.columns}; ++i) {{"]
        if self.stop - self.start == 1:
            return ["{"]
        return [f"for (long i = {self.start}; i < {self.stop}; ++i) {{"]

    def is_row(self, places: np.ndarray) -> bool:
        """Whether ``places`` are the numbers of the rows."""
        return bool(self.columns) and bool((places == np.arange(self.stop) // self.columns).all())

    def at(self, places: np.ndarray, tables: Tables) -> str:
        """Return the text of ``places[lane]``; empty where all of the walk are -1."""
        part = places[self.start : self.stop] if len(places) > 1 else places
        if (part < 0).all():
            return ""
        if (part == part[0]).all():
            return str(int(part[0]))
        if self.columns:
            if self.is_row(places):
                return "r"
            if (part == np.arange(self.stop) % self.columns).all():
                return "i"
        elif len(runs(part)) == 1:
            ahead = int(part[0]) - self.start
            return "i" if ahead == 0 else f"{ahead} + i"
        if self.start == 0 and part.min() >= 0:
            return tables.at(Index(places), self.lane)
        return f"{tables.name(places)}[{self.lane}]"


def walks(lanes: int, maps: Sequence[np.ndarray]) -> list[Walk]:
    """Return the parts of a loop over ``lanes`` lanes that reads or adds at the places ``maps``."""
    whole = Walk(0, lanes)
    for places in maps:
        columns = _columns(places)
        if columns and lanes % columns == 0:
            return [Walk(0, lanes, columns)]
    starts = {0}
    for found in sorted((runs(places) for places in maps), key=len):
        more = starts | set(found)
        if len(found) <= _MOST_RUNS and len(more) <= _MOST_RANGES:
            starts = more
    if len(starts) == 1:
        return [whole]
    ends = [*sorted(starts)[1:], lanes]
    return [Walk(start, end) for start, end in zip(sorted(starts), ends, strict=True)]


def _columns(places: np.ndarray) -> int:
    """Return how many columns a grid has whose rows ``places`` number; 0 where they number none."""
    change = np.flatnonzero(np.diff(places))
    columns = int(change[0]) + 1 if len(change) else 0
    return columns if columns > 1 and bool((places == np.arange(len(places)) // columns).all()) else 0
