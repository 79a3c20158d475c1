from __future__ import annotations

import numpy as np
import pytest
import torch

from netc.diagnostics import NetcError
from netc.ir import build as b
from netc.ir import interpret
from netc.ir.nodes import Const, State
from netc.ir.program import Observable, StateBlock, Timing
from netc.runtime.load import instantiate
from netc.runtime.simulate import checkpointed, memory_estimate, simulate, step_from_timing, steps_for
from tests.emit import programs


@pytest.mark.parametrize(
    ("tstop", "dt", "steps"), [(0.01, 1e-5, 1000), (0.3, 0.1, 3), (1.0, 0.3, 4), (1e-5, 1e-5, 1), (0.7, 0.1, 7)]
)
def test_steps_are_counted_in_whole_numbers(tstop: float, dt: float, steps: int) -> None:
    assert steps_for(tstop, dt) == steps


@pytest.mark.parametrize(("tstop", "dt"), [(1e-3, 1e-2), (0.0, 1e-5), (1.0, -1.0), (1.0, float("nan"))])
def test_impossible_times_are_refused(tstop: float, dt: float) -> None:
    with pytest.raises(NetcError):
        steps_for(tstop, dt)


def test_the_step_comes_from_the_deck_unless_given() -> None:
    timing = Timing(1e-5, 1e-2, tmax=2e-6)
    assert step_from_timing(timing) == (2e-6, 1e-2)
    assert step_from_timing(Timing(1e-5, 1e-2)) == (1e-5, 1e-2)
    assert step_from_timing(Timing(0.0, 1e-2)) == (1e-5, 1e-2)
    assert step_from_timing(timing, dt=1e-6, tstop=1.0) == (1e-6, 1.0)
    assert step_from_timing(None, tstop=1.0) == (1e-3, 1.0)
    with pytest.raises(NetcError, match=r"no \.tran"):
        step_from_timing(None, dt=1e-6)


def test_chunks_do_not_show() -> None:
    program = programs.network()
    u = np.random.default_rng(0).uniform(size=(3, 6))
    expected = interpret.simulate(program, 100, 1e-5, u)[0]
    found = simulate(program, dt=1e-5, tstop=1e-3, inputs=u, chunk=17)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-15)
    assert found.times[-1] == pytest.approx(1e-3) and found.names == interpret.signal_names(program)
    np.testing.assert_array_equal(found.signal("v_2.1", 2), found.values[:, 2, found.names.index("v_2.1")].numpy())


def test_simulating_leaves_the_module_alone() -> None:
    circuit = instantiate(programs.mif(), torch.float32)
    assert simulate(circuit, dt=1e-5, steps=5, dtype=torch.float64).values.dtype == torch.float64
    assert simulate(circuit, dt=1e-5, steps=5).values.dtype == torch.float32


def test_sub_steps_keep_every_so_manieth_row() -> None:
    whole = simulate(programs.mif(), dt=1e-6, steps=200)
    kept = simulate(programs.mif(), dt=1e-5, steps=20, substeps=10, chunk=7)
    torch.testing.assert_close(kept.values, whole.values[::10], rtol=1e-12, atol=1e-15)


def test_waveforms_are_held_over_sub_steps() -> None:
    u = np.random.default_rng(0).uniform(size=(20, 2, 3))
    expected = interpret.simulate(programs.waveform(), 60, 1e-5, np.repeat(u, 3, axis=0), observe=["a"])[0][::3]
    found = simulate(programs.waveform(), dt=3e-5, steps=20, inputs=u, substeps=3, chunk=6, observe=["a"])
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)


@pytest.mark.parametrize("hidden", [False, True])
def test_divergence_names_step_and_node(hidden: bool) -> None:
    grows, calm = State("v_1"), State("v_2")
    program = programs.program(
        [],
        [],
        [
            StateBlock("v_1", "V", ("wild",), Const(1.0), b.mul(-3.0, grows), ()),
            StateBlock("v_2", "V", ("calm",), Const(1.0), b.neg(calm), ()),
        ],
        [Observable("n_1", "V", ("wild",), grows), Observable("n_2", "V", ("calm",), calm)],
    )
    with pytest.raises(NetcError, match=r"diverges at step \d+ .* at node wild") as caught:
        simulate(program, dt=1.0, steps=300, chunk=16, observe=["calm"] if hidden else None)
    if not hidden:  # |-2| ** 40 is the first power beyond 1e12
        assert "step 40 (t = 40 s)" in str(caught.value)
    assert "--dt" in str(caught.value)


@pytest.mark.parametrize("name", ["network", "waveform", "mif"])
def test_checkpoints_change_no_bit(name: str) -> None:
    program = getattr(programs, name)()
    shape = (50, 2, 3) if name == "waveform" else (2, 6)
    u = None if name == "mif" else torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    values = {p.name: torch.tensor(p.values) for p in program.parameters}
    results = []
    for chunk in (None, 7):
        circuit = instantiate(program)
        leaves = {k: v.clone().requires_grad_() for k, v in values.items()}
        if chunk is None:
            found, state = circuit(50, 1e-5, u, values=leaves)
        else:
            found, state = checkpointed(circuit, 50, 1e-5, u, chunk=chunk, values=leaves)
        found.square().sum().backward()
        results.append((found, state, {k: v.grad for k, v in leaves.items()}))
    (plain, end, gradient), (again, last, regradient) = results
    assert torch.equal(plain, again) and all(torch.equal(x, y) for x, y in zip(end, last, strict=True))
    for name, g in gradient.items():
        torch.testing.assert_close(g, regradient[name], rtol=1e-4, atol=0.0)


def test_memory_estimate_is_within_a_factor_of_two() -> None:
    """Against the bytes autograd really keeps for a bank of MIF cells."""
    program, steps = programs.mif(200), 30
    circuit = instantiate(program)
    kept: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    leaves = {"x0_1": torch.tensor([0.1], dtype=torch.float64, requires_grad=True)}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        found, _ = circuit(steps, 1e-5, values=leaves, observe=circuit.OUTPUTS)
    measured = sum(kept.values())
    assert found.requires_grad
    assert 0.5 < memory_estimate(program, steps, 1) / measured < 2.0


def test_rows_since_a_start_time() -> None:
    found = simulate(programs.mif(), dt=1e-5, steps=10)
    late = found.since(3e-5)
    assert late.times.tolist() == found.times[3:].tolist()
    assert torch.equal(late.values, found.values[3:])
