"""What auto makes of a circuit at a given step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netc.compiler import compile_deck
from netc.ir.interpret import simulate
from netc.runtime import automatic
from netc.runtime.gradients import check_gradients
from netc.runtime.plan import plan
from netc.runtime.transient import difference, solve

SLOW = "V1 in 0 SIN(0 1 300)\nR1 in a 1k\nC1 a 0 1u IC=0\n"
PARASITIC = SLOW + "R2 a b 1k\nC2 b 0 1p IC=0\nR3 b c 1k\nC3 c 0 1u IC=0\n"
CHAIN = SLOW + "".join(f"R{k} {x} {y} 1k\nC{k} {y} 0 20n\n" for k, (x, y) in enumerate(("ab", "bc", "cd"), start=2))


def planned(body: str, folder: Path, dt: float) -> tuple[tuple[str, ...], float, float]:
    """Return what auto says, the error it expects and the error it makes."""
    path = folder / "deck.cir"
    path.write_text(f"* deck\n{body}.tran 10u 4m uic\n.end\n")
    compilation = compile_deck(path, integrator="auto", step=dt)
    program = compilation.program
    steps = round(4e-3 / dt)
    rows, _ = simulate(program, steps, dt, observe=compilation.signals)
    truth = solve(compilation.dae, np.arange(steps + 1) * dt, compilation.signals, wanted=1e-5).values
    found = plan(compilation.dae, dt, 4e-3)
    assert found.lines == compilation.integration and found.error is not None
    return found.lines, found.error, difference(truth, rows[:, 0])


def test_what_explicit_euler_can_follow_it_does(tmp_path: Path) -> None:
    lines, expected, error = planned(SLOW, tmp_path, 1e-5)
    assert "explicit Euler;" in lines[0]
    assert error == pytest.approx(expected, rel=0.05)


def test_a_parasitic_far_below_the_step_is_condensed(tmp_path: Path) -> None:
    lines, expected, error = planned(PARASITIC, tmp_path, 1e-5)
    assert "v(b)" in lines[0] and "condensed" in lines[0] and "explicit Euler for the other 2" in lines[0]
    assert error == pytest.approx(expected, rel=0.05) and error < 0.01


def test_a_stiff_chain_is_solved_for_where_cheap_steps_do_not_do(tmp_path: Path) -> None:
    lines, expected, error = planned(CHAIN, tmp_path, 1e-4)
    assert "bdf2" in lines[0] and "passed over" in lines[1]
    assert error == pytest.approx(expected, rel=0.05) and error < 0.02


def test_gradients_go_through_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(f"* deck\n{PARASITIC}.tran 10u 1m uic\n.end\n")
    program = compile_deck(path, integrator="auto").every_lane
    found = check_gradients(program, steps=10, dt=1e-5, per_class=2)
    assert found.worst is not None and found.worst.error < 1e-6


def test_a_run_without_gradients_has_no_step_to_break(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(f"* deck\n{PARASITIC}.tran 10u 1m uic\n.end\n")
    compilation = compile_deck(path)
    found, lines = automatic.run(
        compilation.system,
        lambda: compilation.continuous,
        dt=1e-5,
        tstop=1e-3,
        observe=("a", "c"),
        dtype=torch.float32,
    )
    assert found.values.dtype == torch.float32 and found.values.shape == (101, 1, 2)
    assert "estimated error" in lines[0] and "v(b)" in lines[1]
