import json
import math

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice.locate import find_ngspice
from netc.ngspice.validate import validate
from netc.parse import parse_text
from tests.ngspice.decks import MIF, RC, simulate_mif, simulate_rc

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed"),
]
RC_TIMING = Timing(tstep=1e-5, tstop=5e-3)
MIF_TIMING = Timing(tstep=1e-5, tstop=20e-3, uic=True)


def test_rc_agrees_and_the_error_is_that_of_an_euler_step() -> None:
    found = validate(parse_text(RC), simulate_rc, RC_TIMING)
    assert found.order == pytest.approx(1.0, abs=0.02)
    assert found.worst_node == "out"
    # Half a step of lag: w dt/2, times the root mean square of a sine over its range.
    assert 0.005 < found.worst_nrmse < 0.01
    assert found.passed
    assert found.nodes["in"].nrmse < 1e-5
    assert found.nodes["out"].spikes == (5, 5)
    assert found.reference_error is not None
    assert found.reference_error < 1e-5


def test_a_spiking_mif_cell_agrees() -> None:
    found = validate(parse_text(MIF), simulate_mif, MIF_TIMING)
    assert found.passed
    assert found.order == pytest.approx(1.0, abs=0.1)
    netc_spikes, ngspice_spikes = found.nodes["v"].spikes
    assert netc_spikes == ngspice_spikes >= 3
    assert found.nodes["v"].spike_shift_s is not None
    assert found.nodes["v"].spike_shift_s < 2e-5
    assert set(found.values) == {"v", "x1", "x2"}
    assert found.times.shape == found.values["v"].shape == (2001,)


def test_only_what_lies_after_the_start_time_is_compared() -> None:
    """A difference before it goes unnoticed, the same one after it does not."""

    def early(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        times, names, values = simulate_rc(dt, steps)
        return times, list(names), np.where(times[:, None] < 1.995e-3, values + 1.0, values)

    late = Timing(tstep=1e-5, tstop=5e-3, tstart=2e-3)
    found = validate(parse_text(RC), early, late, tolerance=0.02)
    assert found.passed
    assert found.order == pytest.approx(1.0, abs=0.02)
    assert found.times[0] == pytest.approx(2e-3)
    assert found.waveforms.times[0] == pytest.approx(2e-3, abs=1e-5)
    assert found.nodes["out"].spikes == (3, 3)
    assert not validate(parse_text(RC), early, RC_TIMING, tolerance=0.02).passed
    with pytest.raises(NetcError, match="starts to save"):
        validate(parse_text(RC), early, late, tstop=1e-3)


def test_the_report_is_the_contract() -> None:
    report = json.loads(
        json.dumps(validate(parse_text(RC), simulate_rc, RC_TIMING, dt=2e-5).to_json(), allow_nan=False)
    )
    assert set(report) == {"nodes", "worst_nrmse", "order", "dt", "model_nrmse"}
    assert report["dt"] == 2e-5
    assert set(report["nodes"]["out"]) == {"nrmse", "max_abs", "spikes", "spike_shift_s"}
    assert report["nodes"]["out"]["spikes"] == [5, 5]
    assert report["worst_nrmse"] == max(node["nrmse"] for node in report["nodes"].values())


def test_another_circuit_fails_and_has_order_zero() -> None:
    def wrong(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        times, names, values = simulate_rc(dt, steps)
        return times, names, values * np.array([1.0, 1.1])

    found = validate(parse_text(RC), wrong, RC_TIMING)
    assert not found.passed
    assert found.order is not None
    assert abs(found.order) < 0.3


def test_an_exact_solution_has_no_measurable_order() -> None:
    def exact(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        t, tau, w = np.arange(steps + 1) * dt, 1e-3, 2 * np.pi * 1e3
        out = (np.sin(w * t) - w * tau * np.cos(w * t) + w * tau * np.exp(-t / tau)) / (1 + (w * tau) ** 2)
        return t, ["out"], out[:, None]

    found = validate(parse_text(RC), exact, RC_TIMING)
    assert found.order is None
    assert "ngspice" in found.order_reason
    assert found.worst_nrmse < 1e-4


def test_a_diverged_run_does_not_pass() -> None:
    def diverged(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        times, names, values = simulate_rc(dt, steps)
        values[-1, 1] = math.nan
        return times, names, values

    found = validate(parse_text(RC), diverged, RC_TIMING)
    assert not found.passed
    assert found.worst_nrmse == math.inf
    assert found.worst_node == "out"
    assert found.order is None
    assert "not finite" in found.order_reason


def test_a_long_reference_is_not_run() -> None:
    found = validate(parse_text(RC), simulate_rc, RC_TIMING, order_budget=0.0)
    assert found.order is None
    assert "0 s" in found.order_reason
    assert found.passed


def test_steps_that_do_not_fit_are_refused() -> None:
    for dt in (1.0, 0.0, -1e-5, math.nan, math.inf):
        with pytest.raises(NetcError, match="does not fit"):
            validate(parse_text(RC), simulate_rc, RC_TIMING, dt=dt)


def test_a_signal_ngspice_does_not_have_is_an_error() -> None:
    def renamed(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        times, _, values = simulate_rc(dt, steps)
        return times, ["in", "elsewhere"], values

    with pytest.raises(NetcError, match="elsewhere"):
        validate(parse_text(RC), renamed, RC_TIMING)
