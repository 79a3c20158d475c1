"""Elaboration: from the syntax tree to a flat circuit with shared laws."""

from netc.elaborate.dump import dump
from netc.elaborate.elaborate import elaborate

__all__ = ["dump", "elaborate"]
