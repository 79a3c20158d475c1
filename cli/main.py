"""``netc``: compile, check and train SPICE netlists."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches

import click

from .common import EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_INTERRUPTED, say

COMMANDS = {
    "compile": "compile",
    "info": "info",
    "convert": "convert",
    "simulate": "simulate",
    "validate": "validate",
    "check-grad": "check_grad",
    "generate": "generate",
    "train": "train",
    "evaluate": "evaluate",
    "variability": "variability",
    "export": "export",
    "signoff": "signoff",
    "recipe": "recipe",
    "report": "report",
    "fit": "fit",
    "data": "data",
    "bench": "bench",
    "doctor": "doctor",
}
"""Command name -> module of this package that defines ``command``; imported only when it is run."""


class _Commands(click.Group):
    """Imports a command when it is asked for, so that ``--help`` does not wait for torch."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; that the reader of its output has seen enough, as ``head`` has, is no failure."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            ctx.exit(0)
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            close = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(COMMANDS)}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        command = importlib.import_module(f"{__package__}.{COMMANDS[name]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in COMMANDS])


_SUMMARIES = {
    "compile": "Write a deck as a PyTorch module, or show any stage on the way.",
    "info": "Count what a deck holds: states, lanes, couplings, time constants.",
    "convert": "Write a deck of any dialect as ngspice reads it.",
    "simulate": "Run the deck's transient; waveforms as CSV or picture.",
    "validate": "Compare every node with ngspice and measure the order in dt.",
    "check-grad": "Compare autograd with central differences in float64.",
    "generate": "Write the deck of a memristive spiking network.",
    "train": "Train a deck's conductances on a data set.",
    "evaluate": "Test a trained run.",
    "variability": "Test trained runs on chips whose devices are not alike.",
    "export": "Write a run's trained values back into its deck.",
    "signoff": "Classify test samples anew with the trained deck in ngspice.",
    "recipe": "Train and test a network of a recipe, with one seed or several; or tell of all runs.",
    "report": "Write a run as one HTML page.",
    "fit": "Fit a memristor model to measured I-V sweeps or pulse trains.",
    "data": "Fetch data sets.",
    "bench": "Time a training step against other ways to compute it.",
    "doctor": "Tell what is installed, what is missing and what to type.",
}


def _discard_output() -> None:
    """Point stdout nowhere, so that what is still buffered does not fail a second time at exit."""
    with suppress(OSError):  # a stdout without a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netc")
def cli() -> None:
    """Compile a SPICE netlist into a differentiable PyTorch program, train it, and check it against ngspice.

    \b
    Examples:
      netc compile mif.cir -o mif.py
      netc validate mif.cir --plot mif.png
      netc generate --layers 784,100,10 -o network.cir
      netc train network.cir --data mnist --epochs 3
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit code 0 fine, 1 a check failed, 2 bad input or usage, 130 interrupted."""
    from netc.diagnostics import CheckFailed, NetcError

    # before torch is imported: its threads would go on running for a while after each operation, on the processors
    # that the threads of a kernel want
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        code = cli.main(args=arguments, prog_name="netc", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except NetcError as error:
        for diagnostic in error.diagnostics:
            say(diagnostic.render(error.sources))
        if len(error.diagnostics) > 1:
            say(f"{len(error.diagnostics)} errors")
        sys.exit(EXIT_BAD_INPUT)
    except CheckFailed as error:
        say(f"netc: {error}")
        sys.exit(EXIT_CHECK_FAILED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        say("netc: interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:  # such as a full disk behind stdout
        say(f"error: {error.filename or 'stdout'}: {error.strerror or error}")
        _discard_output()
        sys.exit(EXIT_BAD_INPUT)
    except MemoryError:
        say("netc: out of memory; fewer samples (--batch) or steps (--steps) need less")
        sys.exit(EXIT_BAD_INPUT)
