"""Circuit to differential-algebraic system by modified nodal analysis, families of elements as arrays."""

from netc.lower.at_rest import (
    at_rest,
    check_given,
    check_loops,
    check_rest,
    has_capacitor_loop,
    started_at,
    states_hold_the_start,
)
from netc.lower.lower import lower

__all__ = [
    "at_rest",
    "check_given",
    "check_loops",
    "check_rest",
    "has_capacitor_loop",
    "lower",
    "started_at",
    "states_hold_the_start",
]
