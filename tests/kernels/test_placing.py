"""Which loop values are computed in."""

from __future__ import annotations

from netc.ir.build import add, mul, unary
from netc.ir.nodes import Index, ScatterAdd, State
from netc.kernels.placing import Place, Result, Value, placed


def test_results_wait_for_others_of_as_many_lanes() -> None:
    x = State("x", 64)
    early, late = unary("exp", x), unary("sin", x)
    total = ScatterAdd(early, Index([0] * 64), 1)
    scaled = mul(late, total)  # needs the sum: a second loop over all lanes
    values = [
        Value(early, [(x, True)], 64, False, False, False),
        Value(total, [(early, True)], 64, False, True, False),
        Value(late, [(x, True)], 64, False, False, False),
        Value(scaled, [(late, True), (total, False)], 64, False, False, False),
    ]
    homes, stages = placed(values, [Result(scaled, 64, False), Result(total, 1, True)])
    assert homes[early] == homes[total] == Place(0, 64)
    assert homes[late] == homes[scaled] == Place(1, 64)
    assert stages[0] == 1
    assert stages[1] >= 1


def test_loops_that_need_not_be_two_are_one() -> None:
    few, many = State("few", 8), State("many", 64)
    power = unary("exp", few)
    update = add(many, ScatterAdd(power, Index([0] * 8), 64))  # reads what a loop over few lanes makes
    current = mul(many, 2.0)
    total = ScatterAdd(current, Index([k // 8 for k in range(64)]), 8)
    values = [
        Value(power, [(few, True)], 8, False, False, False),
        Value(update, [(many, True), (power, False)], 64, False, False, False),
        Value(current, [(many, True)], 64, False, False, False),
        Value(total, [(current, True)], 64, False, True, False),
    ]
    homes, stages = placed(values, [Result(update, 64, False), Result(total, 8, True)])
    assert homes[update] == homes[current] == homes[total] == Place(1, 64)
    assert stages == [1, 2]


def test_what_is_cheap_has_no_place() -> None:
    x = State("x", 4)
    twice, result = mul(x, 2.0), unary("exp", mul(x, 2.0))
    values = [Value(twice, [(x, True)], 4, False, False, True), Value(result, [(twice, True)], 4, False, False, False)]
    homes, _ = placed(values, [Result(result, 4, False)])
    assert twice not in homes
    assert homes[result] == Place(0, 4)
