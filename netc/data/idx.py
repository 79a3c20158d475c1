"""The idx format of the MNIST family: 00 00 08 nd, nd big-endian uint32 sizes, then uint8 data.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.diagnostics import NetcError

_UNSIGNED_BYTE = 8


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One file of a data set: its official name, its array shape, the md5 of its unzipped content."""

    name: str
    shape: tuple[int, ...]
    md5: str

    @property
    def size(self) -> int:
        """Bytes of the unzipped file."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    def variants(self) -> tuple[str, ...]:
        """Return the names under which people keep this file."""
        dotted = self.name.replace("-idx", ".idx")
        return (self.name, f"{self.name}.gz", dotted, f"{dotted}.gz")

    def read(self, path: Path) -> bytes:
        """Return the verified, unzipped content of ``path``.

        Raises:
            NetcError: the file cannot be read, cannot be unzipped, or is not the file it should be.
        """
        return self.verify(unzipped(path, self.size), path)

    def verify(self, content: bytes, origin: Path | str) -> bytes:
        """Return ``content`` if its md5 is the official one.

        Raises:
            NetcError: it is not; the message has the place, both sums and both sizes.
        """
        found = md5(content)
        if found != self.md5:
            size = f"{len(content)} bytes" if len(content) <= self.size else f"more than {self.size} bytes"
            raise NetcError(
                f"{origin} is not the official {self.name}: expected md5 {self.md5} ({self.size} bytes unzipped), "
                f"found {found} ({size})",
                hint="the file is damaged or belongs to another data set; remove it and run again",
            )
        return content

    def array(self, content: bytes) -> NDArray[np.uint8]:
        """Return verified content as an array of :attr:`shape`."""
        return decode(content)


def md5(content: bytes) -> str:
    """Return the md5 in hexadecimal (a checksum, not a protection against forgery)."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def unzipped(path: Path, size: int) -> bytes:
    """Return the content of ``path``, unzipped if it is a gzip file; stops one byte after ``size``.

    Raises:
        NetcError: the file cannot be read or its gzip stream is damaged.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return raw.read(size + 1)
            with gzip.open(raw) as stream:
                return stream.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NetcError(
            f"{path} is a damaged gzip file: {error}", hint="remove it and run again to fetch it anew"
        ) from error
    except OSError as error:
        raise NetcError(f"cannot read {path}: {error.strerror or error}") from error


def encode(array: NDArray[np.uint8]) -> bytes:
    """Return the idx file of an array of bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def decode(content: bytes) -> NDArray[np.uint8]:
    """Return the array of an idx file of bytes.

    Raises:
        NetcError: the header is not that of an idx file of bytes, or the data do not fill the shape.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise NetcError("not an idx file of bytes: it must begin with 00 00 08")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise NetcError("idx file ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise NetcError(f"idx file of shape {shape} has {len(content) - start} bytes of data")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
