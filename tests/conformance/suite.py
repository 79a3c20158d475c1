"""The decks of the suite, their reference waveforms, and how far netc is from them.

A reference is what ngspice 39 computes for a deck, sampled at 300 instants that fall on no round number, so that no
sample sits on the edge of a source by accident.  :mod:`tests.conformance.remake` makes it and says how good it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from netc.compiler import Compilation, compile_deck
from netc.ir.program import Timing
from netc.runtime import transient

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
REFERENCES = HERE / "references"
FOLDERS = (HERE / "decks", HERE.parent / "agreement" / "decks")
DIALECTS = ("ltspice", "hspice", "pspice")
"""A deck whose name begins with one of these and ``_`` is written for that simulator, any other for ngspice."""

LIMIT = 5e-3
LINEAR_LIMIT = 1e-4
"""What the NRMSE of no signal may exceed; the smaller one where the circuit is linear."""

SAMPLES = 300
MOST_SIGNALS = 40
_OFFSET = 0.5 * (5**0.5 - 1)


@dataclass(frozen=True)
class ConformanceDeck:
    """One deck: ``name`` is unique in the suite, ``dialect`` a name of :data:`netc.parse.dialects.DIALECTS`."""

    name: str
    path: Path
    dialect: str

    @cached_property
    def compilation(self) -> Compilation:
        return compile_deck(self.path, include_directories=[MODELS], dialect=self.dialect)

    @property
    def timing(self) -> Timing:
        timing = self.compilation.system.timing
        assert timing is not None, f"{self.name} has no .tran"
        return timing

    @property
    def signals(self) -> tuple[str, ...]:
        """What is compared: what the deck saves, else its nodes; 40 of them, evenly spread, where there are more."""
        found = self.compilation.signals
        return found if len(found) <= MOST_SIGNALS else found[:: -(-len(found) // MOST_SIGNALS)]

    @property
    def reference_file(self) -> Path:
        return REFERENCES / f"{self.name}.npz"

    @property
    def reference(self) -> Reference:
        return Reference.read(self.reference_file)


@dataclass(frozen=True)
class Reference:
    """What ngspice computes.

    Attributes:
        times: seconds, ``(samples,)``.
        names: signals.
        values: ``(samples, names)``, volts or amperes.
        scales: what a difference of each signal is divided by, ``(names,)``: its range over all of ngspice's points.
        linear: whether the circuit is linear, so that the smaller limit holds.
        error: estimated NRMSE of the reference itself, of the worst signal.
        version: of ngspice.
    """

    times: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    scales: np.ndarray
    linear: bool
    error: float
    version: str

    @property
    def limit(self) -> float:
        return LINEAR_LIMIT if self.linear else LIMIT

    @classmethod
    def read(cls, file: Path) -> Reference:
        with np.load(file, allow_pickle=False) as found:
            about = json.loads(str(found["about"]))
            return cls(
                found["times"],
                tuple(about["names"]),
                found["values"].astype(np.float64),
                found["scales"],
                about["linear"],
                about["error"],
                about["version"],
            )

    def write(self, file: Path) -> None:
        """Keep as many digits as the limit needs: a thousandth of it, of each signal's range."""
        about = {
            "names": list(self.names),
            "linear": self.linear,
            "error": float(f"{self.error:.2g}"),
            "version": self.version,
        }
        quantum = 2.0 ** np.floor(np.log2(self.scales * self.limit * 1e-3))
        values = np.round(self.values / quantum) * quantum
        narrow = values.astype(np.float32)
        exact = np.all(np.abs(narrow - values) <= quantum)
        np.savez_compressed(
            file,
            about=np.array(json.dumps(about)),
            times=self.times,
            values=narrow if exact else values,
            scales=self.scales,
        )

    def distance(self, values: np.ndarray) -> dict[str, float]:
        """Return the NRMSE of each signal of a table ``(samples, names)``."""
        rms = np.sqrt(np.mean((values - self.values) ** 2, axis=0))
        return dict(zip(self.names, (rms / self.scales).tolist(), strict=True))


def sample_times(timing: Timing) -> np.ndarray:
    """Return the instants at which waveforms are kept, seconds: 0 first unless the start is given (``uic``)."""
    inner = timing.tstop * (np.arange(SAMPLES - 1) + _OFFSET) / (SAMPLES - 1)
    return np.concatenate([[] if timing.uic else [0.0], inner, [timing.tstop]])


def simulated(deck: ConformanceDeck, reference: Reference) -> np.ndarray:
    """Return netc's ``(samples, names)`` by variable steps (``--integrator auto``)."""
    times = reference.times
    grid = times if times[0] == 0.0 else np.concatenate([[0.0], times])
    found = transient.solve(deck.compilation.system, grid, reference.names, wanted=reference.limit / 5)
    return np.asarray(found.values[len(grid) - len(times) :])


def decks() -> dict[str, ConformanceDeck]:
    """Return all decks of the suite by name."""
    found: dict[str, ConformanceDeck] = {}
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.cir")):
            assert path.stem not in found, f"two decks are called {path.stem}"
            first = path.stem.partition("_")[0]
            found[path.stem] = ConformanceDeck(path.stem, path, first if first in DIALECTS else "ngspice")
    return found
