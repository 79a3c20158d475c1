"""What all devices share: reading the card, finding its model, evaluating parameters, collecting branches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import netc.parse.ast as ast
from netc.elaborate.circuit import Value
from netc.elaborate.context import Context, as_expr, as_value, close_match
from netc.elaborate.prepared import GROUND, Prepared, Source, multiplied
from netc.elaborate.scopes import Definition, Scope
from netc.ir.build import add
from netc.ir.nodes import Const, Expr, Slot
from netc.parse.dialects import dialect_hint
from netc.parse.element_cards import number_written

_TWO = 2
_BIN_LIMITS = frozenset({"lmin", "lmax", "wmin", "wmax"})
_EDGE = 1e-9  # relative, by which a size may miss the lower limit of a bin
ZERO_CELSIUS = 273.15
BOLTZMANN_PER_CHARGE = 1.38064852e-23 / 1.6021766208e-19
"""V/K, with the constants of ngspice 39."""


@dataclass(frozen=True, slots=True)
class Device:
    """How a device is read and what it becomes.

    ``nodes`` are the least and the most nodes it has; ``types`` what a ``.model`` of it is called, and the sign of its
    voltages.  ``model`` gives the default of each model parameter (``None``: only used where it is given);
    ``aliases`` other names of them; ``unsupported`` those that would change a waveform, ``harmless`` those that would
    not, ``elsewhere`` those that only other levels read.  ``on_card`` are the keywords of the element's line.
    ``element`` says what follows a model name, ``expand`` adds the branches to an :class:`Assembly`.
    """

    what: str
    nodes: tuple[int, int]
    types: Mapping[str, float]
    model: Mapping[str, float | None]
    on_card: frozenset[str]
    expand: Callable[[Assembly], None]
    aliases: Mapping[str, str] = field(default_factory=dict)
    ideal: frozenset[str] = frozenset()  # parameters that make it another device in LTspice
    unsupported: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    area: bool = False
    levels: tuple[int, ...] = (1,)
    binned: bool = False  # a model may come in bins by length and width
    sensed: bool = False  # an element's name stands after the nodes, as on a switch


@dataclass(slots=True)
class Expansion:
    """The branches of one device.

    ``inner`` are its own nodes, each with the terminal it is behind, ``terminal`` the
    branches (name, end) at the first, ``limited`` nodes, kind, numbers and
    ``off`` of a :class:`netc.elaborate.circuit.Limited`.
    """

    parts: list[Prepared] = field(default_factory=list)
    inner: dict[str, str] = field(default_factory=dict)
    terminal: list[tuple[str, int]] = field(default_factory=list)
    limited: tuple[tuple[str, ...], str, tuple[float, ...], bool] | None = None


@dataclass(slots=True)
class PreparedDevice:
    """A device's card with its nodes and its model, ready to be expanded in any instance."""

    device: Device
    card: ast.Device
    nodes: tuple[str, ...]
    control: str | None
    model: ast.Model
    home: Definition
    area: float | ast.Expression | None
    flags: frozenset[str]
    bins: tuple[tuple[ast.Model, Definition], ...] = ()

    def expand(self, scope: Scope) -> Expansion:
        """Return the branches in the instance ``scope``; none after an error."""
        chosen = self._in_bin(scope) if self.bins else self
        if chosen is None:
            return Expansion()
        assembly = Assembly(chosen, scope)
        if assembly.good:
            self.device.expand(assembly)
        return assembly.expansion if assembly.good else Expansion()

    def _in_bin(self, scope: Scope) -> PreparedDevice | None:
        """Return the device with the model whose lengths and widths it has; ``None`` after an error."""
        context, given = scope.context, dict(self.card.parameters)
        size = {name: context.number(scope.value(given[name][0])) * context.scale for name in "lw" if name in given}
        for model, home in self.bins:
            around, limits = scope.within(home), dict(model.parameters)
            known = {name: context.number(around.value(limits[name])) for name in _BIN_LIMITS if name in limits}
            if all(
                known.get(f"{name}min", 0.0) * (1 - _EDGE)
                <= size.get(name, math.nan)
                < known.get(f"{name}max", math.inf)
                for name in "lw"
            ):
                return replace(self, model=model, home=home, bins=())
        shown = " and ".join(f"{name}={size[name]:g}" if name in size else f"no {name}=" for name in "lw")
        context.error(f"no bin of the model of {self.card.name} fits {shown}", self.card.span, _listed_bins(self.bins))
        return None


