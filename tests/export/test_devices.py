"""Levels, write errors and stuck devices."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.export import Devices
from netc.ir.program import Program

N = 4000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = tmp_path_factory.mktemp("devices") / "deck.cir"
    rows = "".join(f"R{k} a b 5k\n" for k in range(N))
    path.write_text(
        f"* t\nV1 a 0 1\n{rows}C1 b 0 1u IC=0\nE1 c 0 b 0 2\nR c 0 1\n*.netc train R?* min=1k max=100k\n"
        "*.netc train E1 min=-1 max=3\n.tran 1u 1m uic\n.end\n"
    )
    return compile_deck(path).program


def resistances(program: Program, values: np.ndarray | float) -> dict[str, np.ndarray]:
    blocks = {b.name: b for b in program.parameters if b.trained}
    return {name: np.broadcast_to(values, N).copy() if len(b.values) == N else b.values for name, b in blocks.items()}


def of_resistors(found: dict[str, np.ndarray]) -> np.ndarray:
    return next(v for v in found.values() if len(v) == N)


def test_ideal_devices_hold_what_they_are_given(program: Program) -> None:
    values = resistances(program, np.linspace(1e3, 1e5, N))
    found = Devices().programmed(program, values)
    assert all(found[name] is values[name] for name in values)


def test_levels_are_equally_spaced_in_conductance_and_the_nearest_is_taken(program: Program) -> None:
    given = np.linspace(1e3, 1e5, N)
    found = of_resistors(Devices(levels=5).programmed(program, resistances(program, given)))
    levels = np.linspace(1e-5, 1e-3, 5)
    conductances = np.unique(np.round(1 / found, 12))
    np.testing.assert_allclose(conductances, levels, rtol=1e-9)
    nearest = levels[np.abs(1 / given[:, None] - levels).argmin(axis=1)]
    np.testing.assert_allclose(1 / found, nearest, rtol=1e-9)
    assert found.min() == 1e3 and found.max() == 1e5
    gain = next(v for v in Devices(levels=5).programmed(program, resistances(program, given)).values() if len(v) == 1)
    assert gain.tolist() == [2.0]


@pytest.mark.parametrize("law", ["normal", "lognormal"])
def test_program_noise_has_the_spread_it_is_told(law: str, program: Program) -> None:
    found = of_resistors(Devices(program_noise=0.1, law=law, seed=3).programmed(program, resistances(program, 2e3)))
    ratio = 2e3 / found
    assert abs(ratio.mean() - 1) < 4 * 0.1 / np.sqrt(N)
    assert abs(ratio.std() - 0.1) < 0.005
    skew = float(np.mean((ratio - ratio.mean()) ** 3) / ratio.std() ** 3)
    assert abs(skew) < 0.15 if law == "normal" else 0.15 < skew < 0.5


def test_noise_stays_between_the_bounds(program: Program) -> None:
    found = of_resistors(Devices(program_noise=3.0).programmed(program, resistances(program, 1e3)))
    assert found.min() == 1e3 and found.max() == 1e5


def test_stuck_devices_are_at_either_bound(program: Program) -> None:
    found = of_resistors(Devices(stuck_at=0.2, seed=1).programmed(program, resistances(program, 5e3)))
    on, off = (found == 1e3).mean(), (found == 1e5).mean()
    assert abs(on - 0.1) < 0.02 and abs(off - 0.1) < 0.02
    assert on + off + (found == 5e3).mean() == 1


def test_draws_differ_and_repeat_and_the_seed_alone_decides_what_is_stuck(program: Program) -> None:
    values = resistances(program, 5e3)
    noisy = Devices(program_noise=0.1, stuck_at=0.1, seed=7)
    first, second = (of_resistors(noisy.programmed(program, values, draw)) for draw in (0, 1))
    assert (first != second).all() or (first == second).mean() < 0.2
    np.testing.assert_array_equal(second, of_resistors(noisy.programmed(program, values, 1)))
    plain = of_resistors(Devices(stuck_at=0.1, seed=7).programmed(program, values))
    stuck = plain != 5e3
    np.testing.assert_array_equal(first[stuck], plain[stuck])


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(NetcError) as refused:
        Devices(levels=1, program_noise=-1, law="cauchy", stuck_at=1.5, seed=-1).check()
    assert len(refused.value.diagnostics) == 5
