"""What the parts of ``forward`` hand to one another: the names of variables in the emitted text."""

from __future__ import annotations

from netc.emit.constants import Constants
from netc.emit.schedule import Schedule
from netc.emit.text import Names
from netc.ir.nodes import Expr, Input, Parameter, State, Time


class Stages:
    """Names of states, inputs and parameters, and of the values that one stage computes and a later one reads."""

    def __init__(self, plan: Schedule, constants: Constants, names: Names) -> None:
        self.plan = plan
        self.constants = constants
        self.names = names
        self.steps: list[str] = []  # functions of one step each, written on the way
        program = plan.program
        self.state_names = [names.fresh(s.name, "x") for s in program.states]
        self.row_names = [names.fresh(f"{n}_rows", "x_rows") for n in self.state_names]
        self.derivative_names = [names.fresh(f"d_{n}", "dx") for n in self.state_names]
        self.input_names = [names.fresh(b.name, "u") for b in program.inputs]
        self.parameter_names = {Parameter(b.name, len(b.values)): names.fresh(b.name, "p") for b in program.parameters}
        # What one stage hands to the next, by name.
        self.prepared: dict[Expr, str] = {
            e: self.parameter_names[e] if isinstance(e, Parameter) else names.numbered("p") for e in plan.parameters
        }
        self.waveforms = {e: "time" if isinstance(e, Time) else names.numbered("w") for e in plan.waveforms}
        self.samples = {
            e: self.input_names[self.input_number(e)] if isinstance(e, Input) else names.numbered("s")
            for e in plan.samples
        }
        self.sequences = {
            e: self.row_names[self.state_number(e)] if isinstance(e, State) else names.numbered("q")
            for e in plan.sequences
        }

    def state_number(self, leaf: State) -> int:
        """Return the place of a state among the program's."""
        return next(k for k, block in enumerate(self.plan.program.states) if block.name == leaf.name)

    def input_number(self, leaf: Input) -> int:
        """Return the place of an input among the program's."""
        return next(k for k, block in enumerate(self.plan.program.inputs) if block.name == leaf.name)
