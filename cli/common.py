"""What all commands share: options, messages on stderr, exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netc.diagnostics import Diagnostic, NetcError, Severity

if TYPE_CHECKING:
    from netc.compiler import Compilation

EXIT_CHECK_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_F = TypeVar("_F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)


_DIALECT = f"{__name__}.dialect"


def _remember(context: click.Context, parameter: click.Parameter, value: str) -> None:
    """Keep the dialect for :func:`read_deck`: every command that has a deck has it, and none does more with it."""
    context.meta[_DIALECT] = value


def dialect_of(context: click.Context | None) -> str:
    """Return the dialect the running command was given."""
    return str(context.meta.get(_DIALECT, "ngspice")) if context is not None else "ngspice"


def deck_options(command: _F) -> _F:
    """Add the deck argument and the options of reading one."""
    for add in (
        click.option("--lenient", is_flag=True, help="Warn about unsupported analysis cards instead of refusing them."),
        click.option(
            "-I",
            "--include-dir",
            "include_directories",
            multiple=True,
            type=FILE,
            metavar="DIR",
            help="Folder that .include and .lib may read from, besides the deck's own (repeatable).",
        ),
        click.option(
            "--dialect",
            type=click.Choice(["ngspice", "ltspice", "hspice", "pspice"]),
            default="ngspice",
            show_default=True,
            expose_value=False,
            callback=_remember,
            help="The simulator the deck is written for.",
        ),
        click.argument("deck", type=FILE),
    ):
        command = add(command)
    return command


def step_options(command: _F) -> _F:
    """Add ``--dt`` and ``--tstop``."""
    command = click.option("--tstop", type=Quantity("s"), help="Stop there instead of at the deck's time.")(command)
    return click.option(
        "--dt",
        type=Quantity("s"),
        help="Time step, such as 10u; else the deck's maximum step, else its step, else a 1000th of the whole.",
    )(command)


class PassName(click.ParamType[str]):
    """The name of a pass that can be left out."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; one that is no pass is a usage error."""
        names = passes()
        if value not in names:
            self.fail(f"there is no pass {value!r} that can be left out; there are {', '.join(names)}", param, ctx)
        return str(value)


def passes() -> dict[str, str]:
    """Return what each pass does that can be left out, of programs and of kernels, by name."""
    from netc.kernels import PASSES
    from netc.optimise import OPTIONAL

    return OPTIONAL | dict(PASSES)


def pass_option(command: _F) -> _F:
    """Add ``--disable-pass``."""
    return click.option(
        "--disable-pass",
        "disable",
        multiple=True,
        type=PassName(),
        metavar="NAME",
        help="Leave out a pass, to measure what it is worth (repeatable; netc compile --list-passes).",
    )(command)


def cache_option(command: _F) -> _F:
    """Add ``--no-cache``."""
    return click.option(
        "--no-cache", is_flag=True, help="Compile the deck anew even where nothing of it has changed, and keep nothing."
    )(command)


BACKENDS = click.Choice(["auto", "torch", "cpp"])


class Quantity(click.ParamType[float]):
    """A positive number as SPICE writes it (``10u``, ``1e-5``, ``100n``)."""

    _EXAMPLES = {
        "s": "10u or 1e-5",
        "ohm": "1k or 4.7e3",
        "F": "100n or 1e-7",
        "A": "7u or 7e-6",
        "S": "1m or 1e-3",
        "ratio": "0.01 or 1e-6",
    }

    def __init__(self, unit: str) -> None:
        self.name = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number in SI units; anything else is a usage error."""
        from netc.parse.numbers import read_plain

        if isinstance(value, float):
            return value
        literal = read_plain(str(value).strip().lower())
        if literal.problem or literal.oddity or not 0 < literal.value < float("inf"):
            example = self._EXAMPLES.get(self.name, "2.5 or 100m")
            self.fail(f"{str(value)!r} is not a positive number such as {example}", param, ctx)
        return literal.value


class OutputFile(click.Path):
    """A file to be written; a place where that cannot succeed is refused before any work is done."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; a folder, or a place under a file or in a locked folder, is a usage error."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir():
            self.fail(f"cannot write {str(path)!r}: it is a folder", param, ctx)
        existing = next((p for p in (path, *path.parents) if p.exists()), Path())
        if existing != path and not existing.is_dir():
            self.fail(f"cannot write {str(path)!r}: {str(existing)!r} is not a folder", param, ctx)
        if not os.access(existing, os.W_OK):
            self.fail(f"cannot write {str(path)!r}: no permission to write in {str(existing)!r}", param, ctx)
        return path


OUTPUT = OutputFile()


def read_deck(
    deck: Path,
    include_directories: Sequence[Path],
    lenient: bool,
    *,
    disable: Sequence[str] = (),
    cached: bool = False,
    integrator: str = "euler",
    step: float | None = None,
    stage: str = "dae",
) -> Compilation:
    """Return the deck's compilation, from the cache or up to ``stage``, after printing what there is to remark.

    ``disable`` are names of passes to leave out; those of kernels are passed over.  ``integrator`` takes the steps,
    and ``step`` is the length in seconds that ``auto`` plans for.
    """
    from netc.cache import DeckCache
    from netc.compiler import compile_deck
    from netc.optimise import OPTIONAL

    dialect = dialect_of(click.get_current_context(silent=True))
    compilation = compile_deck(
        deck,
        include_directories=include_directories,
        lenient=lenient,
        dialect=dialect,
        disable=[name for name in disable if name in OPTIONAL],
        cache=DeckCache() if cached else None,
        integrator=integrator,
        step=step,
    )
    try:
        if not compilation.from_cache:
            getattr(compilation, stage)
    finally:
        show(compilation.diagnostics, compilation.sources)
    return compilation


def show(diagnostics: Iterable[Diagnostic], sources: Mapping[str, Sequence[str]] | None = None) -> None:
    """Print warnings and notes on stderr."""
    for diagnostic in diagnostics:
        if diagnostic.severity is not Severity.ERROR:
            say(diagnostic.render(sources))


def say(message: str) -> None:
    """Print a line for the person on stderr; stdout carries results only."""
    click.echo(message, err=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text``; a place that cannot be written is the user's error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> NetcError:
    """Return the error to raise where a place cannot be written."""
    return NetcError(f"cannot write '{path}': {error.strerror or error}", hint="choose another place")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as readable JSON; what is not finite becomes ``null``."""
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Return ``value`` with every number that JSON cannot hold replaced by ``None``."""
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
