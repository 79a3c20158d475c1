"""The line of march in one place: each stage on demand, each result kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from netc.diagnostics import Diagnostic, NetcError, in_source_order
from netc.elaborate import elaborate
from netc.elaborate.circuit import Circuit
from netc.emit import emit_torch
from netc.ir.interpret import evaluate, signal_names, simulate
from netc.ir.nodes import Expr, Parameter
from netc.ir.program import Program
from netc.lower import at_rest, check_loops, check_rest, has_capacitor_loop, lower, started_at, states_hold_the_start
from netc.optimise import optimise
from netc.parse import ParseError, parse_deck
from netc.parse.ast import Deck
from netc.runtime.load import instantiate
from netc.runtime.operating_point import operating_point, with_initial


class Compilation:
    """One deck on its way from text to module.

    Every property raises :class:`~netc.diagnostics.NetcError` with all that its stage finds wrong.
    """

    def __init__(
        self, path: str | Path, *, include_directories: Sequence[str | Path] = (), lenient: bool = False
    ) -> None:
        """``include_directories`` are where includes may be read from besides the deck's own folder."""
        self.path = Path(path)
        self._include_directories = tuple(include_directories)
        self._lenient = lenient
        self._readable: Deck | None = None  # also of a deck with errors

    @cached_property
    def deck(self) -> Deck:
        """The syntax tree."""
        try:
            self._readable = parse_deck(self.path, include_directories=self._include_directories, lenient=self._lenient)
        except ParseError as error:
            self._readable = error.deck
            raise
        return self._readable

    @cached_property
    def circuit(self) -> Circuit:
        """The flat circuit.

        Errors of cards and errors of what they mean are raised together.
        """
        try:
            deck = self.deck
        except ParseError as error:
            raise self._with_later_errors(error) from None
        return elaborate(deck, lenient=self._lenient)

    def _with_later_errors(self, error: ParseError) -> NetcError:
        """Add what elaboration finds wrong with the cards that could be read, but for consequences."""
        try:
            elaborate(error.deck, lenient=self._lenient)
        except NetcError as later:
            lines = [error.sources[d.span.file][d.span.line - 1] for d in error.diagnostics if d.span]
            words = set(re.findall(r"[^\s(){}'\",=]+", " ".join(lines).lower()))
            unread = any(line.lstrip().lower().startswith((".inc", ".lib")) for line in lines)
            more = [
                d
                for d in later.diagnostics
                if not words & set(re.findall(r"'([^']*)'", d.message.lower()))
                and not (unread and d.message.startswith("undefined "))
            ]
            return NetcError(in_source_order([*error.diagnostics, *more]), error.sources)
        return error

    @cached_property
    def dae(self) -> Program:
        """The differential-algebraic system."""
        return lower(self.circuit)

    @cached_property
    def program(self) -> Program:
        """The optimised program, its initial state at the operating point where the deck asks for one."""
        return self.start(self._optimised(self.dae))

    @cached_property
    def undriven(self) -> Program:
        """The program as the deck stands: nothing is driven by data, every source has its own waveform."""
        if not any(block.mode == "waveform" for block in self.program.inputs):
            return self.program
        return self.start(self._optimised(lower(replace(self.circuit, driven=[], diagnostics=[]))))

    @cached_property
    def every_lane(self) -> Program:
        """The program with every value on its own, equal or not: what the gradient check differentiates."""
        return self.start(self._optimised(self.dae, disable=("uniform_parameters",)))

    @cached_property
    def reference_program(self) -> Program:
        """The program with its algebraic unknowns solved and no other pass: what every pass must agree with."""
        return self.start(self._optimised(self.dae, passes=("solve_algebraic",)))

    def _optimised(self, dae: Program, **choice: tuple[str, ...]) -> Program:
        try:
            return optimise(dae, **choice)
        except NetcError as error:  # a program knows places of the source, not its lines
            raise NetcError(error.diagnostics, self.sources) from None

    def start(self, program: Program) -> Program:
        """Return ``program`` started at the operating point, unless ``uic`` says to start from given values."""
        circuit = self.circuit
        if program.uic and has_capacitor_loop(circuit) and all(b.mode == "amplitude" for b in program.inputs):
            check_loops(circuit, _first_row(program))
        if program.uic or program.timing is None or not program.states:
            return program
        check_rest(circuit)
        if not states_hold_the_start(circuit):
            settled = self._settled  # by lane: given initial values sort into other families than operating points
            return with_initial(program, {b.name: [settled[lane] for lane in b.lanes] for b in program.states})
        held = {circuit.nets[n]: circuit.number(value) for n, (value, _) in circuit.initial_voltages.items()}
        return with_initial(program, operating_point(program, held=held, guess=self._guess))

    @property
    def _guess(self) -> dict[str, float]:
        """What ``.nodeset`` gives, volts by node."""
        return {self.circuit.nets[n]: self.circuit.number(value) for n, (value, _) in self.circuit.nodeset.items()}

    @cached_property
    def _settled(self) -> dict[str, float]:
        """Initial states by lane, found on the circuit at rest with what ``.ic`` names held."""
        rest = optimise(lower(at_rest(self.circuit)))
        rest = with_initial(rest, operating_point(rest, guess=self._guess))
        currents: dict[str, float] = {}
        for block, values in zip(rest.states, simulate(rest, steps=0, dt=1.0)[1], strict=True):
            if block.unit == "A":
                currents.update(zip(block.lanes, values[0].tolist(), strict=True))
        started = lower(started_at(self.circuit, _first_row(rest), currents))
        blocks: dict[Expr, np.ndarray] = {
            Parameter(block.name, len(block.values)): block.values for block in started.parameters
        }
        initial = evaluate([block.initial for block in started.states], blocks)
        return {
            lane: float(value)
            for block, values in zip(started.states, initial, strict=True)
            for lane, value in zip(block.lanes, np.broadcast_to(values, (block.size,)), strict=True)
        }

    @property
    def signals(self) -> tuple[str, ...]:
        """What to observe: the signals that ``.save`` or ``.print`` name, else all nodes, in the deck's order."""
        return tuple(self.circuit.selected) or tuple(self.circuit.nets[1:])

    @cached_property
    def source(self) -> str:
        """The generated module's text."""
        return emit_torch(self.program, source_name=self.path.name)

    def module(self, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
        """A fresh ``nn.Module`` of the circuit; see docs/architecture.md for its methods."""
        return instantiate(self.source, dtype)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Warnings and notes of the stages run so far; none for a file that could not be read."""
        if "circuit" in self.__dict__:
            return list(self.circuit.diagnostics)
        return list(self._readable.diagnostics) if self._readable else []

    @property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """The source lines by file, for showing diagnostics."""
        return self._readable.sources if self._readable else {}


def _first_row(program: Program) -> dict[str, float]:
    """All signals at the start, volts and amperes by name."""
    rows, _ = simulate(program, steps=0, dt=1.0)
    return dict(zip(signal_names(program), rows[0, 0].tolist(), strict=True))


def compile_deck(
    path: str | Path, *, include_directories: Sequence[str | Path] = (), lenient: bool = False
) -> Compilation:
    """Return the :class:`Compilation` of the deck at ``path``; nothing is read before it is asked for."""
    return Compilation(path, include_directories=include_directories, lenient=lenient)
