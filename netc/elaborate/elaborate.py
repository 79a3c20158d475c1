"""Flatten a deck: instantiate its subcircuits, bind every value, resolve every name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import netc.parse.ast as ast
from netc.diagnostics import Diagnostics, NetcError, Span
from netc.elaborate.analysis import read_settings, read_timing
from netc.elaborate.circuit import Branch, Circuit, Limited, Value
from netc.elaborate.conditionals import settled
from netc.elaborate.context import Context, close_element, close_match
from netc.elaborate.couplings import couple
from netc.elaborate.devices import PreparedDevice, prepare_device
from netc.elaborate.directives import Directives
from netc.elaborate.elements import Preparation
from netc.elaborate.measures import bind_measures
from netc.elaborate.multiplicity import instances_in_parallel, multiplied_values
from netc.elaborate.observe import Names, across, observed
from netc.elaborate.prepared import Prepared, bind_value
from netc.elaborate.scopes import Binding, Definition, Scope
from netc.elaborate.size import expansion
from netc.elaborate.terminals import Terminals
from netc.elaborate.waveforms import ascending
from netc.ir.nodes import Expr, Parameter, postorder

_CHECKED = frozenset({"R", "C", "L"})
_DEEPEST = 100
_LONGEST_NAME = 1000
_SHOWN = 6
_MOST_PINS = 10_000  # looked at for the name of a node that may have been meant


def elaborate(deck: ast.Deck, *, lenient: bool = False) -> Circuit:
    """Return the flat circuit of ``deck``; its warnings, and those of the deck, are in ``diagnostics``.

    ``lenient`` turns ``.save`` and ``.print`` of signals that do not exist into warnings.

    Raises :class:`~netc.diagnostics.NetcError` with all errors together.
    """
    try:
        return _Elaboration(deck, lenient).run()
    except RecursionError:
        raise NetcError(
            "parameters or functions of the deck depend on each other in too long a chain",
            dict(deck.sources),
            hint="define each .param after those it needs",
        ) from None


Item = Prepared | PreparedDevice | ast.Coupling | ast.Instance


class _Elaboration:
    def __init__(self, deck: ast.Deck, lenient: bool) -> None:
        self.deck = deck
        self.lenient = lenient
        diagnostics = Diagnostics(dict(deck.sources), list(deck.diagnostics))
        self.context = Context(diagnostics, dialect=deck.dialect)
        self.circuit = Circuit(deck.title, ["0"], [], self.context.parameters, sources=dict(deck.sources))
        self.circuit.diagnostics = self.context.diagnostics.items
        self.net_numbers: dict[str, int] = {"0": 0}
        self.branch_numbers: dict[str, int] = {}
        self.global_nets: dict[str, int] = {"0": 0}
        self.paths: dict[str, Span] = {}
        self.prepared: dict[Definition, list[Item]] = {}
        self.awaiting: list[tuple[int, tuple[str, ...], Scope]] = []
        self.couplings: list[tuple[ast.Coupling, Scope]] = []
        self.terminals = Terminals(self.circuit)
        self.scopes: list[Scope] = []
        self._touched: tuple[int, set[int]] = (-1, set())  # of how many branches, which nets

    def run(self) -> Circuit:
        context, circuit = self.context, self.circuit
        deck = Definition(context, "", self.deck.cards)
        size, allowed = expansion(deck)
        if size > allowed:
            context.error(f"the subcircuits of the deck expand into {size:,} elements, more than {allowed:,}", None)
            context.diagnostics.raise_if_failed()
        deck = settled(deck, lambda definition: Scope(context, definition))
        top = Scope(context, deck)
        top.nets = self.net_numbers
        read_settings(deck.other, top, circuit)
        # in the order of the text: a long chain of definitions is then no deep recursion
        self.resolve_parameters(top)
        circuit.timing = context.timing = read_timing(deck.other, top)
        for card in deck.other:
            if isinstance(card, ast.Global):
                self.global_nets.update((node, self.net(top, node)) for node in card.nodes)
        self.fill(top, [])
        couple(self.couplings, self.circuit, self.branch_named, self.terminals)
        self.resolve_currents()
        self.check_controls()
        for scope in self.scopes:
            self.initial_conditions(scope)
        self.initial_conditions_inside()
        for scope in {scope.definition.name: scope for scope in self.scopes}.values():
            self.resolve_parameters(scope)
        if not circuit.branches:
            title = Span(self.deck.path, 1, 1, max(1, len(self.deck.title)))
            context.error("the deck has no elements", title, "is the first line, which is the title, an element?")
        names = Names(self.node_named, self.element_named)
        circuit.selected = observed(deck.other, circuit, names, context.warning)
        circuit.measures = bind_measures(deck.other, top, names)
        self.keep_used_parameters()
        Directives(context, circuit, top, self.touched(), self.lenient).read(deck.other)
        context.diagnostics.raise_if_failed()
        self.drop_untouched()
        return circuit

    # ------------------------------------------------------------------ nets

    def net(self, scope: Scope, name: str) -> int:
        """Return the number of a node as named inside ``scope``."""
        number = scope.nets.get(name)
        if number is None:
            number = self.global_nets.get(name)
            if number is None:
                flat = scope.prefix + name
                if len(flat) > _LONGEST_NAME:
                    self.too_long(scope.definition.header.span if scope.definition.header else None)
                    return 0
                number = self.net_numbers.get(flat)
                if number is None:
                    number = len(self.circuit.nets)
                    self.circuit.nets.append(flat)
                    self.net_numbers[flat] = number
            scope.nets[name] = number
        return number

    def too_long(self, span: Span | None) -> None:
        self.context.error(
            f"a name here, with the instances around it, is longer than {_LONGEST_NAME} characters", span
        )

    def touched(self) -> set[int]:
        """Return the nets at least one element is connected to."""
        branches = self.circuit.branches
        if self._touched[0] != len(branches):
            self._touched = len(branches), {net for branch in branches for net in branch.nets} | {0}
        return self._touched[1]

    def drop_untouched(self) -> None:
        """Forget nets that no element is connected to: of a ``.global`` card, or at a port nothing inside uses."""
        circuit, touched = self.circuit, self.touched()
        if len(touched) == len(circuit.nets):
            return
        dropped = [name for net, name in enumerate(circuit.nets) if net not in touched]
        shown = ", ".join(repr(name) for name in dropped[:_SHOWN]) + (", ..." if len(dropped) > _SHOWN else "")
        self.context.note(f"no element is connected to {_count(len(dropped), 'node')}, left out: {shown}", None)
        number: dict[int, int] = {net: k for k, net in enumerate(sorted(touched))}
        circuit.nets = [circuit.nets[net] for net in number]
        for branch in circuit.branches:
            branch.nets = (number[branch.nets[0]], number[branch.nets[1]])
            branch.voltages = tuple([(number[p], number[n]) for p, n in branch.voltages])
        circuit.initial_voltages = {number[net]: given for net, given in circuit.initial_voltages.items()}
        circuit.nodeset = {number[net]: given for net, given in circuit.nodeset.items()}
        circuit.outputs = [number[net] for net in circuit.outputs]
        circuit.limited = [replace(d, nets=tuple([number[net] for net in d.nets])) for d in circuit.limited]
        circuit.internal = {number[net]: number[outer] for net, outer in circuit.internal.items() if net in number}

    def check_controls(self) -> None:
        touched = self.touched()
        for branch in self.circuit.branches:
            for pair in branch.voltages:
                for net in pair:
                    if net not in touched:
                        self.unknown_node(self.circuit.nets[net], branch.span)

    def unknown_node(self, name: str, span: Span) -> None:
        nets = (self.circuit.nets[net] for branch in self.circuit.branches for net in branch.nets)
        hint = across(name, self.circuit) or close_match(name, dict.fromkeys(islice(nets, _MOST_PINS)), "the node")
        self.context.error(f"there is no node {name!r}: no element is connected to it", span, hint)

    # ------------------------------------------------------------------ elements

    def fill(self, scope: Scope, around: list[Definition]) -> None:
        """Add the elements of an instance, and those of the instances in it."""
        self.scopes.append(scope)
        for item in self.body(scope.definition):
            if isinstance(item, Prepared):
                self.branch(item, scope)
            elif isinstance(item, ast.Instance):
                self.instance(item, scope, [*around, scope.definition])
            elif isinstance(item, ast.Coupling):
                self.couplings.append((item, scope))
            else:
                self.device(item, scope)

    def body(self, definition: Definition) -> Sequence[Item]:
        """Return the elements of a definition, prepared the first time they are needed."""
        body = self.prepared.get(definition)
        if body is None:
            body = self.prepared[definition] = []
            preparation = Preparation(self.context, definition)
            for card in definition.elements:
                if isinstance(card, ast.Instance | ast.Coupling):
                    body.append(card)
                elif isinstance(card, ast.Device):
                    device = prepare_device(self.context, definition, card)
                    body += [] if device is None else [device]
                else:
                    body.extend(preparation.prepare(card))
            if definition.header is not None:
                for other in definition.other:
                    if type(other) in _TOP_ONLY:
                        what = _TOP_ONLY[type(other)]
                        self.context.error(f"{what} has no effect inside a subcircuit", other.span, "move it outside")
        return body

    def branch(self, item: Prepared, scope: Scope) -> None:
        circuit = self.circuit
        name = scope.prefix + item.name
        if len(name) > _LONGEST_NAME:
            self.too_long(item.span)
            return
        if name in self.branch_numbers:
            first = circuit.branches[self.branch_numbers[name]].span
            self.context.error(f"there are two elements named {item.name!r}", item.span, f"the first is at {first}")
            return
        nets = scope.nets
        a, b = item.nodes
        pins = (nets[a] if a in nets else self.net(scope, a), nets[b] if b in nets else self.net(scope, b))
        values: tuple[Value, ...]
        if item.plain:
            values = item.sources  # type: ignore[assignment]  # plain: all are numbers
        else:
            values = tuple([bind_value(source, scope) for source in item.sources])
        if item.law.roles and item.law.roles[0] in _CHECKED:
            self.check_value(item, values[0])
        law = item.law
        if scope.multiplicity is not None:
            law, values = multiplied_values(self.context, item, values, scope.multiplicity)
        branch = Branch(name, pins, law, values, item.span)
        if item.voltages:
            branch.voltages = tuple([(self.net(scope, p), self.net(scope, n)) for p, n in item.voltages])
        if item.ascending is not None:
            branch.values = ascending(item.ascending, values, scope, item.span)
        if item.initial is not None:
            self.initial(item, branch, scope)
        number = self.branch_numbers[name] = len(circuit.branches)
        if item.currents:
            self.awaiting.append((number, item.currents, scope))
        circuit.branches.append(branch)

    def device(self, item: PreparedDevice, scope: Scope) -> None:
        """Add the branches and the inner nodes of a device."""
        expansion = item.expand(scope)
        before = len(self.circuit.branches)
        for part in expansion.parts:
            self.branch(part, scope)
        if len(self.circuit.branches) - before == len(expansion.parts):
            inner = {self.net(scope, node): self.net(scope, outer) for node, outer in expansion.inner.items()}
            self.circuit.internal.update(inner)
            if expansion.limited is not None:
                nets = tuple([self.net(scope, node) for node in expansion.limited[0]])
                parts = range(before, len(self.circuit.branches))
                self.circuit.limited.append(Limited(nets, parts, *expansion.limited[1:]))
            found = [(self.branch_numbers[scope.prefix + name], end) for name, end in expansion.terminal]
            self.terminals.add(scope.prefix + item.card.name, found, item.card.span)

    def check_value(self, item: Prepared, value: Value) -> None:
        if (number := self.context.number(value)) > 0 or number != number:
            return
        kind = item.law.kind
        if kind == "R" and number == 0:
            self.context.error(
                f"{item.name} has 0 ohms", item.span, "use a 0 V source for a wire, or a small resistance"
            )
        elif kind != "R":
            what = "capacitance" if kind == "C" else "inductance"
            self.context.error(f"the {what} of {item.name} must be above 0, not {number:g}", item.span)

    def initial(self, item: Prepared, branch: Branch, scope: Scope) -> None:
        if item.initial is None:
            return
        branch.initial = bind_value(item.initial, scope)
        written = "#" not in item.name  # an integral's start counts in any case
        if written and self.context.timing is not None and not self.context.timing.uic:
            self.context.warning(
                f"IC= of {item.name} counts only with uic on .tran: the run starts from the operating point",
                item.span,
                "add uic, or use .ic",
            )

    def instance(self, card: ast.Instance, scope: Scope, around: list[Definition]) -> None:
        definition = scope.definition.find_subcircuit(card)
        if definition is None or definition.header is None:
            return
        path = scope.prefix + card.name
        if len(path) > _LONGEST_NAME:
            self.too_long(card.span)
            return
        if path in self.paths:
            self.context.error(
                f"there are two instances named {card.name!r}", card.span, f"the first is at {self.paths[path]}"
            )
            return
        self.paths[path] = card.span
        origins = [d.origin for d in around]
        if definition in origins:
            chain = " -> ".join(d.name for d in [*origins[origins.index(definition) :], definition])
            self.context.error(f"subcircuit {definition.name!r} contains itself: {chain}", card.span)
            return
        if len(around) > _DEEPEST:
            self.context.error(f"subcircuits are nested more than {_DEEPEST} deep", card.span)
            return
        ports = definition.header.ports
        if len(ports) != len(card.nodes):
            self.context.error(
                f"subcircuit {card.subcircuit!r} has {_count(len(ports), 'port')}, "
                f"{_count(len(card.nodes), 'node')} given",
                card.span,
                f"its ports are {' '.join(ports)}",
            )
            return
        overrides = self.overrides(card, definition, scope)
        definition = settled(definition, lambda some: Scope(self.context, some, path, scope, overrides))
        inner = Scope(self.context, definition, path, scope, overrides)
        inner.multiplicity = instances_in_parallel(card, definition, scope)
        inner.nets = {port: self.net(scope, node) for port, node in zip(ports, card.nodes, strict=True)}
        self.circuit.instances.setdefault(definition.name, []).append(path)
        self.fill(inner, around)
        self.check_formals(card, inner)

    def overrides(self, card: ast.Instance, definition: Definition, scope: Scope) -> dict[str, Binding]:
        overrides: dict[str, Binding] = {}
        # the text of an X line is one number, however often the subcircuit around it is used
        lexical = f"{scope.definition.name}.{card.name}" if scope.definition.name else card.name
        for name, expression in card.parameters:
            if name == "m" and name not in definition.parameters:
                continue
            if name not in definition.parameters:
                hint = close_match(name, definition.parameters, "the parameter")
                self.context.error(f"subcircuit {card.subcircuit!r} has no parameter {name!r}", expression.span, hint)
            elif name in overrides:
                self.context.error(f"parameter {name!r} is given twice", expression.span)
            else:
                overrides[name] = Binding(expression, f"{lexical}.{name}", expression.span)
        return overrides

    def check_formals(self, card: ast.Instance, inner: Scope) -> None:
        """Warn where ngspice reads a name on the X line as the subcircuit's own parameter."""
        for name, expression in card.parameters:
            if isinstance(expression, ast.Number) or inner.parent is None:
                continue
            for used in names_in(expression):
                if used.name == name or used.name not in inner.definition.parameters:
                    continue
                own = self.context.number(inner.resolve(used.name, used.span))
                if own != self.context.number(inner.parent.resolve(used.name, used.span)):
                    self.context.warning(
                        f"{used.name!r} here is taken from outside of {card.subcircuit!r}; "
                        "ngspice may read the parameter of that name inside",
                        used.span,
                        "give one of the two parameters another name",
                    )

    def resolve_currents(self) -> None:
        for number, names, scope in self.awaiting:
            branch = self.circuit.branches[number]
            found = [self.branch_named(scope, name) for name in names]
            for name, target in zip(names, found, strict=True):
                if target is None:
                    self.unknown_element(name, scope, branch.span)
            branch.currents = tuple([target for target in found if target is not None])
            for name, target in zip(names, found, strict=True):
                if branch.law.letter in "FH" and target is not None and self.circuit.branches[target].law.kind != "V":
                    self.context.warning(
                        f"ngspice refuses {name!r} as what controls an F or H: it is no voltage source",
                        branch.span,
                        f"put a source of 0 V in series with {name!r} and name that",
                    )

    def branch_named(self, scope: Scope, name: str) -> int | None:
        """Return the branch an element's name means in ``scope``: its own element, then one by its flat name."""
        number = self.branch_numbers.get(scope.prefix + name)
        if number is None or self.terminals.knows(scope.prefix + name):
            number = self.terminals.branch(scope.prefix + name, self.branch_numbers, self.net_numbers)
        if number is None and "." in name:
            number = self.branch_numbers.get(name)
            if number is None:
                # ngspice's own device names: v.x1.v1 is v1 of x1
                letter, _, rest = name.partition(".")
                if rest.rpartition(".")[2].startswith(letter):
                    number = self.branch_numbers.get(rest)
        return number

    def unknown_element(self, name: str, scope: Scope, span: Span) -> None:
        local = (n.removeprefix(scope.prefix) for n in self.branch_numbers if n.startswith(scope.prefix))
        hint = close_element(name, local)
        if scope.path and name in self.branch_numbers:
            hint = f"{name!r} is outside of the subcircuit; only its own elements can be read"
        self.context.error(f"there is no element {name!r} whose current could be read", span, hint)

    # ------------------------------------------------------------------ cards that name nodes

    def initial_conditions(self, scope: Scope) -> None:
        touched: set[int] | None = None
        for card in scope.definition.other:
            if not isinstance(card, ast.InitialCondition):
                continue
            touched = self.touched() if touched is None else touched
            word = ".nodeset" if card.nodeset else ".ic"
            if card.nodeset and self.circuit.timing is not None and self.circuit.timing.uic:
                self.context.note(".nodeset has no effect with uic: no operating point is sought", card.span)
            table = self.circuit.nodeset if card.nodeset else self.circuit.initial_voltages
            for voltage, expression in card.voltages:
                if voltage.negative not in (None, "0"):
                    self.context.error(f"{word} sets the voltage of one node against ground", voltage.span)
                    continue
                net = self.net(scope, voltage.positive)
                if net not in touched:
                    self.unknown_node(self.circuit.nets[net], voltage.span)
                elif net == 0:
                    self.context.error(f"{word} cannot set the voltage of ground", voltage.span)
                else:
                    value = scope.value(expression)
                    known = table.get(net)
                    if known is not None and self.context.number(known[0]) != self.context.number(value):
                        self.context.warning(
                            f"{word} sets {self.circuit.nets[net]!r} again: the last one counts", voltage.span
                        )
                    table[net] = (value, voltage.span)

    def initial_conditions_inside(self) -> None:
        """Start charges inside of devices, with ``uic``, at the voltages of the terminals, as ngspice does."""
        if self.circuit.timing is not None and self.circuit.timing.uic:
            given = self.circuit.initial_voltages
            given |= {net: given[outer] for net, outer in self.circuit.internal.items() if outer in given}

    def node_named(self, name: str) -> str | None:
        """Return the name of a node that some element is connected to."""
        net = self.net_numbers.get(name)
        return None if net is None or net not in self.touched() else self.circuit.nets[net]

    def element_named(self, name: str) -> str | None:
        """Return the flattened name of an element."""
        number = self.branch_named(self.scopes[0], name)
        return None if number is None else self.circuit.branches[number].name

    def resolve_parameters(self, scope: Scope) -> None:
        """Evaluate all parameters of an instance, so that errors in unused ones are found too."""
        for name, binding in scope.definition.parameters.items():
            scope.resolve(name, binding.span)

    def keep_used_parameters(self) -> None:
        """Forget the parameters that no value depends on."""
        roots: dict[int, Expr] = {}
        for branch in self.circuit.branches:
            for value in (*branch.values, branch.initial):
                if isinstance(value, Expr):
                    roots[id(value)] = value
        for table in (self.circuit.initial_voltages, self.circuit.nodeset):
            for value, _ in table.values():
                if isinstance(value, Expr):
                    roots[id(value)] = value
        used = {node.name for node in postorder(*roots.values()) if isinstance(node, Parameter)}
        kept = {name: parameter for name, parameter in self.context.parameters.items() if name in used}
        self.circuit.parameters = kept


def names_in(root: ast.Expression) -> list[ast.Name]:
    """Return the names an expression mentions."""
    names: list[ast.Name] = []
    stack: list[ast.Expression] = [root]
    while stack:
        node = stack.pop()
        match node:
            case ast.Name():
                names.append(node)
            case ast.Unary():
                stack.append(node.operand)
            case ast.Binary():
                stack += (node.left, node.right)
            case ast.Ternary():
                stack += (node.condition, node.then, node.otherwise)
            case ast.Call():
                stack += node.arguments
            case _:
                pass
    return names


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


_TOP_ONLY: dict[type, str] = {
    ast.Tran: ".tran",
    ast.Options: ".options",
    ast.Temp: ".temp",
    ast.Global: ".global",
    ast.Output: ".save or .print",
    ast.Measure: ".measure",
    ast.Directive: "a *.netc directive",
}
