"""The line of march in one place: each stage on demand, each result kept."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from netc.cache import Compiled, DeckCache, Request
from netc.diagnostics import Diagnostic, NetcError, in_source_order
from netc.emit import emit_torch
from netc.ir.interpret import evaluate, signal_names, simulate
from netc.ir.nodes import Expr, Parameter
from netc.ir.program import Program
from netc.runtime.load import instantiate

if TYPE_CHECKING:
    # imported where they are needed: a deck that was compiled before needs none of them
    from netc.elaborate.circuit import Circuit
    from netc.elaborate.quantities import Measure
    from netc.parse import ParseError
    from netc.parse.ast import Deck


class Compilation:
    """One deck on its way from text to module.

    Every property raises :class:`~netc.diagnostics.NetcError` with all that its stage finds wrong.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        include_directories: Sequence[str | Path] = (),
        lenient: bool = False,
        disable: Sequence[str] = (),
        cache: DeckCache | None = None,
        integrator: str = "euler",
        dialect: str = "ngspice",
        step: float | None = None,
    ) -> None:
        """See :func:`compile_deck`."""
        self.integrator = integrator
        self.integration: tuple[str, ...] = ()  # what `auto` decided, once it has
        self._step = step
        self.path = Path(path)
        self._include_directories = tuple(include_directories)
        self._lenient = lenient
        self.dialect = dialect
        self._disable = tuple(disable)
        self._cache = cache if integrator != "auto" else None  # which depends on the step, and says what it does
        self._readable: Deck | None = None  # also of a deck with errors
        self._remarks: list[Diagnostic] | None = None  # of all stages up to lowering, once they have run

    @cached_property
    def deck(self) -> Deck:
        """The syntax tree."""
        from netc.parse import ParseError, parse_deck

        try:
            with _no_collection():
                self._readable = parse_deck(
                    self.path,
                    include_directories=self._include_directories,
                    lenient=self._lenient,
                    dialect=self.dialect,
                )
        except ParseError as error:
            self._readable = error.deck
            raise
        return self._readable

    @cached_property
    def circuit(self) -> Circuit:
        """The flat circuit.

        Errors of cards and errors of what they mean are raised together.
        """
        from netc.elaborate import elaborate
        from netc.parse import ParseError

        try:
            deck = self.deck
        except ParseError as error:
            raise self._with_later_errors(error) from None
        with _no_collection():
            return elaborate(deck, lenient=self._lenient)

    def _with_later_errors(self, error: ParseError) -> NetcError:
        """Add what elaboration finds wrong with the cards that could be read, but for consequences."""
        from netc.elaborate import elaborate

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
        from netc.lower import lower

        with _no_collection():
            found = lower(self.circuit)
        self._remarks = list(self.circuit.diagnostics)
        return found

    @property
    def from_cache(self) -> bool:
        """Whether the program is at hand from an earlier run; if so, no stage before it has to run."""
        return self._kept is not None

    @cached_property
    def _kept(self) -> Compiled | None:
        return self._cache.find(self._request("program")) if self._cache is not None else None

    def _request(self, kind: str) -> Request:
        folders = tuple(str(Path(folder).absolute()) for folder in self._include_directories)
        if self.integrator != "euler":
            kind = f"{kind} by {self.integrator}"
        return Request(self.path, folders, self._lenient, self._disable, kind, self.dialect)

    def _keep(self, kind: str, program: Program) -> Program:
        if self._cache is not None:
            compiled = Compiled(program, self.signals, tuple(self.diagnostics), self.deck.sources)
            self._cache.store(self._request(kind), compiled, self.deck.searches)
        return program

    @cached_property
    def program(self) -> Program:
        """The optimised program, its initial state at the operating point where the deck asks for one."""
        if self._kept is not None:
            return self._kept.program
        return self._keep("program", self._stepping(self.dae))

    @cached_property
    def undriven(self) -> Program:
        """The program as the deck stands: nothing is driven by data, every source has its own waveform."""
        if not any(block.mode == "waveform" for block in self.program.inputs):
            return self.program
        return self._found("undriven") or self._keep("undriven", self._stepping(self._undriven_dae))

    def _found(self, kind: str) -> Program | None:
        kept = self._cache.find(self._request(kind)) if self._cache is not None else None
        return kept.program if kept is not None else None

    @cached_property
    def _undriven_dae(self) -> Program:
        from netc.lower import lower

        dae = self.dae  # also for what it remarks
        if not any(block.mode == "waveform" for block in dae.inputs):
            return dae
        return lower(replace(self.circuit, driven=[], diagnostics=[]))

    @cached_property
    def system(self) -> Program:
        """The differential-algebraic system as the deck stands, driven by its own sources, started as a run is."""
        found = self._found("system")
        if found is not None:
            return found
        dae = self._undriven_dae
        return self._keep("system", dae if _starts_as_given(dae) else self._started(dae, self.continuous))

    @cached_property
    def continuous(self) -> Program:
        """:attr:`undriven` with the circuit's own derivatives, whatever the integrator."""
        return self.undriven if self.integrator == "euler" else self.start(self._optimised(self._undriven_dae))

    @cached_property
    def every_lane(self) -> Program:
        """The program with every value on its own, equal or not: what the gradient check differentiates."""
        return self._stepping(self.dae, disable=("uniform_parameters", *self._disable))

    @cached_property
    def reference_program(self) -> Program:
        """The program with its algebraic unknowns solved and no other pass: what every pass must agree with."""
        return self.start(self._optimised(self.dae, passes=("solve_algebraic",)))

    def _stepping(self, dae: Program, *, disable: Sequence[str] | None = None) -> Program:
        """Return the optimised program of a system, at its start, that steps by the integrator."""
        continuous = self.start(self._optimised(dae, disable=disable))
        if self.integrator == "euler":
            return continuous
        started = self._started(dae, continuous)
        if self.integrator == "auto":
            from netc.runtime.plan import plan
            from netc.runtime.simulate import step_from_timing

            found = plan(started, *step_from_timing(dae.timing, self._step, None if dae.timing else self._step))
            self.integration = found.lines
            return _carrying(self._optimised(found.system, disable=disable), continuous)
        from netc.discretise import discretise

        return _carrying(self._optimised(discretise(started, self.integrator), disable=disable), continuous)

    def _started(self, dae: Program, continuous: Program) -> Program:
        """Return ``dae`` starting where ``continuous``, the same circuit, has been brought to rest."""
        from netc.runtime.operating_point import with_initial

        if _starts_as_given(dae):
            return dae
        _, settled = simulate(continuous, steps=0, dt=1.0)
        value = {
            lane: number
            for block, numbers in zip(continuous.states, settled, strict=True)
            if not block.carried
            for lane, number in zip(block.lanes, numbers[0].tolist(), strict=True)
        }
        return with_initial(dae, {block.name: [value[lane] for lane in block.lanes] for block in dae.states})

    def _optimised(
        self, dae: Program, *, passes: Sequence[str] | None = None, disable: Sequence[str] | None = None
    ) -> Program:
        from netc.optimise import optimise

        try:
            return optimise(dae, passes=passes, disable=self._disable if disable is None else disable)
        except NetcError as error:  # a program knows places of the source, not its lines
            raise NetcError(error.diagnostics, self.sources) from None

    def start(self, program: Program) -> Program:
        """Return ``program`` started at the operating point, unless ``uic`` says to start from given values."""
        from netc.lower import check_loops, check_rest, has_capacitor_loop, states_hold_the_start
        from netc.runtime.operating_point import at_the_start, operating_point, with_guesses, with_initial

        circuit = self.circuit
        guesses = self._guesses(program)
        program = with_guesses(program, guesses)
        if program.uic and has_capacitor_loop(circuit) and all(b.mode == "amplitude" for b in program.inputs):
            found = check_loops(circuit, _first_row(program))
            circuit.diagnostics.extend(remark for remark in found if remark not in circuit.diagnostics)
            self._remarks = list(circuit.diagnostics)
        if program.uic or program.timing is None or not program.states:
            return at_the_start(program, guess=guesses)
        check_rest(circuit)
        if not states_hold_the_start(circuit):
            settled = self._settled  # by lane: given initial values sort into other families than operating points
            started = with_initial(program, {b.name: [settled[lane] for lane in b.lanes] for b in program.dynamic})
            return at_the_start(started, guess=guesses)
        held = {circuit.nets[n]: circuit.number(value) for n, (value, _) in circuit.initial_voltages.items()}
        rest = None if program.inputs else self._at_rest
        if rest is not None and {lane for b in program.dynamic for lane in b.lanes} <= rest[0].keys() | held.keys():
            known = rest[0] | held
            started = with_initial(program, {b.name: [known[lane] for lane in b.lanes] for b in program.dynamic})
            return at_the_start(started, guess=rest[1] | rest[0])
        return with_initial(program, operating_point(program, held=held, guess=guesses))

    @property
    def _guess(self) -> dict[str, float]:
        """What ``.nodeset`` gives, volts by node."""
        return {self.circuit.nets[n]: self.circuit.number(value) for n, (value, _) in self.circuit.nodeset.items()}

    def _guesses(self, program: Program) -> dict[str, float]:
        """What ``.nodeset`` gives; where Newton's method finds nodes, all others as they are while it is held."""
        from netc.lower import at_rest, lower
        from netc.optimise import optimise
        from netc.runtime.operating_point import iterates, operating_point, with_initial

        given = self._guess
        if not given or not iterates(program):
            return given
        held = replace(self.circuit, initial_voltages=self.circuit.nodeset, nodeset={}, diagnostics=[])
        try:
            rest = optimise(lower(at_rest(held)))
            return _first_row(with_initial(rest, operating_point(rest))) | given
        except NetcError:  # no more than a guess is at stake
            return given

    @cached_property
    def _circuit_at_rest(self) -> Circuit:
        from netc.lower import at_rest

        return at_rest(self.circuit)

    @cached_property
    def _dae_at_rest(self) -> Program:
        from netc.lower import lower

        return lower(self._circuit_at_rest)

    @cached_property
    def _at_rest(self) -> tuple[dict[str, float], dict[str, float]] | None:
        """States and unknowns, and signals, of the circuit at rest with what ``.ic`` names held, as SPICE finds it."""
        from netc.lower import check_given
        from netc.runtime.nodal import Nodal
        from netc.runtime.rest import at_rest
        from netc.runtime.steadiness import named_states, remarks

        nodal = Nodal(self._circuit_at_rest, self._guess)
        point = nodal.search()
        start = None if point is None else named_states(self._circuit_at_rest, point)
        found = at_rest(self._dae_at_rest, self._guess, start)
        if found is not None:
            check_given(self.circuit, found[1])
        if found is not None and point is not None:
            self.circuit.diagnostics.extend(remarks(self.circuit, self._dae_at_rest, nodal, point))
            self._remarks = list(self.circuit.diagnostics)
        return found

    @cached_property
    def _settled(self) -> dict[str, float]:
        """Initial states by lane, found on the circuit at rest with what ``.ic`` names held."""
        from netc.lower import check_given, lower, started_at
        from netc.optimise import optimise
        from netc.runtime.operating_point import operating_point, with_initial

        if self._at_rest is not None:
            known, voltages = self._at_rest
        else:
            rest = optimise(self._dae_at_rest)
            rest = with_initial(rest, operating_point(rest, guess=self._guess))
            known = {
                lane: value
                for block, values in zip(rest.states, simulate(rest, steps=0, dt=1.0)[1], strict=True)
                if not block.carried
                for lane, value in zip(block.lanes, values[0].tolist(), strict=True)
            }
            voltages = _first_row(rest)
            check_given(self.circuit, voltages)
        currents = {
            lane: known[lane] for b in self._dae_at_rest.states if b.unit != "V" for lane in b.lanes if lane in known
        }
        started = lower(started_at(self.circuit, voltages, currents))
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
    def measures(self) -> Sequence[Measure]:
        """What the deck's ``.measure`` cards ask for."""
        if self._kept is not None and not any(
            line.lstrip().lower().startswith(".meas") for lines in self.sources.values() for line in lines
        ):
            return ()
        return self.circuit.measures

    @property
    def signals(self) -> tuple[str, ...]:
        """What to observe: the signals that ``.save`` or ``.print`` name, else all nodes, in the deck's order."""
        if self._kept is not None:
            return self._kept.signals
        inner = self.circuit.internal
        return tuple(self.circuit.selected) or tuple(n for k, n in enumerate(self.circuit.nets) if k and k not in inner)

    @cached_property
    def source(self) -> str:
        """The generated module's text."""
        return emit_torch(self.program, source_name=self.path.name)

    def module(self, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
        """A fresh ``nn.Module`` of the circuit; see docs/architecture.md for its methods."""
        return instantiate(self.source, dtype)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """Warnings and notes of the stages up to lowering, as far as they have run; none for a file not read."""
        if self._remarks is not None:
            return list(self._remarks)
        if "circuit" in self.__dict__:
            return list(self.circuit.diagnostics)
        if self._readable is not None:
            return list(self._readable.diagnostics)
        return list(self._kept.diagnostics) if self._kept is not None else []

    @property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """The lines of the deck and of all it includes, by file, in the order they were read; empty before that."""
        if self._readable is not None:
            return self._readable.sources
        return self._kept.files if self._kept is not None else {}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Make no search for cycles: a large deck is a million small objects, none of which is garbage yet."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _starts_as_given(program: Program) -> bool:
    return program.uic or program.timing is None or not program.states


def _carrying(program: Program, continuous: Program) -> Program:
    """Return ``program`` with the search for its algebraic unknowns starting from those of ``continuous``."""
    from netc.runtime.operating_point import with_initial

    _, state = simulate(continuous, steps=0, dt=1.0)
    known = {
        lane: value
        for block, values in zip(continuous.states, state, strict=True)
        if block.carried
        for lane, value in zip(block.lanes, values[0].tolist(), strict=True)
    }
    found = {
        block.name: [known[lane] for lane in block.lanes]
        for block in program.states
        if block.carried and known.keys() >= set(block.lanes)
    }
    return with_initial(program, found)


def _first_row(program: Program) -> dict[str, float]:
    """All signals at the start, volts and amperes by name."""
    rows, _ = simulate(program, steps=0, dt=1.0)
    return dict(zip(signal_names(program), rows[0, 0].tolist(), strict=True))


def compile_deck(
    path: str | Path,
    *,
    include_directories: Sequence[str | Path] = (),
    lenient: bool = False,
    disable: Sequence[str] = (),
    cache: DeckCache | None = None,
    integrator: str = "euler",
    dialect: str = "ngspice",
    step: float | None = None,
) -> Compilation:
    """Return the :class:`Compilation` of the deck at ``path``; nothing is read before it is asked for.

    Args:
        path: the netlist.
        include_directories: where includes may be read from besides the deck's own folder.
        lenient: warn of analyses that are no transient instead of refusing them.
        disable: names of passes of :data:`netc.optimise.PASSES` to leave out.
        cache: where programs are kept from run to run; nowhere when ``None``.
        integrator: one of :data:`netc.discretise.INTEGRATORS`, or ``auto``.
        step: seconds, what ``auto`` plans for; the deck's own when ``None``.
        dialect: one of :data:`netc.parse.dialects.DIALECTS`.
    """
    return Compilation(
        path,
        include_directories=include_directories,
        lenient=lenient,
        disable=disable,
        cache=cache,
        integrator=integrator,
        step=step,
        dialect=dialect,
    )
