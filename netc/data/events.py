"""Recordings of event cameras: cleaning, cropping, and frames of event counts that a circuit can be driven with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netc.diagnostics import Diagnostics, NetcError

MICROSECONDS = 1e-6
_LARGEST_COUNT = 255
_AROUND = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy)


@dataclass(frozen=True, eq=False)
class Recording:
    """Events of one sample in the order they happened.

    Attributes:
        x: column of each event's pixel, ``(events,)``.
        y: row.
        brighter: whether the pixel became brighter (polarity "on").
        time: microseconds, never falling.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    brighter: NDArray[np.bool_]
    time: NDArray[np.int64]

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Recording:
        """Return some of the events, chosen as those of an array are."""
        return Recording(self.x[which], self.y[which], self.brighter[which], self.time[which])


@dataclass(frozen=True, slots=True)
class EventOptions:
    """How recordings become frames.

    Attributes:
        frames: frames of a training sample; each counts the events of an equal share of the recording's time.
        test_frames: frames of a test sample; as many as in training when ``None``.
        size: rows and columns after cropping and adding up neighbouring pixels.
        cap: counts above it are cut to it; a frame's value is count / cap, in [0, 1].
        denoise: seconds; an event goes if none of the eight pixels around it had one within that time before it
            (background activity filter of Delbruck 2008).  ``None`` keeps all.
        duration: seconds from a recording's first event that are used; ``None`` uses all.
    """

    frames: int = 100
    test_frames: int | None = None
    size: int = 32
    cap: int = 1
    denoise: float | None = None
    duration: float | None = None

    def check(self) -> None:
        """Refuse values that make no sense, all at once.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        for name in ("frames", "test_frames", "size", "cap"):
            value = getattr(self, name)
            if value is not None and value < 1:
                found.error(f"{_flag(name)} must be at least 1, not {value}")
        if self.cap > _LARGEST_COUNT:
            found.error(f"{_flag('cap')} must be at most {_LARGEST_COUNT}, not {self.cap}")
        for name in ("denoise", "duration"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                found.error(f"{_flag(name)} must be a positive time, not {value}")
        found.raise_if_failed()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}" if "frames" in name else f"--event-{name}"


def denoised(recording: Recording, window: float, sensor: int) -> Recording:
    """Return the events that follow one of a neighbouring pixel within ``window`` seconds; ``sensor`` is its width."""
    stride = sensor + 2  # a rim of pixels that never fire, so that no neighbour is one of the next row
    pixel = (recording.y + 1) * stride + recording.x + 1
    span = int(recording.time[-1]) + 1 if len(recording.time) else 1
    # one number tells pixel and time, and sorts by pixel first
    key = pixel * span + recording.time
    ordered = np.sort(key)
    kept = np.zeros(len(key), dtype=bool)
    limit = round(window / MICROSECONDS)
    for dx, dy in _AROUND:
        beside = key + (dy * stride + dx) * span
        place = np.searchsorted(ordered, beside, side="right") - 1
        last = ordered[np.maximum(place, 0)]
        kept |= (place >= 0) & (last // span == beside // span) & (beside - last <= limit)
    return recording[kept]


def _cells(recording: Recording, count: int, sensor: int, options: EventOptions) -> NDArray[np.int64]:
    """Return frame and pixel of each event that is kept, as one number."""
    size, block = options.size, sensor // options.size
    rim = (sensor - size * block) // 2
    if len(recording.time):
        recording = Recording(recording.x, recording.y, recording.brighter, recording.time - recording.time[0])
    if options.duration is not None:
        recording = recording[recording.time < options.duration / MICROSECONDS]
    lasting = int(recording.time[-1]) + 1 if len(recording.time) else 1
    if options.denoise is not None:
        recording = denoised(recording, options.denoise, sensor)
    x, y = (recording.x - rim) // block, (recording.y - rim) // block
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    frame = recording.time * count // lasting
    return (((frame * 2 + recording.brighter) * size + y) * size + x)[inside]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of many samples; only what is not 0 is kept, as most of it is.

    Attributes:
        frames: frames a sample.
        features: numbers a frame.
        starts: where each sample's cells begin and the last one's end, ``(samples + 1,)``.
        cells: frame * features + feature of each count, rising within a sample.
        counts: events in each, at most ``cap``.
        cap: the count that stands for 1.
    """

    frames: int
    features: int
    starts: NDArray[np.int64]
    cells: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    cap: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples, frames, features."""
        return len(self), self.frames, self.features

    def first(self, samples: int | None) -> Frames:
        """Return the first ``samples``; all when ``None``."""
        return self if samples is None else replace(self, starts=self.starts[: samples + 1])

    def __getitem__(self, which: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Return some samples, chosen as those of an array are, ``(chosen, frames, features)`` in [0, 1]."""
        samples = np.arange(len(self))[which]
        result = np.zeros((len(samples), self.frames * self.features), dtype=np.float32)
        for row, sample in zip(result, samples, strict=True):
            here = slice(self.starts[sample], self.starts[sample + 1])
            row[self.cells[here]] = self.counts[here]
        result *= np.float32(1 / self.cap)
        return result.reshape(len(samples), self.frames, self.features)


def frames(recordings: Iterable[Recording], count: int, sensor: int, options: EventOptions) -> Frames:
    """Return ``count`` frames of each recording; features are dark events first, then bright ones, row by row.

    A frame counts the events of an equal share of its recording's time.  The ``sensor`` x ``sensor`` pixels are
    cropped evenly to the largest multiple of ``options.size``, then squares of pixels are added up.

    Raises:
        NetcError: options that make no sense, or a size above the sensor's.
    """
    options.check()
    if options.size > sensor:
        raise NetcError(f"{_flag('size')} is {options.size}, but the sensor has {sensor} x {sensor} pixels")
    starts, cells, counts = [0], [], []
    for recording in recordings:
        found, number = np.unique(_cells(recording, count, sensor, options), return_counts=True)
        cells.append(found.astype(np.uint32))
        counts.append(np.minimum(number, options.cap).astype(np.uint8))
        starts.append(starts[-1] + len(found))
    return Frames(
        frames=count,
        features=2 * options.size**2,
        starts=np.asarray(starts, dtype=np.int64),
        cells=np.concatenate(cells) if cells else np.empty(0, np.uint32),
        counts=np.concatenate(counts) if counts else np.empty(0, np.uint8),
        cap=options.cap,
    )
