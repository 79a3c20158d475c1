"""Any optional pass may be left out: interpreter, PyTorch and kernels give what they give with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc.compiler import compile_deck
from netc.generate import generate
from netc.ir.interpret import simulate
from netc.ir.program import Program
from netc.kernels import PASSES, build
from netc.kernels.library import compiler
from netc.optimise import OPTIONAL, optimise
from netc.runtime.load import instantiate
from netc.training.unroll import mean_log_probabilities
from tests.kernels.decks import SHIPPED, crossbar

STEPS, SCALE, BATCH = 40, 20.0, 3
DECKS = ("buffered", "passive", "crossbar")

Found = tuple[torch.Tensor, float, list[torch.Tensor]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("decks")
    (home / "buffered.cir").write_text(generate((8, 6, 4), seed=1))
    (home / "passive.cir").write_text(generate((7, 6, 5), passive=True, seed=2))
    (home / "crossbar.cir").write_text(crossbar(3, 3))
    return home


def program_of(folder: Path, name: str, *disable: str) -> Program:
    models = SHIPPED.parent / "models"
    return compile_deck(folder / f"{name}.cir", include_directories=[models], disable=disable).program


def step_of(program: Program) -> float:
    assert program.timing is not None
    return program.timing.tmax or program.timing.tstep


def drive(program: Program) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).uniform(0.2, 1.0, (BATCH, sum(block.size for block in program.inputs)))


def interpreted(program: Program) -> np.ndarray[Any, Any]:
    return simulate(program, STEPS, step_of(program), drive(program), observe=signals(program))[0]


def signals(program: Program) -> list[str]:
    return sorted(lane for o in program.observables for lane in o.lanes)


def run(program: Program, *, kernel: bool, disable: tuple[str, ...] = ()) -> Found:
    """Return signals, loss and the gradients of the trained values, in the order of the blocks' lanes."""
    module: Any = instantiate(program, torch.float64)
    inputs, labels, dt = torch.from_numpy(drive(program)), torch.arange(BATCH) % len(module.OUTPUTS), step_of(program)
    if kernel:
        built = build(program, torch.float64, threads=1, disable=disable)
        assert built is not None
        found = built.simulate(module, STEPS, dt, inputs, observe=signals(program)).detach()
        loss = built.loss(module, inputs, labels, STEPS, dt, SCALE)
    else:
        with torch.no_grad():
            found = module(STEPS, dt, inputs, observe=signals(program))[0]
        scores = mean_log_probabilities(module, inputs, steps=STEPS, dt=dt, logit_scale=SCALE)
        loss = torch.nn.functional.nll_loss(scores, labels)
    names, parameters = zip(*sorted(module.named_parameters()), strict=True)
    assert names
    return found, loss.item(), list(torch.autograd.grad(loss, parameters))


def agree(have: Found, want: Found, relative: float = 1e-9) -> None:
    span = want[0].abs().amax((0, 1)).clamp_min(1e-12)
    assert float(((have[0] - want[0]).abs() / span).max()) < relative
    assert have[1] == pytest.approx(want[1], rel=relative)
    for a, b in zip(have[2], want[2], strict=True):
        assert float((a - b).abs().max()) <= relative * float(b.abs().max()) + 1e-30


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("deck", DECKS)
def test_a_pass_of_programs_may_be_left_out(deck: str, name: str, folder: Path) -> None:
    whole, without = program_of(folder, deck), program_of(folder, deck, name)
    want = run(whole, kernel=False)
    rows = interpreted(without)
    np.testing.assert_allclose(rows, interpreted(whole), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(want[0].numpy(), rows, rtol=1e-9, atol=1e-12)
    agree(run(without, kernel=False), want)
    if compiler() is not None and deck == "buffered":  # each kernel takes two seconds to compile
        agree(run(without, kernel=True), want)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("name", [name for name, _ in PASSES])
@pytest.mark.parametrize("deck", DECKS[:2])
def test_a_pass_of_kernels_may_be_left_out(deck: str, name: str, folder: Path) -> None:
    program = program_of(folder, deck)
    agree(run(program, kernel=True, disable=(name,)), run(program, kernel=False))


def test_each_pass_of_programs_does_something_somewhere(folder: Path) -> None:
    from netc.ir.printer import format_program

    whole = {deck: format_program(program_of(folder, deck)) for deck in DECKS}
    idle = {
        name
        for name in OPTIONAL
        if all(format_program(program_of(folder, deck, name)) == whole[deck] for deck in DECKS)
    }
    assert not idle - {"dead", "sigmoids"}  # what these do is in test_passes.py


def test_what_nothing_runs_without_is_no_choice(folder: Path) -> None:
    assert "solve_algebraic" not in OPTIONAL
    with pytest.raises(ValueError, match="there is no pass 'hoist'"):
        optimise(program_of(folder, "buffered"), disable=("hoist",))
