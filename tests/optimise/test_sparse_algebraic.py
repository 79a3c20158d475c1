"""Large linear networks: solved by sparse factors, once a parameter set, the same as dense ones."""

import numpy as np
import pytest
import torch

from netc.diagnostics import NetcError
from netc.ir import build, serial
from netc.ir.interpret import simulate
from netc.ir.interval import bounds, environment_of
from netc.ir.network import Response
from netc.ir.nodes import Const, Gather, Index, ScatterAdd, Solve, Unary, Unknown, postorder
from netc.ir.printer import format_program
from netc.ir.program import Program
from netc.kernels import build as build_kernel
from netc.optimise import optimise, solve_algebraic, systems
from netc.runtime.gradients import check_gradients
from netc.runtime.load import instantiate
from tests.optimise.circuits import Builder, wave


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small networks count as large and full ones as sparse."""
    monkeypatch.setattr(systems, "SPARSE", 6)
    monkeypatch.setattr(systems, "SPARSE_FILL", 1)


def crossbar(rows: int, columns: int) -> Program:
    """Wires of rows and columns joined by resistors, fed by a wave, a state and a constant, sensed into states."""
    b = Builder("crossbar with wires")
    size = rows * columns
    u = Unknown("v", 2 * size)
    at = np.arange(size).reshape(rows, columns)
    ends = [
        *((at[i, j], at[i, j + 1]) for i in range(rows) for j in range(columns - 1)),
        *((size + at[i, j], size + at[i + 1, j]) for i in range(rows - 1) for j in range(columns)),
    ]
    left, right = (Index([e[k] for e in ends]) for k in (0, 1))
    wire = b.parameter("wire", np.full(len(ends), 2.0))
    device = b.parameter("device", np.random.default_rng(0).uniform(10, 100, size))
    load = b.parameter("load", np.linspace(3.0, 5.0, columns))
    first, second = Index(np.arange(size)), Index(np.arange(size) + size)

    def between(a: Index, c: Index, r: object) -> object:
        current = build.div(build.sub(Gather(u, a), Gather(u, c)), r)
        return build.sub(ScatterAdd(current, c, 2 * size), ScatterAdd(current, a, 2 * size))

    feet, heads = Index(size + at[-1]), Index(at[:, 0])
    sink = build.neg(ScatterAdd(build.div(Gather(u, feet), load), feet, 2 * size))
    x = b.state("x", columns, build.mul(0.5, Gather(u, feet)))
    drive = build.concat([build.widen(wave(), rows - 2), Const(0.7), Gather(x, Index([0]))])
    source = ScatterAdd(build.sub(drive, Gather(u, heads)), heads, 2 * size)
    residual = build.add(build.add(between(left, right, wire), between(first, second, device)), build.add(sink, source))
    b.solve([u], [residual])
    return b.program()


def test_sparse_factors_give_what_dense_ones_do(eager: None, monkeypatch: pytest.MonkeyPatch):
    program = crossbar(4, 3)
    solved = optimise(program)
    roots = [*(s.derivative for s in solved.states), *(o.value for o in solved.observables)]
    (node,) = {n for n in postorder(*roots) if isinstance(n, Response)}
    assert node.shape == (3, 24)  # the wave once, the constant, the state
    assert not any(isinstance(n, Solve) for n in postorder(*roots))
    rows, _ = simulate(solved, 30, 1e-2)
    found, _ = instantiate(solved, torch.float64)(30, 1e-2)
    np.testing.assert_allclose(found.numpy(), rows, rtol=1e-12, atol=1e-14)
    monkeypatch.setattr(systems, "SPARSE", 1000)
    dense, _ = simulate(solve_algebraic.run(program), 30, 1e-2)
    np.testing.assert_allclose(rows, dense, rtol=1e-11, atol=1e-13)


def test_gradients_go_through_one_transposed_solve(eager: None):
    program = optimise(crossbar(3, 3), disable=("uniform_parameters",))
    report = check_gradients(program, steps=10, dt=1e-2)
    assert report.worst is not None and report.worst.error < 1e-6
    assert {row.block for row in report.rows} >= {"wire", "device", "load"}
    assert all(row.autograd != 0.0 for row in report.rows if row.block == "device")


def test_text_bytes_and_bounds(eager: None):
    solved = optimise(crossbar(3, 3))
    text = format_program(solved)
    assert "response(" in text
    assert format_program(serial.load(serial.dump(solved))) == text
    (node,) = {n for o in solved.observables for n in postorder(o.value) if isinstance(n, Response)}
    low, high = bounds(node, environment_of(solved))
    np.testing.assert_array_equal(low, high)
    assert (low >= 0).all() and (low <= 1).all()


def test_a_network_without_a_path_to_ground_is_refused(eager: None):
    b = Builder("floating")
    u = Unknown("n", 9)
    left, right = Index(np.arange(8)), Index(np.arange(1, 9))
    current = build.sub(Gather(u, left), Gather(u, right))
    b.solve([u], [build.sub(ScatterAdd(current, left, 9), build.add(ScatterAdd(current, right, 9), wave()))], line=3)
    with pytest.raises(NetcError, match=r"the equations of n0.* have no unique solution"):
        solve_algebraic.run(b.program())


def test_networks_that_step_stay_dense(eager: None):
    b = Builder("stepping")
    x = b.state("x", 9, Const(1.0), Const(1.0))
    u = Unknown("n", 9)
    left, right = Index(np.arange(8)), Index(np.arange(1, 9))
    current = build.sub(Gather(u, left), Gather(u, right))
    leak = build.mul(build.unary("exp", x), u)
    residual = build.sub(
        build.sub(ScatterAdd(current, left, 9), ScatterAdd(current, right, 9)), build.sub(wave(), leak)
    )
    b.solve([u], [residual])
    solved = solve_algebraic.run(b.program())
    kinds = {type(n) for o in solved.observables for n in postorder(o.value)}
    assert Solve in kinds and Response not in kinds and Unary in kinds


def test_a_kernel_reads_the_response(eager: None):
    program = optimise(crossbar(3, 3))
    kernel = build_kernel(program, torch.float64, threads=1)
    assert kernel is not None
    module = instantiate(program, torch.float64)
    found, expected = kernel.run(module, 20, 1e-2)[0], module(20, 1e-2)[0]
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