def prepare(
    devices: Mapping[str, Device], context: Context, definition: Definition, card: ast.Device
) -> PreparedDevice | None:
    """Return the card with its model found, or ``None`` after an error."""
    device = devices[card.kind]
    found = _find_model(device, context, definition, card)
    if found is None:
        return None
    position, candidates = found
    if not all(
        _known_type(device, context, card, model) and _known_level(device, context, card, model, home)
        for model, home in candidates
    ):
        return None
    model, home = candidates[0]
    good = _check_keywords(device, context, card)
    nodes = [str(word) for word in card.words[:position]]
    control = nodes.pop() if device.sensed else None
    area, flags, rest_good = _rest(device, context, card, position + 1)
    if not (good and rest_good):
        return None
    bins = () if model.name == card.words[position] else tuple(candidates)
    return PreparedDevice(device, card, tuple(nodes), control, model, home, area, flags, bins)


def _find_model(
    device: Device, context: Context, definition: Definition, card: ast.Device
) -> tuple[int, list[tuple[ast.Model, Definition]]] | None:
    """Return where the name of the model stands, and the model, or the bins it comes in."""
    least, most = (count + device.sensed for count in device.nodes)
    for position in range(least, min(most + 1, len(card.words))):
        word = card.words[position]
        found = definition.find_model(word) if isinstance(word, str) else None
        if found is not None:
            return position, [found]
    for position in range(least, min(most + 1, len(card.words))):
        word = card.words[position]
        binned = _bins(definition, word) if isinstance(word, str) else []
        if binned and device.binned:
            return position, binned
        if binned:
            shown = ", ".join(model.name for model, _ in binned)
            context.error(f"a model of a {device.what} does not come in bins ({shown})", card.span, "name the model")
            return None
    if len(card.words) <= least:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        context.error(f"{card.name} wants {wanted} nodes and then a model", card.span)
        return None
    name = str(card.words[least]) if isinstance(card.words[least], str) else "?"
    known = [model for around in definition.around() for model in around.models]
    context.error(
        f"undefined model {name!r} of {card.name}",
        card.span,
        close_match(name, known, "the model") or f"add a .model card of a {device.what}",
    )
    return None


def _bins(definition: Definition, name: str) -> list[tuple[ast.Model, Definition]]:
    """Return the models ``name.1``, ``name.2`` and so on."""
    names = dict.fromkeys(
        model
        for around in definition.around()
        for model in around.models
        if model.startswith(f"{name}.") and model.removeprefix(f"{name}.").isdecimal()
    )
    found = [definition.find_model(model) for model in names]
    return [model for model in found if model is not None]


def _listed_bins(bins: Sequence[tuple[ast.Model, Definition]]) -> str:
    return f"the bins are {', '.join(model.name for model, _ in bins)}; give l= and w= within their limits"


def _known_type(device: Device, context: Context, card: ast.Device, model: ast.Model) -> bool:
    if model.type in device.types:
        return True
    context.error(
        f"model {model.name!r} is of type {model.type!r}: no model of a {device.what}",
        card.span,
        f"defined at {model.span}; wanted is {' or '.join(device.types)}",
    )
    return False


def _known_level(device: Device, context: Context, card: ast.Device, model: ast.Model, home: Definition) -> bool:
    level = dict(model.parameters).get("level")
    if level is None:
        return True
    number = level.value if isinstance(level, ast.Number) else math.nan
    if number in device.levels:
        return True
    supported = " and ".join(str(known) for known in device.levels)
    shown = f"{number:g}" if not math.isnan(number) else "given by an expression"
    context.error(
        f"the level of model {model.name!r} is {shown}: only level {supported} of a {device.what} is supported",
        level.span,
        f"used by {card.name} at {card.span}",
    )
    return False


def _check_keywords(device: Device, context: Context, card: ast.Device) -> bool:
    good = True
    for name, values in card.parameters:
        if name not in device.on_card:
            hint = close_match(name, device.on_card, "the parameter")
            context.error(f"unknown parameter {name!r} of a {device.what}", values[0].span, hint)
            good = False
        elif len(values) > 1 and name != "ic":
            context.error(f"{name}= takes one value", values[1].span)
            good = False
    return good


