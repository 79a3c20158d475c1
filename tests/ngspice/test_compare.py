import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ngspice.bridge import Waveforms
from netc.ngspice.compare import compare, spike_times

TIMES = np.linspace(0, 1e-2, 1001)
FINE = np.linspace(0, 1e-2, 20001)


def waveforms(times: np.ndarray = FINE, **values: np.ndarray) -> Waveforms:
    return Waveforms(times, values, "batch", 0.0)


def sine(times: np.ndarray, delay: float = 0.0) -> np.ndarray:
    return 2 * np.sin(2 * np.pi * 500 * (times - delay))


def test_equal_waveforms_agree() -> None:
    agreement = compare(TIMES, {"a": sine(TIMES)}, waveforms(a=sine(FINE)))["a"]
    assert agreement.nrmse < 1e-6
    assert agreement.max_abs < 1e-5
    assert agreement.spikes == (4, 4)
    assert agreement.spike_shift_s == pytest.approx(0, abs=1e-9)


def test_nrmse_is_the_rms_difference_over_the_range() -> None:
    agreement = compare(TIMES, {"a": sine(TIMES) + 0.04}, waveforms(a=sine(FINE)))["a"]
    assert agreement.nrmse == pytest.approx(0.04 / 4, rel=1e-3)
    assert agreement.max_abs == pytest.approx(0.04, rel=1e-3)


def test_spike_shift_is_the_delay() -> None:
    agreement = compare(TIMES, {"a": sine(TIMES, 70e-6)}, waveforms(a=sine(FINE)))["a"]
    assert agreement.spikes == (5, 4)  # the delayed one also rises through zero at the start
    assert agreement.spike_shift_s == pytest.approx(70e-6, rel=0.01)


def test_a_lost_spike_is_seen_and_the_rest_still_matched() -> None:
    lost = np.where(TIMES > 7.5e-3, -2.0, sine(TIMES, 20e-6))
    agreement = compare(TIMES, {"a": lost}, waveforms(a=sine(FINE)), threshold=1.0)["a"]
    assert agreement.spikes == (4, 5)
    assert agreement.spike_shift_s == pytest.approx(20e-6, rel=0.05)


def test_ripple_around_the_threshold_is_one_spike() -> None:
    values = TIMES / TIMES[-1] + 0.05 * np.sin(2 * np.pi * 1e4 * TIMES)
    assert len(spike_times(TIMES, values, 0.5, 0.1)) == 1
    assert len(spike_times(TIMES, values, 0.5, 0.0)) > 1


def test_a_threshold_near_the_peak_counts() -> None:
    agreement = compare(TIMES, {"a": sine(TIMES)}, waveforms(a=sine(FINE)), threshold=1.95)["a"]
    assert agreement.spikes == (5, 5)


def test_a_constant_node_is_compared_with_its_level() -> None:
    reference = waveforms(rail=np.full_like(FINE, 0.05), ground=np.zeros_like(FINE))
    values = {"rail": np.full_like(TIMES, 0.0501), "ground": np.full_like(TIMES, 1e-9)}
    agreement = compare(TIMES, values, reference)
    assert agreement["rail"].nrmse == pytest.approx(0.002, rel=1e-6)
    assert agreement["rail"].spikes == (0, 0)
    assert agreement["rail"].spike_shift_s is None
    assert agreement["ground"].nrmse == pytest.approx(1e-3, rel=1e-6)


def test_a_node_that_should_be_constant_and_is_not_fails() -> None:
    reference = waveforms(rail=np.full_like(FINE, 0.05))
    assert compare(TIMES, {"rail": sine(TIMES)}, reference)["rail"].nrmse > 1


def test_rows_before_the_first_of_ngspice_are_left_out() -> None:
    later = FINE[FINE > 15e-6]
    values = sine(TIMES)
    values[0] = 1e6
    agreement = compare(TIMES, {"a": values}, waveforms(later, a=sine(later)))["a"]
    assert agreement.max_abs < 1e-3


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(NetcError, match="no signal called 'b'"):
        compare(TIMES, {"b": sine(TIMES)}, waveforms(a=sine(FINE)))
    with pytest.raises(NetcError, match="share no point in time"):
        compare(TIMES + 1, {"a": sine(TIMES)}, waveforms(a=sine(FINE)))
