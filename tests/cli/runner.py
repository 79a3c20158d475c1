"""Runs the command line in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from netc.cli.main import main

NETLISTS = Path(__file__).parents[2] / "netlists"
RC = "V1 in 0 1\nR1 in out 1k\nC1 out 0 1u IC=0\n"
TRAN = ".tran 10u 1m uic\n.end\n"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def refused(self) -> str:
        """Check that this is a user's error told as one, and return what was told."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert "rror: " in self.err
        assert "Traceback" not in self.err
        return self.err


def netc(*arguments: str | Path) -> Outcome:
    """Run in this process; anything but ``SystemExit`` is a traceback the user would see."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    assert isinstance(stopped.value.code, int)
    return Outcome(stopped.value.code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "netc.cli", *map(str, arguments)]


def process(*arguments: str | Path, **environment: str) -> Outcome:
    """Run in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=env, timeout=300)
    return Outcome(done.returncode, done.stdout, done.stderr)
