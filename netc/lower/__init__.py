"""Circuit to differential-algebraic system by modified nodal analysis, families of elements as arrays."""

from netc.lower.lower import lower

__all__ = ["lower"]
