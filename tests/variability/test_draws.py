"""Draws of devices: their distributions, what they hang on, and what holds for physical values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ir.program import ParameterBlock, Program, Spread
from netc.variability import LAWS, Devices, draw
from netc.variability.draws import LEAST_FACTOR, deviations, factors

N = 20_000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = tmp_path_factory.mktemp("draws") / "deck.cir"
    rows = "".join(f"R{k} a b 5k\n" for k in range(N))
    path.write_text(
        f"* t\nV1 a 0 1\n{rows}C1 b 0 1u IC=0\nE1 c 0 b 0 2\nR c 0 1\n*.netc train R?* min=1k max=100k\n"
        "*.netc train E1 min=-1 max=3\n.tran 1u 1m uic\n.end\n"
    )
    return compile_deck(path).program


def learnt(program: Program) -> dict[str, np.ndarray]:
    return {b.name: b.values for b in program.parameters if b.trained}


def conductances(program: Program, devices: Devices, trial: int = 0, sample: int = 0) -> np.ndarray:
    """Return drawn conductances over those that were learnt."""
    found = draw(program, learnt(program), devices, trial, sample)
    return next(5000 / array for array in found.values() if len(array) == N)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("field", ["spread", "read_noise"])
def test_relative_deviation_and_mean_are_those_of_every_law(program: Program, law: str, field: str) -> None:
    ratio = conductances(program, Devices(law=law, **{field: 0.1}))
    assert ratio.mean() == pytest.approx(1, abs=4 * 0.1 / N**0.5)
    assert ratio.std() == pytest.approx(0.1, rel=0.03)
    skew = ((ratio - 1) ** 3).mean() / ratio.std() ** 3
    assert (skew > 0.2) == (law == "lognormal")
    if law == "uniform":
        assert np.abs(ratio - 1).max() <= 0.1 * 3**0.5 + 1e-12


def test_a_draw_is_a_function_of_seed_trial_and_nothing_else(program: Program) -> None:
    devices = Devices(spread=0.1, stuck_at=0.01, levels=16)
    first = conductances(program, devices, 3)
    conductances(program, devices, 4)
    assert (conductances(program, devices, 3) == first).all()
    assert (conductances(program, devices, 4) != first).mean() > 0.9
    assert (conductances(program, replace(devices, seed=1), 3) != first).mean() > 0.9
    assert (conductances(program, devices, 3, sample=7) == first).all()


def test_read_noise_is_drawn_for_every_sample_and_spread_is_not(program: Program) -> None:
    quiet, noisy = Devices(spread=0.1), Devices(spread=0.1, read_noise=0.02)
    assert not quiet.changes_by_sample(program) and noisy.changes_by_sample(program)
    fixed = conductances(program, quiet, 1)
    ratios = [conductances(program, noisy, 1, sample=k) / fixed for k in (0, 1)]
    for ratio in ratios:
        assert ratio.std() == pytest.approx(0.02, rel=0.03)
    assert abs(np.corrcoef(*ratios)[0, 1]) < 0.03


def test_values_stay_positive_and_spread_may_leave_the_bounds_of_programming(program: Program) -> None:
    for law in LAWS:
        ratio = conductances(program, Devices(spread=0.9, law=law))
        assert ratio.min() >= LEAST_FACTOR * (1 - 1e-12)
    at_bound = {b.name: np.full_like(b.values, b.trained.minimum) for b in program.parameters if b.trained}
    found = draw(program, at_bound, Devices(spread=0.1))
    resistances = next(array for array in found.values() if len(array) == N)
    assert 0.4 < (resistances < 1000).mean() < 0.6
    programmed = draw(program, at_bound, Devices(program_noise=0.1))
    assert min(array.min() for array in programmed.values() if len(array) == N) == 1000


def test_stuck_devices_and_levels_are_those_of_any_spread(program: Program) -> None:
    stuck = conductances(program, Devices(stuck_at=0.05)) != 1
    both = conductances(program, Devices(stuck_at=0.05, spread=0.1))
    assert stuck.mean() == pytest.approx(0.05, abs=0.01)
    assert np.isin(both[stuck], [5.0, 0.05]).all()
    # E1 at 2 within -1..3 has the levels -1, 1, 3
    found = draw(program, learnt(program), Devices(levels=3))
    assert [array[0] for array in found.values() if len(array) == 1] == [3.0]


def test_declared_spreads_act_on_values_or_on_their_reciprocals(program: Program) -> None:
    def with_spreads(name: Callable[[ParameterBlock], bool], *spreads: Spread) -> Program:
        blocks = (replace(b, spreads=spreads) if name(b) else b for b in program.parameters)
        return replace(program, parameters=tuple(blocks))

    def ratio(changed: Program, sample: int = 0) -> np.ndarray:
        return next(x / 5000 for x in draw(changed, learnt(changed), Devices(), sample=sample).values() if len(x) == N)

    def crossbar(block: ParameterBlock) -> bool:
        return len(block.values) == N

    by_value = ratio(with_spreads(crossbar, Spread(0.1, law="uniform")))
    by_conductance = ratio(with_spreads(crossbar, Spread(0.1, law="uniform", reciprocal=True)))
    edge = 0.1 * 3**0.5
    assert by_value.max() == pytest.approx(1 + edge, rel=1e-3)
    assert by_conductance.max() == pytest.approx(1 / (1 - edge), rel=1e-3)
    cycle = with_spreads(crossbar, Spread(0.1, cycle=True))
    assert Devices().changes_by_sample(cycle) and Devices().differs(cycle) and Devices().acts(cycle)
    assert (ratio(cycle) != ratio(cycle, sample=1)).all()
    assert not Devices(declared=False).acts(cycle)
    # blocks that are not trained are drawn from the program's own values
    capacitor = with_spreads(lambda b: b.role == "C", Spread(0.0, amount=1e-7))
    name = next(b.name for b in program.parameters if b.role == "C")
    assert draw(capacitor, learnt(program), Devices())[name] != 1e-6


def test_slopes_are_derivatives(program: Program) -> None:
    block = next(b for b in program.parameters if len(b.values) == N)
    devices = Devices(program_noise=0.1, spread=0.1, stuck_at=0.1, read_noise=0.05, law="lognormal")
    x, h = np.full(N, 2e-4), 1e-9
    found = devices.moved(block, x, 1e-5, 1e-3, [5, 6])
    above, below = (devices.moved(block, x + d, 1e-5, 1e-3, [5, 6]).values for d in (h, -h))
    np.testing.assert_allclose(found.slopes, (above - below) / (2 * h), atol=1e-5)
    assert (found.slopes == 0).mean() == pytest.approx(0.1, abs=0.02)


def test_single_and_double_precision_are_laws_of_their_own_but_of_one_distribution() -> None:
    for dtype in (np.float32, np.float64):
        found = deviations([1, 2], "normal", N, dtype)
        assert found.std() == pytest.approx(1, rel=0.03)
        assert found.dtype == dtype and factors(0.1, "normal", found).dtype == dtype


def test_nonsense_is_refused_all_at_once() -> None:
    with pytest.raises(NetcError) as caught:
        Devices(levels=1, spread=10, read_noise=-1, law="cauchy", stuck_at=2, seed=-1).check()
    text = " ".join(d.message for d in caught.value.diagnostics)
    for flag in ("--levels", "--spread", "--read-noise", "cauchy", "--stuck-at", "--seed"):
        assert flag in text
