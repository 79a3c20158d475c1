"""The emitted file: a self-contained PyTorch module that says the same as the program."""

from __future__ import annotations

from collections.abc import Sequence

from netc.diagnostics import NetcError, Span
from netc.emit.constants import Constants
from netc.emit.forward import Forward
from netc.emit.schedule import Schedule, schedule
from netc.emit.text import SUPPORT, Names, lanes_text, literal, number, place, plain, support_functions
from netc.ir.program import Coordinate, ParameterBlock, Program

_RESERVED = frozenset(
    {"steps", "dt", "first_step", "inputs", "observe", "state", "values", "self", "dtype", "device", "batch", "time"}
    | {
        "first",
        "last",
        "advance",
        "compiled",
        "held",
        "now",
        "wanted",
        "found",
        "main",
        "bool",
        "range",
        "zip",
        "torch",
        "math",
        "sys",
    }
    | SUPPORT
)


def emit_torch(program: Program, *, source_name: str = "deck.cir", version: str = "0.1.0") -> str:
    """Return the source of a standalone PyTorch module for ``program``; the same text every time.

    The file imports torch and the standard library only, for large networks scipy, too.  No text of the netlist
    becomes code: names of nodes and elements stand as escaped literals and, cut to printable ASCII, in comments.

    Args:
        program: without algebraic blocks.
        source_name: the deck's name for the docstring.
        version: netc's version for the docstring.

    Raises:
        NetcError: where the program has algebraic blocks left or mixes amplitudes with waveforms.
    """
    if program.algebraic:
        raise NetcError("the algebraic equations of this circuit have not been solved, so it cannot be emitted")
    if len({block.mode for block in program.inputs}) > 1:
        raise NetcError(
            "this circuit takes both amplitudes and whole waveforms as inputs",
            hint="drive all inputs the same way",
        )
    constants = Constants()
    plan = schedule(program)
    forward = Forward(plan, constants, Names(_RESERVED))
    physics = [*forward.prepare(), "", *forward.method()]
    for helper in ("check_steps", "find_places", "collect"):
        constants.helper(helper)
    inside, after = _tables(program, constants)
    weights = _Weights(program, constants)
    inside += weights.table()
    initialise = [*weights.initialise(), *_indent(constants.buffers)]  # the physics has asked for its buffers by now
    tail = [*_arrays(constants), *after, *_main(program, constants)]
    methods = [*initialise, "", *weights.methods(), *_EXACT, "", *physics]
    helpers, modules = support_functions(constants.helpers)
    if any("math." in line for line in [*methods, *forward.steps, *inside, *tail]):
        modules.add("math")
    modules.add("sys")
    modules.discard("torch")
    lines = [
        *_module_docstring(
            program, source_name, version, "torch and scipy" if "response" in constants.helpers else "torch"
        ),
        "from __future__ import annotations",
        "",
        *(f"import {name}" for name in sorted(modules)),
        "from collections.abc import Sequence",
        "from typing import Any",
        "",
        "import torch",
        "",
        "Tensors = tuple[torch.Tensor, ...]",
        "",
        "",
        "class Circuit(torch.nn.Module):",
        *_indent([*_class_docstring(program, plan), *inside, "", *methods]),
        "",
        "",
        *forward.steps,
        *constants.functions,
        *helpers.splitlines(),
        "",
        "",
        *tail,
    ]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


# ---------------------------------------------------------------------- docstrings


def _module_docstring(program: Program, source_name: str, version: str, needs: str) -> list[str]:
    title = plain(program.title, 100)
    return [
        f'"""{title}' if title else '"""A circuit.',
        "",
        f"Compiled from {plain(source_name)} by netc {plain(version, 20)}.  Needs only {needs}.",
        "All values are in SI units; time is in seconds and float64.",
        '"""',
        "",
    ]


