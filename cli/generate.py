"""``netc generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

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


@click.command("generate")
@click.option("--layers", required=True, callback=_layers, metavar="N,N,...", help="Layer sizes, inputs first.")
@click.option("-o", "--output", required=True, type=OUTPUT, metavar="DECK", help="The deck to write.")
@click.option("--passive", is_flag=True, help="Bit line = membrane: no buffers, layers load each other.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial conductances.")
@click.option("--init-scale", type=float, default=2.0, show_default=True, help="Initial weights, times 1/sqrt(fan-in).")
@click.option("--ron", type=Quantity("ohm"), help="Least resistance of a synapse [1k buffered].")
@click.option("--roff", type=Quantity("ohm"), help="Greatest resistance of a synapse [100 x ron].")
@click.option("--attenuation", callback=_attenuation, metavar="S,S,...", help="Gain of each layer's current mirrors.")
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
@click.option("--line-capacitance", type=Quantity("F"), help="Parasitic, of every word and bit line [none].")
@click.option("--line-resistance", type=Quantity("ohm"), help="Of word line drivers and bit line senses [none].")
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
    """
    from netc.generate import generate, write

    for name in ("line_capacitance", "line_resistance"):
        design[name] = design[name] or 0.0
    text = generate(**design)
    write(output, text)
    say(f"wrote {output}: {len(text.splitlines()):,} lines")
