"""The two methods that hold the physics: ``prepare`` (once per parameter set) and ``forward`` (the time loop)."""

from __future__ import annotations

from collections.abc import Sequence

from netc.emit.expression import Scope
from netc.emit.observe import Observer
from netc.emit.stages import Stages
from netc.emit.text import lanes_text, literal, place, plain
from netc.ir.nodes import Input, State, Time, postorder

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
            "def prepare(self, values):",
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
            *self._step(observer),
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
            "time = torch.arange(first_step, first_step + steps + 1, device=device, dtype=torch.float64)",
            "time = (time * dt).unsqueeze(-1)  # (steps + 1, 1), seconds",
        ]

    def _prepared(self) -> list[str]:
        names = list(self.prepared.values())
        if not names:
            return ["self.replaced(values)"]
        return ["", "# once per parameter set", f"{_targets(names)} = self.prepare(self.replaced(values))"]

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
        scope = self._scope()
        reads = {e: self.names.numbered("w_now") for e in plan.common_reads}
        for expr, name in reads.items():
            scope.know(expr, name)
        return [
            "",
            "# states common to all samples: a loop without a batch axis",
            *self._loop(plan.common, scope, {self.waveforms[e]: name for e, name in reads.items()}, observer),
        ]

    def _sequences(self) -> list[str]:
        plan = self.plan
        if not plan.sequences:
            return []
        scope = self._scope()
        stacked = []
        for number in plan.common:
            leaf, rows = plan.leaf(number), self.row_names[number]
            if leaf in plan.sequence_states:
                stacked.append(f"{rows} = torch.stack({rows})")
                scope.know(leaf, rows)
        for expr, name in self.waveforms.items():
            scope.know(expr, name)
        scope.plan(plan.sequences)
        for expr, name in self.sequences.items():
            if not isinstance(expr, State):
                scope.assign(name, expr)
        return ["", "# what follows from them, all steps at once (steps + 1, lanes)", *stacked, *scope.lines]

    def _step(self, observer: Observer) -> list[str]:
        plan = self.plan
        if not plan.step:
            return []
        scope = self._scope(batched=True)
        for expr, name in self.samples.items():
            scope.know(expr, name)
        reads: dict[str, str] = {}
        for expr in plan.step_reads:
            if isinstance(expr, Input):
                source = self.input_names[self.input_number(expr)]
            else:
                source = self.sequences.get(expr) or self.waveforms[expr]
            reads[source] = self.names.numbered("u_now" if isinstance(expr, Input) else "w_now")
            scope.know(expr, reads[source])
        return ["", "# the time loop (batch, lanes)", *self._loop(plan.step, scope, reads, observer)]

    def _loop(self, numbers: Sequence[int], scope: Scope, reads: dict[str, str], observer: Observer) -> list[str]:
        """Return a loop over time for some state blocks; ``reads`` maps arrays over time to their rows."""
        plan = self.plan
        for number in numbers:
            scope.know(plan.leaf(number), self.state_names[number])
        roots = [plan.derivatives[k] for k in numbers]
        scope.plan(roots)
        body: list[str] = []
        updates: list[str] = []
        for number in numbers:
            block, name, slope = plan.program.states[number], self.state_names[number], self.derivative_names[number]
            body.append(
                f"# {name} ({plain(block.unit)}), {_count(block.size)}: {place(block.spans)}  {lanes_text(block.lanes)}"
            )
            done = len(scope.lines)
            updates.append(scope.update(name, slope, plan.derivatives[number]))
            body += scope.lines[done:]
        body += ["# explicit Euler", *updates]
        kept = []
        for number in numbers:
            rows, name = self.row_names[number], self.state_names[number]
            condition = observer.kept(number)
            if condition is not None:
                body.append(f"{condition}{rows}.append({name})")
                kept.append(f"{rows} = [{name}]")
        if reads:
            arrays = ", ".join(f"{array}.unbind()" for array in reads)
            head = f"for _, {', '.join(reads.values())} in zip(range(steps), {arrays}):"
        else:
            head = "for _ in range(steps):"
        return [*kept, head, *(f"    {line}" for line in body)]

    def _result(self) -> list[str]:
        self.constants.helper("collect")
        parts = [f"{name}.unsqueeze(0)" if k in self.plan.common else name for k, name in enumerate(self.state_names)]
        return [f"return collect(found, wanted, self.FAMILIES, steps, batch), {_tuple(parts)}"]


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _targets(names: Sequence[str]) -> str:
    return f"{names[0]}," if len(names) == 1 else ", ".join(names)


def _count(lanes: int) -> str:
    return f"{lanes} lane{'s' if lanes != 1 else ''}"
