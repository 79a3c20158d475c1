"""The dialects a deck may be written in: how to get from each to the syntax tree, which has ngspice's meaning.

What is looked at while a line is read (comments, numbers, operators) is used by the line reader and the grammar's
builder; functions, names and whole cards are translated when all cards are known (:mod:`netc.parse.translate`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from netc.parse import foreign
from netc.parse.foreign import Rewrite
from netc.parse.lines import COMMENT
from netc.parse.numbers import SPICE, NumberStyle

_COMMENT_WITHOUT_DOLLAR = re.compile(r";|//|(?:(?<=\s)|^)\$(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How decks are written for one simulator.

    Attributes:
        name: as in ``--dialect``.
        comment: what begins a comment within a line.
        numbers: how literals are written.
        caret_is_power: whether ``^`` is a power; else it is a logical operator, which is refused.
        single_logic: whether ``&``, ``|`` and ``~`` are logical operators.
        power: what ``**`` computes; ``None`` for ngspice's own ``|x|^y``.
        truth: which numbers count as true; ``None`` for all but 0.
        greek_mu: whether the Greek letter means micro, as the sign does.
        functions: by name and number of arguments, how a call is rewritten.
        tables: functions that are straight lines between points and constant beyond.
        constants: names with a value wherever no parameter has them.
        names: other names of what ngspice knows.
        free_conditions: whether ``.if`` needs no parentheses and may hold ``.param``.
        free_steps: whether ``.tran`` may leave the step out, or 0.
        run_modifiers: words at the end of ``.tran``, besides ``uic``.
        source_settings: keywords of sources that stand for elements beside them.
        behavioural_settings: the same of B sources.
        gain_bounds: keywords of linear controlled sources that bound what they give.
        kinds_of_models: whether ``.model`` may take over another model by ``ako:``.
        several_runs: whether ``.alter`` and ``.data`` make one deck several runs.
        optional_ports: whether ``.subckt`` may have ports that instances leave out.
        recombination: the NR of diodes where the deck says none; ``None`` for ngspice's.
        initial_currents: whether ``.ic`` may give currents of inductors.
        temperature: of circuit and models where the deck says none, degrees Celsius; ``None`` for 27.
        own_libraries: names of files that come with the simulator, which exported netlists include without need.
        harmless: cards that change no waveform, besides those of ngspice.
    """

    name: str
    comment: re.Pattern[str] = COMMENT
    numbers: NumberStyle = SPICE
    caret_is_power: bool = True
    single_logic: bool = False
    power: Rewrite | None = None
    truth: Rewrite | None = None
    greek_mu: bool = False
    functions: Mapping[tuple[str, int], Rewrite] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    constants: Mapping[str, float] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    free_conditions: bool = False
    free_steps: bool = False
    run_modifiers: frozenset[str] = frozenset()
    source_settings: frozenset[str] = frozenset()
    behavioural_settings: frozenset[str] = frozenset()
    gain_bounds: frozenset[str] = frozenset()
    kinds_of_models: bool = False
    several_runs: bool = False
    optional_ports: bool = False
    recombination: float | None = None
    initial_currents: bool = False
    temperature: float | None = None
    own_libraries: re.Pattern[str] | None = None
    harmless: frozenset[str] = frozenset()


NGSPICE = Dialect("ngspice")

LTSPICE = Dialect(
    "ltspice",
    comment=_COMMENT_WITHOUT_DOLLAR,
    numbers=NumberStyle(infix=True),
    caret_is_power=False,
    single_logic=True,
    power=foreign.power,
    truth=foreign.truth,
    greek_mu=True,
    functions=foreign.LTSPICE,
    tables=frozenset({"table", "tbl"}),
    constants={
        "pi": 3.14159265358979323846,
        "e": 2.71828182845904523536,
        "boltz": 1.38062e-23,
        "echarge": 1.6021765e-19,
        "planck": 6.62620e-34,
        "kelvin": -273.15,
    },
    names={"temp": "temper"},
    free_steps=True,
    run_modifiers=frozenset({"startup", "steady", "nodiscard", "step"}),
    initial_currents=True,
    kinds_of_models=True,
    recombination=2.0,
    source_settings=frozenset({"rser", "cpar"}),
    behavioural_settings=frozenset({"rser", "rpar", "cpar"}),
    own_libraries=re.compile(r"standard\.(dio|bjt|mos|jft|cap|ind|res|bead)"),
    harmless=frozenset({".backanno", ".wave", ".savebias", ".text"}),
)

PSPICE = Dialect(
    "pspice",
    comment=_COMMENT_WITHOUT_DOLLAR,
    single_logic=True,
    power=foreign.power,
    functions=foreign.PSPICE,
    tables=frozenset({"table"}),
    constants={"pi": 3.14159265358979323846},
    names={"temp": "temper"},
    free_steps=True,
    run_modifiers=frozenset({"skipbp"}),
    optional_ports=True,
    initial_currents=True,
    kinds_of_models=True,
    recombination=2.0,
    harmless=frozenset({".watch", ".alias", ".aliases", ".endalias", ".autoconverge", ".probe64"}),
)

HSPICE = Dialect(
    "hspice",
    numbers=NumberStyle(suffixes={"x": 1e6, "a": 1e-18, "mil?": 25.4e-6}),
    power=foreign.power_whole_below_zero,
    functions=foreign.HSPICE,
    tables=frozenset({"table"}),
    free_conditions=True,
    gain_bounds=frozenset({"max", "min"}),
    several_runs=True,
    temperature=25.0,
    harmless=frozenset({".prot", ".unprot", ".protect", ".unprotect", ".graph"}),
)

DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (NGSPICE, LTSPICE, HSPICE, PSPICE)}
"""By name, the default first."""


def known_elsewhere(function: str) -> str | None:
    """Return a hint where another dialect knows ``function``, or ``None``."""
    names = [name for name, dialect in DIALECTS.items() if any(known == function for known, _ in dialect.functions)]
    return dialect_hint(*names) if names else None


def setting_hint(name: str) -> str | None:
    """Return a hint where another dialect knows ``name=`` on sources, capacitors or inductors, or ``None``."""
    return dialect_hint("ltspice") if name in ("rser", "lser", "rpar", "cpar") else None


def dialect_hint(*names: str) -> str:
    """Return the hint that a deck may be written for another simulator."""
    return f"if the deck is written for it, pass --dialect {' or '.join(names)}"
