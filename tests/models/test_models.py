"""Memristor models: what their papers say holds, in netc itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.parse import parse_deck, write_deck
from netc.runtime.simulate import simulate
from tests.netlists.plain_ngspice import nrmse
from tests.netlists.plain_ngspice import simulate as plain_ngspice

ROOT = Path(__file__).parents[2]
DECKS = sorted((ROOT / "netlists").glob("*_sine.cir"))


def run(text: str, folder: Path, dt: float, steps: int, names: list[str]) -> dict[str, np.ndarray]:
    path = folder / "deck.cir"
    path.write_text(text)
    found = simulate(compile_deck(path).program, dt=dt, steps=steps, observe=names)
    return {name: found.signal(name) for name in names}


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
def test_the_loop_is_pinched(path: Path, tmp_path: Path) -> None:
    """A memristor carries no current at 0 V, whatever its state (L. O. Chua, IEEE Trans. Circuit Theory 18, 1971)."""
    text = path.read_text().replace("../models/", "").replace(".end\n", ".save v(in) i(V1)\n.end\n")
    program = compile_deck(path).program
    timing = program.timing
    assert timing is not None
    steps = min(1000, round(timing.tstop / timing.tstep))
    waves = run(text, tmp_path, timing.tmax or timing.tstep, steps, ["in", "i(v1)"])
    voltage, current = waves["in"], waves["i(v1)"]
    crossings = np.flatnonzero(np.diff(np.sign(voltage)) != 0)
    assert len(crossings) >= 1
    largest = np.abs(current).max()
    for row in crossings:
        assert np.abs(current[row : row + 2]).min() < 0.02 * largest


THRESHOLDS = {
    "vteam": ("V1 in 0 0.39", "x1.x"),
    "yakopcic": ("V1 in 0 0.15", "x1.x"),
    "pershin_di_ventra": ("V1 in 0 1.5", "x1.x"),
    "team": ("V1 in 0 20m", "x1.x"),
}


@pytest.mark.parametrize("model", THRESHOLDS)
def test_nothing_moves_below_the_threshold(model: str, tmp_path: Path) -> None:
    source, state = THRESHOLDS[model]
    text = f"t\n.include {model}.lib\n{source}\nX1 in 0 {model}\n.tran 1m 100m uic\n.end\n"
    moved = run(text, tmp_path, 1e-4, 200, [state])[state]
    assert np.ptp(moved) == pytest.approx(0, abs=1e-12)


def test_biolek_is_joglekar_in_the_middle_and_leaves_the_ends(tmp_path: Path) -> None:
    cards = ".include hp_biolek.lib\n.include hp_joglekar.lib\nV1 in 0 -1\n"
    ends = run(
        f"t\n{cards}X1 in 0 hp_biolek x0=1\nX2 in 0 hp_joglekar x0=1\n.tran 1m 1 uic\n.end\n",
        tmp_path,
        1e-4,
        200,
        ["x1.x", "x2.x"],
    )
    assert ends["x1.x"][-1] < 0.99
    assert ends["x2.x"][-1] == 1.0


def test_michigan_forgets_at_rest(tmp_path: Path) -> None:
    text = "t\n.include michigan.lib\nV1 in 0 0\nX1 in 0 michigan w0=0.5 tau=10 lambda=4.5\n.tran 1m 1 uic\n.end\n"
    state = run(text, tmp_path, 1e-3, 1000, ["x1.w"])["x1.w"]
    np.testing.assert_allclose(state, 0.5 * np.exp(-0.45 * np.arange(1001) * 1e-3), rtol=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("path", DECKS[::3], ids=lambda path: path.stem)
def test_converted_decks_run_in_ngspice_as_they_are(path: Path, tmp_path: Path) -> None:
    original = plain_ngspice(path.read_text().replace("../models", str(ROOT / "models")), tmp_path)
    converted = plain_ngspice(write_deck(parse_deck(path)), tmp_path)
    for name, wave in original.items():
        if name != "time" and np.ptp(wave) > 1e-9:
            assert nrmse(converted, name, original["time"], wave) < 1e-3
