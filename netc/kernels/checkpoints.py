"""What is stored on the way forward and what is computed again, from an estimate of memory.

all states and inner values of all steps      ->   states every `segment` steps; those between, and the inner values
                                                   that the adjoint reads, once more for one segment at a time
exponentials of all lanes of every step       ->   computed again where they are read, where lanes are so many that
                                                   writing and reading them takes longer

Source: A. Griewank, A. Walther, "Revolve", ACM TOMS 26 (2000); here with two levels, where all that is stored fits a
processor's second cache for networks of usual sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LANE = 64
"""Bytes of a lane of a tile of samples, at most."""

_SECOND_CACHE = 768 * 1024  # bytes that a segment may fill
_MEMORY = 128 * 1024 * 1024  # bytes that a segment may fill of steps that iterate
_FIRST_CACHE = 60 * 1024  # bytes that a segment of a few lanes may fill: more than the cache, read in order
_STORED_STEP = 1024 * 1024  # bytes of inner values of one step that are stored
_SHORTEST, _LONGEST = 8, 64


@dataclass(frozen=True, slots=True)
class Plan:
    """Lanes that one step of a loop stores, ``states`` of them states; of a few only, where it runs as layers.

    A step that ``iterates`` (Newton's method) takes far longer than to store and read what it finds.
    """

    lanes: int
    layered: bool = False
    states: int = 1
    iterates: bool = False

    def segment(self, steps: int) -> int:
        """Return after how many steps the states are stored."""
        if self.layered:
            fits = _FIRST_CACHE // (LANE * self.lanes)
            return min(steps, max(_SHORTEST, min(_LONGEST, fits)))
        fits = (_MEMORY if self.iterates else _SECOND_CACHE) // (LANE * self.lanes)
        least = math.isqrt(steps * self.states // self.lanes) + 1  # where segment and checkpoints together are smallest
        return min(steps + 1, max(fits, least))


def are_stored(lanes: int) -> bool:
    """Whether so many lanes of inner values are stored at each step rather than computed again."""
    return lanes * LANE <= _STORED_STEP
