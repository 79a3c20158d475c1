from __future__ import annotations

from dataclasses import replace

import pytest

import netc.runtime.gradients as module
from netc.diagnostics import NetcError
from netc.emit import emit_torch
from netc.ir import build as b
from netc.ir.nodes import Const, Parameter, State, Time
from netc.ir.program import Observable, StateBlock
from netc.runtime.gradients import check_gradients
from tests.emit import programs


@pytest.mark.parametrize(
    ("name", "dt"), [("rc", 1e-5), ("mif", 1e-5), ("network", 1e-5), ("waveform", 1e-5), ("bridge", 1e-4)]
)
def test_gradients_agree_with_differences(name: str, dt: float) -> None:
    report = check_gradients(getattr(programs, name)(), steps=60, dt=dt, per_class=3)
    assert report.worst is not None and report.worst.error < 1e-8
    assert any(row.autograd != 0.0 for row in report.rows)


def test_every_role_is_reported_and_may_be_picked() -> None:
    assert set(check_gradients(programs.mif(), steps=5, dt=1e-5).by_role()) == {"C", "gain", "model", "initial"}
    assert set(check_gradients(programs.mif(), steps=5, dt=1e-5, roles={"C"}).by_role()) == {"C"}


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut one device's feedback out of the graph: values stay, gradients do not."""
    source = emit_torch(programs.mif())
    spoilt = source.replace("torch.sigmoid((v_1 - on_1) / 0.025)", "torch.sigmoid((v_1.detach() - on_1) / 0.025)", 1)
    assert spoilt != source
    original = module.instantiate
    monkeypatch.setattr(module, "instantiate", lambda _, dtype: original(spoilt, dtype))
    report = check_gradients(programs.mif(), steps=200, dt=1e-5)
    assert report.worst is not None and report.worst.error > 1e-4 and not report.kinks


def test_a_diverging_circuit_is_an_error() -> None:
    leaf = State("v_1")
    program = programs.program(
        [programs.block("g_1", "gain", "", [1e6])],
        [],
        [StateBlock("v_1", "V", ("v",), Const(1.0), b.mul(Parameter("g_1"), b.mul(leaf, leaf)), ())],
        [Observable("n_1", "V", ("v",), leaf)],
    )
    with pytest.raises(NetcError, match="diverges"):
        check_gradients(replace(program), steps=50, dt=1.0)


def test_a_pulse_edge_on_a_step_is_a_kink_not_an_error() -> None:
    """The width of a pulse has two one-sided derivatives where its edge falls on a step."""
    leaf, width = State("v_1"), Parameter("width_1")
    drive = b.binary("max", b.sub(1.0, b.binary("max", b.div(b.sub(Time(), width), 1e-6), 0.0)), 0.0)
    program = programs.program(
        [programs.block("width_1", "source", "s", [5e-5])],
        [],
        [StateBlock("v_1", "V", ("v",), Const(0.0), b.mul(1e4, drive), ())],
        [Observable("n_1", "V", ("v",), leaf)],
    )
    report = check_gradients(program, steps=20, dt=1e-5)
    assert [row.lane for row in report.kinks] == ["width_1.0"]


def test_rounding_of_a_signal_at_rest_is_not_compared() -> None:
    """What should be 0 is 1e-17 V here; weighed by its own range it would hide every derivative."""
    leaf, gain = State("v_1"), Parameter("g_1")
    program = programs.program(
        [programs.block("g_1", "gain", "", [0.1])],
        [],
        [StateBlock("v_1", "V", ("v",), Const(1.0), b.neg(b.mul(gain, leaf)), ())],
        [
            Observable("n_1", "V", ("v",), leaf),
            Observable("n_2", "V", ("rest",), b.sub(b.mul(leaf, gain), b.mul(3.0, b.mul(leaf, b.div(gain, 3.0))))),
        ],
    )
    report = check_gradients(program, steps=30, dt=0.1)
    assert report.worst is not None and report.worst.error < 1e-6 and not report.kinks
