"""What real devices make of the values they are programmed to: levels, write errors, devices that are stuck.

All three act on the coordinate in which a value is learnt: the conductance of a resistor, else the value itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.diagnostics import Diagnostics
from netc.export.values import Values, trained_blocks
from netc.ir.program import Coordinate, Program

LAWS = ("normal", "lognormal")


@dataclass(frozen=True, slots=True)
class Devices:
    """How programmed devices differ from what was learnt; applied in this order.

    Attributes:
        levels: number of levels, equally spaced in conductance from one bound to the other, that a device can be
            programmed to; it takes the nearest.  ``None``: any value.
        program_noise: relative standard deviation s of what is programmed.  ``normal``: G (1 + s n), n of a standard
            normal distribution; ``lognormal``: G exp(s n - s^2 / 2), which has mean G.  Held between the bounds.
        law: of these two.
        stuck_at: probability that a device, each for itself, is stuck at one of its bounds, either as likely.
        seed: of all draws.  Draw number k of a seed is the same whatever was drawn before it.
    """

    levels: int | None = None
    program_noise: float = 0.0
    law: str = "normal"
    stuck_at: float = 0.0
    seed: int = 0

    @property
    def ideal(self) -> bool:
        """Whether values stay as they are."""
        return self.levels is None and self.program_noise == 0 and self.stuck_at == 0

    @property
    def random(self) -> bool:
        """Whether two draws differ."""
        return self.program_noise > 0 or self.stuck_at > 0

    def check(self) -> None:
        """Refuse values that make no sense, all at once.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        if self.levels is not None and self.levels < 2:
            found.error(f"--levels must be at least 2, not {self.levels}")
        if not 0 <= self.program_noise < float("inf"):
            found.error(f"--program-noise must be 0 or a positive number, not {self.program_noise}")
        if self.law not in LAWS:
            found.error(f"unknown law of noise {self.law!r}", hint=f"one of {', '.join(LAWS)}")
        if not 0 <= self.stuck_at <= 1:
            found.error(f"--stuck-at must be a share from 0 to 1, not {self.stuck_at}")
        if self.seed < 0:
            found.error(f"--seed must be 0 or more, not {self.seed}")
        found.raise_if_failed()

    def programmed(self, program: Program, values: Values, draw: int = 0) -> dict[str, np.ndarray]:
        """Return what devices hold that were programmed to ``values``.

        Args:
            program: whose trained blocks have the bounds.
            values: by block, float64, SI units, shape ``(lanes,)``.
            draw: which of the draws of this seed.
        """
        if self.ideal:
            return dict(values)
        found = {}
        for number, block in enumerate(trained_blocks(program)):
            bounds = block.trained
            assert bounds is not None
            reciprocal = bounds.coordinate is Coordinate.RECIPROCAL
            low, high = bounds.minimum, bounds.maximum
            given = values[block.name]
            random = np.random.default_rng([self.seed, draw, number])
            if reciprocal:
                moved = self._moved(1 / given, 1 / high, 1 / low, random.standard_normal, random.random)
                # a bound is met exactly, whatever the rounding of its reciprocal
                held = np.where(moved <= 1 / high, high, np.where(moved >= 1 / low, low, 1 / moved))
                found[block.name] = np.clip(held, low, high)
            else:
                found[block.name] = self._moved(given, low, high, random.standard_normal, random.random)
        return found

    def _moved(
        self,
        x: np.ndarray,
        low: float,
        high: float,
        normal: Callable[[int], np.ndarray],
        uniform: Callable[[int], np.ndarray],
    ) -> np.ndarray:
        if self.levels is not None:
            steps = self.levels - 1
            level = np.rint((x - low) / (high - low) * steps)
            x = np.where(level == steps, high, low + (high - low) * (level / steps))
        deviation = normal(len(x))  # drawn in any case: which devices are stuck hangs on the seed alone
        if self.program_noise > 0:
            spread = self.program_noise
            if self.law == "normal":
                x = x * (1 + spread * deviation)
            else:
                x = x * np.exp(spread * deviation - spread**2 / 2)
            x = np.clip(x, low, high)
        if self.stuck_at > 0:
            stuck = uniform(len(x)) < self.stuck_at
            x = np.where(stuck, np.where(uniform(len(x)) < 0.5, low, high), x)
        return x
