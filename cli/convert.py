"""``netc convert``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from netc.diagnostics import Diagnostic, NetcError, Severity

from .common import OUTPUT, deck_options, dialect_of, say, show, write_text


@click.command("convert")
@deck_options
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write there; else to stdout.")
def command(deck: Path, include_directories: tuple[Path, ...], lenient: bool, output: Path | None) -> None:
    """Write DECK as a netlist that ngspice runs as it is: included files in place, other dialects translated.

    \b
    Example:
      netc convert lowpass.net --dialect ltspice -o lowpass.cir && ngspice lowpass.cir
    """
    from netc.elaborate import elaborate
    from netc.parse import parse_deck, write_deck

    dialect = dialect_of(click.get_current_context())
    read = parse_deck(deck, include_directories=include_directories, lenient=lenient, dialect=dialect)
    show(read.diagnostics, read.sources)
    text = write_deck(read)
    try:
        elaborate(replace(read, dialect="ngspice"))
    except NetcError as error:  # what is no circuit to netc may be one to ngspice
        doubts = [replace(d, severity=Severity.WARNING) for d in error.diagnostics]
        show([*doubts, Diagnostic(Severity.WARNING, "ngspice may run what was written otherwise")], error.sources)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
        say(f"wrote {output}")