def _class_docstring(program: Program, plan: Schedule) -> list[str]:
    states = [
        (f"{s.name}", f"{plain(s.unit, 8)}", f"({'batch' if k in plan.step else '1'}, {s.size})", s.spans, s.lanes)
        for k, s in enumerate(program.states)
    ]
    lines = ['"""x[n + 1] = x[n] + dt * f(x[n], u[n]) for the states x of the circuit.', ""]
    lines.append("States, in the order of the tuple `state`: block, unit, shape, place, names")
    lines += [_row(*row) for row in states] or ["    none"]
    lines += ["", "Values: block, unit, lanes, role, place, names; + is trained (an nn.Parameter in [0, 1])"]
    for block in program.parameters:
        kind = f"{plain(block.role, 10)}{'+' if block.trained else ''}"
        lines.append(_row(block.name, plain(block.unit, 8), f"({len(block.values)},) {kind}", block.spans, block.lanes))
    lines += ["", "Signals: unit, lanes, names"]
    lines += [f"    {plain(o.unit, 8)}  {len(o.lanes)}  {lanes_text(o.lanes)}" for o in program.observables]
    shape = "none"
    if program.inputs:
        features = sum(b.size for b in program.inputs)
        shape = f"(batch, {features}) amplitudes, 1 is the deck's own source"
        if program.inputs[0].mode == "waveform":
            shape = f"(steps, batch, {features}) whole waveforms"
    lines += ["", f"Inputs: {shape}", *(f"Note: {plain(note, 100)}" for note in program.notes), '"""']
    return lines


def _row(name: str, unit: str, shape: str, spans: Sequence[Span], lanes: Sequence[str]) -> str:
    return f"    {plain(name, 24):12s} {unit:6s} {shape:14s} {place(spans)}  {lanes_text(lanes)}"


# ---------------------------------------------------------------------- tables


def _tables(program: Program, constants: Constants) -> tuple[list[str], list[str]]:
    """Return class attributes, and statements for the end of the file where they read the table of arrays.

    ``ITERATED`` names what Newton's method finds, which is NaN where it does not.
    """
    families = [constants.words(o.lanes) for o in program.observables]
    states = [f"{literal(s.name)}: ({literal(s.unit)}, {constants.words(s.lanes)})" for s in program.states]
    outputs = constants.words(program.outputs)
    attributes = {
        "FAMILIES": ["(", *(f"    {f}," for f in families), ")"],
        "NODES": ["sum({}FAMILIES, ())"],
        "OUTPUTS": [outputs],
        "STATES": ["{", *(f"    {s}," for s in states), "}"],
    }
    if constants.iterated:
        attributes["ITERATED"] = [constants.words(tuple(constants.iterated))]
    features = sum(b.size for b in program.inputs)
    inside, after = [f"FEATURES = {features}"], list[str]()
    for name, text in attributes.items():
        late = any("ARRAYS" in line for line in text) or (name == "NODES" and any("ARRAYS" in f for f in families))
        if late:
            inside.append(f"{name} = {'{}' if name == 'STATES' else '()'}  # filled in at the end of this file")
            text = [line.format("Circuit.") if name == "NODES" else line for line in text]
            after += [f"Circuit.{name} = {text[0]}", *text[1:]]
        else:
            text = [line.format("") if name == "NODES" else line for line in text]
            inside += [f"{name} = {text[0]}", *text[1:]]
    return inside, after


def _arrays(constants: Constants) -> list[str]:
    if not constants.rows:
        return []
    rows = (f'    "{name}": {text},' for name, text in constants.rows.items())
    return [
        "# Arrays of several lanes; long ones as base64 of zlib of little-endian numbers, or of a JSON list.",
        "ARRAYS: Any = {",
        *rows,
        "}",
    ]


def _main(program: Program, constants: Constants) -> list[str]:
    timing = program.timing
    start = ["", 'if __name__ == "__main__":  # the deck\'s own transient; an argument names a CSV file']
    if program.inputs and program.inputs[0].mode == "waveform":
        return [*start, '    sys.exit("this circuit is driven by whole waveforms: call Circuit()(steps, dt, inputs)")']
    if timing is None:
        return [*start, '    sys.exit("the deck has no .tran: call Circuit()(steps, dt)")']
    step = timing.tmax or timing.tstep or timing.tstop / 1000
    call = f"main(Circuit(torch.float64), {number(step)}, {number(timing.tstop)}, sys.argv[1:])"
    constants.helper("main")
    return [*start, f"    {call}"]


# ---------------------------------------------------------------------- values