def _rest(
    device: Device, context: Context, card: ast.Device, start: int
) -> tuple[float | ast.Expression | None, frozenset[str], bool]:
    """Read what follows the model's name: an area, and the words ``on`` and ``off``."""
    area: float | ast.Expression | None = None
    flags: set[str] = set()
    for word in card.words[start:]:
        number = number_written(word) if isinstance(word, str) else None
        if isinstance(word, str) and word in ("on", "off"):
            flags.add(word)
        elif device.area and area is None and (number is not None or not isinstance(word, str)):
            area = number if isinstance(word, str) else word
        elif device.area and area is None and isinstance(word, str):
            area = ast.Name(word, card.span)
        else:
            shown = word if isinstance(word, str) else "an expression"
            context.error(f"{shown!r} has no meaning after the model of a {device.what}", card.span)
            return None, frozenset(), False
    return area, frozenset(flags), True


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that is bound already."""

    bound: Value

    def value(self, scope: Scope) -> Value:
        """Return it."""
        return self.bound


class Form:
    """Makes one law: values, voltages and currents become slots where they are asked for."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.roles: list[str] = []
        self.voltages: list[tuple[str, str]] = []
        self.currents: list[str] = []

    def value(self, expr: Expr, role: str = "model") -> Expr:
        """Return a new slot of a value; equal values of two parameters stay two."""
        self.values.append(as_value(expr))
        self.roles.append(role)
        slot: Expr = Slot("value", len(self.values) - 1)
        return slot

    def voltage(self, positive: str, negative: str) -> Expr:
        """Return the slot of the voltage between two nodes."""
        pair = (positive, negative)
        if pair not in self.voltages:
            self.voltages.append(pair)
        slot: Expr = Slot("voltage", self.voltages.index(pair))
        return slot

    def current(self, element: str) -> Expr:
        """Return the slot of the current of an element."""
        if element not in self.currents:
            self.currents.append(element)
        slot: Expr = Slot("current", self.currents.index(element))
        return slot


