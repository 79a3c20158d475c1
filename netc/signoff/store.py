"""What ngspice found, a file a sample, so that an interrupted sign-off goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.diagnostics import NetcError
from netc.ngspice.task import Reading

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A sample in ngspice: its waveforms on netc's grid, and the seconds it took."""

    reading: Reading
    seconds: float


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of results of one netlist; another netlist, step or tolerance has another folder."""

    folder: Path

    @classmethod
    def of(cls, parent: Path, text: str, settings: Mapping[str, object]) -> Store:
        """Return the store of a netlist ``text`` under ``parent``.

        Raises:
            NetcError: it cannot be made.
        """
        named = hashlib.sha256(text.encode() + repr(sorted(settings.items())).encode()).hexdigest()[:16]
        try:
            (parent / named).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NetcError(f"cannot write {parent / named}: {error.strerror or error}") from error
        return cls(parent / named)

    def load(self, number: int, sample: np.ndarray, nodes: tuple[int, int, int]) -> Found | None:
        """Return what was found for sample ``number``, if it was the same sample; a damaged file is none.

        ``nodes`` are how many rows, outputs and membranes there have to be.
        """
        try:
            with np.load(self._path(number), allow_pickle=False) as kept:
                if kept["sample"].item() != _digest(sample):
                    return None
                outputs = kept["outputs"].astype(np.float64)
                found = Found(Reading(outputs, kept["spikes"].astype(np.int64)), float(kept["seconds"]))
        except _DAMAGED:
            return None
        fits = found.reading.outputs.shape == nodes[:2] and found.reading.spikes.shape == nodes[2:]
        return found if fits else None

    def save(self, number: int, sample: np.ndarray, found: Found) -> None:
        """Keep a result, whole or not at all.

        Raises:
            NetcError: it cannot be written.
        """
        path = self._path(number)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    sample=_digest(sample),
                    outputs=found.reading.outputs.astype(np.float32),
                    spikes=found.reading.spikes,
                    seconds=found.seconds,
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise NetcError(f"cannot write {path}: {error.strerror or error}", hint="free space, and go on") from error

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"


def _digest(sample: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(sample).tobytes()).hexdigest()
