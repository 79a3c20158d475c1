"""Construct by construct: netc agrees with ngspice as the step goes to zero.

Each deck of ``decks/`` holds one construct or one small circuit.  An explicit Euler step leaves an error proportional
to the step; ``2 y(dt/2) - y(dt)`` takes it away (Richardson 1911), so what remains shows whether the two simulate the
same circuit far more sharply than any step one could afford.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import Compilation, compile_deck
from netc.ir import interpret
from netc.ngspice.compare import compare
from netc.ngspice.validate import Validation, validate
from netc.runtime.simulate import simulate

pytestmark = pytest.mark.ngspice

MODELS = Path(__file__).resolve().parents[2] / "models"
DECKS = {path.stem: path for path in sorted((Path(__file__).parent / "decks").glob("*.cir"))}
AT_THE_STEP = 5e-3
EXTRAPOLATED = 2e-4
# A jump between two steps leaves an error that is no power of the step.
WITH_JUMPS = {
    "b_logic": 2e-3,
    "b_rounding": 2e-3,
    "b_precedence": 1e-3,
    "relaxation_oscillator": 1e-3,
    "exp_source": 1e-3,
}
SMOOTH = (
    *("rc_pulse", "rlc_bandpass", "inductor_chain", "capacitor_loop", "capacitor_on_source", "start_from_sine_offset"),
    *(
        "ic_floating",
        "e_and_g",
        "f_and_h",
        "b_transcendental",
        "behavioural_r",
        "subcircuit_scopes",
        "op_amp_integrator",
    ),
    *("van_der_pol", "hp_joglekar", "hp_biolek", "knowm_schottky", "memristor_divider", "crossbar_buffered"),
)
INTERPRETED_STEPS = 100

Run = tuple[np.ndarray, Sequence[str], np.ndarray]


class Runs:
    """One deck in netc, each step simulated once."""

    def __init__(self, compilation: Compilation) -> None:
        self.compilation = compilation
        self._known: dict[tuple[float, int], Run] = {}

    @cached_property
    def signals(self) -> tuple[str, ...]:
        return self.compilation.signals

    def __call__(self, dt: float, steps: int) -> Run:
        if (dt, steps) not in self._known:
            found = simulate(self.compilation.program, dt=dt, steps=steps, observe=self.signals)
            self._known[dt, steps] = found.times, found.names, found.values[:, 0].numpy()
        return self._known[dt, steps]

    def validate(self, *, with_order: bool) -> Validation:
        timing = self.compilation.circuit.timing
        assert timing is not None
        budget = 1e9 if with_order else 0.0
        return validate(self.compilation.deck, self, timing, tolerance=AT_THE_STEP, engine="batch", order_budget=budget)


def runs(path: Path) -> Runs:
    return Runs(compile_deck(path, include_directories=[MODELS]))


@pytest.mark.parametrize("name", DECKS)
def test_deck_agrees(name: str) -> None:
    run = runs(DECKS[name])
    found = run.validate(with_order=False)
    assert set(found.nodes) == set(run.signals)
    assert found.worst_nrmse <= AT_THE_STEP, found.worst_node

    steps = len(found.times) - 1
    times, names, coarse = run(found.dt, steps)
    fine = run(found.dt / 2, 2 * steps)[2][::2]
    limit = {signal: 2 * fine[:, k] - coarse[:, k] for k, signal in enumerate(names)}
    errors = {signal: node.nrmse for signal, node in compare(times, limit, found.waveforms).items()}
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= WITH_JUMPS.get(name, EXTRAPOLATED), worst

    rows, _ = interpret.simulate(run.compilation.program, INTERPRETED_STEPS, found.dt, observe=run.signals)
    np.testing.assert_allclose(coarse[: INTERPRETED_STEPS + 1], rows[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_error_is_proportional_to_the_step(name: str) -> None:
    found = runs(DECKS[name]).validate(with_order=True)
    assert found.order is not None, found.order_reason
    assert 0.9 <= found.order <= 1.1


def test_every_deck_says_what_it_is_for() -> None:
    for path in DECKS.values():
        title, comment, *rest = path.read_text(encoding="ascii").splitlines()
        assert title and not title.startswith(("*", ".")), path.name
        assert comment.startswith("* "), path.name
        assert any(line.lower().startswith(".tran") for line in rest), path.name
