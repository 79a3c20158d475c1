import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ir import build
from netc.ir.interpret import evaluate, simulate
from netc.ir.nodes import (
    Const,
    Expr,
    Gather,
    Index,
    Input,
    Parameter,
    ScatterAdd,
    Solve,
    State,
    Time,
    Unknown,
    postorder,
)
from netc.ir.program import Program
from netc.optimise import solve_algebraic, systems
from tests.optimise.circuits import ALL, Builder, ladder


def residuals_at(program: Program, seed: int) -> list[np.ndarray]:
    """Residuals of every block at random states, the unknowns taken from the solved program."""
    solved = solve_algebraic.run(program)
    random = np.random.default_rng(seed)
    here: dict[Expr, np.ndarray] = {Parameter(b.name, len(b.values)): b.values for b in program.parameters}
    here |= {Input(b.name, b.size): random.uniform(-1, 1, (4, b.size)) for b in program.inputs}
    here |= {State(b.name, b.size): random.uniform(-1, 1, (4, b.size)) for b in program.states}
    here[Time()] = np.array([0.3])
    values = {o.name: o.value for o in solved.observables}
    result = []
    for block in program.algebraic:
        for unknown in block.unknowns:
            here[unknown] = evaluate([values[f"o_{unknown.name}"]], here)[0]
        result += evaluate(block.residuals, here)
    return result


@pytest.mark.parametrize("name", ALL)
def test_the_solution_has_no_residual(name: str):
    for residual in residuals_at(ALL[name], 0):
        np.testing.assert_allclose(residual, 0.0, atol=1e-15)


def _nodes(program: Program, kind: type[Expr]) -> int:
    roots = [e for s in program.states for e in (s.derivative, s.initial)] + [o.value for o in program.observables]
    return sum(isinstance(node, kind) for node in postorder(*roots))


@pytest.mark.parametrize(("length", "solves"), [(1, 0), (3, 0), (4, 0), (5, 1), (9, 1)])
def test_small_components_are_eliminated_over_lanes(length: int, solves: int):
    solved = solve_algebraic.run(ladder(length, copies=3))
    assert not solved.algebraic
    assert _nodes(solved, Solve) == solves
    assert _nodes(solved, Unknown) == 0


def test_elimination_equals_a_dense_solve():
    small, _ = simulate(solve_algebraic.run(ladder(4)), 20, 1e-4)
    original = systems.SMALL
    try:
        systems.SMALL = 0
        dense, _ = simulate(solve_algebraic.run(ladder(4)), 20, 1e-4)
    finally:
        systems.SMALL = original
    np.testing.assert_allclose(small, dense, rtol=1e-11, atol=1e-14)


def test_branch_currents_of_a_source_between_nets():
    """Modified nodal analysis: two nets, a source's current, and a zero on the diagonal."""
    b = Builder("mna")
    r = b.parameter("r_1", [1e3, 2e3])
    v, i = Unknown("v", 2), Unknown("i", 1)
    ends = Index([0, 1])
    kcl = build.add(build.div(v, r), ScatterAdd(build.mul(Gather(i, Index([0, 0])), Const(1.0)), ends, 2))
    kcl = build.sub(kcl, ScatterAdd(build.mul(i, Const(2.0)), Index([1]), 2))
    source = build.sub(build.sub(Gather(v, Index([0])), Gather(v, Index([1]))), Const(3.0))
    b.solve([v, i], [kcl, source])
    rows, _ = simulate(solve_algebraic.run(b.program()), 0, 1.0)
    np.testing.assert_allclose(rows[0, 0], [1.0, -2.0, -1e-3], rtol=1e-12)


def test_all_singular_blocks_are_reported_together():
    b = Builder("floating")
    u, w, z = Unknown("a", 2), Unknown("b", 6), Unknown("c", 2)
    g = b.parameter("r_1", [1.0])
    between = build.mul(g, build.sub(Gather(u, Index([0])), Gather(u, Index([1]))))
    b.solve([u], [build.sub(ScatterAdd(between, Index([0]), 2), ScatterAdd(between, Index([1]), 2))], line=5)
    left, right = Index(np.arange(5)), Index(np.arange(1, 6))
    chain = build.mul(g, build.sub(Gather(w, left), Gather(w, right)))
    b.solve([w], [build.sub(ScatterAdd(chain, left, 6), ScatterAdd(chain, right, 6))], line=6)
    b.solve([z], [build.sub(ScatterAdd(Gather(z, Index([0])), Index([0]), 2), Const(1.0))], line=7)
    with pytest.raises(NetcError) as error:
        solve_algebraic.run(b.program())
    assert [d.span.line for d in error.value.diagnostics if d.span] == [5, 6, 8]
    assert "a0, a1 have no unique solution" in str(error.value)
    assert "b0, b1, b2, b3, b4, b5 have" in str(error.value)
    assert "the equations of c1 have" in str(error.value)


def test_too_large_a_system_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(systems, "LARGEST", 8)
    with pytest.raises(NetcError, match="not supported yet"):
        solve_algebraic.run(ladder(9, copies=1))
