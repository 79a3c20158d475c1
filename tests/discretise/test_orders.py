"""Every integrator against exact solutions, and every back end against the interpreter."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cli.integrators import NAMES
from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.discretise import INTEGRATORS, discretise
from netc.ir.interpret import simulate
from netc.kernels import library
from netc.kernels.circuit import KernelCircuit, kernel_for
from netc.optimise import optimise
from netc.runtime.load import instantiate
from tests.discretise.decks import deck

Exact = Callable[[np.ndarray], np.ndarray]


def rlc(t: np.ndarray) -> np.ndarray:
    """The capacitor's voltage of a series R, L, C that starts at 1 V, without current: a damped oscillation."""
    r, inductance, c = 50.0, 10e-3, 1e-6
    a, w = r / (2 * inductance), math.sqrt(1 / (inductance * c) - (r / (2 * inductance)) ** 2)
    return np.exp(-a * t) * (np.cos(w * t) + a / w * np.sin(w * t))


CASES: dict[str, tuple[str, str, float, Exact]] = {
    "rc": ("R1 a 0 1k\nC1 a 0 1u IC=1\n", "a", 2e-3, lambda t: np.exp(-t / 1e-3)),
    "driven rc": (
        "V1 in 0 SIN(0 1 159.15494309189535)\nR1 in a 1k\nC1 a 0 1u IC=0\n",
        "a",
        4e-3,
        lambda t: (np.sin(1e3 * t) - np.cos(1e3 * t) + np.exp(-1e3 * t)) / 2,
    ),
    "rlc": ("R1 a b 50\nL1 b c 10m IC=0\nVx c 0 0\nC1 a 0 1u IC=1\n", "a", 1e-3, rlc),
    "square law": ("B1 a 0 i=1m*V(a)**2\nC1 a 0 1u IC=1\n", "a", 2e-3, lambda t: 1 / (1 + t / 1e-3)),
}


def compiled(text: str, folder: Path, integrator: str = "euler") -> Compilation:
    path = folder / "deck.cir"
    path.write_text(text)
    return compile_deck(path, integrator=integrator)


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("case", CASES)
def test_the_error_falls_with_the_order(case: str, integrator: str, tmp_path: Path) -> None:
    body, node, tstop, exact = CASES[case]
    program = compiled(f"* {case}\n{body}.tran 10u {tstop} uic\n.end\n", tmp_path, integrator).program
    errors = []
    for steps in (120, 240):
        rows, _ = simulate(program, steps, tstop / steps, observe=[node])
        errors.append(float(np.abs(rows[:, 0, 0] - exact(np.arange(steps + 1) * tstop / steps)).max()))
    if errors[1] > 1e-12:  # exponential steps make no error at all in a linear circuit that nothing drives
        assert math.log2(errors[0] / errors[1]) > INTEGRATORS[integrator].order - 0.25
    assert errors[1] < {1: 4e-2, 2: 1e-3, 4: 1e-6}[INTEGRATORS[integrator].order]


