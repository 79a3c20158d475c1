"""The search: many starts by gradients at once, then Gauss-Newton from the best of them.

All starts are lanes of one circuit, so a step of all costs little more than a step of one.  Adam (Kingma and Ba 2015)
moves each along its own gradient, which back-propagation through the simulated device gives.  The trust-region method
of scipy (Branch, Coleman and Li 1999) then finishes the best; its Jacobian, by central differences over as many lanes,
also tells how well the data determine each parameter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from netc.diagnostics import Diagnostics, NetcError
from netc.fit.device import Array, Bank, Model
from netc.fit.measurement import Measurement
from netc.fit.scales import Scale, choose

ERRORS = ("linear", "log")

_SMALL = 1e-3
"""Currents below this share of the largest count linearly in the logarithmic error."""

_DIFFERENCE = 1e-5
_LEAST_STEPS = 1000
_MOST_STEPS = 256_000
_ROUGHLY, _CONVERGED = 2e-2, 1e-3  # by how much half the time step may change the current: in the search, at its end
_POLISHED = 3
_MOST_TRIALS = 50
_VAGUE = 0.25
"""A parameter whose standard error is more than this share of its range is not determined by the data."""

_AT_END = 1e-3


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to search.

    Attributes:
        fixed: parameters that keep a value of their own.
        only: the parameters to fit; all with a number that are not fixed when empty.
        bounds: ranges by name.
        starts: places where the search starts; the first is the model's defaults.
        iterations: of Adam.
        rate: Adam's first step, as a share of a parameter's range; it falls to a hundredth.
        error: ``linear`` compares currents, ``log`` their inverse hyperbolic sines, so that small ones count too.
        steps: time steps over the measurement; chosen so that twice as many change the current by less than 0.1 %
            when ``None``.
        seed: of the starts.
        integrator: what takes a step, see :data:`netc.discretise.INTEGRATORS`.
        backend: ``auto``, ``torch`` or ``cpp``.
    """

    fixed: Mapping[str, float] = field(default_factory=dict)
    only: Sequence[str] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    starts: int = 16
    iterations: int = 200
    rate: float = 0.02
    error: str = "linear"
    steps: int | None = None
    seed: int = 0
    integrator: str = "euler"
    backend: str = "auto"

    def check(self) -> None:
        """Refuse values that make no sense, all at once.

        Raises:
            NetcError: with one line for each.
        """
        found = Diagnostics()
        for name, least in (("starts", 1), ("iterations", 0), ("seed", 0)):
            if getattr(self, name) < least:
                found.error(f"--{name} must be at least {least}, not {getattr(self, name)}")
        if self.steps is not None and not 1 <= self.steps <= _MOST_STEPS:
            found.error(f"--steps must be 1 to {_MOST_STEPS}, not {self.steps}")
        if not 0 < self.rate < math.inf:
            found.error(f"--rate must be a positive number, not {self.rate}")
        if self.error not in ERRORS:
            found.error(f"unknown error {self.error!r}", hint=f"one of {', '.join(ERRORS)}")
        found.raise_if_failed()


