"""N-MNIST: MNIST digits shown on a screen to an event camera that moves in three saccades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.data.dataset import Dataset
from netc.data.events import EventOptions, Frames, Recording, frames
from netc.data.storage import searched
from netc.diagnostics import NetcError

_SENSOR = 34
_EVENT = 5
_OVERFLOW_ROW = 240
_OVERFLOW = 1 << 13
_OPTIONS = EventOptions()
_DIGITS = tuple(str(digit) for digit in range(10))


def read(path: Path) -> Recording:
    """Return the events of one ``.bin`` file.

    An event has 5 bytes: column, row, then a bit of polarity and 23 bits of time in microseconds, the highest first.
    Row 240 is no event: the clock had run over, and 2^13 is added to all later times.

    Raises:
        NetcError: not a whole number of events, a pixel outside the 34 x 34 sensor, or times that fall.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetcError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) % _EVENT:
        raise NetcError(f"{path} is damaged: {len(content)} bytes are no whole number of events of {_EVENT}")
    column, row, first, second, third = np.frombuffer(content, np.uint8).reshape(-1, _EVENT).T.astype(np.int64)
    real = row != _OVERFLOW_ROW
    time = ((first & 127) << 16 | second << 8 | third) + np.cumsum(~real) * _OVERFLOW
    recording = Recording(column, row, first > 127, time)[real]
    for what, numbers in (("column", recording.x), ("row", recording.y)):
        if len(numbers) and numbers.max() >= _SENSOR:
            at = int(np.argmax(numbers >= _SENSOR))
            raise NetcError(f"{path} is damaged: event {at + 1} is in {what} {numbers[at]} of {_SENSOR}")
    if np.any(np.diff(recording.time) < 0):
        raise NetcError(f"{path} is damaged: times fall after event {int(np.argmax(np.diff(recording.time) < 0)) + 1}")
    return recording


@dataclass(frozen=True)
class NMnist:
    """The whole set, or the part of it that has a name of its own.

    Attributes:
        name: what a user types.
        train: training recordings there must be.
        test: test recordings there must be.
        options: how recordings become frames.
    """

    name: str = "n-mnist"
    train: int = 60_000
    test: int = 10_000
    options: EventOptions = _OPTIONS

    def configured(self, **changes: Any) -> NMnist:
        """Return the set with other options, by name as in :class:`EventOptions`."""
        return replace(self, options=replace(self.options, **changes))

    def fetch(self, directory: Path | None) -> Path:
        """Return the folder that holds ``Train`` and ``Test``.

        Raises:
            NetcError: no folder that is searched has the right number of recordings.
        """
        looked = []
        for folder in searched(directory, (self.name, "NMNIST", "N-MNIST", "nmnist", "nmnist_small")):
            found = [sum(1 for _ in _paths(folder / part)) for part in ("Train", "Test")]
            if found == [self.train, self.test]:
                return folder
            looked.append(f"{folder}" + (f" (with {found[0]} and {found[1]} recordings)" if any(found) else ""))
        raise NetcError(
            f"{self.name} is not on this machine\n"
            + "\n".join(f"  looked in {place}" for place in looked)
            + f"\n  needs Train/<digit>/NNNNN.bin and Test/<digit>/NNNNN.bin, {self.train} and {self.test} of them",
            hint="get Train.zip and Test.zip from https://www.garrickorchard.com/datasets/n-mnist, unpack both into "
            "one folder and name it with --data-dir",
        )

    def load(self, directory: Path | None) -> Dataset:
        """Return the frames of all recordings in the order of their numbers, which are those of MNIST's images.

        Raises:
            NetcError: see :meth:`fetch`; or a damaged file, or options that make no sense.
        """
        self.options.check()
        folder = self.fetch(directory)
        train_x, train_y = self._part(folder / "Train", self.options.frames)
        test_x, test_y = self._part(folder / "Test", self.options.test_frames or self.options.frames)
        return Dataset(
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            name=self.name,
            classes=_DIGITS,
            source=f"N-MNIST (Orchard, Jayawant, Cohen, Thakor 2015); read from {folder}",
            license="CC BY-SA 4.0",
            order="official split; by number of the recording, a limit takes the first ones",
            train_available=self.train,
            test_available=self.test,
            events=self.options,
        )

    def _part(self, folder: Path, count: int) -> tuple[Frames, np.ndarray]:
        paths = sorted(_paths(folder), key=lambda path: (path.name, path.parent.name))
        labels = np.array([int(path.parent.name) for path in paths], dtype=np.int64)
        return frames((read(path) for path in paths), count, _SENSOR, self.options), labels


def _paths(folder: Path) -> Iterator[Path]:
    for digit in _DIGITS:
        yield from (folder / digit).glob("*.bin")


N_MNIST = NMnist()
N_MNIST_SMALL = NMnist("n-mnist-small", 1000, 100)
"""Recordings of MNIST's first 1,000 training and first 100 test digits."""