class _Weights:
    """Writes what holds the values: positions of trained blocks, float64 buffers for the rest."""

    def __init__(self, program: Program, constants: Constants) -> None:
        names = Names(_RESERVED)
        self._constants = constants
        self._blocks = [
            (block, names.fresh(f"{block.name}_{'position' if block.trained else 'value'}", "block_value"))
            for block in program.parameters
        ]
        self._trained = [name for block, name in self._blocks if block.trained]

    def initialise(self) -> list[str]:
        """Return ``__init__``, its buffers for indices still to follow."""
        lines = [
            "def __init__(self, dtype=torch.float32):",
            "    super().__init__()",
            '    self.register_buffer("precision", torch.zeros((), dtype=dtype), persistent=False)',
            "    self.compiled = False  # whether torch.compile makes blocks of steps: faster, after some seconds",
            "    self.stretch = 100  # steps that one layer takes before the next one takes them",
            "    self.recompute = False  # whether the backward pass runs stretches again instead of keeping all",
        ]
        for block, name in self._blocks:
            value = self._constants.floats(block.values)
            if block.trained:
                at = f"{self._constants.helper('to_position')}({value}, {self._bounds(block)})"
                lines.append(f"    self.{name} = torch.nn.Parameter({at}.to(dtype))")
            else:
                lines.append(f'    self.register_buffer("{name}", {value})')
        return lines

    def _bounds(self, block: ParameterBlock) -> str:
        if block.trained is None:
            raise ValueError(f"parameter block {block.name!r} is not trained")
        reciprocal = block.trained.coordinate is Coordinate.RECIPROCAL
        return f"{number(block.trained.minimum)}, {number(block.trained.maximum)}, {reciprocal}"

    def table(self) -> list[str]:
        """Return the class attribute that says where each block is held, and the bounds of trained ones."""
        rows = []
        for block, name in self._blocks:
            bounds = f", {self._bounds(block)}" if block.trained else ","
            rows.append(f"    {literal(block.name)}: ({literal(name)}{bounds}),  # {plain(block.unit, 8)}".rstrip(" #"))
        return [
            "BLOCKS = {  # block: attribute, and for trained ones minimum, maximum, whether 1 / value is learnt",
            *rows,
            "}",
        ]

    def methods(self) -> list[str]:
        """Return the methods that read and write values."""
        for helper in ("to_position", "from_position") if self._trained else ():
            self._constants.helper(helper)
        read, write = "held", "held.detach().copy_(value)"
        if self._trained:
            read = "from_position(held, *bounds) if bounds else held"
            write = "held.detach().copy_(to_position(value, *bounds) if bounds else value)"
        lines = [
            "def holders(self):",
            '    """What holds each block, and its bounds (none where it is not trained)."""',
            "    return {name: (getattr(self, held), bounds) for name, (held, *bounds) in self.BLOCKS.items()}",
            "",
            "def values(self):",
            '    """Physical values (SI units, float64) by block, differentiable in the trained."""',
            f"    return {{name: {read} for name, (held, bounds) in self.holders().items()}}",
            "",
            "def set_values(self, values):",
            '    """Take physical values by block name; trained ones become positions between their bounds."""',
            "    for name, value in self.replaced(values, only_given=True).items():",
            "        held, bounds = self.holders()[name]",
            f"        {write}",
            "",
            "def project(self):",
            '    """Bring trained values back between their bounds; call it after every optimiser step."""',
            "    for position in self.parameters():",
            "        position.detach().clamp_(0.0, 1.0)",
            "",
            "def replaced(self, values, only_given=False):",
            '    """Return the values, some replaced; ValueError for a name or shape there is not."""',
            "    found, given = self.values(), {}",
            "    for name, value in (values or {}).items():",
            "        if name not in found:",
            "            raise ValueError(f\"no block {name!r}; there are {', '.join(found)}\")",
            "        value = torch.as_tensor(value, dtype=torch.float64, device=self.precision.device)",
            "        if value.shape != found[name].shape:",
            '            raise ValueError(f"block {name!r} has {found[name].numel()} values, not {value.shape}")',
            "        given[name] = value",
            "    return given if only_given else {**found, **given}",
            "",
        ]
        return lines


_EXACT = [
    "def _apply(self, fn, recurse=True):",
    '    """Move to a device or type; values that are not trained stay in float64 so that they round only once."""',
    "    exact = {name: b for name, b in self.named_buffers() if b.dtype == torch.float64 and b.dim()}",
    "    super()._apply(fn, recurse)",
    "    for name, buffer in exact.items():",
    "        setattr(self, name, buffer.to(getattr(self, name).device))",
    "    return self",
]
