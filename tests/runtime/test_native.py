"""Steps in C++ are the steps in Python: the tape's values, linear systems of any kind, whole runs, what goes wrong."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ir import build
from netc.ir.derivative import tangents
from netc.ir.interpret import evaluate
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Binary,
    Columns,
    Const,
    Expr,
    Index,
    Interpolate,
    MatVec,
    Parameter,
    ScatterAdd,
    Select,
    Solve,
    State,
    Time,
    Unary,
    Unknown,
)
from netc.ir.program import Program
from netc.ir.sparsity import jacobian_structure
from netc.runtime import native as module
from netc.runtime import transient
from netc.runtime.system import System
from netc.runtime.tape import Unsupported, tapes

pytestmark = pytest.mark.skipif(module.library() is None, reason="no C++ compiler")

NETLISTS = Path(__file__).parents[2] / "netlists"

BUCK = """S1 in sw g 0 s
D1 0 sw d
L1 sw out 100u ic=0
R1 out c 20m
C1 c 0 100u ic=0
RL out 0 6
Vi in 0 24
Vg g 0 pulse(0 5 0 50n 50n 4.95u 10u)
.model s sw(vt=2.5 vh=0.5 ron=50m roff=1meg)
.model d d(is=1n rs=10m cjo=100p)
"""


def solver(functions: list[Expr], leaves: list[Expr], fixed: dict[Expr, np.ndarray] | None = None) -> module.Native:
    seeds = [Unknown(f"direction {k}", leaf.size) for k, leaf in enumerate(leaves)]
    moved = tangents(tuple(functions), dict(zip(leaves, seeds, strict=True)))
    structure = jacobian_structure(functions, leaves)
    size = sum(leaf.size for leaf in leaves)
    found = module.native(functions, moved, leaves, seeds, fixed or {}, structure, states=size, linear=False)
    assert found is not None
    return found


def system(body: str, folder: Path, tran: str = "0.5u 30u uic") -> Program:
    path = folder / "deck.cir"
    path.write_text(f"* deck\n{body}.tran {tran}\n.end\n")
    return compile_deck(path).system


@pytest.mark.parametrize("op", [*UNARY, *BINARY])
def test_every_operation_means_what_the_interpreter_says(op: str) -> None:
    x, y = State("x", 5), State("y", 5)
    result = Unary(op, x) if op in UNARY else Binary(op, x, y)
    leaves: list[Expr] = [x, y]
    machine = solver([result, y], leaves)
    for a, b in [
        ([0.3, 1.7, 2.5, 0.0, -0.4], [1.7, 0.3, 2.5, -0.2, 0.0]),
        ([-3.0, 1e3, -0.0, np.inf, np.nan], [2.0, 0.5, 0.0, np.inf, 1.0]),
    ]:
        v = np.array([*a, *b])
        (expected,) = evaluate([result], {x: v[None, :5], y: v[None, 5:]})
        np.testing.assert_allclose(machine.rates(0.0, v)[:5], expected[0], rtol=1e-15)


def test_lanes_are_moved_summed_and_looked_up_as_in_the_interpreter() -> None:
    x, p = State("x", 4), Parameter("p", 3)
    matrix = Columns(p, build.mul(p, p), Const(0.0))
    parts = [
        build.gather(x, Index([3, 1, 1])),
        MatVec(build.gather(x, Index([0, 1, 2])), matrix),
        build.gather(ScatterAdd(build.mul(x, x), Index([0, 2, 0, 2]), 3), Index([2, 0, 1])),
        Interpolate(
            build.gather(x, Index([0])), Columns(*map(Const, (0, 1, 1, 3))), Columns(*map(Const, (2, 3, 5, 4)))
        ),
        Select(Binary("gt", x, Time()), build.unary("exp", x), build.neg(x)),
    ]
    leaves: list[Expr] = [State(f"s{k}", part.size) for k, part in enumerate(parts)]
    fixed: dict[Expr, np.ndarray] = {p: np.array([0.5, -2.0, 3.0])}
    machine = solver([*parts, x], [*leaves, x], fixed)
    for first in (-1.0, 0.5, 1.0, 2.0, 7.0):
        v = np.concatenate([np.zeros(machine.size - 4), [first, 0.2, -0.7, 1.1]])
        expected = evaluate(parts, {**fixed, x: v[None, -4:], Time(): np.array([0.3])})
        np.testing.assert_allclose(
            machine.rates(0.3, v)[:-4], np.concatenate([e.ravel() for e in expected]), rtol=1e-15
        )


def test_what_finds_a_solution_inside_gets_no_tape() -> None:
    x = State("x", 2)
    solve: Expr = Solve(Columns(x, build.add(x, 1.0)), x)
    with pytest.raises(Unsupported):
        tapes([solve], [solve], [x], [Unknown("d", 2)], {}, (np.zeros(0, int), np.zeros(0, int), np.full(2, -1)))


def test_rates_and_jacobian_are_those_of_numpy(tmp_path: Path) -> None:
    whole = System(system(BUCK, tmp_path))
    assert whole.native is not None
    random = np.random.default_rng(1)
    for _ in range(5):
        time, v = float(random.uniform(0, 3e-5)), random.normal(size=whole.size)
        rates, jacobian = whole.linearised(time, v)
        found, entries = whole.native.linearised(time, v)
        dense = np.zeros_like(jacobian)
        dense[whole.native.rows, whole.native.columns] = entries
        np.testing.assert_allclose(found, rates, rtol=1e-13)
        np.testing.assert_allclose(whole.native.rates(time, v), rates, rtol=1e-13)
        np.testing.assert_allclose(dense, jacobian, rtol=1e-12, atol=1e-12 * np.abs(jacobian).max())
    np.testing.assert_allclose(whole.dense(time, v), jacobian, rtol=1e-12, atol=1e-12 * np.abs(jacobian).max())


def both(program: Program, times: np.ndarray, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve in C++ and in Python: as many steps, the same numbers."""
    fast = transient.solve(program, times, names)
    monkeypatch.setattr(System, "native", None)
    slow = transient.solve(program, times, names)
    assert abs(fast.steps - slow.steps) <= 0.02 * slow.steps
    assert transient.difference(fast.values, slow.values) < 1e-5
    assert fast.fastest == pytest.approx(slow.fastest, rel=1e-3)


