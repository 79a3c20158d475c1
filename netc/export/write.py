"""The deck with its trained values, as files that stand on their own, checked by reading them again."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import Diagnostics, NetcError
from netc.elaborate.circuit import Branch, Circuit
from netc.export.index import Index
from netc.export.literals import find, named_branches
from netc.export.text import Revision, SourceFile
from netc.export.unroll import Unroller, apart
from netc.export.values import Values, by_lane

_FILE = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the deck.
        files: copies of the files it includes.
        values: number of trained values in it.
        unrolled: names of definitions that were added, because instances of one subcircuit have been trained apart.
    """

    path: Path
    files: tuple[Path, ...]
    values: int
    unrolled: tuple[str, ...]


def export(compilation: Compilation, values: Values, output: Path | str) -> Exported:
    """Write the deck of ``compilation`` with other trained values.

    Only the numbers change: comments, order, spelling, encoding and line ends stay.  Values are written as the shortest
    text that reads back as the same float64.  Files that the deck includes are copied, with their values, into a
    folder beside it, ``trained.files`` for ``trained.cir``, and the deck includes those.  Instances of one subcircuit
    that have been trained apart get a definition each (:mod:`netc.export.unroll`).  The result is read again before it
    takes its place: it is the same circuit, with the new values to the last bit.

    Args:
        compilation: the compiled deck.
        values: by block of ``compilation.program``, float64, SI units.
        output: the deck to write.

    Raises:
        NetcError: a value has no place in the text, or nothing can be written there.
    """
    output = Path(output)
    deck, circuit = compilation.deck, compilation.circuit
    elements, parameters = by_lane(compilation.program, values)
    found = Diagnostics(dict(deck.sources))
    index, revision = Index.of(deck), Revision()
    wanted = find(circuit, index, elements, parameters, found)
    found.raise_if_failed()
    before = _present(circuit, parameters)
    conflicts = {}
    for place, numbers in wanted.numbers.items():
        if apart(numbers.values()):
            conflicts[place] = numbers
        elif apart(
            (before[name] for name in numbers if name in before), *numbers.values()
        ):  # what has not moved keeps its spelling
            revision.replace(place, repr(next(iter(numbers.values()))))
    unroller = Unroller(index, revision, found)
    if conflicts:
        unroller.unroll(conflicts, wanted.elements)
        _refuse_shared(circuit, parameters, unroller.copied, found)
    found.raise_if_failed()
    folder = f"{output.stem}.files"
    copies = _include_copies(index, revision, folder)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
            draft = Path(temporary) / output.name
            targets = {draft: output}
            draft.write_bytes(revision.apply(deck.path, SourceFile.read(Path(deck.path), deck.sources[deck.path])))
            for label, (file, name) in copies.items():
                copy = Path(temporary) / folder / name
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(revision.apply(label, SourceFile.read(file, deck.sources[label])))
                targets[copy] = output.parent / folder / name
            _check(compilation, elements, parameters, draft)
            if copies:
                (output.parent / folder).mkdir(exist_ok=True)
            for source, target in reversed(targets.items()):  # the deck comes last: what it includes is there
                os.replace(source, target)
    except OSError as error:
        raise NetcError(
            f"cannot write '{output}': {error.strerror or error}", hint="choose another place with -o"
        ) from error
    files = tuple(output.parent / folder / name for _, name in copies.values())
    return Exported(output, files, len(elements) + len(parameters), tuple(unroller.names))


def _refuse_shared(circuit: Circuit, names: Iterable[str], copied: set[str], found: Diagnostics) -> None:
    """Report parameters that are one number for all instances and would be several in the text."""
    learnt = {t.parameter for t in circuit.trained}
    for name in names:
        owner = name.partition(".")[0]
        if owner in copied:
            found.error(
                f"{name} is {'learnt as ' * (name in learnt)}one value for all instances, of which other values have "
                "been trained or drawn apart: the text cannot say both",
                circuit.parameters[name].span,
                f"train what is inside of {owner!r} for all its instances or for each, not both; and so with spread",
            )


