"""DVS128 Gesture: 11 hand gestures of 29 people under three to five lights, filmed by an event camera."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.data import aedat
from netc.data.dataset import Dataset
from netc.data.events import EventOptions, Frames, Recording, frames
from netc.data.storage import searched
from netc.diagnostics import NetcError

_SENSOR = 128
_COLUMNS = 4
_TIME_UNIT = 1000  # an array's times are milliseconds
_ARRAYS = ("ibmGestureTrain", "ibmGestureTest")
_LISTS = ("trials_to_train.txt", "trials_to_test.txt")
_HEADER = ["class", "startTime_usec", "endTime_usec"]
_OPTIONS = EventOptions(test_frames=360)  # as in the MEMprop paper, IV-B
_CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)


@dataclass(frozen=True)
class DvsGesture:
    """The set in either form: arrays cut by gesture, or the camera's files with a table of gestures.

    The arrays have 1,077 training and 264 test samples, the camera's files 1,176 and 288.

    Attributes:
        name: what a user types.
        options: how recordings become frames.
    """

    name: str = "dvs-gesture"
    options: EventOptions = _OPTIONS

    def configured(self, **changes: Any) -> DvsGesture:
        """Return the set with other options, by name as in :class:`EventOptions`."""
        return replace(self, options=replace(self.options, **changes))

    def fetch(self, directory: Path | None) -> Path:
        """Return the folder with both folders of arrays, or with both lists of trials and the camera's files.

        Raises:
            NetcError: no folder that is searched has either.
        """
        looked = []
        for folder in searched(directory, (self.name, "DVSGesture", "DvsGesture")):
            if any(all((folder / part).exists() for part in parts) for parts in (_ARRAYS, _LISTS)):
                return folder
            looked.append(folder)
        raise NetcError(
            f"{self.name} is not on this machine\n"
            + "\n".join(f"  looked in {place}" for place in looked)
            + f"\n  needs {' and '.join(_ARRAYS)}, or {' and '.join(_LISTS)} beside .aedat files",
            hint="get DvsGesture.tar.gz from https://research.ibm.com/interactive/dvsgesture, unpack it and name the "
            "folder with --data-dir",
        )

    def load(self, directory: Path | None) -> Dataset:
        """Return the frames of all samples, person by person.

        Raises:
            NetcError: see :meth:`fetch`; or a damaged file, or options that make no sense.
        """
        self.options.check()
        folder = self.fetch(directory)
        arrays = all((folder / part).exists() for part in _ARRAYS)
        parts = []
        for number, count in enumerate((self.options.frames, self.options.test_frames or self.options.frames)):
            samples = _cut_arrays(folder / _ARRAYS[number]) if arrays else _recorded(folder, _LISTS[number])
            parts.append(self._part(samples, count))
        (train_x, train_y), (test_x, test_y) = parts
        return Dataset(
            train_x=train_x,
            train_y=train_y,
            test_x=test_x,
            test_y=test_y,
            name=self.name,
            classes=_CLASSES,
            source=f"DVS128 Gesture (Amir et al. 2017), {'arrays' if arrays else 'AEDAT files'}; read from {folder}",
            license="CC BY 4.0",
            order="official split by person; person by person, a limit takes the first ones",
            train_available=len(train_y),
            test_available=len(test_y),
            events=self.options,
        )

    def _part(self, samples: Iterator[tuple[int, Recording]], count: int) -> tuple[Frames, np.ndarray]:
        labels: list[int] = []

        def recordings() -> Iterator[Recording]:
            for label, recording in samples:
                labels.append(label)
                yield recording

        made = frames(recordings(), count, _SENSOR, self.options)
        return made, np.array(labels, dtype=np.int64)


def _cut_arrays(folder: Path) -> Iterator[tuple[int, Recording]]:
    """Yield label and events of ``<person>_<light>/<label>.npy``."""
    paths = [path for path in folder.glob("*/*.npy") if path.stem.isdecimal()]
    if not paths:
        raise NetcError(f"{folder} has no <person>_<light>/<label>.npy")
    for path in sorted(paths, key=lambda path: (path.parent.name, int(path.stem))):
        if int(path.stem) >= len(_CLASSES):
            raise NetcError(f"{path}: there is no gesture {path.stem}, labels are 0 to {len(_CLASSES) - 1}")
        try:
            events = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise NetcError(f"{path} cannot be read: {error}") from error
        if not isinstance(events, np.ndarray) or events.ndim != 2 or events.shape[1] != _COLUMNS:
            raise NetcError(f"{path} is no array of x, y, polarity and time, (events, {_COLUMNS})")
        x, y, polarity = events[:, :3].T.astype(np.int64)
        time = np.round(events[:, 3].astype(np.float64) * _TIME_UNIT).astype(np.int64)
        order = np.argsort(time, kind="stable")
        yield int(path.stem), _on_sensor(Recording(x, y, polarity > 0, time)[order], path)


def _recorded(folder: Path, listing: str) -> Iterator[tuple[int, Recording]]:
    """Yield label and events of the gestures of every file that ``listing`` names."""
    for line in _text(folder / listing).split():
        path = folder / line
        if path.parent != folder:
            raise NetcError(f"{folder / listing} names {line!r}, which is not in {folder}")
        whole = _on_sensor(aedat.read(path), path)
        table = folder / f"{path.stem}_labels.csv"
        rows = list(csv.reader(_text(table).splitlines()))
        if not rows or [word.strip() for word in rows[0]] != _HEADER:
            raise NetcError(f"{table}:1: expected {','.join(_HEADER)}")
        for number, row in enumerate(rows[1:], start=2):
            try:
                label, start, end = (int(word) for word in row)
            except ValueError as error:
                raise NetcError(f"{table}:{number}: expected three whole numbers") from error
            if not 1 <= label <= len(_CLASSES):
                raise NetcError(f"{table}:{number}: there is no gesture {label}, they are 1 to {len(_CLASSES)}")
            first, last = np.searchsorted(whole.time, (start, end))
            yield label - 1, whole[first:last]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NetcError(f"cannot read {path}: {error}") from error


def _on_sensor(recording: Recording, path: Path) -> Recording:
    for what, numbers in (("column", recording.x), ("row", recording.y)):
        outside = (numbers < 0) | (numbers >= _SENSOR)
        if np.any(outside):
            at = int(np.argmax(outside))
            raise NetcError(f"{path} is damaged: event {at + 1} is in {what} {numbers[at]} of {_SENSOR}")
    return recording


DVS_GESTURE = DvsGesture()
