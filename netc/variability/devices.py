"""What real devices make of the values they are programmed to: levels, write errors, spread, stuck devices, read noise.

All of it acts on the coordinate in which a value is learnt: the conductance of a resistor, else the value itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from netc.diagnostics import Diagnostics
from netc.ir.program import Bounds, Coordinate, ParameterBlock, Program, Spread
from netc.variability.draws import LAWS, deviations, factors, uniforms

Values = Mapping[str, np.ndarray]
"""Physical values by block, float64, SI units, shape ``(lanes,)``."""

# what a number is drawn for; part of its key
_PROGRAM, _STUCK, _SPREAD, _READ, _DEVICE, _CYCLE = range(6)


@dataclass(frozen=True, slots=True)
class Moved:
    """Values that devices hold, and the derivative of each by the value it was meant to have."""

    values: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, slots=True)
class Devices:
    """How devices differ from what was learnt; applied in this order.

    Standard deviations are relative: G (1 + s n), see :func:`~netc.variability.draws.factors` for the laws.  All draws
    are pure functions of the seed, of the number of the chip and of that of the sample.

    Attributes:
        levels: number of levels, equally spaced in conductance from one bound to the other, that a device can be
            programmed to; it takes the nearest.  ``None``: any value.
        program_noise: relative standard deviation of what is programmed.  Held between the bounds.
        law: of the noise: ``normal``, ``lognormal`` or ``uniform``.
        stuck_at: probability that a device, each for itself, is stuck at one of its bounds, either as likely.
        seed: of all draws.  Draw number k of a seed is the same whatever was drawn before it.
        spread: relative standard deviation from device to device.  It is not held between the bounds, which say what
            can be programmed and not how a device turns out; values stay positive.  Stuck devices have none.
        read_noise: relative standard deviation from use to use, drawn anew for every sample and constant while it
            lasts; of stuck devices as well.
        declared: whether the spread that the deck declares counts as well.
    """

    levels: int | None = None
    program_noise: float = 0.0
    law: str = "normal"
    stuck_at: float = 0.0
    seed: int = 0
    spread: float = 0.0
    read_noise: float = 0.0
    declared: bool = True

    @property
    def ideal(self) -> bool:
        """Whether trained values stay as they are, but for what a deck declares."""
        return self.levels is None and not self.random

    @property
    def random(self) -> bool:
        """Whether two draws of trained values differ, whatever a deck declares."""
        return max(self.program_noise, self.stuck_at, self.spread, self.read_noise) > 0

    def acts(self, program: Program) -> bool:
        """Return whether any value of ``program`` changes."""
        return not self.ideal or any(self._spreads(block) for block in program.parameters)

    def differs(self, program: Program) -> bool:
        """Return whether two draws for ``program`` differ."""
        return self.random or any(self._spreads(block) for block in program.parameters)

    def changes_by_sample(self, program: Program) -> bool:
        """Return whether one chip has other values in every sample: read noise, spread from cycle to cycle."""
        spreads = [spread for block in program.parameters for spread in self._spreads(block)]
        return self.read_noise > 0 or any(spread.cycle for spread in spreads)

    def check(self) -> None:
        """Refuse values that make no sense, all at once.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        for problem, hint in self.problems():
            found.error(problem, hint=hint)
        found.raise_if_failed()

    def problems(self) -> list[tuple[str, str | None]]:
        """Return what makes no sense, each with a hint where there is one."""
        found: list[tuple[str, str | None]] = []
        if self.levels is not None and self.levels < 2:
            found.append((f"--levels must be at least 2, not {self.levels}", None))
        for name in ("program_noise", "spread", "read_noise"):
            value, flag = getattr(self, name), "--" + name.replace("_", "-")
            if not 0 <= value < math.inf:
                found.append((f"{flag} must be 0 or a positive number, not {value}", None))
            elif value > 1 and name != "program_noise":
                found.append((f"{flag} is a share of the value, at most 1, not {value:g}", f"10% is {flag} 10% or 0.1"))
        if self.law not in LAWS:
            found.append((f"unknown law of noise {self.law!r}", f"one of {', '.join(LAWS)}"))
        if not 0 <= self.stuck_at <= 1:
            found.append((f"--stuck-at must be a share from 0 to 1, not {self.stuck_at}", None))
        if self.seed < 0:
            found.append((f"--seed must be 0 or more, not {self.seed}", None))
        return found

    def programmed(self, program: Program, values: Values, draw: int = 0, sample: int = 0) -> dict[str, np.ndarray]:
        """Return what devices hold that were programmed to ``values``.

        Args:
            program: whose trained blocks have the bounds, and whose blocks say what spread the deck declares.
            values: of all trained blocks.
            draw: which of the draws of this seed: the number of the chip.
            sample: number of the sample that the chip runs; it matters where :meth:`changes_by_sample`.

        Returns:
            The trained blocks, and the others that the deck declares a spread of.
        """
        found = {name: np.asarray(array, dtype=np.float64) for name, array in values.items()}
        for block in program.parameters:
            if block.trained is not None:
                if not self.ideal or self._spreads(block):
                    found[block.name] = self._trained(block, block.trained, found[block.name], draw, sample)
            elif self._spreads(block):
                found[block.name] = self.spread_of(block, block.values, [draw], sample)
        return found

    def _trained(self, block: ParameterBlock, bounds: Bounds, given: np.ndarray, draw: int, sample: int) -> np.ndarray:
        low, high = bounds.minimum, bounds.maximum
        if bounds.coordinate is Coordinate.LINEAR:
            return self.moved(block, given, low, high, [draw], sample).values
        x = 1 / given
        moved = self.moved(block, x, 1 / high, 1 / low, [draw], sample).values
        # a bound is met exactly, whatever the rounding of its reciprocal
        held = np.where(moved == 1 / high, high, np.where(moved == 1 / low, low, 1 / moved))
        return np.where(moved == x, given, held)

    def moved(
        self, block: ParameterBlock, x: np.ndarray, low: float, high: float, draw: Sequence[int], sample: int = 0
    ) -> Moved:
        """Return what a trained block holds, in the coordinate it is learnt in and in the type of ``x``.

        Args:
            block: the block.
            x: what was learnt.
            low: the least that can be programmed.
            high: the most.
            draw: numbers that tell this draw from others.
            sample: number of the sample.
        """
        count, real = len(x), x.dtype.type
        key = self._key(block, draw)
        x, slope = x.copy(), np.ones_like(x)
        if self.levels is not None:  # gradients go straight through
            steps = self.levels - 1
            x -= real(low)
            x /= real(high - low)
            x *= real(steps)
            np.rint(x, out=x)
            top = np.flatnonzero(x >= steps)
            x /= real(steps)
            x *= real(high - low)
            x += real(low)
            x[top] = real(high)
        if self.program_noise > 0:
            slope = factors(self.program_noise, self.law, deviations([*key, _PROGRAM], self.law, count, x.dtype))
            x *= slope
            slope[(x < real(low)) | (x > real(high))] = 0
            np.clip(x, real(low), real(high), out=x)
        factor = self.factor(block, count, x.dtype, draw, sample, read=False)
        if factor is not None:
            x *= factor
            slope *= factor
        for place, spread in enumerate(self._spreads(block)):
            if spread.amount:
                x += real(spread.amount) * self._deviation(block, place, spread, count, x.dtype, draw, sample)
        if self.stuck_at > 0:
            chance = uniforms([*key, _STUCK], count, x.dtype)
            stuck = np.flatnonzero(chance < real(self.stuck_at))
            x[stuck] = np.where(chance[stuck] < real(self.stuck_at / 2), real(low), real(high))
            slope[stuck] = 0
        if self.read_noise > 0:
            factor = self._read(key, count, x.dtype, sample)
            x *= factor
            slope *= factor
        return Moved(x, slope)

    def multiplies(self, block: ParameterBlock) -> bool:
        """Return whether :meth:`factor` is all that happens to a trained block."""
        plain = self.levels is None and self.program_noise == 0 and self.stuck_at == 0
        return plain and not any(spread.amount for spread in self._spreads(block))

    def factor(
        self,
        block: ParameterBlock,
        count: int,
        dtype: np.dtype,
        draw: Sequence[int],
        sample: int = 0,
        *,
        read: bool = True,
    ) -> np.ndarray | None:
        """Return what multiplies the values of a block in the coordinate it is learnt in; ``None``: nothing.

        ``read`` says whether read noise is in it; for the others see :meth:`moved`.
        """
        key = self._key(block, draw)
        found: list[np.ndarray] = []
        if self.spread > 0 and block.trained is not None:
            found.append(factors(self.spread, self.law, deviations([*key, _SPREAD], self.law, count, dtype)))
        inverted = block.trained is not None and block.trained.coordinate is Coordinate.RECIPROCAL
        for place, spread in enumerate(self._spreads(block)):
            if spread.share:
                deviation = self._deviation(block, place, spread, count, dtype, draw, sample)
                one = factors(spread.share, spread.law, deviation)
                found.append(one if spread.reciprocal == inverted else np.reciprocal(one, out=one))
        if read and self.read_noise > 0 and block.trained is not None:
            found.append(self._read(key, count, dtype, sample))
        for more in found[1:]:
            found[0] *= more
        return found[0] if found else None

    def spread_of(self, block: ParameterBlock, x: np.ndarray, draw: Sequence[int], sample: int = 0) -> np.ndarray:
        """Return values that are not trained with the spread that the deck declares of them; see :meth:`moved`."""
        factor = self.factor(block, len(x), x.dtype, draw, sample)
        x = x if factor is None else x * factor
        for place, spread in enumerate(self._spreads(block)):
            if spread.amount:
                x = x + spread.amount * self._deviation(block, place, spread, len(x), x.dtype, draw, sample)
        return x

    def _deviation(
        self,
        block: ParameterBlock,
        place: int,
        spread: Spread,
        count: int,
        dtype: np.dtype,
        draw: Sequence[int],
        sample: int,
    ) -> np.ndarray:
        """Return the deviations of one of the spreads that the deck declares of a block."""
        purpose = (_CYCLE, place, sample) if spread.cycle else (_DEVICE, place)
        return deviations([*self._key(block, draw), *purpose], spread.law, count, dtype)

    def _read(self, key: Sequence[int], count: int, dtype: np.dtype, sample: int) -> np.ndarray:
        return factors(self.read_noise, self.law, deviations([*key, _READ, sample], self.law, count, dtype))

    def _spreads(self, block: ParameterBlock) -> tuple[Spread, ...]:
        return block.spreads if self.declared else ()

    def _key(self, block: ParameterBlock, draw: Sequence[int]) -> list[int]:
        return [self.seed, *draw, crc32(block.name.encode())]