def test_exponential_steps_follow_a_block_exactly(tmp_path: Path) -> None:
    for case in ("rc", "rlc"):
        body, node, tstop, exact = CASES[case]
        program = compiled(f"* {case}\n{body}.tran 10u {tstop} uic\n.end\n", tmp_path, "exponential").program
        rows, _ = simulate(program, 7, tstop / 7, observe=[node])
        np.testing.assert_allclose(rows[:, 0, 0], exact(np.arange(8) * tstop / 7), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("integrator", ["exponential", "backward-euler", "bdf2"])
def test_what_is_far_faster_than_the_step_is_damped(integrator: str, tmp_path: Path) -> None:
    text = "* stiff\nV1 in 0 1\nR1 in a 1\nC1 a 0 1n IC=0\nR2 a b 1k\nC2 b 0 1u IC=0\n.tran 10u 1m uic\n.end\n"
    program = compiled(text, tmp_path, integrator).program
    rows, _ = simulate(program, 40, 5e-5, observe=["a", "b"])
    assert abs(rows[-1, 0, 0] - 1.0) < 2e-3
    assert np.abs(rows[:, 0]).max() < 1.6


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", ["L", "non-linear node", "memristive cell"])
def test_the_emitted_module_does_what_the_interpreter_does(name: str, integrator: str, tmp_path: Path) -> None:
    program = compiled(deck(name), tmp_path, integrator).program
    expected, state = simulate(program, 40, 4e-6)
    with torch.no_grad():
        found, last = instantiate(program, torch.float64)(40, 4e-6)
    scale = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(found.numpy() / (scale + 1e-30), expected / (scale + 1e-30), rtol=0, atol=1e-9)
    for mine, theirs in zip(last, state, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-9, atol=1e-12)


def test_a_run_in_parts_is_the_run_in_one(tmp_path: Path) -> None:
    """What BDF2 and Newton's method carry is part of the state."""
    program = compiled(deck("non-linear node"), tmp_path, "bdf2").program
    whole, _ = simulate(program, 30, 1e-5)
    first, state = simulate(program, 13, 1e-5)
    second, _ = simulate(program, 17, 1e-5, state=state, first_step=13)
    np.testing.assert_allclose(np.concatenate([first[:-1], second]), whole, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_the_default_program_is_left_alone(integrator: str, tmp_path: Path) -> None:
    dae = compiled(deck("R and C"), tmp_path).dae
    assert (discretise(dae, integrator) is dae) == (integrator == "euler")
    names = {block.name for block in dae.states}
    assert names <= {block.name for block in optimise(discretise(dae, integrator)).states}


def test_an_operating_point_is_where_every_integrator_stays(tmp_path: Path) -> None:
    text = "* rest\nV1 in 0 3\nR1 in a 1k\nC1 a 0 1u\nR2 a b 2k\nL1 b c 1m\nR3 c 0 1k\n.tran 10u 1m\n.end\n"
    for integrator in INTEGRATORS:
        program = compiled(text, tmp_path, integrator).program
        rows, _ = simulate(program, 50, 1e-7, observe=["a", "c"])
        np.testing.assert_allclose(rows[:, 0], np.broadcast_to([2.25, 0.75], (51, 2)), rtol=1e-7)


def test_an_unknown_integrator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="no integrator 'leapfrog'"):
        discretise(compiled(deck("L"), tmp_path).dae, "leapfrog")


def test_the_command_line_knows_all_integrators() -> None:
    assert tuple(INTEGRATORS) == NAMES
    for strategy in INTEGRATORS.values():
        assert strategy.stability and strategy.cost and strategy.order >= 1


@pytest.mark.skipif(library.compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("integrator", ["rk4", "exponential", "trapezoidal"])
def test_a_kernel_takes_the_same_steps(integrator: str, tmp_path: Path) -> None:
    text = (
        "* network\nV1 in1 0 1\nV2 in2 0 1\n"
        + "".join(f"R{i}{j} in{i} m{j} {1000 * (i + j)}\n" for i in (1, 2) for j in (1, 2, 3))
        + "".join(f"C{j} m{j} 0 1u IC=0\nRl{j} m{j} 0 2k\n" for j in (1, 2, 3))
        + "*.netc input V*\n*.netc output m*\n*.netc train R1* min=100 max=10k\n.tran 10u 1m uic\n.end\n"
    )
    program = compiled(text, tmp_path, integrator).program
    u = np.array([[0.3, 0.9], [1.0, 0.1]])
    expected, _ = simulate(program, 20, 1e-4, u)
    module = instantiate(program, torch.float64)
    kernel = kernel_for("cpp", program, torch.float64, notify=print)
    assert kernel is not None
    found, _ = KernelCircuit(module, kernel)(20, 1e-4, torch.as_tensor(u))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