class Assembly:
    """A device in one instance: its parameters as expressions, and the branches it is made of so far."""

    def __init__(self, prepared: PreparedDevice, scope: Scope) -> None:
        self.prepared = prepared
        self.scope = scope
        self.context = scope.context
        self.name = prepared.card.name
        self.nodes = prepared.nodes
        self.sign = prepared.device.types[prepared.model.type]
        self.expansion = Expansion()
        self.good = True
        self.given: dict[str, Expr] = {}
        self.model: dict[str, Expr] = {}
        self.ideal: dict[str, Expr] = {}
        self._read_model()
        self.card: dict[str, list[Expr]] = {
            name: [as_expr(scope.value(value)) for value in values] for name, values in prepared.card.parameters
        }
        self.area = self._area()
        if any(math.isnan(self.number(x)) for values in self.card.values() for x in values):
            self.good = False
        self._check_initial()

    def number(self, expr: Expr) -> float:
        """Return what ``expr`` is with the deck's own parameters."""
        return self.context.number(as_value(expr))

    def has(self, name: str) -> bool:
        """Whether the model gives this parameter."""
        return name in self.given

    def _read_model(self) -> None:
        device, model = self.prepared.device, self.prepared.model
        home = self.scope.within(self.prepared.home)
        for name, expression in model.parameters:
            name = device.aliases.get(name, name)
            if name in device.model:
                value = as_expr(home.value(expression))
                self.given[name] = value
                if math.isnan(self.number(value)):
                    self.good = False
            elif name in device.ideal and self.context.dialect == "ltspice":
                self.ideal[name] = as_expr(home.value(expression))
            elif name in device.ideal:
                self.context.error(
                    f"model {model.name!r} is LTspice's ideal diode, which ngspice does not have",
                    model.span,
                    dialect_hint("ltspice"),
                )
                self.good = False
            elif name in device.unsupported:
                if not (isinstance(expression, ast.Number) and expression.value == 0):
                    self.context.error(
                        f"parameter {name!r} of a {device.what} model changes the waveform and is not supported yet",
                        expression.span,
                        "leave it out if its effect does not matter",
                    )
                    self.good = False
            elif name in device.elsewhere:
                self.context.note(
                    f"parameter {name!r} of a {device.what} model has no effect in level 1, as in ngspice",
                    expression.span,
                )
            elif name not in device.harmless and name != "level":
                self.context.warning(
                    f"parameter {name!r} of a {device.what} model is not known and has no effect",
                    expression.span,
                    close_match(name, device.model, "the parameter"),
                )
        self.model = {name: Const(value) for name, value in device.model.items() if value is not None} | self.given

    def _check_initial(self) -> None:
        """Say what becomes of ``ic=``: a diode's counts with ``uic``, those of transistors are not supported."""
        values = dict(self.prepared.card.parameters).get("ic")
        if values is None:
            return
        timing = self.context.timing
        if timing is not None and not timing.uic:
            self.context.warning(
                f"ic= of {self.name} counts only with uic on .tran: the run starts from the operating point",
                values[0].span,
                "add uic, or use .ic",
            )
        elif len(self.prepared.nodes) > _TWO or len(values) > 1:
            self.context.error(
                f"ic= of a {self.prepared.device.what} is not supported yet", values[0].span, "give its nodes by .ic"
            )
            self.good = False

    def _area(self) -> Expr:
        area = self.prepared.area
        if "area" in self.card:
            return self.card["area"][0]
        if area is None:
            return Const(1.0)
        return Const(area) if isinstance(area, float) else as_expr(self.scope.value(area))

    @property
    def temperatures(self) -> tuple[Expr, Expr]:
        """Temperature of the device and that at which its model holds, in kelvin."""
        own = self.card["temp"][0] if "temp" in self.card else Const(self.context.temperature)
        if "dtemp" in self.card and "temp" not in self.card:
            own = add(own, self.card["dtemp"][0])
        nominal = self.model.get("tnom", Const(self.context.nominal_temperature))
        return add(own, Const(ZERO_CELSIUS)), add(nominal, Const(ZERO_CELSIUS))

    def inner(self, label: str, outer: str) -> str:
        """Return a node of the device's own behind its terminal ``outer``."""
        node = f"{self.name}#{label}"
        self.expansion.inner[node] = outer
        return node

    def add(
        self,
        label: str,
        kind: str,
        nodes: tuple[str, str],
        template: Expr,
        form: Form,
        *,
        initial: Expr | None = None,
    ) -> str:
        """Add a branch and return its name; ``m=`` of the card is applied."""
        name = f"{self.name}#{label}"
        letter = self.prepared.card.kind
        roles = tuple(form.roles)
        law = self.context.law(kind, letter, template, roles, ("",) * len(roles))
        sources: tuple[Source, ...] = tuple([Bound(value) for value in form.values])
        part = Prepared(name, nodes, law, sources, self.prepared.card.span, tuple(form.voltages), tuple(form.currents))
        if initial is not None:
            part.initial = Bound(as_value(initial))
        if "m" in self.card and kind in "RCLI":
            part = self._counted(part, self.card["m"][0])
        self.expansion.parts.append(part)
        return name

    def _counted(self, part: Prepared, count: Expr) -> Prepared:
        part.law = multiplied(self.context, part.law)
        part.sources = (*part.sources, Bound(as_value(count)))
        part.counted = True
        return part

    def resistor(self, label: str, nodes: tuple[str, str], resistance: Expr) -> str:
        """Add a resistor; ohms."""
        form = Form()
        return self.add(label, "R", nodes, form.value(resistance), form)

    def capacitor(self, label: str, nodes: tuple[str, str], capacitance: Expr) -> None:
        """Add a linear capacitor, unless it is 0; farads."""
        if self.number(capacitance) > 0:
            form = Form()
            self.add(label, "C", nodes, form.value(capacitance), form)

    def terminal(self, name: str, end: int = 0) -> None:
        """Say that a branch is at the first terminal of a device with two."""
        self.expansion.terminal.append((name, end))

    def limit(self, nodes: tuple[str, ...], *numbers: Expr | float) -> None:
        """Say by which numbers the search for an operating point holds this device back, if there is one."""
        timing = self.context.timing
        if timing is not None and not timing.uic:
            found = tuple(x if isinstance(x, float) else self.number(x) for x in numbers)
            self.expansion.limited = (nodes, self.prepared.card.kind, found, "off" in self.prepared.flags)

    def critical(self, scale: Expr, saturation: Expr) -> float:
        """Return the voltage at which a junction bends most, V: ``scale`` log(``scale`` / (sqrt(2) ``saturation``))."""
        volts, amperes = self.number(scale), self.number(saturation)
        return volts * math.log(volts / (math.sqrt(2.0) * amperes)) if volts > 0 and amperes > 0 else math.inf

    def signal(self, label: str, kind: str, template: Expr, form: Form) -> str:
        """Add a derivative (``D``) or an integral (``S``) that others read as a current."""
        return self.add(label, kind, GROUND, template, form)
