"""The two methods that hold the physics: ``prepare`` (once per parameter set) and ``forward`` (the time loop)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from netc.emit.expression import Scope
from netc.emit.layers import Layer, common_layer, layers
from netc.emit.observe import Observer
from netc.emit.schedule import frontier
from netc.emit.stages import Stages
from netc.emit.text import lanes_text, literal, place, plain
from netc.ir.nodes import Expr, Input, Rate, State, Time, TimeStep, postorder

_SIGNATURE = (
    "def forward(self, steps, dt, inputs=None, *, observe=None, state=None, first_step=0, values=None):",
    '    """Integrate by explicit Euler; see the class.  Returns (signals (steps + 1, batch, nodes), state)."""',
)


class Forward(Stages):
    """Writes ``prepare`` and ``forward`` for one schedule."""

    def _scope(self, dtype: str = "dtype", *, batched: bool = False) -> Scope:
        scope = Scope(self.names, self.constants, self.plan.rates, dtype, batched=batched)
        for expr, name in self.prepared.items():
            scope.know(expr, name)
        return scope

    # ------------------------------------------------------------------ prepare

    def prepare(self) -> list[str]:
        """Return the method that computes what does not change with the step, in float64."""
        plan = self.plan
        scope = Scope(self.names, self.constants, plan.rates, "torch.float64")
        scope.plan(plan.parameters)
        lines = [
            f"def prepare(self, {self._prepare_arguments('values')}):",
            '    """What follows from the values alone: once per forward, in float64."""',
        ]
        if not plan.parameters:
            return [*lines, "    return ()"]
        read = set(postorder(*plan.parameters))
        for block, (leaf, name) in zip(plan.program.parameters, self.parameter_names.items(), strict=True):
            if leaf in read:
                where = f"{place(block.spans)}  {lanes_text(block.lanes)}"
                lines.append(f"    {name} = values[{literal(block.name)}]  # {plain(block.unit)}  {where}")
                scope.know(leaf, name)
        for expr, name in self.prepared.items():
            if expr not in self.parameter_names:
                scope.assign(name, expr)
        if any("device=device" in line for line in scope.lines):
            lines.append("    device = self.precision.device")
        lines += [f"    {line}" for line in scope.lines]
        return [*lines, f"    return {_tuple(list(self.prepared.values()))}"]

    # ------------------------------------------------------------------ forward

    def method(self) -> list[str]:
        """Return the method that runs the time loop."""
        observer = Observer(self)
        lines = [
            *self._start(),
            *self._prepared(),
            *self._inputs(),
            *self._waveforms(),
            *self._samples(),
            *self._initial(),
            *observer.keeps(),
            *self._common(observer),
            *self._sequences(),
            *self._advance(observer),
            "",
            *observer.lines(),
            *self._result(),
        ]
        return [*_SIGNATURE, *(f"    {line}" if line else "" for line in lines)]

    def _start(self) -> list[str]:
        return [
            "steps, dt, first_step = check_steps(steps, dt, first_step)",
            "wanted = find_places(self.FAMILIES, self.NODES, observe)",
            "dtype, device = self.precision.dtype, self.precision.device",
            "compiled = self.compiled  # also when the backward pass runs a stretch again",
            "time = torch.arange(first_step, first_step + steps + 1, device=device, dtype=torch.float64)",
            "time = (time * dt).unsqueeze(-1)  # (steps + 1, 1), seconds",
        ]

    def _prepared(self) -> list[str]:
        names = list(self.prepared.values())
        if not names:
            return ["self.replaced(values)"]
        arguments = self._prepare_arguments("self.replaced(values)")
        return ["", "# once per parameter set", f"{_targets(names)} = self.prepare({arguments})"]

    def _prepare_arguments(self, values: str) -> str:
        """The values, and the step where something fixed follows from it."""
        reads_step = any(isinstance(node, TimeStep) for node in postorder(*self.plan.parameters))
        return f"{values}, dt" if reads_step else values

    def _inputs(self) -> list[str]:
        program = self.plan.program
        if not program.inputs:
            return [
                "",
                "if inputs is not None:",
                '    raise ValueError("this circuit takes no inputs")',
                "batch = 1",
            ]
        waveform = program.inputs[0].mode == "waveform"
        shape = "(steps, None, self.FEATURES)" if waveform else "(None, self.FEATURES)"
        self.constants.helper("check_inputs")
        lines = ["", f"inputs = check_inputs(inputs, {shape}, dtype, device)", "batch = inputs.shape[-2]"]
        first = 0
        for block, name in zip(program.inputs, self.input_names, strict=True):
            part = "inputs" if len(program.inputs) == 1 else f"inputs[..., {first}:{first + block.size}]"
            lines.append(f"{name} = {part}  # {lanes_text(block.lanes)}")
            first += block.size
        return lines

    def _waveforms(self) -> list[str]:
        lines: list[str] = []
        if self.plan.waveforms:
            scope = self._scope("torch.float64")
            scope.know(Time(), "time")
            scope.plan(self.plan.waveforms)
            for expr, name in self.waveforms.items():
                if not isinstance(expr, Time):
                    scope.assign(name, expr)
            lines += [
                "",
                "# waveforms common to all samples, all steps at once (steps + 1, lanes), float64",
                *scope.lines,
            ]
            names = list(self.waveforms.values())
            lines.append(f"{_targets(names)} = (w.to(dtype) for w in {_tuple(names)})")
        names = list(self.prepared.values())
        if names:
            lines.append(f"{_targets(names)} = (p.to(dtype) for p in {_tuple(names)})")
        return lines

    def _samples(self) -> list[str]:
        computed = {e: n for e, n in self.samples.items() if not isinstance(e, Input)}
        if not computed:
            return []
        scope = self._scope(batched=True)
        for block, name in zip(self.plan.program.inputs, self.input_names, strict=True):
            scope.know(Input(block.name, block.size), name)
        scope.plan(list(computed))
        for expr, name in computed.items():
            scope.assign(name, expr)
        return ["", "# once per sample (batch, lanes)", *scope.lines]

    def _initial(self) -> list[str]:
        plan, program = self.plan, self.plan.program
        if not program.states:
            return []
        scope = self._scope(batched=True)
        scope.know(Time(), "time[0].to(dtype)")
        for block, name in zip(program.inputs, self.input_names, strict=True):
            scope.know(Input(block.name, block.size), f"{name}[0]" if block.mode == "waveform" else name)
        for expr, name in self.samples.items():
            scope.know(expr, name)
        scope.plan(plan.initials)
        for number, (state, name) in enumerate(zip(program.states, self.state_names, strict=True)):
            shape = f"batch, {state.size}" if number in plan.step else f"{state.size},"
            value = scope.code(plan.initials[number])
            if value.kind == "float":
                scope.lines.append(f"{name} = torch.full(({shape}), {value.text}, dtype=dtype, device=device)")
            else:
                root = scope.tensor(plan.initials[number])
                scope.lines.append(f"{name} = ({root}).expand({shape.rstrip(',')})")
        common = [self.state_names[k] for k in plan.common]
        return [
            "",
            "if state is None:  # start from the initial conditions",
            *(f"    {line}" for line in scope.lines),
            "else:",
            f"    {_targets(self.state_names)} = state",
            *(f"    {name} = {name}[0]  # common to all samples" for name in common),
        ]

    def _common(self, observer: Observer) -> list[str]:
        plan = self.plan
        if not plan.common:
            return []
        layer = common_layer(plan)
        given = [self.waveforms[e] for e in layer.rows]
        return [
            "",
            "# states common to all samples: without a batch axis",
            *self._march(layer, "steps", observer, self.prepared, given, frozenset(plan.sequence_states)),
        ]

    def _sequences(self) -> list[str]:
        plan = self.plan
        if not plan.sequences:
            return []
        scope = self._scope()
        for number in plan.common:
            scope.know(plan.leaf(number), self.row_names[number])
        for expr, name in self.waveforms.items():
            scope.know(expr, name)
        scope.plan(plan.sequences)
        for expr, name in self.sequences.items():
            if not isinstance(expr, State):
                scope.assign(name, expr)
        return ["", "# what follows from them, all steps at once (steps + 1, lanes)", *scope.lines]

    # ------------------------------------------------------------------ the time loop

    def _advance(self, observer: Observer) -> list[str]:
        """Return the time loop: a function that runs layer after layer through some steps, and what calls it."""
        plan = self.plan
        if not plan.step:
            return []
        found = layers(plan)
        flows = [e for layer in found for e in layer.rows if plan.rates(e) is Rate.STEP]
        read = {e for e in flows if isinstance(e, State)} | set(frontier(flows, lambda e: not self._given(e)))
        kept = frozenset(e for e in read if isinstance(e, State))
        scope = self._scope()  # with a time axis
        for expr, name in self.samples.items():
            scope.know(expr, name)
        for expr, name in {**self.waveforms, **self.sequences}.items():
            scope.know(expr, f"{name}[first:last].unsqueeze(1)")
        for driven, name in zip(plan.program.inputs, self.input_names, strict=True):
            if driven.mode == "waveform":
                scope.know(Input(driven.name, driven.size), f"{name}[first:last]")
        for number in plan.step:
            scope.know(plan.leaf(number), f"{self.row_names[number]}[:-1]")
        scope.plan(flows)
        held = {**self.prepared, **self.samples}
        states = [self.state_names[k] for k in plan.step]
        body = [f"{_targets(states)} = state"]
        for number, layer in enumerate(found, start=1):
            start = len(scope.lines)
            given = []
            for expr in layer.rows:
                if plan.rates(expr) is Rate.STEP:
                    given.append(scope.tensor(expr))
                else:
                    given.append(f"{self.sequences.get(expr) or self.waveforms[expr]}[first:last]")
            if len(found) > 1:
                body.append(f"# layer {number} of {len(found)}")
            body += scope.lines[start:]
            body += self._march(layer, "last - first", observer, held, given, kept)
        observed = [(self.row_names[k], observer.kept(k)) for k in plan.step if observer.kept(k)]
        rows = [name for name, _ in observed]
        wanted = [f"{name} if {condition} else None" for name, condition in observed]
        self.constants.helper("stretches")
        return [
            "",
            "# the time loop (steps, batch, lanes), some steps at a time, layer after layer",
            "def advance(first, last, state):",
            *(f"    {line}" for line in body),
            "    return (",
            f"        {_tuple(states)},",
            f"        {_tuple(wanted)},",
            "    )",
            "",
            f"{_tuple(states)}, {_tuple(rows)} = stretches(",
            f"    self, advance, steps, {_tuple(states)}",
            ")",
        ]

    def _given(self, expr: Expr) -> bool:
        return expr in self.prepared or expr in self.samples or expr in self.sequences or expr in self.waveforms

    def _march(
        self,
        layer: Layer,
        count: str,
        observer: Observer,
        held: Mapping[Expr, str],
        rows: Sequence[str],
        needed: Collection[Expr],
    ) -> list[str]:
        """Return the statement that runs a layer through time; its step becomes a function of its own."""
        plan = self.plan
        self.constants.helper("march")
        states = [self.state_names[k] for k in layer.numbers]
        keep = ["True" if plan.leaf(k) in needed else observer.kept(k) or "False" for k in layer.numbers]
        block = f"{layer.block} if compiled else 0" if layer.block else "0"
        name, buffers = self._step(layer, held)
        given = [*(held[e] for e in layer.held), *(f"self.{b}" for b in buffers)]
        return [
            f"{_tuple(states)}, {_tuple([self.row_names[k] for k in layer.numbers])} = march(",
            f"    {name}, {block}, dt, {count},",
            f"    {_tuple(states)}, {_tuple(keep)},",
            f"    {_tuple(given)},",
            f"    {_tuple(rows)},",
            ")",
        ]

    def _step(self, layer: Layer, held: Mapping[Expr, str]) -> tuple[str, list[str]]:
        """Write the pure function of one step of a layer; return its name and the buffers it is to be given."""
        plan = self.plan
        scope = Scope(
            self.names,
            self.constants,
            plan.rates,
            "dtype",
            batched=plan.rates(plan.leaf(layer.numbers[0])) is Rate.STEP,
            pure=True,
        )
        now = {e: self.names.numbered("now") for e in layer.rows}
        for expr, name in now.items():
            scope.know(expr, name)
        for expr in layer.held:
            scope.know(expr, held[expr])
        for number in layer.numbers:
            scope.know(plan.leaf(number), self.state_names[number])
        scope.plan([plan.derivatives[k] for k in layer.numbers])
        body: list[str] = []
        updates: list[str] = []
        for number in layer.numbers:
            block, name, slope = plan.program.states[number], self.state_names[number], self.derivative_names[number]
            body.append(
                f"# {name} ({plain(block.unit)}), {_count(block.size)}: {place(block.spans)}  {lanes_text(block.lanes)}"
            )
            done = len(scope.lines)
            updates.append(scope.update(name, slope, plan.derivatives[number]))
            body += scope.lines[done:]
        states = [self.state_names[k] for k in layer.numbers]
        lines = [f"{_targets(states)} = state"]
        given = [*(held[e] for e in layer.held), *scope.buffers]
        lines += [f"{_targets(given)} = held"] if given else []
        lines += [f"{_targets(list(now.values()))} = now"] if now else []
        if any("dtype" in line for line in [*body, *updates]):
            lines.append(f"dtype, device = {states[0]}.dtype, {states[0]}.device")
        function = self.names.numbered("step")
        self.steps += [
            f"def {function}(dt, state, held, now):",
            f'    """One explicit Euler step of {plain(", ".join(states), 60)}, without side effects."""',
            *(f"    {line}" for line in [*lines, *body, "# explicit Euler", *updates]),
            f"    return {_tuple(states)}",
            "",
            "",
        ]
        return function, scope.buffers

    def _result(self) -> list[str]:
        self.constants.helper("collect")
        parts = [f"{name}.unsqueeze(0)" if k in self.plan.common else name for k, name in enumerate(self.state_names)]
        return [f"return collect(found, wanted, self.FAMILIES, steps, batch, device), {_tuple(parts)}"]


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _targets(names: Sequence[str]) -> str:
    return f"{names[0]}," if len(names) == 1 else ", ".join(names)


def _count(lanes: int) -> str:
    return f"{lanes} lane{'s' if lanes != 1 else ''}"
