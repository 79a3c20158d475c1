"""The typed syntax tree of a deck.  Pure data: nothing is evaluated here.

Names and nodes are folded to lower case (SPICE is case-insensitive); the first spelling can be
read back through the span.  Node ``gnd`` is stored as ``"0"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from netc.diagnostics import Diagnostic, Span

# --------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Number:
    """A literal, suffix applied: ``10p`` is 1e-11."""

    value: float
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter, a ``.func`` formal, or one of ``time``, ``temper``, ``pi``, ``e``."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the language or of a ``.func`` card."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x``, ``+x`` or ``!x``."""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """``+ - * / ^ < <= > >= == != && ||``; ``**`` is stored as ``^``."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Ternary:
    """``condition ? then : otherwise``."""

    condition: Expression
    then: Expression
    otherwise: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Voltage:
    """``v(positive)`` or ``v(positive, negative)``, in volts.

    The parser cannot know whether ``v(x)`` with a ``.func`` formal ``v`` in scope is a call; it always
    builds ``Voltage``/``Current`` and elaboration resolves shadowing.
    """

    positive: str
    negative: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Current:
    """``i(element)``: the current through a two-terminal element, first node to second, in amperes."""

    element: str
    span: Span


Expression = Number | Name | Call | Unary | Binary | Ternary | Voltage | Current

# --------------------------------------------------------------------------- elements


@dataclass(frozen=True, slots=True)
class Passive:
    """``R``, ``C`` or ``L``; ``value`` is ``None`` when it comes from a model.

    ``parameters`` holds ``ic``, ``tc1``, ``m`` and the like, lower case.  ``charge``: ``value`` is the charge of a
    capacitor (``Q={...}``, coulombs) instead of its capacitance.
    """

    kind: str
    name: str
    nodes: tuple[str, str]
    value: Expression | None
    span: Span
    model: str | None = None
    parameters: tuple[tuple[str, Expression], ...] = ()
    charge: bool = False


@dataclass(frozen=True, slots=True)
class Waveform:
    """``PULSE``, ``SIN``, ``EXP``, ``PWL``, ``SFFM`` or ``AM`` with its arguments as written."""

    kind: str
    arguments: tuple[Expression, ...]
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # r=, td= of PWL


@dataclass(frozen=True, slots=True)
class IndependentSource:
    """``V`` or ``I``; an ``AC`` specification has no meaning in a transient and is not kept."""

    kind: str
    name: str
    nodes: tuple[str, str]
    dc: Expression | None
    waveform: Waveform | None
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # m=


@dataclass(frozen=True, slots=True)
class ControlledSource:
    """Linear ``E``, ``G`` (controlled by a node pair) or ``F``, ``H`` (by an element's current)."""

    kind: str
    name: str
    nodes: tuple[str, str]
    control: tuple[str, str] | str
    gain: Expression
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # m=


@dataclass(frozen=True, slots=True)
class PolynomialSource:
    """``E``, ``G``, ``F`` or ``H`` with ``POLY(n)``: ``controls`` are n node pairs or n elements."""

    kind: str
    name: str
    nodes: tuple[str, str]
    controls: tuple[tuple[str, str] | str, ...]
    coefficients: tuple[Expression, ...]
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # m=


@dataclass(frozen=True, slots=True)
class TableSource:
    """``E`` or ``G`` with ``TABLE {expression} = (x, y) ...``."""

    kind: str
    name: str
    nodes: tuple[str, str]
    expression: Expression
    points: tuple[tuple[Expression, Expression], ...]
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # m=


@dataclass(frozen=True, slots=True)
class BehaviouralSource:
    """``B``, or ``E``/``G`` given by an expression; ``quantity`` is ``"v"`` or ``"i"``."""

    kind: str
    name: str
    nodes: tuple[str, str]
    quantity: str
    expression: Expression
    span: Span
    parameters: tuple[tuple[str, Expression], ...] = ()  # m= tc1= tc2= temp= dtemp=


@dataclass(frozen=True, slots=True)
class Device:
    """An element with a model: ``D``, ``M``, ``Q``, ``J``, ``S`` or ``W``.

    ``words`` are what stands between the name and the first keyword, a node or a model's name as a string, a value in
    braces as an expression; how many are nodes, the device knows.  A keyword may have several values: ``ic=0.7,5``.
    """

    kind: str
    name: str
    words: tuple[str | Expression, ...]
    parameters: tuple[tuple[str, tuple[Expression, ...]], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Coupling:
    """``K``: the coefficient that couples two or more inductors."""

    name: str
    inductors: tuple[str, ...]
    coefficient: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Instance:
    """``X``: a subcircuit instance."""

    name: str
    nodes: tuple[str, ...]
    subcircuit: str
    parameters: tuple[tuple[str, Expression], ...]
    span: Span


Element = (
    Passive
    | IndependentSource
    | ControlledSource
    | PolynomialSource
    | TableSource
    | BehaviouralSource
    | Device
    | Coupling
    | Instance
)

# --------------------------------------------------------------------------- dot cards


@dataclass(frozen=True, slots=True)
class Param:
    """``.param`` or ``.params``: ``(name, expression)`` pairs in order."""

    assignments: tuple[tuple[str, Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Func:
    """``.func name(formals) {body}``."""

    name: str
    formals: tuple[str, ...]
    body: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Model:
    """``.model name type(parameters)``."""

    name: str
    type: str
    parameters: tuple[tuple[str, Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Subcircuit:
    """``.subckt`` to ``.ends``; ``cards`` are its body."""

    name: str
    ports: tuple[str, ...]
    parameters: tuple[tuple[str, Expression], ...]
    cards: tuple[Card, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Include:
    """``.include`` or ``.lib``, already read: ``cards`` of the included file stand in its place."""

    path: str
    section: str | None
    cards: tuple[Card, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InitialCondition:
    """``.ic`` or (``nodeset=True``) ``.nodeset``: voltages by node.

    ``currents`` are those of inductors, which other dialects give here; translated, they are on the inductors.
    """

    voltages: tuple[tuple[Voltage, Expression], ...]
    span: Span
    nodeset: bool = False
    currents: tuple[tuple[Current, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class Tran:
    """``.tran tstep tstop [tstart [tmax]] [uic]``; ``from_control`` if read from a ``.control`` block."""

    arguments: tuple[Expression, ...]
    uic: bool
    span: Span
    from_control: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """``.options``; a bare flag has the value ``None``."""

    settings: tuple[tuple[str, Expression | None], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Temp:
    """``.temp`` in degrees Celsius."""

    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Global:
    """``.global``: nodes that are the same net in every subcircuit."""

    nodes: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Output:
    """``.save``, ``.print`` or ``.plot``: what to observe; ``signals`` empty means all."""

    kind: str
    signals: tuple[Voltage | Current, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Event:
    """When something happens: at a time, or where ``left`` crosses ``right``.

    ``edge`` is ``rise``, ``fall`` or ``cross``; of these the ``count``-th is meant, the last where it is ``last``.
    ``delay``: what comes before does not count.
    """

    left: Expression | None
    right: Expression | None
    at: Expression | None
    delay: Expression | None
    edge: str
    count: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Measure:
    """``.measure``: ``function`` of a signal in a window, at an event, or between a trigger and a target.

    ``function`` is ``find`` (the expression, or the time where there is none, at ``trigger``), ``deriv`` (its slope
    there), ``delay`` (from trigger to target), ``param`` (an expression of other results), or a statistic such as
    ``avg``.
    """

    name: str
    function: str
    expression: Expression | None
    trigger: Event | None
    target: Event | None
    window: tuple[Expression | None, Expression | None]
    span: Span


@dataclass(frozen=True, slots=True)
class Directive:
    """``*.netc word targets key=value``: netc's own words, a comment to every other simulator."""

    word: str
    targets: tuple[str, ...]
    parameters: tuple[tuple[str, Expression | str], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Branch:
    """``.if``, ``.elseif`` or, without a condition, ``.else``, with the cards below it."""

    condition: Expression | None
    cards: tuple[Card, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    """``.if`` to ``.endif``: the cards of the first branch whose condition is not 0."""

    branches: tuple[Branch, ...]
    span: Span


DotCard = (
    Param
    | Func
    | Model
    | Subcircuit
    | Include
    | InitialCondition
    | Tran
    | Options
    | Temp
    | Global
    | Output
    | Measure
    | Directive
    | Conditional
)
Card = Element | DotCard


@dataclass(frozen=True, slots=True)
class Search:
    """One place where an included file was looked for, absolute; ``file`` is the real path of the file there, if any.

    ``label`` is the name in spans of the file that was read, empty where it was not this one.
    """

    place: str
    file: str
    label: str


@dataclass(slots=True)
class Deck:
    """A parsed deck: title, cards in order, the source lines by file name, warnings and notes.

    ``searches`` are all places where included files were looked for, in that order.  ``dialect`` is what the lines are
    written in; the cards have ngspice's meaning.  ``altered``: commands of a control block have changed some cards.
    """

    path: str
    title: str
    cards: tuple[Card, ...]
    sources: dict[str, Sequence[str]]
    diagnostics: list[Diagnostic] = field(default_factory=list)
    searches: tuple[Search, ...] = ()
    dialect: str = "ngspice"
    altered: bool = False

    def walk(self) -> Iterator[Card]:
        """Yield every card in order, those of included files in place; subcircuit bodies are not entered."""
        stack: list[Iterator[Card]] = [iter(self.cards)]
        while stack:
            for card in stack[-1]:
                if isinstance(card, Include):
                    stack.append(iter(card.cards))
                    break
                yield card
            else:
                stack.pop()
