"""What a person sees of a sign-off, on standard error: a bar on a terminal, and a line a sample."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from netc.signoff.run import Progress as Listener


class Bar:
    """Progress of one sign-off; enter it around the call."""

    def __init__(self, wanted: Callable[[], bool], console: Console | None = None) -> None:
        """``wanted`` asks whether to stop; ``console`` is where to write, standard error when ``None``."""
        self._console = console if console is not None else Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=self._console)
        self._task: TaskID | None = None
        self._draws = 0
        self.progress = Listener(self.say, self._begin, self._sample, wanted)

    def __enter__(self) -> Bar:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text), soft_wrap=True)

    def _begin(self, total: int, known: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(
            f"draw {self._draws}" if self._draws else "ngspice", total=total, completed=known
        )
        self._draws += 1
        if known:
            self.say(f"{known} of {total} samples are known from before")

    def _sample(self, draw: int, number: int, line: str) -> None:
        if self._task is not None:
            self._bar.advance(self._task)
        self.say(f"sample {number}: {line}")
