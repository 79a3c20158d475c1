"""Table IV of the MEMprop paper from its own assumptions."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from netc.report.hardware import SQUARE_MILLIMETRE, Assumptions, estimate


def _printed(value: float, digits: str) -> Decimal:
    return Decimal(repr(value)).quantize(Decimal(digits), ROUND_HALF_UP)


def test_the_papers_figures_come_out_to_the_printed_digits() -> None:
    found = estimate((784, 100, 10), 1000)
    assert found.cells == 158_800 and found.tiles == 10
    rows = {
        # the table says mm2 where it means hundredths of that: its ratio is right
        "area": (1e2 / SQUARE_MILLIMETRE, "0.01", "2.77", "14.77", "5.33"),
        "power": (1e3, "0.0001", "0.2145", "8.2145", "38.30"),
        "latency": (1e3, "0.01", "0.64", "7.44", "11.63"),
    }
    for name, (unit, digits, memristive, mixed, ratio) in rows.items():
        one, other = (_printed(unit * getattr(f, name), digits) for f in (found.memristive, found.mixed))
        assert (str(one), str(other)) == (memristive, mixed)
        # the paper divides what it prints
        assert str((other / one).quantize(Decimal("0.01"), ROUND_HALF_UP)) == ratio


def test_assumptions_can_be_changed() -> None:
    small = estimate((64, 10), 100, Assumptions(activity=0.04))
    assert small.tiles == 1 and small.cells == 1280
    assert small.memristive.power == 2 * estimate((64, 10), 100).memristive.power
