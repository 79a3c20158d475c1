"""Exponentials that logistic functions share, and those of differences that are products of a few."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netc.emit.schedule import schedule
from netc.ir.build import add, gather, mul, neg, sub, unary
from netc.ir.interpret import simulate
from netc.ir.nodes import Const, Expr, Index, State, postorder
from netc.ir.program import Program
from netc.kernels import build
from netc.kernels.affine import AffineForms
from netc.kernels.exponentials import Group, groups
from netc.kernels.library import compiler
from netc.kernels.loops import LoopRates, loops
from netc.runtime.load import instantiate
from tests.kernels import decks

STEPS, DT = 40, 5e-7


@pytest.fixture(scope="module")
def crossbar(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return decks.program("crossbar", tmp_path_factory.mktemp("decks"))


def found(*nodes: Expr) -> list[Group]:
    rates = LoopRates([x for x in postorder(*nodes) if isinstance(x, State)], [])
    return groups(nodes, AffineForms(rates.fixed), rates.fixed, rates.moves)


def test_logistic_functions_of_one_argument_share_about_their_mean() -> None:
    v = State("v", 6)
    up, down = unary("sigmoid", sub(mul(40.0, v), 11.0)), unary("sigmoid", sub(-9.0, mul(40.0, v)))
    (group,) = found(up, down)
    assert [m.rising for m in group.members] == [True, False]
    assert group.power is None
    exponents = [m.exponent for m in group.members]
    assert [e.value for e in exponents if isinstance(e, Const)] == pytest.approx([10.0, 10.0])


def test_constants_far_apart_are_not_shared() -> None:
    v = State("v", 6)
    assert not found(unary("sigmoid", sub(v, 40.0)), unary("sigmoid", add(v, 40.0)))


def test_differences_of_few_lanes_are_products() -> None:
    rows, columns = State("rows", 8), State("columns", 8)
    lanes = np.arange(64)
    v = sub(gather(rows, Index(lanes // 8)), gather(columns, Index(lanes % 8)))
    (group,) = found(unary("sigmoid", mul(40.0, v)), unary("sigmoid", neg(mul(40.0, v))))
    assert group.power is not None
    assert group.power.fraction.shape == group.power.whole.shape == (64,)
    few = sub(gather(rows, Index(lanes[:16] // 8)), gather(columns, Index(lanes[:16] % 8)))
    (other,) = found(unary("sigmoid", few))
    assert other.power is None  # hardly more lanes than those it would be made of


def test_the_devices_of_a_crossbar_are_such(crossbar: Program) -> None:
    _, loop = loops(schedule(crossbar))
    assert loop is not None
    assert [group.power is not None for group in loop.groups] == [True]


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("amplitude", [0.0, 1.0, 30.0, 1e4])
def test_voltages_of_any_size_agree(amplitude: float, crossbar: Program) -> None:
    module = instantiate(crossbar, torch.float64)
    kernel = build(crossbar, torch.float64, threads=1)
    assert kernel is not None
    inputs = amplitude * torch.as_tensor(np.random.default_rng(5).uniform(0.5, 1.0, (3, 6)))
    expected, _ = simulate(crossbar, STEPS, DT, inputs)
    have = kernel.simulate(module, STEPS, DT, inputs).detach().numpy()
    span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
    assert (np.abs(have - expected) / span).max() < 1e-9
    single = build(crossbar, torch.float32, threads=1)
    assert single is not None
    rounded = single.simulate(instantiate(crossbar), STEPS, DT, inputs.float()).detach().numpy()
    assert (np.abs(rounded - expected) / span).max() < 1e-5


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_what_is_not_a_number_stays_so(crossbar: Program) -> None:
    kernel = build(crossbar, torch.float32, threads=1)
    assert kernel is not None
    inputs = torch.full((3, 6), 0.5)
    inputs[1, 2] = torch.nan
    rows = kernel.simulate(instantiate(crossbar), STEPS, DT, inputs)
    assert torch.isfinite(rows[-1]).all(-1).tolist() == [True, False, True]
