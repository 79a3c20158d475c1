"""What a recipe file says.  A new recipe is a file in ``netlists/recipes/``; there is nothing else to register.

A file has ``description`` and ``data`` (the name of a data set), and the tables ``network`` (arguments of
:func:`netc.generate.generate`), ``training`` (attributes of :class:`netc.training.TrainingOptions`) and, where they are
not as usual, ``events`` (for recordings of event cameras, attributes of :class:`netc.data.events.EventOptions`) or
``images`` (for pictures, those of :class:`netc.data.images.ImageOptions`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from netc.data.events import EventOptions
from netc.data.images import ImageOptions
from netc.diagnostics import Diagnostics, NetcError, Span, printable
from netc.generate.design import Design
from netc.training import TrainingOptions

_FOLDER = "recipes"
_SUFFIX = ".toml"
_PRESENTATION = ("events", "images")  # a data set is of one kind, and refuses options of the other
_BY_RUN = frozenset({"seed"})  # what the runner sets


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe.

    Attributes:
        name: what a user types; the file's name.
        description: one sentence.
        data: the data set's name.
        network: arguments of the generator.
        presented: how samples become features, as :func:`netc.data.load` takes it.
        training: options of the training.
        text: the file.
        source: its name for messages.
    """

    name: str
    description: str
    data: str
    network: Mapping[str, Any]
    presented: Mapping[str, Any]
    training: Mapping[str, Any]
    text: str
    source: str

    def span(self, key: str) -> Span:
        """Return where the file says ``key``."""
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.split("=")[0].strip() == key:
                return Span(self.source, number, 1, len(line))
        return Span(self.source, 1)

    def options(self, seed: int, **changed: Any) -> TrainingOptions:
        """Return the training options, some ``changed`` where they are not ``None``.

        Raises:
            NetcError: for values that make no sense.
        """
        values = dict(self.training) | {name: value for name, value in changed.items() if value is not None}
        return TrainingOptions.from_json({**values, "seed": seed})


def names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    folder = resources.files("netc.netlists") / _FOLDER
    return tuple(sorted(f.name[: -len(_SUFFIX)] for f in folder.iterdir() if f.name.endswith(_SUFFIX)))


def load(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        NetcError: there is none of this name, or its file is wrong.
    """
    if name not in names():
        raise NetcError(f"there is no recipe {printable(name)!r}", hint=f"recipes are {', '.join(names())}")
    file = resources.files("netc.netlists") / _FOLDER / f"{name}{_SUFFIX}"
    return parse(name, file.read_text(encoding="utf-8"), f"{_FOLDER}/{name}{_SUFFIX}")


def parse(name: str, text: str, source: str) -> Recipe:
    """Return the recipe that a file's text describes.

    Raises:
        NetcError: with all that is wrong with it, located.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NetcError(f"{source} is no TOML file: {error}") from error
    found = Recipe(
        name,
        str(values.get("description", "")),
        str(values.get("data", "")),
        values.get("network", {}),
        {name: value for table in _PRESENTATION for name, value in _table(values, table).items()},
        values.get("training", {}),
        text,
        source,
    )
    problems = Diagnostics()
    known = {
        "": {"description", "data", "network", "events", "images", "training"},
        "network": {f.name for f in fields(Design)} - _BY_RUN,
        "events": {f.name for f in fields(EventOptions)},
        "images": {f.name for f in fields(ImageOptions)},
        "training": {f.name for f in fields(TrainingOptions)} - _BY_RUN,
    }
    for table, allowed in known.items():
        given = values if not table else values.get(table, {})
        if not isinstance(given, dict):
            problems.error(f"{table!r} of a recipe is a table", found.span(table), hint=f"write [{table}]")
            continue
        for key in given:
            if key not in allowed:
                where = f" of [{table}]" if table else ""
                problems.error(f"a recipe has no {printable(key)!r}{where}", found.span(key))
    for key in ("description", "data", "network"):
        if not values.get(key):
            problems.error(f"the recipe {name} has no {key}", Span(source, 1))
    if problems.failed:
        raise NetcError(list(problems), {source: text.splitlines()})
    return found


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}
