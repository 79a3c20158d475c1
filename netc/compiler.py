"""The line of march in one place: each stage on demand, each result kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from netc.diagnostics import Diagnostic
from netc.elaborate import elaborate
from netc.elaborate.circuit import Circuit
from netc.emit import emit_torch
from netc.ir.program import Program
from netc.lower import lower
from netc.optimise import optimise
from netc.parse import parse_deck
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

    @cached_property
    def deck(self) -> Deck:
        """The syntax tree."""
        return parse_deck(self.path, include_directories=self._include_directories, lenient=self._lenient)

    @cached_property
    def circuit(self) -> Circuit:
        """The flat circuit."""
        return elaborate(self.deck, lenient=self._lenient)

    @cached_property
    def dae(self) -> Program:
        """The differential-algebraic system."""
        return lower(self.circuit)

    @cached_property
    def program(self) -> Program:
        """The optimised program, its initial state at the operating point where the deck asks for one."""
        return self.start(optimise(self.dae))

    @cached_property
    def undriven(self) -> Program:
        """The program as the deck stands: nothing is driven by data, every source has its own waveform."""
        if not any(block.mode == "waveform" for block in self.program.inputs):
            return self.program
        return self.start(optimise(lower(replace(self.circuit, driven=[], diagnostics=[]))))

    @cached_property
    def every_lane(self) -> Program:
        """The program with every value on its own, equal or not: what the gradient check differentiates."""
        return self.start(optimise(self.dae, disable=("uniform_parameters",)))

    @cached_property
    def reference_program(self) -> Program:
        """The program with its algebraic unknowns solved and no other pass: what every pass must agree with."""
        return self.start(optimise(self.dae, passes=("solve_algebraic",)))

    def start(self, program: Program) -> Program:
        """Return ``program`` started at the operating point, unless ``uic`` says to start from given values."""
        if program.uic or program.timing is None or not program.states:
            return program
        circuit = self.circuit
        held = {circuit.nets[n]: 0.0 for n in circuit.initial_voltages}
        return with_initial(program, operating_point(program, held=held))

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
    def diagnostics(self) -> Iterable[Diagnostic]:
        """Warnings and notes of the stages run so far."""
        seen = self.__dict__
        if "circuit" in seen:
            return list(self.circuit.diagnostics)
        return list(self.deck.diagnostics) if "deck" in seen else []


def compile_deck(
    path: str | Path, *, include_directories: Sequence[str | Path] = (), lenient: bool = False
) -> Compilation:
    """Return the :class:`Compilation` of the deck at ``path``; nothing is read before it is asked for."""
    return Compilation(path, include_directories=include_directories, lenient=lenient)
