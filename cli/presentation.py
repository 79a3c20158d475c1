"""How samples become features: options of data sets that are recordings of event cameras, or pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .common import Quantity

_NAMES = (
    *("frames", "test_frames", "event_size", "event_cap", "event_denoise", "event_duration"),
    *("image_gamma", "image_centred"),
)
_F = TypeVar("_F", bound=Callable[..., Any])


def presentation_options(command: _F) -> _F:
    """Add how recordings become frames and pictures are encoded; :func:`chosen` collects what was given."""
    for add in (
        click.option(
            "--image-centred/--no-image-centred", default=None, help="Take the mean training picture away.  [no]"
        ),
        click.option("--image-gamma", type=float, help="Power that the brightness of pictures is raised to.  [1]"),
        click.option("--event-duration", type=Quantity("s"), help="Use only so much of a recording.  [all]"),
        click.option("--event-denoise", type=Quantity("s"), help="Drop events without a neighbour's so long before."),
        click.option("--event-cap", type=int, help="Events in a frame that count as 1.  [1]"),
        click.option("--event-size", type=int, help="Rows and columns of a frame.  [32]"),
        click.option("--test-frames", type=int, help="Frames of a test sample.  [as in training; dvs-gesture 360]"),
        click.option("--frames", type=int, help="Frames of a recording, which share the steps evenly.  [100]"),
    ):
        command = add(command)
    return command


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options out of ``options``; return those given, as the data set names them."""
    found = {}
    for name in _NAMES:
        value = options.pop(name)
        if value is not None:
            found[name.removeprefix("event_").removeprefix("image_")] = value
    return found