@dataclass(frozen=True, slots=True)
class Fitted:
    """One parameter: its value and standard error, and what there is to say about it."""

    value: float
    error: float
    start: float
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values; ``None`` for an error that is not finite."""
        error = self.error if math.isfinite(self.error) else None
        return {"value": self.value, "standard_error": error, "remark": self.remark}


@dataclass(frozen=True, slots=True)
class FitResult:
    """What came out.

    Attributes:
        parameters: by name.
        nrmse: RMS of current minus measured current over the measured range, of all measurements.
        start_nrmse: the same with the model's defaults.
        step_error: relative RMS change of the fitted current when the time step is halved.
        steps: time steps of each measurement.
        currents: the fitted model's at each measurement's moments, A.
        seconds: how long it took.
    """

    parameters: Mapping[str, Fitted]
    nrmse: float
    start_nrmse: float
    step_error: float
    steps: int
    currents: Sequence[Array]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "nrmse": self.nrmse,
            "start_nrmse": self.start_nrmse,
            "step_error": self.step_error,
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "parameters": {
                name: {
                    "value": p.value,
                    "standard_error": p.error if math.isfinite(p.error) else None,
                    "remark": p.remark,
                }
                for name, p in self.parameters.items()
            },
        }


def fit(
    model: Model,
    measurements: Sequence[Measurement],
    options: FitOptions | None = None,
    *,
    notify: Callable[[str], None] = lambda _: None,
) -> FitResult:
    """Return the parameters with which ``model`` answers as measured.

    Args:
        model: the device.
        measurements: one or more; all have the same parameters, also where states start.
        options: how to search.
        notify: takes a line of progress now and then.

    Raises:
        NetcError: options that make no sense, parameters that the model does not have, or a model that cannot be
            simulated with any of the starts.
    """
    options = options or FitOptions()
    options.check()
    return _Search(model, measurements, options, notify).run()


class _Search:
    def __init__(
        self, model: Model, measurements: Sequence[Measurement], options: FitOptions, notify: Callable[[str], None]
    ) -> None:
        self.begun = time.perf_counter()
        self.measurements = measurements
        self.options = options
        self.notify = notify
        defaults = {**model.parameters, **options.fixed}
        choose(model.parameters, (), dict.fromkeys(options.fixed, (-math.inf, math.inf)))
        names = tuple(options.only) or tuple(name for name in model.parameters if name not in options.fixed)
        self.scales: dict[str, Scale] = choose(defaults, names, options.bounds)
        self.defaults = torch.tensor([self.scales[n].place(defaults[n]) for n in names], dtype=torch.float64)
        self.bank = Bank(
            model,
            names,
            dict(options.fixed),
            max(options.starts, 2 * len(names) + 1),
            integrator=options.integrator,
            backend=options.backend,
        )
        self.target = [torch.from_numpy(self._compared(m.current, m)) for m in measurements]
        self.size = math.sqrt(sum(float((t**2).sum()) for t in self.target))
        if self.size == 0:
            raise NetcError("all measured currents are 0: there is nothing to fit")
        self.steps = options.steps or self._steps(self.defaults, _ROUGHLY)

    def run(self) -> FitResult:
        best = self._descend()
        finished = [self._finish(start) for start in best]
        place, cost, jacobian = min(finished, key=lambda found: found[1])
        chosen = self.options.steps or self._steps(torch.from_numpy(place), _CONVERGED)
        if chosen > self.steps:
            self.notify(f"finishing with {chosen} time steps in the place of {self.steps}")
            self.steps = chosen
            place, cost, jacobian = self._finish(torch.from_numpy(place))
        currents = self._currents(torch.from_numpy(place), self.steps)
        return FitResult(
            parameters=self._described(place, cost, jacobian),
            nrmse=self._nrmse(currents),
            start_nrmse=self._nrmse(self._currents(self.defaults, self.steps)),
            step_error=self._change(torch.from_numpy(place), self.steps),
            steps=self.steps,
            currents=currents,
            seconds=time.perf_counter() - self.begun,
        )

    # ---------------------------------------------------------------- the device

    def _values(self, places: Tensor) -> Tensor:
        """Return parameters ``(copies, parameters)`` at places of the same shape."""
        return torch.stack([s.value(places[:, k]) for k, s in enumerate(self.scales.values())], dim=1)

    def _residuals(self, places: Tensor) -> Tensor:
        """Return how each copy misses each reading, ``(copies, readings)``, as shares of all that was measured."""
        values = self._values(places)
        parts = []
        for measurement, target in zip(self.measurements, self.target, strict=True):
            found = self.bank.currents(values, measurement, self.steps)
            parts.append(self._compared(found, measurement) - target)
        return torch.cat(parts, dim=1) / self.size

    def _compared(self, current: Any, measurement: Measurement) -> Any:
        if self.options.error == "linear":
            return current
        small = _SMALL * float(np.abs(measurement.current).max())
        scaled = current / small
        return torch.asinh(scaled) if isinstance(scaled, Tensor) else np.arcsinh(scaled)

    def _currents(self, place: Tensor, steps: int) -> list[Array]:
        values = self._values(place.expand(self.bank.copies, -1))
        with torch.no_grad():
            return [self.bank.currents(values, m, steps)[0].numpy() for m in self.measurements]

    def _nrmse(self, currents: Sequence[Array]) -> float:
        missed = np.concatenate([c - m.current for c, m in zip(currents, self.measurements, strict=True)])
        span = max(np.ptp(m.current) for m in self.measurements)
        return float(np.sqrt(np.mean(missed**2)) / span)

    def _change(self, place: Tensor, steps: int) -> float:
        """Return by how much twice as many steps change the current."""
        coarse, fine = (np.concatenate(self._currents(place, n)) for n in (steps, 2 * steps))
        size = float(np.sqrt(np.mean(fine**2)))
        change = float(np.sqrt(np.mean((fine - coarse) ** 2)))
        return change / size if size else change

    def _steps(self, place: Tensor, tolerance: float) -> int:
        """Return with how many steps half the step changes the current of a device by less than ``tolerance``."""
        steps = max(_LEAST_STEPS, *(4 * len(m.time) for m in self.measurements))
        while steps < _MOST_STEPS:
            change = self._change(place, steps)
            if change < tolerance:
                break
            steps *= 2
        return min(steps, _MOST_STEPS)

    # ---------------------------------------------------------------- the search

    def _descend(self) -> list[Tensor]:
        """Return the best places of all starts, the best first."""
        options, copies = self.options, self.bank.copies
        draw = torch.Generator().manual_seed(options.seed)
        shift = torch.randn(copies, len(self.scales), dtype=torch.float64, generator=draw)
        # around the defaults, a tenth of the range wide: for a range of 1:10,000 a factor of 2.5
        places = (self.defaults + 0.1 * shift).clamp(0.02, 0.98)
        places[0] = self.defaults
        places[options.starts :] = self.defaults
        slow = fast = torch.zeros_like(places)
        least = torch.full((copies,), math.inf, dtype=torch.float64)
        kept = places.clone()
        for number in range(options.iterations + 1):
            at = places.clone().requires_grad_()
            with torch.enable_grad():
                costs = self._residuals(at).square().sum(1)
                alive = torch.isfinite(costs)
                if not bool(alive[: options.starts].any()):
                    raise NetcError(
                        "the device's current is not finite with any of the starts",
                        hint="choose narrower ranges with --bounds, or more time steps with --steps",
                    )
                torch.autograd.backward(torch.where(alive, costs, 0.0).sum())
            better = costs.detach() < least
            least, kept = torch.where(better, costs.detach(), least), torch.where(better.unsqueeze(1), places, kept)
            if number == options.iterations:
                break
            gradient = at.grad if at.grad is not None else torch.zeros_like(places)
            # one start may be anywhere: only the direction of its gradient counts, and none where it is not finite
            gradient = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
            gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-300)
            slow, fast = 0.9 * slow + 0.1 * gradient, 0.99 * fast + 0.01 * gradient**2
            mean, square = slow / (1 - 0.9 ** (number + 1)), fast / (1 - 0.99 ** (number + 1))
            rate = options.rate * 0.01 ** (number / max(1, options.iterations))
            places = (places - rate * mean / (square.sqrt() + 1e-8)).clamp(0.0, 1.0)
            places = torch.where(alive.unsqueeze(1), places, (kept + self.defaults) / 2)
            if number % 50 == 0:
                self.notify(f"search {number}/{options.iterations}: best error {math.sqrt(float(least.min())):.3g}")
        order = least[: options.starts].argsort()[:_POLISHED]
        return [kept[k] for k in order]

    def _finish(self, start: Tensor) -> tuple[Array, float, Array]:
        """Return place, cost and Jacobian where Gauss-Newton steps end."""

        def residual(place: Array) -> Array:
            rows = self._of_copies(place[None])
            return np.asarray(rows[0], dtype=np.float64)

        def jacobian(place: Array) -> Array:
            shifts = np.concatenate([np.eye(len(place)), -np.eye(len(place))]) * _DIFFERENCE
            around = np.clip(place + shifts, 0.0, 1.0)  # at an end the difference is one-sided
            rows = self._of_copies(around)
            count = len(place)
            width = np.array([around[k, k] - around[count + k, k] for k in range(count)])
            return np.asarray(((rows[:count] - rows[count:]) / width[:, None]).T, dtype=np.float64)

        start = start.clamp(1e-9, 1 - 1e-9)
        if not np.all(np.isfinite(residual(start.numpy()))):
            return start.numpy(), math.inf, np.zeros((1, len(start)))
        found = least_squares(residual, start.numpy(), jacobian, bounds=(0, 1), x_scale="jac", max_nfev=_MOST_TRIALS)
        self.notify(f"finished one start: error {math.sqrt(2 * found.cost):.3g}")
        return found.x, float(2 * found.cost), jacobian(found.x)

    def _of_copies(self, places: Array) -> Array:
        padded = np.concatenate([places, np.repeat(places[:1], self.bank.copies - len(places), axis=0)])
        with torch.no_grad():
            found = self._residuals(torch.from_numpy(padded))[: len(places)].numpy()
        finite: Array = np.where(np.isfinite(found), found, 1e3)  # a step too far is refused by its cost
        return finite

    # ---------------------------------------------------------------- what the data say

    def _described(self, place: Array, cost: float, jacobian: Array) -> dict[str, Fitted]:
        """Return values with standard errors from the curvature of the cost, for independent errors of one size."""
        readings, count = jacobian.shape
        values = self._values(torch.from_numpy(place)[None])[0]
        starts = self._values(self.defaults[None])[0]
        _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
        spread = math.sqrt(cost / max(1, readings - count))
        floor = singular.max(initial=0.0) * 1e-10
        with np.errstate(divide="ignore"):
            inverse = np.where(singular > floor, 1 / singular, np.inf)
        # a direction that does not matter makes all parameters vague that have a share in it
        shares = np.where(np.abs(directions) > 1e-6, np.abs(directions), 0.0)
        with np.errstate(invalid="ignore"):
            errors = spread * np.sqrt(np.nansum((shares * inverse[:, None]) ** 2, axis=0))
        result = {}
        for k, (name, scale) in enumerate(self.scales.items()):
            remark = ""
            if name in self.bank.unread or errors[k] > _VAGUE:
                remark = "not determined by these data"
            elif min(place[k], 1 - place[k]) < _AT_END:
                remark = "at the end of its range"
            error = float(errors[k]) * abs(scale.slope(float(place[k])))
            result[name] = Fitted(float(values[k]), error, float(starts[k]), remark)
        return result