def test_a_switching_converter_steps_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(system(BUCK, tmp_path), np.linspace(0.0, 6e-6, 31), ["sw", "out"], monkeypatch)


def test_spiking_neurons_step_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["m", "xn.xm1.x"]
    both(compile_deck(NETLISTS / "mif_table3.cir").system, np.arange(31) * 1e-5, names, monkeypatch)


def test_a_long_line_is_solved_by_its_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty coils and capacitors, and resistors between: more unknowns than are kept as a full matrix."""
    body = ["V1 n0 0 PULSE(0 1 0 1n 1n 1m)\nRt n60 0 50\n"]
    body += [f"L{k} n{k} m{k} 1u ic=0\nR{k} m{k} n{k + 1} 1\nC{k} n{k + 1} 0 400p ic=0\n" for k in range(60)]
    program = system("".join(body), tmp_path)
    both(program, np.linspace(0.0, 3e-7, 41), ["n3", "n60"], monkeypatch)


def test_an_oscillator_knows_how_fast_it_is(tmp_path: Path) -> None:
    found = transient.solve(system("L1 a 0 1m IC=0\nC1 a 0 1u IC=1\n", tmp_path), np.linspace(0, 1e-3, 11), ["a"])
    assert found.fastest == pytest.approx(1 / math.sqrt(1e-9), rel=1e-9)


def test_rows_that_do_not_fit_the_buffer_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, times = system(BUCK, tmp_path), np.linspace(0.0, 15e-6, 151)
    whole = transient.solve(program, times, ["sw", "out"])
    monkeypatch.setattr(module, "_BUFFER", 1)
    np.testing.assert_array_equal(transient.solve(program, times, ["sw", "out"]).values, whole.values)


def test_time_that_runs_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(transient.OutOfTime, match="takes too long"):
        transient.solve(system(BUCK, tmp_path), np.linspace(0.0, 15e-6, 31), ["sw"], seconds=0.0)


def test_too_many_steps_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "_MOST_STEPS", 50)
    program = system("L1 a 0 1m IC=0\nC1 a 0 1u IC=1\n", tmp_path)
    with pytest.raises(NetcError, match="more than 50 steps are needed"):
        transient.solve(program, np.linspace(0.0, 1e-2, 11), ["a"])


def test_a_result_that_is_accepted_stands_where_better_takes_too_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, times = system("L1 a 0 1m IC=0\nC1 a 0 1u IC=1\n", tmp_path), np.linspace(0.0, 1e-3, 11)
    steps = transient.solve(program, times, ["a"]).steps
    monkeypatch.setattr(transient, "_MOST_STEPS", steps)
    found = transient.solve(program, times, ["a"], wanted=0.0)
    assert 0 < found.error < transient.ACCEPTED
    assert abs(found.values[-1, 0] - math.cos(times[-1] / math.sqrt(1e-9))) < 2 * transient.ACCEPTED


def test_nothing_of_a_deck_reaches_the_compiler(tmp_path: Path) -> None:
    before = module.source()
    System(system("C1 some_name 0 1u ic=1\nR1 some_name 0 1k\n", tmp_path)).native  # noqa: B018 - compiles, if anything does
    assert module.source() == before and "some_name" not in before
