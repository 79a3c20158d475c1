"""``netc compile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from netc.compiler import Compilation

from .common import OUTPUT, cache_option, deck_options, pass_option, passes, read_deck, say, write_text


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


_FROM_PROGRAM = ("ir", "py")


def _list_passes(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from netc.kernels import PASSES as OF_KERNELS
    from netc.optimise import PASSES as OF_PROGRAMS

    always = {p.name: p.description for p in OF_PROGRAMS if not p.optional}
    for name, description in (always | passes()).items():
        kind = "always " if name in always else "kernel " if name in dict(OF_KERNELS) else "program"
        click.echo(f"{name:20s} {kind} {description}")
    click.echo(f"{'hash-consing':20s} always  equal expressions are one object, so each is computed once (CSE)")
    ctx.exit(0)


@click.command("compile")
@deck_options
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write there; else to stdout.")
@click.option("--emit", type=click.Choice(list(STAGES)), default="py", show_default=True, help="Which stage to show.")
@pass_option
@cache_option
@click.option(
    "--list-passes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_passes,
    help="Say what passes there are, and stop.",
)
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    output: Path | None,
    emit: str,
    disable: tuple[str, ...],
    no_cache: bool,
) -> None:
    """Compile DECK into a self-contained PyTorch module, or print a stage on the way.

    \b
    Example:
      netc compile mif.cir -o mif.py && python mif.py
      netc compile mif.cir --emit dae
    """
    cached = emit in _FROM_PROGRAM and not no_cache
    compilation = read_deck(deck, include_directories, lenient, disable=disable, cached=cached)
    text = STAGES[emit](compilation)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text if text.endswith("\n") else text + "\n")
        say(f"wrote {output}")
