"""Many copies of one device, each with parameters of its own, simulated together and differentiated."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netc.compiler import compile_deck
from netc.diagnostics import NetcError, Span, printable
from netc.fit.measurement import Measurement
from netc.kernels.circuit import kernel_for
from netc.parse import ast, parse_text

Array = NDArray[np.float64]

_PINS = 2


@dataclass(frozen=True, slots=True)
class Model:
    """A subcircuit of two pins with its parameters.

    Attributes:
        path: the library it stands in.
        name: of the subcircuit.
        parameters: names and defaults, as far as these are plain numbers.
        places: where each default stands.
    """

    path: Path
    name: str
    parameters: dict[str, float]
    places: dict[str, Span]


def find_model(path: Path | str, name: str | None = None) -> Model:
    """Return the subcircuit ``name`` of a library, or its only one.

    Raises:
        NetcError: the library cannot be read, has no such subcircuit or several, or it has other than two pins.
    """
    path = Path(path).resolve()
    text = f"a device\n{_include(path)}.end\n"
    deck = parse_text(text, str(path.parent / "fit.cir"), include_directories=[path.parent])
    # what other files bring in cannot be written back into this one
    inside = [card for include in deck.cards if isinstance(include, ast.Include) for card in include.cards]
    found = {card.name: card for card in inside if isinstance(card, ast.Subcircuit)}
    chosen = found.get(name.lower()) if name is not None else next(iter(found.values()), None)
    names = ", ".join(map(printable, found)) or "none"
    if chosen is None:
        wanted = f" {printable(name)!r}" if name is not None else ""
        raise NetcError(f"{path} has no subcircuit{wanted} of its own", hint=f"it has {names}")
    if name is None and len(found) > 1:
        raise NetcError(f"{path} has several subcircuits", hint=f"choose one of {names} with --subcircuit")
    if len(chosen.ports) != _PINS:
        raise NetcError(f"{chosen.name} has {len(chosen.ports)} pins; a device with two can be fitted")
    numbers = {key: number for key, value in chosen.parameters if (number := _number(value)) is not None}
    values = {key: value for key, (value, _) in numbers.items()}
    return Model(path, chosen.name, values, {key: place for key, (_, place) in numbers.items()})


def _number(expression: ast.Expression) -> tuple[float, Span] | None:
    """Return value and place of a number with or without a sign, ``None`` for all else."""
    if isinstance(expression, ast.Number):
        return expression.value, expression.span
    if isinstance(expression, ast.Unary) and expression.operator in "+-" and isinstance(expression.operand, ast.Number):
        sign, number = expression.span, expression.operand
        whole = replace(sign, length=number.span.column + number.span.length - sign.column)
        return (-number.value if expression.operator == "-" else number.value), whole
    return None


def _include(path: Path) -> str:
    if any(mark in str(path) for mark in '"\n\r'):
        raise NetcError(f"the name of {printable(str(path))} cannot be written into a deck", hint="rename the file")
    return f'.include "{path}"\n'


class Bank:
    """Copies of a device at one voltage source, one lane each, in float64.

    Args:
        model: the device.
        free: names of the parameters that differ from copy to copy.
        fixed: values of others that are not the model's own.
        copies: how many.
        integrator: what takes a step.
        backend: ``auto``, ``torch`` or ``cpp``.
    """

    def __init__(
        self,
        model: Model,
        free: Sequence[str],
        fixed: dict[str, float],
        copies: int,
        *,
        integrator: str = "euler",
        backend: str = "auto",
    ) -> None:
        self.free = tuple(free)
        self.copies = copies
        with tempfile.TemporaryDirectory(prefix="netc-fit-") as folder:
            deck = Path(folder) / "fit.cir"
            deck.write_text(_deck(model, self.free, fixed, copies), encoding="utf-8")
            compilation = compile_deck(deck, integrator=integrator, include_directories=[model.path.parent])
            module: Any = compilation.module(torch.float64)
            program = compilation.program
        self._module = module
        self._kernel = kernel_for(backend, program, torch.float64, notify=_quiet)
        given: dict[str, Tensor] = module.values()
        self._values = {name: value.detach() for name, value in given.items()}
        self._places: dict[str, tuple[list[int], list[int]]] = {}
        wanted = {f"x{k + 1}.{name}": (k, p) for k in range(copies) for p, name in enumerate(self.free)}
        for block in program.parameters:
            here = [wanted[lane] for lane in block.lanes if lane in wanted]
            if here:
                self._places[block.name] = [k for k, _ in here], [p for _, p in here]
        self._observed = tuple(f"i{k + 1}" for k in range(copies))
        seen = {p for _, columns in self._places.values() for p in columns}
        self.unread = tuple(name for p, name in enumerate(self.free) if p not in seen)

    def currents(self, parameters: Tensor, measurement: Measurement, steps: int) -> Tensor:
        """Return the current of each copy at the measured moments, ``(copies, readings)`` in A, differentiable.

        Args:
            parameters: values of the free ones, ``(copies, len(free))``.
            measurement: what drives the device.
            steps: equal time steps over its duration.
        """
        dt = measurement.duration / steps
        time: Array = np.arange(steps, dtype=np.float64) * dt
        driven = torch.from_numpy(measurement.driven_at(time)).reshape(steps, 1, 1)
        values = dict(self._values)
        for name, (rows, columns) in self._places.items():
            values[name] = parameters[rows, columns]
        if self._kernel is not None:
            found = self._kernel.simulate(_Valued(self._module, values), steps, dt, driven, self._observed)
        else:
            found, _ = self._module(steps, dt, driven, observe=self._observed, values=values)
        return _between(found[:, 0, :], measurement.sampled / dt).T


class _Valued:
    """A module with other values."""

    def __init__(self, module: Any, values: dict[str, Tensor]) -> None:
        self._module = module
        self._values = values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def values(self) -> dict[str, Tensor]:
        """Return the physical values by parameter block."""
        return self._values


def _between(rows: Tensor, places: Array) -> Tensor:
    """Return rows at places that need not be whole numbers, straight in between."""
    below = torch.from_numpy(np.clip(places.astype(np.int64), 0, len(rows) - 2))
    share = torch.from_numpy(np.clip(places - below.numpy(), 0.0, 1.0)).unsqueeze(1)
    return torch.lerp(rows[below], rows[below + 1], share)


def _deck(model: Model, free: Sequence[str], fixed: dict[str, float], copies: int) -> str:
    lines = ["copies of a device", _include(model.path).rstrip(), "vdrive p 0 0"]
    for k in range(1, copies + 1):
        # numbers that differ keep each copy's parameters apart
        own = {name: model.parameters[name] * (1 + 1e-6 * k) + 1e-9 * k for name in free}
        words = " ".join(f"{name}={value!r}" for name, value in {**fixed, **own}.items())
        lines += [f"vs{k} p q{k} 0", f"x{k} q{k} 0 {model.name} {words}", f"hs{k} i{k} 0 vs{k} 1"]
    return "\n".join([*lines, "*.netc input vdrive mode=waveform", ".tran 1u 1m uic", ".end", ""])


def _quiet(_: str) -> None:
    """Say nothing: a fit runs either way."""
