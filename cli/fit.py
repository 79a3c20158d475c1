"""``netc fit``."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netc.diagnostics import NetcError

from .common import BACKENDS, FILE, OUTPUT, Quantity, say

if TYPE_CHECKING:
    from netc.fit import FitResult


class Assignments(click.ParamType[dict[str, Any]]):
    """``NAME=VALUE`` pairs, each with as many values as said, in SPICE's numbers."""

    def __init__(self, values: int, form: str, *, optional: bool = False) -> None:
        self._values = values
        self._optional = optional
        self.name = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return name and numbers; ``None`` for a name alone where that is allowed."""
        from netc.parse.numbers import read_plain

        if isinstance(value, dict):
            return value
        name, equals, text = str(value).partition("=")
        name = name.strip().lower()
        if name and not equals and self._optional:
            return {name: None}
        numbers = []
        for word in text.split(",") if equals and name else ():
            word = word.strip().lower()
            sign = -1.0 if word.startswith("-") else 1.0
            literal = read_plain(word.lstrip("+-"))
            if literal.problem or literal.oddity or not math.isfinite(literal.value):
                self.fail(f"{word!r} in {str(value)!r} is no number", param, ctx)
            numbers.append(sign * literal.value)
        if len(numbers) != self._values:
            self.fail(f"{str(value)!r} is not of the form {self.name}", param, ctx)
        return {name: numbers[0] if self._values == 1 else tuple(numbers)}


@click.command("fit")
@click.argument("model", type=FILE)
@click.option(
    "--data",
    "data_files",
    required=True,
    multiple=True,
    type=FILE,
    metavar="CSV",
    help="Measured: time,voltage,current, or voltage,width,conductance of pulses (repeatable).",
)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="The fitted library.  [MODEL_fitted.lib]")
@click.option("--plot", type=OUTPUT, metavar="PNG", help="A picture of measured and fitted currents.")
@click.option("--subcircuit", metavar="NAME", help="Which subcircuit of MODEL.  [its only one]")
@click.option("--fit", "only", metavar="NAMES", help="Parameters to fit, with commas.  [all]")
@click.option(
    "--fix",
    multiple=True,
    type=Assignments(1, "NAME[=VALUE]", optional=True),
    help="Keep a parameter at its default, or at VALUE (repeatable).",
)
@click.option(
    "--bounds",
    multiple=True,
    type=Assignments(2, "NAME=LOW,HIGH"),
    help="Range of a parameter.  [a hundredth to a hundred times its default; x0: 0 to 1]",
)
@click.option("--sweep-rate", type=Quantity("V/s"), help="How fast the voltage of a sweep without times moved, V/s.")
@click.option("--read-voltage", type=float, default=0.1, show_default=True, help="Of the read after each pulse, V.")
@click.option("--read-width", type=Quantity("s"), help="Of the read after each pulse.  [the pulse's]")
@click.option(
    "--error",
    type=click.Choice(["linear", "log"]),
    default="linear",
    show_default=True,
    help="Compare currents, or their magnitudes so that small ones count as well.",
)
@click.option("--starts", type=int, default=16, show_default=True, help="Where the search starts, at once.")
@click.option("--iterations", type=int, default=200, show_default=True, help="Of the search by gradients.")
@click.option("--steps", type=int, help="Time steps of a measurement.  [by their error]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the starts.")
@click.option("--backend", type=BACKENDS, default="auto", show_default=True, help="PyTorch or a fused C++ kernel.")
def command(
    model: Path,
    data_files: tuple[Path, ...],
    output: Path | None,
    plot: Path | None,
    subcircuit: str | None,
    only: str | None,
    fix: tuple[dict[str, Any], ...],
    bounds: tuple[dict[str, Any], ...],
    sweep_rate: float | None,
    read_voltage: float,
    read_width: float | None,
    **options: Any,
) -> None:
    """Fit the parameters of MODEL, a memristor's library, to measured I-V sweeps or pulse trains.

    MODEL is a file with a two-pin subcircuit, or the name of one of netc's own models (vteam, yakopcic, ...).
    The last line of stdout is a JSON object with "nrmse" and "parameters".

    \b
    Examples:
      netc fit vteam --data sweep.csv --fix aon --fix aoff=1 -o device.lib --plot device.png
      netc fit device.lib --data sweep.csv --sweep-rate 10 --error log
      netc fit vteam --data pulses.csv --read-voltage 0.1 --bounds koff=1,1k
    """
    from netc.fit import FitOptions, find_model, fit, read_measurement, rewritten
    from netc.generate import write

    found = find_model(_library(model), subcircuit)
    fixed = {name: value for pair in fix for name, value in pair.items()}
    chosen = FitOptions(
        fixed={name: found.parameters.get(name, 0.0) if value is None else value for name, value in fixed.items()},
        only=[name.strip().lower() for name in only.split(",")] if only else (),
        bounds={name: ends for pair in bounds for name, ends in pair.items()},
        **options,
    )
    measurements = [
        read_measurement(path, sweep_rate=sweep_rate, read_voltage=read_voltage, read_width=read_width)
        for path in data_files
    ]
    result = fit(found, measurements, chosen, notify=say)
    target = output if output is not None else Path(f"{found.path.stem}_fitted.lib")
    write(target, rewritten(found, {**chosen.fixed, **{name: p.value for name, p in result.parameters.items()}}))
    _show(result)
    if plot is not None:
        from netc.report.fit import fitted

        fitted(measurements, result.currents, plot, title=f"{found.name}: {100 * result.nrmse:.2g} % NRMSE")
    say(f"wrote {target}" + (f" and {plot}" if plot is not None else ""))
    click.echo(json.dumps({"model": found.name, "library": str(target), **result.to_json()}))


def _library(model: Path) -> Path:
    """Return a file that is there, or one of netc's own models."""
    if model.exists():
        return model
    own = resources.files("netc.models")
    names = sorted(entry.name.removesuffix(".lib") for entry in own.iterdir() if entry.name.endswith(".lib"))
    if str(model) in names:
        return Path(str(own / f"{model}.lib"))
    raise NetcError(f"there is no file {model}", hint=f"or name one of netc's own models: {', '.join(names)}")


def _show(result: FitResult) -> None:
    say(f"{'parameter':12}{'fitted':>14}{'standard error':>18}{'started at':>14}")
    for name, p in result.parameters.items():
        error = f"{p.error:.2g}" if math.isfinite(p.error) else "-"
        say(f"{name:12}{p.value:14.6g}{error:>18}{p.start:14.6g}" + (f"  {p.remark}" if p.remark else ""))
    before, now, step = (100 * share for share in (result.start_nrmse, result.nrmse, result.step_error))
    say(f"NRMSE {now:.3g} %, before {before:.3g} %; the time step adds {step:.2g} %")
