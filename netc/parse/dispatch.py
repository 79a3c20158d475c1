"""What each kind of line is parsed as, and what is said of those that are not supported."""

from __future__ import annotations

ELEMENTS = {
    "r": "passive",
    "c": "passive",
    "l": "passive",
    "v": "source",
    "i": "source",
    "e": "controlled",
    "g": "controlled",
    "f": "sensed",
    "h": "sensed",
    "b": "behavioural",
    "d": "device",
    "j": "device",
    "k": "coupling",
    "m": "device",
    "q": "device",
    "s": "device",
    "w": "device",
    "x": "instance",
}
"""Start rule of the grammar by an element's letter."""

UNSUPPORTED_ELEMENTS = {
    "a": "XSPICE models",
    "n": "compiled models",
    "o": "lossy transmission lines",
    "p": "coupled transmission lines",
    "t": "transmission lines",
    "u": "RC lines",
    "y": "lossy transmission lines",
    "z": "MESFETs",
}
"""Elements of SPICE netc does not know yet, by letter."""

CARDS = {
    ".param": "param",
    ".params": "param",
    ".func": "func",
    ".model": "model",
    ".ic": "ic",
    ".nodeset": "ic",
    ".tran": "tran",
    ".option": "options",
    ".options": "options",
    ".opt": "options",
    ".temp": "temp",
    ".global": "global_nodes",
    ".save": "output",
    ".print": "output",
    ".plot": "output",
}
"""Start rule of the grammar by the word of a dot card."""

HARMLESS = frozenset({".four", ".backanno", ".width", ".op", ".probe", ".csparam"})
"""Cards that change no waveform of a transient analysis; ignored with a warning."""

ANALYSES = frozenset(
    {".ac", ".dc", ".noise", ".step", ".tf", ".sens", ".pz", ".disto", ".sp", ".pss", ".net", ".wave", ".mc", ".wcase"}
)
"""Analyses that are no transient; errors, or warnings where the user is lenient."""

SWEEPS = frozenset({".step", ".mc", ".wcase"})
"""Those of them that run the transient several times, with other values."""

STARTS = sorted({*ELEMENTS.values(), *CARDS.values(), "subckt", "condition", "measure", "directive", "expression"})
"""All start rules of the grammar."""
