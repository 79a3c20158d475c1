"""AEDAT 3.1 files, as jAER and cAER write what an event camera sees."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from netc.data.events import Recording
from netc.diagnostics import NetcError

_VERSION = b"#!AER-DAT3.1"
_END = b"#!END-HEADER"
_PACKET = struct.Struct("<HHIIIIII")  # type, source, size, time offset, overflow, capacity, number, valid
_POLARITY = 1
_EVENT = np.dtype([("address", "<u4"), ("time", "<u4")])
_VALID, _ON = 1, 2
_FIELD = (1 << 15) - 1


def read(path: Path) -> Recording:
    """Return the valid polarity events of a file; packets of other kinds are passed over.

    A packet has a header of 28 bytes and ``capacity`` events of ``size`` bytes.  A polarity event is an address
    (bit 0 valid, bit 1 on, bits 2 to 16 the row, bits 17 to 31 the column) and a time in microseconds, to which 2^31
    is added for each overflow.

    Raises:
        NetcError: not an AEDAT 3.1 file, or cut short.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetcError(f"cannot read {path}: {error.strerror or error}") from error
    parts, at = [], _header(content, path)
    while at < len(content):
        if at + _PACKET.size > len(content):
            raise _short(path, at)
        kind, _, size, _, overflow, capacity, number, _ = _PACKET.unpack_from(content, at)
        start, at = at + _PACKET.size, at + _PACKET.size + capacity * size
        if at > len(content):
            raise _short(path, start)
        if kind != _POLARITY:
            continue
        if size != _EVENT.itemsize or number > capacity:
            raise NetcError(f"{path} is damaged: the packet at byte {start} has events of {size} bytes, not 8")
        events = np.frombuffer(content, _EVENT, number, start)
        parts.append((events["address"].astype(np.int64), events["time"].astype(np.int64) + (overflow << 31)))
    if not parts:
        empty = np.empty(0, np.int64)
        return Recording(empty, empty, empty.astype(bool), empty)
    address, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    recording = Recording(address >> 17 & _FIELD, address >> 2 & _FIELD, address & _ON != 0, time)
    recording = recording[address & _VALID != 0]
    if np.any(np.diff(recording.time) < 0):  # packets of several sources may lie across each other
        order = np.argsort(recording.time, kind="stable")
        recording = recording[order]
    return recording


def _header(content: bytes, path: Path) -> int:
    """Return where the packets start."""
    at = 0
    if not content.startswith(_VERSION):
        raise NetcError(f"{path} is no AEDAT 3.1 file: it does not start with {_VERSION.decode()}")
    while content[at : at + 1] == b"#":
        end = content.find(b"\n", at)
        if end < 0:
            break
        line, at = content[at:end].strip(), end + 1
        if line == _END:
            return at
    raise NetcError(f"{path} is damaged: its header does not end with {_END.decode()}")


def _short(path: Path, at: int) -> NetcError:
    return NetcError(f"{path} is damaged: it ends within the packet at byte {at}", hint="get the file again")
