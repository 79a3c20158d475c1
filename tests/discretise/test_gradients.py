"""Gradients through every integrator for every class of element."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import compile_deck
from netc.discretise import INTEGRATORS
from netc.runtime.gradients import check_gradients
from tests.discretise.decks import DECKS, deck

TOLERANCE = 1e-5
SLOW = ("D", "M", "Q")  # many values, each of which takes several runs of Newton's method


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", DECKS)
def test_gradients_are_those_of_the_steps_taken(name: str, integrator: str, tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(deck(name))
    program = compile_deck(path, integrator=integrator).every_lane
    found = check_gradients(program, steps=2 if name in SLOW else 4, dt=3e-6, per_class=1)
    assert found.rows
    assert found.worst is not None and found.worst.error <= TOLERANCE, found.worst
    assert len(found.kinks) < len(found.rows) / 2
