"""How pictures become the numbers a circuit is driven with: brightness compressed, and less its mean.

Networks of this kind have no biases and take what all pictures have in common as drive.  A power below 1 brings dark
pixels up, as sensors with a compressing response do; taking the mean picture away leaves what tells samples apart,
half of it negative, which the inputs of a crossbar play as voltages of the other sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.diagnostics import Diagnostics

Features = NDArray[np.float32]

_AT_ONCE = 10_000  # samples, so that no second copy of a whole set is made


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What is done with brightness in [0, 1], dimensionless, before it drives a circuit.

    Attributes:
        gamma: the power brightness is raised to; 1 leaves it as it is.
        centred: take away the mean of the whole training set, pixel by pixel, after that.
    """

    gamma: float = 1.0
    centred: bool = False

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        if not 0 < self.gamma < float("inf"):
            found.error(f"--image-gamma must be above 0, not {self.gamma:g}")
        found.raise_if_failed()

    def words(self) -> str:
        """Return what is done, in words."""
        power = f"brightness to the power {self.gamma:g}" if self.gamma != 1 else "brightness"
        return f"{power}, less the mean training picture" if self.centred else power


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures that are encoded when they are read; only their brightness is kept.

    Attributes:
        brightness: ``(samples, pixels)`` in [0, 1].
        options: how it is encoded.
        mean: what is taken away from each pixel, ``(pixels,)``; 0 where nothing is.
    """

    brightness: Features
    options: ImageOptions
    mean: Features

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.brightness)

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, pixels."""
        return self.brightness.shape

    def first(self, samples: int | None) -> Images:
        """Return the first ``samples``; all when ``None``."""
        return replace(self, brightness=self.brightness[:samples])

    def __getitem__(self, which: Any) -> Features:
        """Return some samples encoded, chosen as those of an array are."""
        found: Features = self.encoded(self.brightness[which])
        return found

    def encoded(self, brightness: NDArray[Any]) -> Any:
        """Return what pictures ``(samples, pixels)`` drive a circuit with, in their own type."""
        return _compressed(brightness, self.options.gamma) - self.mean.astype(brightness.dtype)


def encoded(train: Features, test: Features, options: ImageOptions) -> tuple[Images, Images]:
    """Return training and test pictures as ``options`` say; both less the mean of the training pictures.

    Raises:
        NetcError: options that make no sense.
    """
    options.check()
    mean = np.zeros(train.shape[1], dtype=np.float32)
    if options.centred:
        parts = range(0, len(train), _AT_ONCE)
        sums = [_compressed(train[k : k + _AT_ONCE], options.gamma).sum(axis=0, dtype=np.float64) for k in parts]
        mean = (np.sum(sums, axis=0) / len(train)).astype(np.float32)
    return Images(train, options, mean), Images(test, options, mean)


def _compressed(brightness: NDArray[Any], gamma: float) -> NDArray[Any]:
    return brightness if gamma == 1 else np.power(brightness, brightness.dtype.type(gamma))
