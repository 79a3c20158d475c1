"""Statements of one lane, for a few lanes that run together.

const V v1 = a * x0[i];          V v1[B]; EACH v1[b] = a * x0[lane + b];
const V v2 = v1 + c;        ->   V v2[B]; EACH v2[b] = v1[b] + c;
y0[i] = v2;                      EACH y0[lane + b] = v2[b];

The lanes advance statement by statement, so that operations next to each other do not wait for each other: a
processor looks ahead over a few dozen of them, less than one lane's chain from a voltage to the states that follow from
it.  Statements are put in an order in which few values wait for their last use, since all lanes share the registers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DEFINITION = re.compile(r"const (V|M) (v\d+) = (.*);$")
_VALUE = re.compile(r"\bv\d+\b")
_GUARD = re.compile(r"if constexpr \(!?KEEP\) ")
_LOOP = re.compile(r"for \(long i = (\d+); i < (\d+); \+\+i\) \{$")
_LONG = ("exponential(", "apply_", "reciprocal(", " / ")  # what makes a chain of operations long
_LARGEST = 600  # statements that are ordered


@dataclass(slots=True)
class _Statement:
    text: str
    kind: str  # of the value that it defines, "" where it stores one
    name: str
    uses: frozenset[str]


def interleaved(lines: Sequence[str]) -> list[str]:
    """Return the statements of one lane ``i`` for the ``B`` lanes from ``lane`` on."""
    return [_for_lanes(statement) for statement in _ordered([_parsed(line.strip()) for line in lines])]


def _parsed(line: str) -> _Statement:
    found = _DEFINITION.match(line)
    if found:
        kind, name, value = found.groups()
        return _Statement(value, kind, name, frozenset(_VALUE.findall(value)))
    return _Statement(line, "", "", frozenset(_VALUE.findall(line)))


def _for_lanes(statement: _Statement) -> str:
    text = _VALUE.sub(lambda match: f"{match[0]}[b]", statement.text)
    text = re.sub(r"\b([dn]\d+)\[i\]", r"\1[b]", text)
    text = re.sub(r"\bi\b", "(lane + b)", text)
    whole = re.fullmatch(r"shared_exponential\((.*)\)", text)
    if whole:
        name = statement.name
        return f"V {name}[B]; EACH {name}[b] = {whole[1]}; shared_exponentials({name});"
    if statement.kind:
        return f"{statement.kind} {statement.name}[B]; EACH {statement.name}[b] = {text};"
    guard = _GUARD.match(text)
    return f"{guard[0]}EACH {text[guard.end() :]}" if guard else f"EACH {text}"


def _ordered(statements: list[_Statement]) -> list[_Statement]:
    """Return the statements in an order that computes values shortly before their first use.

    What is stored is taken one after the other, each with what it still needs; next is always the one that leaves
    the fewest values waiting.
    """
    if len(statements) > _LARGEST:
        return statements
    source = {s.name: s for s in statements if s.kind}
    sinks = [s for s in statements if not s.kind]
    size = _sizes(statements, source)
    readers: dict[str, int] = {}
    for name in (name for statement in statements for name in statement.uses):
        readers[name] = readers.get(name, 0) + 1
    done: dict[str, int] = {}  # readers still to come
    result: list[_Statement] = []
    while sinks:
        tried = [(_emitted(sink, source, size, readers, done), sink) for sink in sinks if _is_free(sink, sinks)]
        (order, left, _), sink = min(tried, key=lambda pair: (pair[0][2], len(pair[0][1])))
        sinks.remove(sink)
        late = [s for s in source.values() if s.name not in left and _reads(s, sink)]
        result += [*late, *order]  # what is replaced is read before
        done = left | {s.name: readers.get(s.name, 0) for s in late}
    return result


def _sizes(statements: Sequence[_Statement], source: Mapping[str, _Statement]) -> dict[str, int]:
    """Return how many statements stand below each value, shared ones counted for each reader."""
    size: dict[str, int] = {}
    for statement in statements:
        if statement.kind:
            size[statement.name] = 1 + sum(size[name] for name in statement.uses if name in source)
    return size


def _emitted(
    sink: _Statement,
    source: Mapping[str, _Statement],
    size: Mapping[str, int],
    readers: Mapping[str, int],
    done: Mapping[str, int],
) -> tuple[list[_Statement], dict[str, int], int]:
    """Return what a sink still needs and itself, the values that wait afterwards, and how many wait at most."""
    waiting = dict(done)
    order: list[_Statement] = []
    most = len([n for n in waiting.values() if n])
    stack = [(sink, False)]
    while stack:
        statement, ready = stack.pop()
        if statement.name in waiting:
            continue
        if not ready:
            stack.append((statement, True))
            needed = [source[name] for name in statement.uses if name not in waiting]
            stack += [(s, False) for s in sorted(needed, key=lambda s: (size[s.name], s.name))]
            continue
        order.append(statement)
        for name in statement.uses:
            waiting[name] -= 1
        if statement.kind:
            waiting[statement.name] = readers.get(statement.name, 0)
        most = max(most, len([n for n in waiting.values() if n]))
    return order, waiting, most


def _reads(statement: _Statement, sink: _Statement) -> bool:
    """Whether a value is taken from the array that ``sink`` stores to."""
    target = _GUARD.sub("", sink.text).split("[")[0]
    return re.search(rf"\b{re.escape(target)}\[", statement.text) is not None


def _is_free(sink: _Statement, sinks: Sequence[_Statement]) -> bool:
    """Whether no sink before this one has to stay before it."""
    target = _GUARD.sub("", sink.text).split("[")[0]
    earlier = sinks[: sinks.index(sink)]
    return not any(re.search(rf"\b{re.escape(target)}\b", other.text) for other in earlier)


def widened(lines: Sequence[str]) -> list[str]:
    """Return statements in which loops over lanes with long chains of operations run over a few lanes at a time."""
    result: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        head = _LOOP.match(line)
        if head is None:
            result.append(line)
            continue
        end = rest.index("}")
        body, rest = rest[:end], rest[end + 1 :]
        start, stop = int(head[1]), int(head[2])
        lanes = stop - start
        width = next((w for w in (4, 3, 5, 2) if lanes % w == 0), 0)
        if not width or not any(name in text for text in body for name in _LONG):
            result += [line, *body, "}"]
        else:
            result += [
                f"for (Size lane = {start}; lane < {stop}; lane += {width}) {{",
                f"    constexpr int B = {width};",
                *(f"    {text}" for text in interleaved(body)),
                "}",
            ]
    return result
