"""Functions that emitted modules carry with them: the emitter copies the ones a circuit needs, as they stand here.

Only :mod:`torch` and the standard library, so that an emitted file needs neither netc nor numpy; large networks need
scipy.
"""

# mypy: disable-error-code="no-untyped-call,no-any-return"
# (torch leaves some functions without annotations; the rest of the file is copied into decks' modules as it is)
from __future__ import annotations

import base64
import csv
import difflib
import json
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import torch


def unpacked(given: str) -> bytes:
    """Undo base64 and zlib."""
    return zlib.decompress(base64.b64decode(given))


def floats(given: str | Sequence[float]) -> torch.Tensor:
    """Return float64 numbers; text is packed little-endian doubles."""
    if isinstance(given, str):
        return torch.frombuffer(bytearray(unpacked(given)), dtype=torch.float64)
    return torch.tensor(given, dtype=torch.float64)


def integers(given: str) -> torch.Tensor:
    """Return lane numbers; text is packed little-endian 64-bit integers."""
    return torch.frombuffer(bytearray(unpacked(given)), dtype=torch.int64)


def words(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return names; text is a packed JSON list."""
    return given if isinstance(given, tuple) else tuple(json.loads(unpacked(given)))


def to_position(value: torch.Tensor, minimum: float, maximum: float, reciprocal: bool) -> torch.Tensor:
    """Where a value stands between its bounds, 0 to 1; linear in 1 / value (from 1 / maximum up) if reciprocal."""
    if reciprocal:
        return (1.0 / value - 1.0 / maximum) / (1.0 / minimum - 1.0 / maximum)
    return (value - minimum) / (maximum - minimum)


def from_position(position: torch.Tensor, minimum: float, maximum: float, reciprocal: bool) -> torch.Tensor:
    """The value at a position between its bounds, in float64; the inverse of to_position."""
    position = position.to(torch.float64)
    if reciprocal:
        return 1.0 / (1.0 / maximum + (1.0 / minimum - 1.0 / maximum) * position)
    return minimum + (maximum - minimum) * position


def exp(x: torch.Tensor) -> torch.Tensor:
    """e**x, held at a finite value before it overflows, so that gradients stay finite."""
    return torch.exp(x.clamp(max=700.0 if x.dtype == torch.float64 else 80.0))


def concat(*parts: torch.Tensor) -> torch.Tensor:
    """Lanes one after the other; leading axes (time, batch) broadcast."""
    leading = torch.broadcast_shapes(*(p.shape[:-1] for p in parts))
    return torch.cat([p.expand(*leading, p.shape[-1]) for p in parts], -1)


def columns(*parts: torch.Tensor) -> torch.Tensor:
    """A matrix (..., lanes, columns) from its columns, which broadcast."""
    return torch.stack(torch.broadcast_tensors(*parts), -1)


def spread(x: torch.Tensor, lanes: int) -> torch.Tensor:
    """The same value in every lane: (..., 1) seen as (..., lanes) without a copy."""
    return x.expand(*x.shape[:-1], lanes)


def scatter_add(x: torch.Tensor, index: torch.Tensor, lanes: int) -> torch.Tensor:
    """Add lane k of x (..., k) into lane index[k] of (..., lanes)."""
    x = x.expand(*x.shape[:-1], index.numel())
    return x.new_zeros(*x.shape[:-1], lanes).index_add(-1, index, x)


def assemble(x: torch.Tensor, index: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A matrix (..., rows, columns), zero but for x[..., k] added at flat place index[k]."""
    x = x.expand(*x.shape[:-1], index.numel())
    flat = x.new_zeros(*x.shape[:-1], rows * columns).index_add(-1, index, x)
    return flat.unflatten(-1, (rows, columns))


def interpolate(x: torch.Tensor, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """Piecewise linear through (xs, ys), each (lanes, points), held at the ends; x is (..., lanes) or (..., 1)."""
    lanes, points = torch.broadcast_shapes(xs.shape, ys.shape, (x.shape[-1], 1))
    xs, ys = xs.expand(lanes, points).contiguous(), ys.expand(lanes, points)
    if points == 1:
        return ys[:, 0] + 0.0 * x
    at = x.expand(*x.shape[:-1], lanes).reshape(-1, lanes).T.to(xs.dtype).contiguous()
    right = torch.searchsorted(xs.detach(), at.detach(), right=True).clamp(1, points - 1)
    x0, x1 = xs.gather(1, right - 1), xs.gather(1, right)
    y0, y1 = ys.gather(1, right - 1), ys.gather(1, right)
    step = x1 > x0
    part = torch.where(step, (at - x0) / torch.where(step, x1 - x0, 1.0), (at >= x1).to(at.dtype)).clamp(0.0, 1.0)
    return (y0 + part * (y1 - y0)).T.reshape(*x.shape[:-1], lanes)


def vector_matrix(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x (..., n) times a matrix (..., n, m) of its own for every sample or time: (..., m)."""
    return (x.unsqueeze(-2) @ matrix).squeeze(-2)


def solve(matrix: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """y with matrix @ y = b; leading axes (time, batch) broadcast."""
    leading = torch.broadcast_shapes(matrix.shape[:-2], b.shape[:-1])
    b = b.expand(*leading, b.shape[-1])
    return torch.linalg.solve_ex(matrix.expand(*leading, *matrix.shape[-2:]), b.unsqueeze(-1))[0].squeeze(-1)


class Network(torch.autograd.Function):
    """The answer of a sparse linear network to what is fed into it; one factorisation serves both directions."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, right: torch.Tensor
    ) -> torch.Tensor:
        """Solve A y = right for (n, ports), A having values[k] added at (rows[k], columns[k])."""
        from scipy.sparse import csc_matrix  # here: only networks need it
        from scipy.sparse.linalg import splu

        n = right.shape[0]
        places = (rows.numpy(force=True), columns.numpy(force=True))
        ctx.factors = splu(csc_matrix((values.numpy(force=True), places), shape=(n, n)))
        found = torch.from_numpy(ctx.factors.solve(right.numpy(force=True))).to(values.device)
        ctx.save_for_backward(rows, columns, found)
        return found

    @staticmethod
    def backward(ctx: Any, *seeds: torch.Tensor) -> Any:
        """Solve with the transpose; the gradient of A has the places of its entries alone."""
        rows, columns, found = ctx.saved_tensors
        back = torch.from_numpy(ctx.factors.solve(seeds[0].numpy(force=True), trans="T")).to(found.device)
        parts = zip(back.split(32, 1), found.split(32, 1), strict=True)  # so that little of it is there at a time
        return -sum((a[rows] * b[columns]).sum(1) for a, b in parts), None, None, back


def response(
    values: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    feeds: torch.Tensor,
    feed_rows: torch.Tensor,
    feed_ports: torch.Tensor,
    ports: int,
    size: int,
) -> torch.Tensor:
    """What the unknowns (size) of a sparse network become for one unit of each port: (ports, size), in float64."""
    right = assemble(feeds, feed_rows * ports + feed_ports, size, ports)
    return Network.apply(values.expand(rows.numel()).to(torch.float64), rows, columns, right.to(torch.float64)).mT


def newton(step: Any, guess: torch.Tensor, systems: int, *operands: torch.Tensor) -> torch.Tensor:
    """z with step(z, z, ...) = 0 by damped Newton from guess, then 0, then 0.1, else NaN; no gradient.

    step(z, point, ...) is -J(point)**-1 g(z), in float64.  A step is halved until the correction that the same
    Jacobian wants at its end is smaller (P. Deuflhard's natural monotonicity test).  Lane k belongs to system
    k % systems, and every system of every sample goes its own way.
    """

    def largest(x: torch.Tensor) -> torch.Tensor:
        sizes = x.abs() if alone else x.abs().unflatten(-1, (-1, systems)).amax(-2)
        return torch.nan_to_num(sizes, nan=torch.inf, posinf=torch.inf)

    def spread(x: torch.Tensor) -> torch.Tensor:
        return x if alone else x.repeat(*(1,) * (x.ndim - 1), z.shape[-1] // systems)

    alone = guess.shape[-1] == systems
    with torch.no_grad():
        given = [x.to(torch.float64) if x.is_floating_point() else x for x in operands]
        z = guess.to(torch.float64)
        move = step(z, z, *given)
        z = z.expand(move.shape)
        active = torch.ones_like(largest(z), dtype=torch.bool)
        for start in (z, torch.zeros_like(z), torch.full_like(z, 0.1)):
            z, open_here = torch.where(spread(active), start, z), active
            stalled = torch.zeros_like(active, dtype=torch.int64)
            for _ in range(200):
                move = step(z, z, *given)
                wanted = largest(move)
                open_here = open_here & wanted.isfinite()
                part, longest = torch.ones_like(wanted), torch.zeros_like(wanted)
                for _ in range(40):
                    trial = z + spread(part) * move
                    more = step(trial, z, *given)
                    error = largest(more)
                    longest = torch.where((longest == 0) & error.isfinite(), part, longest)
                    tight = 1e-9 * largest(trial) + 1e-12
                    found = (error <= tight) | (torch.maximum(error, wanted) <= 1e3 * tight)
                    halve = open_here & ~found & (error > (1 - part / 4) * wanted)
                    if not halve.any():
                        break
                    part = torch.where(halve, part / 2, part)
                jump = z + spread(torch.where(halve, longest, part)) * move
                z = torch.where(spread(open_here), torch.where(spread(found), trial + more, jump), z)
                stalled = stalled + (part < 2.0**-12)
                active, open_here = active & ~(open_here & found), open_here & ~found & (longest > 0)
                open_here = open_here & (stalled < 24)
                if not open_here.any():
                    break
            if not active.any():
                break
        return torch.where(spread(active), torch.nan, z).to(guess.dtype)


def check_steps(steps: Any, dt: Any, first_step: Any) -> tuple[int, float, int]:
    """Return the three as int, float and int; ValueError where they make no simulation."""
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
    if not 0.0 < float(dt) < float("inf"):
        raise ValueError(f"dt must be a positive number of seconds, not {dt!r}")
    if int(first_step) != first_step or first_step < 0:
        raise ValueError(f"first_step must be a whole number of at least 0, not {first_step!r}")
    return int(steps), float(dt), int(first_step)


def check_inputs(inputs: Any, shape: Sequence[int | None], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return inputs of the given shape (None: any size); None means amplitudes of 1, the deck's own sources."""
    if inputs is None:
        if len(shape) == 3:
            raise ValueError(f"this circuit is driven by whole waveforms: inputs (steps, batch, {shape[-1]})")
        return torch.ones(1, int(shape[-1] or 0), dtype=dtype, device=device)
    given = torch.as_tensor(inputs, dtype=dtype, device=device)
    if given.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, given.shape, strict=True)):
        names = ("steps", "batch", "features")[-len(shape) :]
        asked = ", ".join(name if n is None else f"{name} = {n}" for name, n in zip(names, shape, strict=True))
        raise ValueError(f"inputs have shape {tuple(given.shape)} where ({asked}) is needed")
    return given


def find_places(
    families: Sequence[Sequence[str]], nodes: Sequence[str], observe: Sequence[str] | None
) -> dict[int, list[tuple[int, int]]]:
    """Return for every family that is asked for its [(lane, column of the result), ...]."""
    if isinstance(observe, str):
        raise ValueError(f"observe must be a list of names, not the text {observe!r}")
    places = {name: (f, lane) for f, names in enumerate(families) for lane, name in enumerate(names)}
    wanted: dict[int, list[tuple[int, int]]] = {}
    for column, name in enumerate(nodes if observe is None else observe):
        if name not in places:
            close = difflib.get_close_matches(str(name), nodes, 3)
            raise ValueError(f"no node {name!r}" + (f"; close: {', '.join(close)}" if close else ""))
        family, lane = places[name]
        wanted.setdefault(family, []).append((lane, column))
    return wanted


def collect(
    found: dict[int, torch.Tensor],
    wanted: dict[int, list[tuple[int, int]]],
    families: Sequence[Sequence[str]],
    steps: int,
    batch: int,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Put the lanes asked for side by side: (steps + 1, batch, columns), in the order they were asked for."""
    parts: list[torch.Tensor] = []
    order: list[int] = []
    for family, places in wanted.items():
        size = len(families[family])
        part = found[family].expand(steps + 1, batch, size)
        lanes = [lane for lane, _ in places]
        if lanes != list(range(size)):
            part = part.index_select(-1, torch.tensor(lanes, device=part.device))
        parts.append(part)
        order += [column for _, column in places]
    if not parts:
        return torch.zeros(steps + 1, batch, 0, device=device)
    result = torch.cat(parts, -1) if len(parts) > 1 else parts[0].contiguous()
    if order != sorted(order):
        inverse = sorted(range(len(order)), key=order.__getitem__)
        result = result.index_select(-1, torch.tensor(inverse, device=result.device))
    return result


def main(circuit: Any, tstep: float, tstop: float, arguments: Sequence[str]) -> None:
    """Run the deck's own transient; print a table, or write a CSV file when its name is given."""
    steps = max(1, round(tstop / tstep))
    with torch.no_grad():
        rows = circuit(steps, tstep)[0][:, 0].tolist()
    if arguments:
        with open(arguments[0], "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time", *circuit.NODES])
            writer.writerows([n * tstep, *row] for n, row in enumerate(rows))
        print(f"wrote {steps + 1} rows to {arguments[0]}", file=sys.stderr)
        return
    print(f"{steps} steps of {tstep:g} s")
    print(f"{'node':24s} {'final':>14s} {'minimum':>14s} {'maximum':>14s}")
    for name, column in zip(circuit.NODES, zip(*rows, strict=True), strict=True):
        shown = "".join(c if c.isprintable() else "?" for c in name)
        print(f"{shown:24s} {column[-1]:14.6g} {min(column):14.6g} {max(column):14.6g}")
