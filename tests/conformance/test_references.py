"""The stored references are those of the decks as they are, and still what ngspice says."""

from __future__ import annotations

import datetime
import random

import numpy as np
import pytest

from tests.conformance.remake import is_linear, reference_of
from tests.conformance.suite import REFERENCES, SAMPLES, decks, sample_times

SUITE = decks()
TODAY = datetime.date.today().toordinal()
HANDFUL = random.Random(TODAY).sample(sorted(SUITE), 5)
"""Other decks every day, the same for all processes of one test run."""


def test_every_deck_has_a_reference_and_every_reference_a_deck() -> None:
    assert {file.stem for file in REFERENCES.glob("*")} == set(SUITE)
    assert len(SUITE) >= 150


def test_references_are_small() -> None:
    assert sum(file.stat().st_size for file in REFERENCES.iterdir()) < 5_000_000


@pytest.mark.parametrize("name", HANDFUL)
@pytest.mark.ngspice
def test_ngspice_still_says_so(name: str) -> None:
    """The steps are coarser here than where references are made: two of them agree to half the limit."""
    deck, stored = SUITE[name], SUITE[name].reference
    assert stored.linear == is_linear(deck.compilation.circuit)
    fresh = reference_of(deck, finest=16_000, share=1.0)
    assert fresh.names == stored.names
    np.testing.assert_array_equal(fresh.times, stored.times)
    distance = stored.distance(fresh.values)
    assert max(distance.values()) <= stored.limit / 2


def test_samples_fall_on_no_round_number() -> None:
    timing = SUITE["rc_pulse"].timing
    times = sample_times(timing)
    assert len(times) in (SAMPLES, SAMPLES + 1) and np.all(np.diff(times) > 0)
    assert times[-1] == timing.tstop
    parts = times[1:-1] / timing.tstop * 1000
    assert np.abs(parts - np.round(parts)).min() > 1e-4
