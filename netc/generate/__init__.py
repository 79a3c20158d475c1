"""Decks of fully memristive spiking networks, of any layer sizes, as plain SPICE text."""

from netc.generate.design import Design
from netc.generate.network import generate, write

__all__ = ["Design", "generate", "write"]
