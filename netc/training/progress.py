"""What a person sees of a run, on standard error: a bar on a terminal, else a line an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class Reporter:
    """Progress of one run; enter it around the loop."""

    def __init__(self, console: Console | None = None) -> None:
        """``console`` is where to write; standard error when ``None``."""
        self._console = console if console is not None else Console(stderr=True)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Reporter:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text), soft_wrap=True)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """Start a bar of ``total`` batches."""
        if self._progress is not None:
            for task in self._progress.task_ids:
                self._progress.remove_task(task)
            self._task = self._progress.add_task(what, total=total, completed=done, figures="")

    def batch(self, what: str, done: int, figures: str) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._task, description=what, completed=done, figures=figures)

    def epoch(self, epochs: int, metrics: Mapping[str, Any]) -> None:
        """Print the line of a finished epoch."""
        validated = metrics.get("validation_accuracy")
        test = f", validation {100 * validated:.2f} %" if validated is not None else ""
        test += f", test {100 * metrics['test_accuracy']:.2f} %" if metrics.get("test_accuracy") is not None else ""
        self.say(
            f"epoch {metrics['epoch']}/{epochs}: loss {metrics['loss']:.4f}, "
            f"accuracy {100 * metrics['train_accuracy']:.2f} %{test}, "
            f"hidden activity {100 * metrics['hidden_activity']:.2f} %, {metrics['seconds']:.1f} s"
        )
