"""Which loop every value is computed in.

for i: y[i] = f(x[i])                          for i: y[i] = f(x[i]); g[i] = h(x[i])
for i: z[i] = g(y[0..n])                 ->    for i: z[i] = g(y[0..n])
for i: g[i] = h(x[i])

A value that is needed at another lane, or that is complete only after a loop, has to stand in an earlier stage than
what reads it.  Values stand in the last stage that serves all readers; results of some lanes wait for those of others
where that leaves fewer lanes to walk over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from netc.ir.nodes import Expr

_MOST_DELAYED = 3  # numbers of lanes whose results may wait
_LONGEST_DELAY = 2  # stages
_LARGEST = 3000  # values that are tried in several ways


class Place(NamedTuple):
    """A loop over ``lanes`` lanes of one stage; a product with a matrix stands on its own (``node``)."""

    stage: int
    lanes: int
    node: Expr | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """What is computed in a loop over ``lanes`` lanes, or on its own (``whole``).

    ``operands`` are each read at the same lane only or not; ``late`` is what is complete after the loop, ``cheap``
    what is computed wherever it is needed.
    """

    expr: Expr
    operands: Sequence[tuple[Expr, bool]]
    lanes: int
    whole: bool
    late: bool
    cheap: bool


class Result(NamedTuple):
    """A value that is written in a loop over ``lanes`` lanes, ``after`` the one it is computed in or there."""

    expr: Expr
    lanes: int
    after: bool


def placed(values: Sequence[Value], results: Sequence[Result]) -> tuple[dict[Expr, Place], list[int]]:
    """Return the place of every value that is not cheap, and the stage that each result is written in.

    Args:
        values: all that is computed, operands first.
        results: what is written.
    """
    late = {value.expr for value in values if value.late}
    first: dict[Expr, int] = {}
    for value in values:
        needs = (first[x] + (x in late or not direct) for x, direct in value.operands if x in first)
        first[value.expr] = max(needs, default=0)
    earliest: dict[int, int] = {}
    for result in results:
        stage = first.get(result.expr, -1) + result.after
        earliest[result.lanes] = max(earliest.get(result.lanes, 0), stage)
    few = len(earliest) <= _MOST_DELAYED and len(values) <= _LARGEST
    delays: Iterable[tuple[int, ...]] = product(range(_LONGEST_DELAY + 1 if few else 1), repeat=len(earliest))

    def tried(delay: tuple[int, ...]) -> tuple[int, int, dict[Expr, Place], dict[int, int]]:
        stages = {lanes: stage + more for (lanes, stage), more in zip(earliest.items(), delay, strict=True)}
        homes = _homes(values, results, late, stages)
        walked = {*homes.values(), *(Place(stage, lanes) for lanes, stage in stages.items())}
        return sum(place.lanes for place in walked), sum(delay), homes, stages

    _, _, homes, stages = min((tried(delay) for delay in delays), key=lambda found: found[:2])
    return homes, [stages[result.lanes] for result in results]


def _homes(
    values: Sequence[Value], results: Sequence[Result], late: set[Expr], stages: Mapping[int, int]
) -> dict[Expr, Place]:
    """Return the last place that each value can be computed at, ``stages`` being those of results by lanes."""
    last: dict[Expr, int] = {}
    for result in results:
        stage = stages[result.lanes] - result.after
        last[result.expr] = min(last.get(result.expr, stage), stage)
    homes: dict[Expr, Place] = {}
    for value in reversed(values):
        if not value.cheap:
            homes[value.expr] = Place(last[value.expr], value.lanes, value.expr if value.whole else None)
        for x, direct in value.operands:
            stage = last[value.expr] - (x in late or not direct)
            last[x] = min(last.get(x, stage), stage)
    return homes
