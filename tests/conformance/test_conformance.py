"""Every deck of the suite, in netc, within the limit of what ngspice 39 computes."""

from __future__ import annotations

import pytest

from tests.conformance.suite import ConformanceDeck, decks, simulated

SUITE = decks()


@pytest.mark.parametrize("deck", SUITE.values(), ids=SUITE)
def test_deck_conforms(deck: ConformanceDeck) -> None:
    reference = deck.reference
    assert reference.names == deck.signals
    distance = reference.distance(simulated(deck, reference))
    worst = max(distance, key=distance.__getitem__)
    assert distance[worst] <= reference.limit, f"{worst} is off by {distance[worst]:.2g} of its range"
