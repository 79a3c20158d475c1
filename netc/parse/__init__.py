"""Netlist text to a typed syntax tree: encodings, logical lines, the grammar, includes."""

from netc.parse.card import parse_expression
from netc.parse.deck import ParseError, parse_deck, parse_text
from netc.parse.dump import dump
from netc.parse.write import write_deck

__all__ = ["ParseError", "dump", "parse_deck", "parse_expression", "parse_text", "write_deck"]
