"""``netc generate``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from netc.diagnostics import Diagnostic, NetcError

from .common import OUTPUT, Quantity, say


def _layers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of sizes such as 784,100,10") from None


def _attenuation(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of gains such as 0.14,1.01") from None


def _in_options(diagnostic: Diagnostic, names: Iterable[str]) -> Diagnostic:
    """Call what is wrong by the option's name: ``line_capacitance`` is ``--line-capacitance`` here."""
    # one-word names are words of the language too, except where a sentence is about them
    anywhere = "|".join(name for name in names if "_" in name or name in ("ron", "roff"))
    first = "|".join(names)

    def renamed(text: str) -> str:
        return re.sub(rf"(?<![\w-])({anywhere})\b|^({first})\b", lambda found: "--" + found[0].replace("_", "-"), text)

    hint = None if diagnostic.hint is None else renamed(diagnostic.hint)
    return replace(diagnostic, message=renamed(diagnostic.message), hint=hint)


@click.command("generate")
@click.option("--layers", required=True, callback=_layers, metavar="N,N,...", help="Layer sizes, inputs first.")
@click.option("-o", "--output", required=True, type=OUTPUT, metavar="DECK", help="The deck to write.")
@click.option("--passive", is_flag=True, help="Bit line = membrane: no buffers, layers load each other.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial conductances.")
@click.option("--init-scale", type=float, default=2.0, show_default=True, help="Initial weights, times 1/sqrt(fan-in).")
@click.option("--ron", type=Quantity("ohm"), help="Least resistance of a synapse.  [1k; passive 250 x inputs]")
@click.option("--roff", type=Quantity("ohm"), help="Greatest resistance of a synapse.  [100 x --ron]")
@click.option(
    "--attenuation",
    callback=_attenuation,
    metavar="S,S,...",
    help="Gain of each crossbar's current mirrors.  [by --input-current]",
)
@click.option(
    "--input-current",
    type=Quantity("A"),
    default="7u",
    show_default=True,
    help="Into a first-layer membrane, of a full input through a weight of +1.",
)
@click.option(
    "--transconductance",
    type=Quantity("S"),
    default="1m",
    show_default=True,
    help="Of a weight of +1 in the other layers.",
)
@click.option("--membrane-capacitance", type=Quantity("F"), default="100n", show_default=True, help="Of every neuron.")
@click.option(
    "--line-capacitance", type=Quantity("F"), help="Parasitic, at the end of every word and bit line.  [none]"
)
@click.option("--line-resistance", type=Quantity("ohm"), help="Of word line drivers and bit line senses.  [none]")
@click.option("--source-resistance", type=Quantity("ohm"), help="Of word line drivers.  [--line-resistance]")
@click.option("--sense-resistance", type=Quantity("ohm"), help="Of bit line senses.  [--line-resistance; passive none]")
@click.option("--wire-resistance", type=Quantity("ohm"), help="Of a line from crossing to crossing.  [none]")
@click.option("--crossing-capacitance", type=Quantity("F"), help="Between the two lines of each crossing.  [none]")
@click.option(
    "--selector",
    type=click.Choice(["none", "1t1r", "diode"]),
    default="none",
    show_default=True,
    help="In series with each synapse: an nMOS transistor (1T1R) or a diode.",
)
@click.option(
    "--gate-voltage",
    type=Quantity("V"),
    default="3.3",
    show_default=True,
    help="Of the transistors of --selector 1t1r.",
)
@click.option("--neurons/--no-neurons", default=True, help="Whether bit lines charge neurons; without, --passive only.")
@click.option(
    "--buffers",
    type=click.Choice(["linear", "rectified"]),
    default="linear",
    show_default=True,
    help="Between layers: a membrane's voltage drives the next word line, or only where it is positive.",
)
@click.option(
    "--readout",
    type=click.Choice(["neurons", "integrators"]),
    default="neurons",
    show_default=True,
    help="What the last crossbar charges: neurons, or a capacitor and a resistor each, which never spike.",
)
@click.option("--readout-resistance", type=Quantity("ohm"), default="1k", show_default=True, help="Of an integrator.")
@click.option("--readout-capacitance", type=Quantity("F"), default="3u", show_default=True, help="Of an integrator.")
@click.option(
    "--read-voltage", type=Quantity("V"), help="Amplitude of an input word line.  [50m buffered, 500m passive]"
)
@click.option(
    "--drive",
    type=click.Choice(["alpha", "frames"]),
    default="alpha",
    show_default=True,
    help="Input word lines: an alpha current that features scale, or frames (event data).",
)
@click.option(
    "--alpha-time",
    type=Quantity("s"),
    default="640u",
    show_default=True,
    help="Time constant of both stages of the alpha input.",
)
@click.option(
    "--pulse-width", type=Quantity("s"), default="100u", show_default=True, help="Of the pulses behind the alpha input."
)
@click.option("--pulse-period", type=Quantity("s"), default="1m", show_default=True, help="From one pulse to the next.")
@click.option("--step", type=Quantity("s"), default="10u", show_default=True, help="Time step of the deck's .tran.")
@click.option("--steps", type=int, default=1000, show_default=True, help="How many steps the .tran covers.")
def command(output: Path, **design: Any) -> None:
    """Write the deck of a memristive spiking network of any layer sizes.

    The deck carries the directives that train it (which sources a data set drives, which nodes the loss reads,
    which resistances are learnt) as comments, so ngspice runs the same file.

    \b
    Examples:
      netc generate --layers 784,100,10 -o network.cir
      netc generate --layers 64,16,10 --passive -o small.cir
      netc generate --layers 64,16,10 --wire-resistance 2 --sense-resistance 100 --selector 1t1r -o cells.cir
    """
    from netc.generate import generate, write

    for name in ("line_capacitance", "line_resistance", "wire_resistance", "crossing_capacitance"):
        design[name] = design[name] or 0.0
    try:
        text = generate(**design)
    except NetcError as error:
        raise NetcError([_in_options(d, design) for d in error.diagnostics]) from None
    write(output, text)
    say(f"wrote {output}: {len(text.splitlines()):,} lines")
