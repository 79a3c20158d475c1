"""States that stay where their rate vanishes, such as a memristor's at a bound where its window function is 0.

What carried the state there holds it ever more closely.  Once the drive reverses, the distance that is left grows
e-fold again and again, and decides when the state leaves.  A tolerance that looks at the state alone loses that
distance, and a tighter one loses it too.  So such places are found along the way, and in the next run the error
allowed near them is a share of the distance.  Where rounding has taken even that, there is nothing to do but say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netc.ir.interpret import Array
from netc.runtime.method import HELD_GROWTH, HELD_LOST, HELD_WITHIN, HELD_ZERO, ROUNDING

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Held:
    """A state that stayed within ``distance`` of ``place``, where an error would have grown by ``exp(growth)``.

    ``lost``: it came as close as rounding.
    """

    state: int
    place: float
    distance: float
    growth: float
    lost: bool


class Watch:
    """Finds such places while steps are taken."""

    def __init__(self, states: int) -> None:
        self._grown, self._anchor, self._slope = np.zeros(states), np.zeros(states), np.zeros(states)
        self.found: list[Held] = []

    def restart(self, v: Array) -> None:
        """Begin a stretch at ``v`` ``(size,)``."""
        self._anchor = v[: len(self._anchor)].copy()
        self._slope[:] = 0.0

    def step(self, h: float, v: Array, rates: Array, slopes: Array, largest: Array) -> None:
        """Look at a step of ``h`` seconds to ``v``; ``slopes`` are the derivatives of ``rates`` by the states' own.

        All are ``(states,)``, and so is ``largest``, the largest value each state has had.
        """
        near = HELD_WITHIN * largest
        grown = self._grown + 0.5 * h * (slopes + self._slope)
        self._slope = slopes.copy()
        stays = (grown > 0) & (np.abs(v - self._anchor) <= near)
        self._grown = np.where(stays, grown, 0.0)
        self._anchor = np.where(stays, self._anchor, v)
        for k in np.flatnonzero((self._grown > HELD_GROWTH) & (slopes > 0)).tolist():
            distance = float(rates[k] / slopes[k])
            if abs(distance) <= near[k]:
                self._note(k, float(v[k]), distance, float(near[k]))

    def _note(self, k: int, v: float, distance: float, near: float) -> None:
        place, distance, growth = v - distance, abs(distance), float(self._grown[k])
        if abs(place) <= HELD_ZERO * distance:
            place = 0.0
        decides = distance * math.exp(-growth)
        for number, known in enumerate(self.found):
            if known.state == k and abs(known.place - place) <= near:
                if known.distance <= distance:
                    place, distance = known.place, known.distance
                self.found[number] = Held(
                    k, place, distance, max(known.growth, growth), known.lost or decides <= HELD_LOST * abs(place)
                )
                return
        self.found.append(Held(k, place, distance, growth, decides <= HELD_LOST * abs(place)))


def tightened(scale: Array, v: Array, relative: float, held: Sequence[Held]) -> Array:
    """Return the error allowed to each variable, ``(size,)``: near a place, a share of the distance from there."""
    if not held:
        return scale
    scale = scale.copy()
    for place in held:
        k, at = place.state, float(v[place.state])
        scale[k] = min(scale[k], ROUNDING * abs(at) + relative * abs(at - place.place) + _TINY)
    return scale


def joined(before: Sequence[Held], found: Sequence[Held], largest: Array) -> tuple[list[Held], bool]:
    """Return all places known after a run, and whether any of them was not known before it."""
    result, fresh = list(found), False
    for place in found:
        near = HELD_WITHIN * float(largest[place.state])
        if not any(k.state == place.state and abs(k.place - place.place) <= 2 * near for k in before):
            fresh = True
    for known in before:
        near = HELD_WITHIN * float(largest[known.state])
        if not any(f.state == known.state and abs(f.place - known.place) <= 2 * near for f in found):
            result.append(known)
    return result, fresh


def remarks(held: Sequence[Held], names: Sequence[str]) -> tuple[str, ...]:
    """Return what there is to say of a run in which ``held`` were found, by the states' ``names``."""
    lost: dict[str, float] = {}
    for place in held:
        if place.lost:
            lost.setdefault(names[place.state], place.place)
    return tuple(
        f"{name} comes so close to {value:.6g}, where its rate vanishes, that rounding decides when it leaves: from "
        "there on the waveforms are not to be relied on, and in ngspice may differ"
        for name, value in lost.items()
    )