def _present(circuit: Circuit, names: Iterable[str]) -> dict[str, float]:
    """Return the numbers of the deck by what reads them: elements, and the shared parameters with these names."""
    found = {b.name: b.values[0] for b in circuit.branches if b.values and isinstance(b.values[0], float)}
    return found | {name: circuit.parameters[name].value for name in names}


def _include_copies(index: Index, revision: Revision, folder: str) -> dict[str, tuple[Path, str]]:
    """Name copies of the included files, and have the deck include those; by label, the file and its copy's name."""
    deck = index.deck
    folders = {deck.path: os.path.dirname(os.path.abspath(deck.path))}
    read = {search.place: search for search in deck.searches if search.label}
    folders |= {search.label: os.path.dirname(place) for place, search in read.items()}
    copies: dict[str, tuple[Path, str]] = {}
    for card in index.includes:
        search = None
        for start in (folders[card.span.file], folders[deck.path], os.getcwd()):
            search = search or read.get(os.path.abspath(os.path.join(start, card.path)))
        ending = os.sep + os.path.normpath(card.path)
        search = search or next((s for place, s in read.items() if place.endswith(ending)), None)
        if search is None:
            raise NetcError(f"the file '{card.path}' that the deck includes is not found any more")
        if search.label not in copies:
            copies[search.label] = (Path(search.file), _new_name(card.path, {name for _, name in copies.values()}))
        line = index.logical_line(card.span)
        word = _FILE.search(line.raw, len(line.words[0]))
        assert word is not None  # it has been read
        name = copies[search.label][1]
        path = name if card.span.file != deck.path else f"{folder}/{name}"
        revision.replace(line.span(word.start(), len(word[0])), f'"{path}"')
    return copies


def _new_name(path: str, taken: set[str]) -> str:
    stem, suffix = os.path.splitext(re.sub(r"[^A-Za-z0-9._-]", "_", os.path.basename(path)))
    name, number = stem + suffix, 1
    while name.lower() in {known.lower() for known in taken}:
        number += 1
        name = f"{stem}_{number}{suffix}"
    return name


def _check(
    compilation: Compilation, elements: Mapping[str, float], parameters: Mapping[str, float], draft: Path
) -> None:
    """Refuse a deck that does not read back as the circuit it was, with the new values and no other change."""
    try:
        again = compile_deck(draft, dialect=compilation.dialect, lenient=True).circuit
    except NetcError as error:
        raise NetcError(f"the exported deck cannot be read again: {error.diagnostics[0].message}") from error
    circuit = compilation.circuit
    if again.nets != circuit.nets or len(again.branches) != len(circuit.branches):
        raise NetcError("the exported deck would be another circuit")
    for before, after in zip(circuit.branches, again.branches, strict=True):
        if _form(before) != _form(after):
            raise NetcError(f"the exported deck would have another {after.name}")
    _check_trained(circuit, again)
    expected = _with_parameters(circuit, parameters)
    changed = named_branches(circuit)
    for number, (before, after) in enumerate(zip(circuit.branches, again.branches, strict=True)):
        values = [expected.number(value) for value in before.values]
        if number in changed and before.name in elements:
            values[0] = elements[before.name]
        if list(map(repr, values)) != [repr(again.number(value)) for value in after.values]:
            raise NetcError(
                f"the value of {before.name} does not survive the way through the text",
                hint="give the element its value as one plain number",
            )


def _check_trained(circuit: Circuit, again: Circuit) -> None:
    def learnt(found: Circuit) -> set[tuple[str, float, float]]:
        return {
            (t.parameter or found.branches[t.branch or 0].name, t.minimum, t.maximum)  # one of the two is there
            for t in found.trained
        }

    if lost := learnt(circuit) ^ learnt(again):
        raise NetcError(f"the exported deck would not learn {min(lost)[0]} as the deck does")


def _with_parameters(circuit: Circuit, changed: Mapping[str, float]) -> Circuit:
    known = circuit.parameters
    return replace(circuit, parameters=known | {n: replace(known[n], value=value) for n, value in changed.items()})


def _form(branch: Branch) -> tuple[object, ...]:
    law = branch.law
    return branch.name, branch.nets, law.kind, law.letter, law.roles, branch.voltages, branch.currents
