"""What a data set looks like to the rest of netc, and what a module must offer to be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netc.data.events import EventOptions, Frames
from netc.data.images import ImageOptions, Images
from netc.diagnostics import NetcError

Features = NDArray[np.float32]
Labels = NDArray[np.int64]


class Samples(Protocol):
    """Features of many samples: an array, or something that makes the array of the samples that are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(samples, features)``, or ``(samples, frames, features)`` where they change over time."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, which: Any) -> Features:
        """Return the chosen ones, float32."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and labels, already split.

    Attributes:
        train_x: ``(n, features)`` in [0, 1], or as ``images`` says, dimensionless; ``(n, frames, features)`` where they
            change over time.
        train_y: ``(n,)`` class numbers from 0.
        test_x: the same of the test samples, which may have another number of frames.
        test_y: ``(m,)``.
        name: the registered name, ``mnist``.
        classes: what the class numbers mean.
        source: where the numbers came from, in words.
        license: under which terms they may be used.
        order: which samples, in which order, and how they were split.
        train_available: training samples of the whole set; more than ``n`` where a limit was asked for.
        test_available: test samples of the whole set.
        checksums: md5 by file name, as verified while reading.
        events: how recordings became frames; ``None`` where there are none.
        images: how pictures were encoded; ``None`` where they were not.
    """

    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    name: str
    classes: tuple[str, ...]
    source: str
    license: str
    order: str
    train_available: int
    test_available: int
    checksums: Mapping[str, str] = field(default_factory=dict)
    events: EventOptions | None = None
    images: ImageOptions | None = None

    @property
    def features(self) -> int:
        """Numbers per sample, or per frame of it."""
        return int(self.train_x.shape[-1])

    @property
    def changing(self) -> bool:
        """Whether a sample's features change over time."""
        return len(self.train_x.shape) > 2

    def limited(self, train: int | None, test: int | None) -> Dataset:
        """Return the first ``train`` and ``test`` samples in the stated order; ``None`` keeps all.

        Raises:
            NetcError: a limit is below 1 or above what there is.
        """
        for what, limit, there in (("training", train, len(self.train_y)), ("test", test, len(self.test_y))):
            if limit is not None and not 1 <= limit <= there:
                raise NetcError(
                    f"{self.name} has {there} {what} samples, so a limit of {limit} cannot be met",
                    hint=f"ask for 1 to {there}, or leave the limit out to use all",
                )
        return replace(
            self,
            train_x=_first(self.train_x, train),
            train_y=self.train_y[:train],
            test_x=_first(self.test_x, test),
            test_y=self.test_y[:test],
        )

    def describe(self) -> dict[str, Any]:
        """Return what a report must say about the data, ready for JSON."""
        return {
            "name": self.name,
            "source": self.source,
            "license": self.license,
            "order": self.order,
            "train_samples": len(self.train_y),
            "train_available": self.train_available,
            "test_samples": len(self.test_y),
            "test_available": self.test_available,
            "md5": dict(self.checksums),
            "events": None if self.events is None else asdict(self.events),
            "images": None if self.images is None else asdict(self.images),
        }


class DataSource(Protocol):
    """One registered data set."""

    @property
    def name(self) -> str:
        """What a user types."""

    def fetch(self, directory: Path | None) -> Path:
        """Make sure the data are on this machine and whole; return where they are."""

    def load(self, directory: Path | None) -> Dataset:
        """Return the whole data set, fetching it if need be."""


@runtime_checkable
class EventSource(DataSource, Protocol):
    """A data set of recordings, which become frames as one likes."""

    def configured(self, **changes: Any) -> DataSource:
        """Return the set with other options, by name as in :class:`~netc.data.events.EventOptions`."""


def _first(samples: Samples, limit: int | None) -> Samples:
    return samples.first(limit) if isinstance(samples, Frames | Images) else samples[:limit]
