"""The text that is handed to ngspice: the author's own lines, and nothing that netc has not read.

Each card of the syntax tree gives back the logical line it came from, word for word but for comments, so ngspice runs
what the author wrote and not a re-print.  Only cards go over: comments (``*#`` lines are commands to ngspice),
``.control`` blocks, other analyses and output cards stay behind, and included files are inlined, so that ngspice opens
no file.  A deck of another dialect, or with a function ngspice does not have, goes over as
:func:`netc.parse.write.write_deck` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from netc.diagnostics import Diagnostic, NetcError, Severity, Span
from netc.ir.program import Timing
from netc.parse.ast import Card, Conditional, Deck, Directive, Include, Measure, Options, Output, Subcircuit, Tran
from netc.parse.lines import cut_comment
from netc.parse.write import runs_as_written, write_deck

# What a signature run needs to be a reference: a thousand times tighter than ngspice's defaults.
TOLERANCES = "reltol=1e-6 abstol=1e-15 vntol=1e-9"

# Ours replace these; with `interp` the raw file's header and size disagree; a seed or a list is nothing to a waveform.
_DROPPED_OPTIONS = frozenset({"reltol", "abstol", "vntol", "interp", "acct", "list", "node", "opts", "page", "nopage"})

_CURRENT_OF = {"i": "current", "d": "id"}
_SAVED_PER_LINE = 20
_PLAIN_SIGNAL = re.compile(r"[^\s()\[\]{}'\",;$=]+")
_OPTION = re.compile(r"\s*([^\s=,]+)(\s*=\s*(\{[^{}]*\}|'[^']*'|[^\s,]+))?,?")


def ngspice_text(
    deck: Deck,
    timing: Timing,
    *,
    nodes: Sequence[str] | None = None,
    options: str = "",
    tolerances: str = TOLERANCES,
) -> str:
    """Return the netlist that ngspice runs for ``deck``.

    Args:
        deck: the parsed deck, with the lines of every file it read.
        timing: the transient analysis asked for, seconds; it takes the place of the deck's own.
        nodes: names of the signals to keep: nodes as netc names them (``xn.x1``), branch currents as ``i(v1)``;
            all node voltages when ``None``.  Keeping few matters: ngspice holds every kept point in memory.
        options: more of ngspice's options, which outrank the author's.
        tolerances: ``reltol``, ``abstol`` and ``vntol`` as options.

    Returns:
        A netlist ending in ``.end``.  Options of the author's stay, with the tolerances after them (ngspice takes the
        last card).

    Raises:
        NetcError: the deck's lines are not there, or a signal's name cannot be written on a ``.save`` card.
    """
    lines = ["* netc"]
    if runs_as_written(deck):
        lines += _cards(deck, deck.cards)
    else:
        text = write_deck(replace(deck, cards=_own(deck.cards)), leave_out=(Tran, Output, Measure, Directive))
        lines += text.splitlines()[1:-1]
    lines.append(f".options {tolerances} {options}".rstrip())
    if nodes is not None:
        lines += _save_cards(nodes)
    lines += [_tran_card(timing), ".end"]
    return "\n".join(lines) + "\n"


def _own(cards: Iterable[Card]) -> tuple[Card, ...]:
    """Return cards without the options that are set here, those of included files in place."""
    kept: list[Card] = []
    for card in cards:
        if isinstance(card, Include):
            kept += _own(card.cards)
        elif isinstance(card, Options):
            settings = tuple((name, value) for name, value in card.settings if name not in _DROPPED_OPTIONS)
            kept += [replace(card, settings=settings)] if settings else []
        else:
            kept.append(card)
    return tuple(kept)


def current_vector(name: str) -> str:
    """Return the ngspice vector that holds the current of element ``name``, first node to second.

    A voltage source, an inductor and their like have a branch of their own (``v.xn.v1#branch``); of other elements
    ngspice saves the device's current (``@r.xn.r1[i]``; an independent source calls it ``current``).
    """
    *path, element = name.split(".")
    letter = element[:1]
    device = ".".join([letter, *path, element]) if path else element
    if letter in ("v", "e", "h", "l"):
        return f"{device}#branch"
    return f"@{device}[{_CURRENT_OF.get(letter, 'i')}]"


def _cards(deck: Deck, cards: Iterable[Card]) -> Iterator[str]:
    last: tuple[str, int] | None = None
    for card in cards:
        if isinstance(card, Include):
            yield from _cards(deck, card.cards)
            continue
        if isinstance(card, (Tran, Output, Measure, Directive)):
            continue
        if isinstance(card, Conditional):
            for branch in card.branches:
                yield _logical_line(deck, branch.span)
                yield from _cards(deck, branch.cards)
            yield ".endif"
            continue
        place = (card.span.file, card.span.line)
        if place == last:
            continue  # one line that gave two cards
        last = place
        line = _logical_line(deck, card.span)
        if isinstance(card, Options):
            line = _kept_options(line)
        if line:
            yield line
        if isinstance(card, Subcircuit):
            yield from _cards(deck, card.cards)
            yield ".eom" if line.lower().startswith(".macro") else ".ends"


def _logical_line(deck: Deck, span: Span) -> str:
    source = deck.sources.get(span.file)
    if source is None or not 0 < span.line <= len(source):
        raise NetcError([Diagnostic(Severity.ERROR, "the text of this line is gone, so ngspice cannot run it", span)])
    parts = [_clean(source[span.line - 1])]
    for number in range(span.line, len(source)):
        text = _clean(source[number])
        if text.startswith("+"):
            parts.append(text)
        elif text and not text.startswith("*"):
            break  # blank and comment lines may stand between continuations
    if any(part.endswith("\\") for part in parts):
        raise NetcError(
            [Diagnostic(Severity.ERROR, "ngspice reads a backslash here as a continuation, netc does not", span)],
            deck.sources,
        )
    return "\n".join(parts)


def _clean(line: str) -> str:
    # A control character could split a line in ngspice's eyes where it did not in the parser's; a comment could join
    # two by a backslash at its end.
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return cut_comment(line.strip()).rstrip()


def _kept_options(line: str) -> str:
    words = " ".join(part.lstrip("+") for part in line.split("\n")).split(None, 1)
    kept = []
    for match in _OPTION.finditer(words[1] if len(words) > 1 else ""):
        if match.group(1).lower() not in _DROPPED_OPTIONS:
            kept.append(match.group(1) + (f"={match.group(3)}" if match.group(3) else ""))
    return f"{words[0]} {' '.join(kept)}" if kept else ""


def _tran_card(timing: Timing) -> str:
    tmax = timing.tmax if timing.tmax is not None else timing.tstep
    # From zero, whatever TSTART says: netc's waveforms start there.
    card = f".tran {timing.tstep!r} {timing.tstop!r} 0 {tmax!r}"
    return card + (" uic" if timing.uic else "")


def _save_cards(nodes: Sequence[str]) -> Iterator[str]:
    signals: list[str] = []
    for name in nodes:
        inner = name[2:-1] if name.startswith("i(") and name.endswith(")") else name
        if not _PLAIN_SIGNAL.fullmatch(inner):
            raise NetcError(f"ngspice cannot be asked for a signal called '{name}'")
        signals.append(f"v({inner})" if inner is name else current_vector(inner))
    for start in range(0, len(signals), _SAVED_PER_LINE):
        yield ".save " + " ".join(signals[start : start + _SAVED_PER_LINE])
