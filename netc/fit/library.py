"""A model's library with fitted values in the place of its defaults, all else as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netc.diagnostics import NetcError
from netc.fit.device import Model


def rewritten(model: Model, values: Mapping[str, float]) -> str:
    """Return the text of the model's file with ``values`` as defaults.

    Raises:
        NetcError: the file has changed since it was read.
    """
    lines = Path(model.path).read_text(encoding="utf-8").splitlines(keepends=True)
    places = sorted(((model.places[name], value) for name, value in values.items()), key=lambda x: -x[0].column)
    for span, value in places:
        line = lines[span.line - 1] if span.line <= len(lines) else ""
        start = span.column - 1
        if start + span.length > len(line):
            raise NetcError(f"{model.path} has changed while its parameters were fitted")
        lines[span.line - 1] = f"{line[:start]}{value:.9g}{line[start + span.length :]}"
    return "".join(lines)
