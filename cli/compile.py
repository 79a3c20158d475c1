"""``netc compile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from netc.compiler import Compilation

from .common import OUTPUT, deck_options, read_deck, say, write_text


def _ast(compilation: Compilation) -> str:
    from netc.parse import dump

    return dump(compilation.deck)


def _graph(compilation: Compilation) -> str:
    from netc.elaborate import dump

    return dump(compilation.circuit)


def _dae(compilation: Compilation) -> str:
    from netc.ir.printer import format_program

    return format_program(compilation.dae)


def _ir(compilation: Compilation) -> str:
    from netc.ir.printer import format_program

    return format_program(compilation.program)


STAGES: dict[str, Callable[[Compilation], str]] = {
    "ast": _ast,
    "graph": _graph,
    "dae": _dae,
    "ir": _ir,
    "py": lambda compilation: compilation.source,
}


@click.command("compile")
@deck_options
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write there; else to stdout.")
@click.option("--emit", type=click.Choice(list(STAGES)), default="py", show_default=True, help="Which stage to show.")
def command(deck: Path, include_directories: tuple[Path, ...], lenient: bool, output: Path | None, emit: str) -> None:
    """Compile DECK into a self-contained PyTorch module, or print a stage on the way.

    \b
    Example:
      netc compile mif.cir -o mif.py && python mif.py
      netc compile mif.cir --emit dae
    """
    compilation = read_deck(deck, include_directories, lenient)
    text = STAGES[emit](compilation)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text if text.endswith("\n") else text + "\n")
        say(f"wrote {output}")
