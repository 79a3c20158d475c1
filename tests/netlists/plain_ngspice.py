"""``ngspice -b`` on a file as it is, to show that decks need nothing of netc; and the curves they should give."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from netc.ngspice.locate import find_ngspice
from netc.ngspice.rawfile import read_raw

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
NETLISTS = ROOT / "netlists"

_COMPLAINT = re.compile(r"warning|error|singular|unknown|unrecognized|not found|can't", re.IGNORECASE)
# said of every run: no spinit file, or no compatibility mode chosen
_USUAL = re.compile(r"spinit|compatib", re.IGNORECASE)


def simulate(text: str, folder: Path, *, tight: bool = True) -> dict[str, np.ndarray]:
    """Return waveforms by name as ngspice prints them, ``time`` included; shape (points,) each."""
    installation = find_ngspice()
    if installation.executable is None:
        pytest.skip("ngspice is not installed")
    if tight:
        text = re.sub(r"(?m)^\.end$", ".options reltol=1e-6 abstol=1e-15 vntol=1e-9\n.end", text)
    deck, raw = folder / "deck.cir", folder / "deck.raw"
    deck.write_text(text)
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(installation.library_folders)}
    done = subprocess.run(
        [installation.executable, "-b", "-r", raw, deck],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not [line for line in said.splitlines() if _COMPLAINT.search(line) and not _USUAL.search(line)], said
    names, values = read_raw(raw)
    table = values if values.shape[0] == len(names) else values.T
    return dict(zip(names, table, strict=True))


def nrmse(reference: dict[str, np.ndarray], name: str, times: np.ndarray, values: np.ndarray) -> float:
    """Root mean square difference over the range of ngspice's waveform."""
    seen = times >= reference["time"][0]
    other = np.interp(times[seen], reference["time"], reference[name])
    return float(np.sqrt(np.mean((values[seen] - other) ** 2)) / np.ptp(other))


def sigmoid(z: np.ndarray | float) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-np.asarray(z)))


class MifNeurons:
    """MIF neurons by explicit Euler, straight from the equations: Table III, C = 100 nF unless told."""

    def __init__(self, count: int, capacitance: float = 100e-9) -> None:
        self.capacitance = capacitance
        self.voltage, self.x1, self.x2 = np.zeros(count), np.zeros(count), np.zeros(count)

    def step(self, current: np.ndarray, dt: float) -> None:
        """Advance by ``dt`` seconds under ``current``, A, shape (count,)."""
        v1, v2 = self.voltage, 0.05 - self.voltage
        charge = current - self._conductance(self.x1) * v1 + self._conductance(self.x2) * v2
        self.voltage = self.voltage + dt * charge / self.capacitance
        self.x1, self.x2 = self.x1 + dt * self._rate(self.x1, v1), self.x2 + dt * self._rate(self.x2, v2)

    @staticmethod
    def _conductance(x: np.ndarray) -> np.ndarray:
        return x / 1e3 + (1 - x) / 100e3

    @staticmethod
    def _rate(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        on, hold = sigmoid((v - 0.11) / 0.025), 0.6 * sigmoid((v - 0.005) / 0.025)
        return ((1 - x) * on - x * (1 - hold)) / 1e-3


def alpha(steps: int, dt: float, period: float) -> np.ndarray:
    """Two stages of 0.64 ms behind a unit pulse of 0.1 ms that starts at 10 us; peak of one pulse 1; shape (steps,)."""
    tau, a, b, out = 0.64e-3, 0.0, 0.0, np.zeros(steps)
    for n in range(steps):
        out[n] = b * np.e * tau / 0.1e-3
        since = (n * dt - 10e-6 + dt / 4) % period
        pulse = 1.0 if since < 0.1e-3 and n * dt + dt / 4 > 10e-6 else 0.0
        a, b = a + dt * (pulse - a) / tau, b + dt * (a - b) / tau
    return out
