"""``netc info``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import deck_options, read_deck


@click.command("info")
@deck_options
def command(deck: Path, include_directories: tuple[Path, ...], lenient: bool) -> None:
    """Count what DECK holds: nets, elements, states, algebraic unknowns, lanes, couplings, time constants.

    \b
    Example:
      netc info network.cir
    """
    from netc.report.summary import summarise
    from netc.runtime.stability import analyse

    compilation = read_deck(deck, include_directories, lenient)
    program = compilation.program
    click.echo(summarise(compilation.circuit, compilation.dae, program, analyse(program)), nl=False)
