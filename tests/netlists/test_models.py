"""Device models in plain ngspice, against figures computed elsewhere and against their equations."""

from pathlib import Path

import numpy as np
import pytest

from tests.netlists.plain_ngspice import MODELS, NETLISTS, nrmse, sigmoid, simulate

pytestmark = pytest.mark.ngspice


def _shipped(name: str) -> str:
    return (NETLISTS / name).read_text().replace("../models", str(MODELS))


def _sine(dt: float, amplitude: float, frequency: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(round(stop / dt) + 1) * dt
    return times, amplitude * np.sin(2 * np.pi * frequency * times)


@pytest.mark.parametrize(
    ("deck", "lowest", "highest"),
    [("knowm_sine.cir", -0.999998e-3, 0.411754e-3), ("knowm_schottky.cir", -1.96059e-3, 1.42726e-3)],
)
def test_knowm_currents(deck: str, lowest: float, highest: float, tmp_path: Path) -> None:
    """The figures are those of Knowm's published subcircuit under the same sine."""
    waves = simulate(_shipped(deck), tmp_path)
    assert waves["v(x1.x)"].min() == pytest.approx(0, abs=1e-6)
    assert waves["v(x1.x)"].max() == pytest.approx(1, abs=1e-6)
    assert waves["i(v1)"].min() == pytest.approx(lowest, rel=2e-4)
    assert waves["i(v1)"].max() == pytest.approx(highest, rel=2e-4)


def test_knowm_follows_its_equation(tmp_path: Path) -> None:
    waves = simulate(_shipped("knowm_sine.cir"), tmp_path)
    dt, b = 1e-6, 1.602176634e-19 / (1.380649e-23 * 298.5)
    times, v = _sine(dt, 0.5, 100, 40e-3)
    on, off = sigmoid(b * (v - 0.27)), 1 - sigmoid(b * (v + 0.27))
    x = np.zeros_like(v)
    for n in range(len(v) - 1):
        x[n + 1] = x[n] + dt * ((1 - x[n]) * on[n] - x[n] * off[n]) / 1e-4
    assert nrmse(waves, "v(x1.x)", times, x) < 1e-3
    assert nrmse(waves, "i(v1)", times, -v * (x / 500 + (1 - x) / 1500)) < 1e-3


def test_volatile_switch_with_k_1_is_the_knowm_model(tmp_path: Path) -> None:
    """With k = 1 and Voff of the other sign the two are one equation."""
    temperature = 298.5
    thermal = 1.380649e-23 * temperature / 1.602176634e-19
    text = f"""two models, one equation
.include {MODELS}/knowm_mss.lib
.include {MODELS}/mif_memristor.lib
V1 in 0 SIN(0 0.5 100)
X1 in 0 knowm_mss T={temperature} x0=0.3
X2 in 0 mif_memristor Ron=500 Roff=1500 Von=0.27 Voff=-0.27 VT={thermal!r} tau=1e-4 k=1 x0=0.3
.tran 5u 20m uic
.end
"""
    waves = simulate(text, tmp_path)
    np.testing.assert_allclose(waves["v(x2.x)"], waves["v(x1.x)"], atol=1e-6)


@pytest.mark.parametrize("retention", [0.0, 0.6])
def test_unbiased_volatile_switch_forgets(retention: float, tmp_path: Path) -> None:
    """At constant voltage the state relaxes exponentially, the slower the nearer k is to 1."""
    text = f"""relaxation
.include {MODELS}/mif_memristor.lib
V1 in 0 0
X1 in 0 mif_memristor k={retention} x0=0.9
.tran 5u 3m uic
.end
"""
    waves = simulate(text, tmp_path)
    on = sigmoid(-0.11 / 0.025)
    rate = on + 1 - retention * sigmoid(-0.005 / 0.025)
    rest = on / rate
    expected = rest + (0.9 - rest) * np.exp(-rate * waves["time"] / 1e-3)
    np.testing.assert_allclose(waves["v(x1.x)"], expected, atol=1e-5)


def test_initial_states_hold_without_uic(tmp_path: Path) -> None:
    text = f"""initial states by operating point
.include {MODELS}/mif_neuron.lib
.include {MODELS}/hp_joglekar.lib
X1 m mif_neuron v0=20m x10=0.25 x20=0.5
V1 in 0 0
X2 in 0 hp_joglekar x0=0.3
.tran 1u 2u
.end
"""
    waves = simulate(text, tmp_path)
    assert waves["time"][0] == 0
    starts = {"v(m)": 0.02, "v(x1.xm1.x)": 0.25, "v(x1.xm2.x)": 0.5, "v(x2.x)": 0.3}
    assert {name: waves[name][0] for name in starts} == pytest.approx(starts, abs=1e-6)


def test_hp_drift_follows_its_equation(tmp_path: Path) -> None:
    waves = simulate(_shipped("hp_sine.cir"), tmp_path)
    dt = 1e-4
    times, v = _sine(dt, 2, 1, 3)
    x = np.full_like(v, 0.1)
    for n in range(len(v) - 1):
        current = v[n] / (100 * x[n] + 16e3 * (1 - x[n]))
        x[n + 1] = x[n] + dt * 1e-14 * 100 / 10e-9**2 * current * (1 - (2 * x[n] - 1) ** 2)
    assert nrmse(waves, "v(x1.x)", times, x) < 2e-3
    assert nrmse(waves, "i(v1)", times, -v / (100 * x + 16e3 * (1 - x))) < 2e-3


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.lib")), ids=lambda path: path.name)
def test_header_names_source_and_parameters(path: Path) -> None:
    text = path.read_text()
    assert "Source:" in text and "Parameters" in text
    assert text.isascii()
