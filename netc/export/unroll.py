"""One text, several values: instances of a subcircuit that have been trained apart get a definition each.

    .subckt cell a b        ->    .subckt cell a b            .subckt cell__2 a b
    R1 a b 10k                    R1 a b 11801.3              R1 a b 9120.77
    .ends                         .ends                       .ends
    X1 p q cell                   X1 p q cell
    X2 q r cell                   X2 q r cell__2

Every element keeps its flat name (``x2.r1``) and its literal, so directives mean what they meant and what was learnt as
a conductance is one again; a parameter on the X lines would turn the value into an expression, which cannot be trained.
Instances with equal values share a definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import netc.parse.ast as ast
from netc.diagnostics import Diagnostics, Span
from netc.export.index import Index, instances
from netc.export.text import Copy, Revision

_WORD = re.compile(r"[^\s,()]+")
_BODY = re.compile(r"\s*\.(subckt|macro|ends|eom)\b", re.IGNORECASE)
Key = tuple[tuple[tuple[Span, str], ...], tuple[tuple[Span, int], ...]]


class Unroller:
    """Gives every value of a place that has several a text of its own."""

    def __init__(self, index: Index, revision: Revision, found: Diagnostics) -> None:
        self.index = index
        self.revision = revision
        self.found = found
        self.top = instances(index.deck.cards)
        self.bodies: dict[str, dict[str, list[ast.Instance]]] = {}
        self.names: list[str] = []  # of the definitions that are new
        self.copied: set[str] = set()  # of those they were made from
        self._chains: dict[str, tuple[ast.Instance, ...] | None] = {}

    def unroll(self, conflicts: Mapping[Span, Mapping[str, float]], elements: Mapping[Span, Span]) -> None:
        """Write all values of each of these places; what cannot be unrolled is reported.

        Args:
            conflicts: values by place and flat name of the element.
            elements: the line of the element that each place belongs to.
        """
        inside: dict[str, dict[Span, str]] = {}  # instance path -> place -> number
        for place, numbers in conflicts.items():
            owner = self._owner(elements[place], next(iter(numbers)))
            if owner is None:
                continue
            for name, number in numbers.items():
                local = self._local(name, elements[place])
                inside.setdefault(name[: -len(local) - 1], {})[place] = repr(number)
        if self.found.failed:
            return
        paths: dict[str, ast.Instance] = {}
        parents: dict[str, str] = {}
        for path in inside:
            chain = self._chain(path, next(iter(elements[place] for place in inside[path])))
            if chain is None:
                return
            so_far = ""
            for card in chain:
                before, so_far = so_far, f"{so_far}.{card.name}" if so_far else card.name
                paths[so_far], parents[so_far] = card, before
        self._assign(paths, parents, inside)

    def _assign(
        self,
        paths: Mapping[str, ast.Instance],
        parents: Mapping[str, str],
        inside: Mapping[str, Mapping[Span, str]],
    ) -> None:
        """Number the texts that each definition needs, from the innermost out, and write them."""
        variants: dict[str, dict[Key, int]] = {}
        below: dict[str, dict[Span, tuple[ast.Instance, int]]] = {}
        depth = {path: self._depth(path, parents) for path in paths}
        for path in sorted(paths, key=lambda p: -depth[p]):
            card = paths[path]
            children = below.get(path, {})
            key: Key = (
                tuple(sorted(inside.get(path, {}).items(), key=lambda item: _order(item[0]))),
                tuple((span, number) for span, (_, number) in sorted(children.items(), key=lambda c: _order(c[0]))),
            )
            known = variants.setdefault(card.subcircuit, {})
            if key not in known:
                known[key] = len(known)
                self._write(card.subcircuit, known[key], inside.get(path, {}), children)
            below.setdefault(parents[path], {})[card.span] = (card, known[key])
        for card, number in below.get("", {}).values():
            if number:
                place = self._subcircuit_word(card)
                if place is not None:
                    self.revision.replace(place, self._name(card.subcircuit, number))

    def _write(
        self,
        name: str,
        number: int,
        numbers: Mapping[Span, str],
        children: Mapping[Span, tuple[ast.Instance, int]],
    ) -> None:
        definition = self.index.definitions[name]
        changes = dict(numbers)
        for card, variant in children.values():
            place = self._subcircuit_word(card)
            if variant and place is not None:
                changes[place] = self._name(card.subcircuit, variant)
        if number == 0:
            for place, text in changes.items():
                self.revision.replace(place, text)
            return
        header = self.index.logical_line(definition.span)
        words = list(_WORD.finditer(header.text))
        changes[header.span(words[1].start(), len(words[1][0]))] = self._name(name, number)
        first, last = definition.span.line, self._end(definition)
        closing = list(_WORD.finditer(self.index.deck.sources[definition.span.file][last - 1]))
        if len(closing) > 1 and closing[1][0].lower() == name:
            changes[Span(definition.span.file, last, closing[1].start() + 1, len(name))] = self._name(name, number)
        self.names.append(self._name(name, number))
        self.copied.add(name)
        self.revision.copy(definition.span.file, Copy(first, last, changes))

    def _name(self, name: str, number: int) -> str:
        if not number:
            return name
        taken, mark = self.index.definitions, "__"
        while any(known.startswith(name + mark) for known in taken):
            mark += "_"
        return f"{name}{mark}{number + 1}"

    def _owner(self, span: Span, name: str) -> ast.Subcircuit | None:
        """Return the definition that a line with several values stands in, if it can be copied."""
        places = self.index.cards(span)
        around = {
            (*place.around, place.card) if isinstance(place.card, ast.Subcircuit) else place.around for place in places
        }
        chain = next(iter(around)) if len(around) == 1 else ()
        if len(around) > 1 or not chain:
            self.found.error(
                f"{name} and others have one text and different trained values, because its file is included "
                "more than once",
                span,
                "include the file once, and instantiate a subcircuit instead",
            )
            return None
        owner = chain[0]
        if len(chain) > 1 or owner.span.file != span.file:
            where = "a definition inside of another" if len(chain) > 1 else "a file included inside of a definition"
            self.found.error(
                f"instances of {chain[-1].name!r} have been trained apart, and its text is {where}, which cannot be "
                "written out for each",
                span,
                "define the subcircuit outside of others, whole in one file",
            )
            return None
        return owner

    def _local(self, name: str, span: Span) -> str:
        place = self.index.element(name, span)
        if place is None or isinstance(place.card, ast.Subcircuit):
            return name.rpartition(".")[2]  # a parameter
        return str(getattr(place.card, "name", ""))

    def _chain(self, path: str, span: Span) -> tuple[ast.Instance, ...] | None:
        """Return the X lines from the deck down to an instance."""
        chain: list[ast.Instance] = []
        level = self.top
        for name in path.split("."):
            cards = level.get(name, [])
            definition = self.index.definitions.get(cards[0].subcircuit) if len(cards) == 1 else None
            whole = definition is not None and (not chain or self._in_own_text(cards[0], chain[-1].subcircuit))
            if definition is None or not whole:
                self.found.error(
                    f"{path} has been trained apart from others of its definition, and the line that instantiates it "
                    "cannot be told from the text alone",
                    span,
                    "define subcircuits outside of others, and instantiate each under a name of its own",
                )
                return None
            chain.append(cards[0])
            level = self.bodies.setdefault(definition.name, instances(definition.cards))
        return tuple(chain)

    def _in_own_text(self, card: ast.Instance, definition: str) -> bool:
        return card.span.file == self.index.definitions[definition].span.file

    def _depth(self, path: str, parents: Mapping[str, str]) -> int:
        depth = 0
        while path := parents[path]:
            depth += 1
        return depth

    def _subcircuit_word(self, card: ast.Instance) -> Span | None:
        """Return where an X line names its subcircuit."""
        line = self.index.logical_line(card.span)
        words = list(_WORD.finditer(line.text))
        at = 1 + len(card.nodes)
        if at >= len(words) or words[at][0] != card.subcircuit:
            self.found.error(f"where {card.name} names its subcircuit cannot be told", card.span)
            return None
        return line.span(words[at].start(), len(words[at][0]))

    def _end(self, definition: ast.Subcircuit) -> int:
        """Return the number of the line that ends a definition."""
        depth = 0
        lines = self.index.deck.sources[definition.span.file]
        for number in range(definition.span.line, len(lines) + 1):
            found = _BODY.match(lines[number - 1])
            if found is not None:
                depth += 1 if found[1].lower() in ("subckt", "macro") else -1
                if depth == 0:
                    return number
        self.found.error(f"where the definition of {definition.name!r} ends cannot be told", definition.span)
        return definition.span.line


def _order(place: Span) -> tuple[str, int, int]:
    return place.file, place.line, place.column


def apart(numbers: Iterable[float], *more: float) -> bool:
    """Return whether numbers differ, 0 and -0 as well."""
    return len({repr(number) for number in (*numbers, *more)}) > 1
