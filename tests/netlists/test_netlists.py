"""Every shipped circuit runs in plain ngspice, and at its own step explicit Euler is within 1% of it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netc.elaborate import elaborate
from netc.generate import generate
from netc.ir.interpret import signal_names
from netc.ir.interpret import simulate as interpret
from netc.lower import lower
from netc.optimise import optimise
from netc.parse import parse_deck
from tests.netlists.plain_ngspice import MODELS, NETLISTS, MifNeurons, alpha, nrmse, simulate

DECKS = sorted(NETLISTS.glob("*.cir"))
PEAKS, DELAYS = np.array([40e-6, 30e-6, 50e-6, 35e-6, 45e-6]), (0, 50, 100, 150, 200)


def _text(name: str) -> str:
    return (NETLISTS / name).read_text().replace("../models", str(MODELS))


def _conductances(name: str, pattern: str) -> np.ndarray:
    """Read crosspoints named by row and column; siemens, shape (rows, columns)."""
    found = re.findall(rf"(?m)^{pattern}(\d)(\d) \S+ \S+ (\S+)k$", _text(name))
    values = np.zeros((max(int(row) for row, _, _ in found), max(int(column) for _, column, _ in found)))
    for row, column, kilohms in found:
        values[int(row) - 1, int(column) - 1] = 1 / (1e3 * float(kilohms))
    return values


@pytest.mark.ngspice
@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.name)
def test_runs_in_plain_ngspice(path: Path, tmp_path: Path) -> None:
    waves = simulate(_text(path.name), tmp_path, tight=False)
    assert len(waves["time"]) > 500
    assert all(np.isfinite(values).all() for values in waves.values())


@pytest.mark.ngspice
@pytest.mark.parametrize("name", [path.name for path in DECKS if path.name != "mif_table3.cir"])
def test_every_node_agrees_with_ngspice_at_the_decks_own_step(name: str, tmp_path: Path) -> None:
    program = optimise(lower(elaborate(parse_deck(NETLISTS / name))))
    timing = program.timing
    assert timing is not None
    dt = timing.tmax or timing.tstep
    steps = round(timing.tstop / dt)
    signals, _ = interpret(program, steps, dt)
    waves = simulate(_text(name), tmp_path)
    compared = 0
    for k, node in enumerate(signal_names(program)):
        reference = waves.get(f"v({node})")
        if reference is not None and np.ptp(reference) > 1e-9:
            assert nrmse(waves, f"v({node})", np.arange(steps + 1) * dt, signals[:, 0, k]) < 0.01, node
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("path", DECKS, ids=lambda path: path.name)
def test_includes_resolve_beside_the_deck(path: Path) -> None:
    for include in re.findall(r"(?mi)^\.include (\S+)", path.read_text()):
        assert (path.parent / include).is_file()


def test_digits_deck_is_what_the_generator_writes() -> None:
    assert _text("digits.cir") == generate((64, 16, 10), seed=2, step=5e-6, steps=2000)


@pytest.mark.ngspice
def test_mif_spikes_once_per_pulse(tmp_path: Path) -> None:
    waves = simulate(_text("mif.cir"), tmp_path)
    v = waves["v(m)"]
    crossings = np.sum((v[1:] >= 0.08) & (v[:-1] < 0.08))
    assert crossings == 4
    dt, steps = 10e-6, 1000
    current, neuron, membrane = alpha(steps, dt, 2.5e-3), MifNeurons(1), np.zeros(steps + 1)
    for n in range(steps):
        neuron.step(40e-6 * current[n : n + 1], dt)
        membrane[n + 1] = neuron.voltage[0]
    assert nrmse(waves, "v(m)", np.arange(steps + 1) * dt, membrane) < 0.01


def test_table_iii_to_the_letter_diverges_at_its_own_step() -> None:
    """Why the deck has to be reported: 100 pF and 10 us go apart, 100 pF and 20 ns do not."""
    largest = []
    for dt, steps in ((10e-6, 100), (20e-9, 50_000)):
        neuron, current = MifNeurons(1, capacitance=100e-12), alpha(100, 10e-6, 2.5e-3)
        with np.errstate(over="ignore", invalid="ignore"):
            for n in range(steps):
                neuron.step(40e-6 * current[int(n * dt / 10e-6 + 1e-9)], dt)
                if not np.abs(neuron.voltage).max() < 10:
                    break
        largest.append(np.abs(neuron.voltage).max())
    assert not largest[0] < 10
    assert largest[1] < 0.3


def _buffered(conductances: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda v: np.concatenate([np.zeros(5), 0.5 * v[:5] @ conductances])


def _passive(conductances: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def currents(v: np.ndarray) -> np.ndarray:
        through = conductances * (v[:5, None] - v[None, 5:])
        return np.concatenate([-through.sum(1), through.sum(0)])

    return currents


@pytest.mark.ngspice
@pytest.mark.parametrize("form", ["buffered", "passive"])
def test_fig3(form: str, tmp_path: Path) -> None:
    """Five neurons through a crossbar onto three, against equations (1) and (2)."""
    deck = f"fig3_{form}.cir"
    if form == "buffered":
        crossbar = _buffered(_conductances(deck, "RP") - _conductances(deck, "RM"))
    else:
        crossbar = _passive(_conductances(deck, "RX"))
    waves = simulate(_text(deck), tmp_path)
    dt, steps = 10e-6, 1000
    shared, neurons, membranes = alpha(steps, dt, 4e-3), MifNeurons(8), np.zeros((steps + 1, 8))
    for n in range(steps):
        driven = np.array([shared[n - delay] if n >= delay else 0.0 for delay in DELAYS])
        neurons.step(np.concatenate([PEAKS * driven, np.zeros(3)]) + crossbar(neurons.voltage), dt)
        membranes[n + 1] = neurons.voltage
    for k, name in enumerate([f"v(m{i})" for i in range(1, 6)] + [f"v(o{j})" for j in range(1, 4)]):
        assert nrmse(waves, name, np.arange(steps + 1) * dt, membranes[:, k]) < 0.01, name
        assert membranes[:, k].max() > 0.07, f"{name} does not spike"


@pytest.mark.ngspice
def test_crossbar_lines_settle_to_the_resistive_network(tmp_path: Path) -> None:
    """Held long enough, the lines reach what the conductances alone give."""
    text = re.sub(r"PULSE\(0 0.2 \S+ 20p 20p \S+ 3n\)", "0.2", _text("crossbar_parasitic.cir"))
    waves = simulate(text, tmp_path)
    g = _conductances("crossbar_parasitic.cir", "RX")
    rows, columns = g.shape
    matrix = np.block([[np.diag(1e-3 + g.sum(1)), -g], [-g.T, np.diag(1e-3 + g.sum(0))]])
    settled = np.linalg.solve(matrix, np.concatenate([np.full(rows, 0.2e-3), np.zeros(columns)]))
    names = [f"v(w{i})" for i in range(1, rows + 1)] + [f"v(b{j})" for j in range(1, columns + 1)]
    np.testing.assert_allclose([waves[name][-1] for name in names], settled, rtol=1e-3)
