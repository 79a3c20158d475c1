"""From lark's errors to sentences: what was expected and what stands there, never the name of a token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from netc.parse.dialects import dialect_hint
from netc.parse.lines import BLANKS

OPERATIONAL = {
    "opamp": "write its gain: E1 out 0 plus minus 1e6",
    "transformer": "write two coupled inductors, or E1 and F1 with the ratio",
    "delay": "netc has no delay: use a ladder of L and C, or RC sections",
}
"""Words of HSPICE that stand where a controlling node may stand, and what to write instead."""
_NOT_YET = {
    **dict.fromkeys(("laplace", "freq", "chebyshev"), "build the transfer function of R, C and controlled sources"),
    **dict.fromkeys(
        ("trnoise", "trrandom"), "a random waveform has no reference to compare with: write a PWL of your own samples"
    ),
    "external": "the deck itself has to give the waveform: PULSE, SIN, EXP, PWL, SFFM and AM are supported",
    "vcr": "write the current as an expression: G1 a b cur='v(a,b)/(1k*v(c))'",
    "vccap": "write the capacitance as an expression: C1 a b C='1p*v(c)'",
    "vmos": "use a MOS transistor",
    **OPERATIONAL,
    **dict.fromkeys(("and", "nand", "or", "nor"), "write the logic as an expression: value={...}"),
}
_FORM = re.compile(rf"[viegfh]\S*[ \t]+\S+[ \t]+\S+[ \t]+({'|'.join(_NOT_YET)})(?![^\s({{='])")
_RANDOM = re.compile(r"[vi]\S*[ \t].*?(?<=[\s)])(trnoise|trrandom|external)[ \t]*\(")
_TRANSFER = re.compile(r"[eg]\S*[ \t]+\S+[ \t]+\S+[ \t]+\S+[ \t]+\S+[ \t]+(laplace)[ \t]*=")
_KIND_OF = re.compile(r"\.model[ \t]+\S+[ \t]+(ako)[ \t]*:")
_SWEEP = re.compile(r"\.tran[ \t].*[ \t](sweep)[ \t]")
_MEASUREMENT = re.compile(
    r"\.meas\w*[ \t]+\S+[ \t]+(?!(?:param|min_at|max_at|min|max|avg|rms|pp|integral|integ|deriv|find|derivative|when"
    r"|trig|targ)(?![^\s={'(]))([a-z]\w*)(?=\s)"
)
_LOAD = re.compile(r"i\S*[ \t].*[ \t](load)[ \t]*$")
_FILE = re.compile(r"[vi]\S*[ \t].*\bpwl[ \t]*\(?[ \t]*(file)[ \t]*=")
_SPACED = re.compile(
    r"(?:^|[\s=({,'+*/-])([0-9.]+(?:e[+-]?[0-9]+)?)[ \t]+"
    r"((?:meg|mil|[tgkmunpfµ])(?:v|a|s|f|h|hz|ohms?)?|v|hz|ohms?)[ \t]*\Z"
)
_NO_OPERATORS = set("%\\&|")
_VALUES = {"SIGNED", "NUMBER"}
_LONGEST_NUMBER = 100
_STRANGE = {
    "\N{MINUS SIGN}": ("a Unicode minus sign", "write the minus of the keyboard: -"),
    "\N{EN DASH}": ("a dash", "write the minus of the keyboard: -"),
    "\N{EM DASH}": ("a dash", "write the minus of the keyboard: -"),
    "\N{NO-BREAK SPACE}": ("a no-break space", "write a plain space"),
    "\N{GREEK SMALL LETTER MU}": ("a Greek mu, which is not the micro sign to ngspice", "write u for micro"),
    "\N{LEFT SINGLE QUOTATION MARK}": ("a typographic quote", "write the quote of the keyboard: '"),
    "\N{RIGHT SINGLE QUOTATION MARK}": ("a typographic quote", "write the quote of the keyboard: '"),
    "\N{ZERO WIDTH SPACE}": ("a character without width", "delete it"),
    "\N{BYTE ORDER MARK}": ("a character without width", "delete it"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at an offset of a logical line."""

    message: str
    start: int
    length: int = 1
    hint: str | None = None


def strange_character(text: str) -> Problem | None:
    """Find a character that looks like one of SPICE's but is not, or that would act on a terminal or split a line."""
    if text.isascii() and text.isprintable():
        return None
    for offset, character in enumerate(text):
        if character in _STRANGE:
            name, hint = _STRANGE[character]
            return Problem(f"this is {name}", offset, 1, hint)
        if character not in BLANKS and not character.isprintable():
            return Problem(f"this is a control character, U+{ord(character):04X}", offset, 1, "delete it")
    return None


def explain(error: UnexpectedInput, text: str) -> Problem:
    """Say in a sentence what lark found wrong in ``text``."""
    allowed: Iterable[str]
    if isinstance(error, UnexpectedToken):
        ended = error.token.type == "$END"
        start, found = (len(text), "") if ended else (error.token.start_pos or 0, str(error.token))
        allowed = error.accepts or error.expected or ()
    elif isinstance(error, UnexpectedCharacters):
        start = error.pos_in_stream or 0
        found, allowed = text[start], error.allowed or ()
    else:
        start, found, allowed = len(text), "", ()
    expected = set(allowed)
    unsupported = _FORM.match(text) or _RANDOM.match(text) or _TRANSFER.match(text)
    if unsupported:
        word = unsupported[1]
        hint = _NOT_YET[word]
        return Problem(f"{word.upper()} is not supported yet", unsupported.start(1), len(word), hint)
    kind_of = _KIND_OF.match(text)
    if kind_of:
        return Problem("ngspice knows no models by ako:", kind_of.start(1), 3, dialect_hint("ltspice", "pspice"))
    sweep = _SWEEP.match(text)
    if sweep:
        return Problem("a sweep of .tran is not supported", sweep.start(1), 5, "netc runs one circuit: delete it")
    kind = _MEASUREMENT.match(text)
    if kind:
        return Problem(f"there is no measurement '{kind[1]}'", kind.start(1), len(kind[1]), "such as avg, max or find")
    load = _LOAD.match(text)
    if load:
        hint = "give the current by an expression: B1 a b I=..., which ends where the voltage does"
        return Problem("LTspice's load is not supported yet", load.start(1), 4, hint)
    file = _FILE.match(text)
    if file:
        return Problem("file= of PWL is not supported yet", file.start(1), 4, "write the points out: PWL(t1 v1 t2 v2)")
    if found[:1] in _NO_OPERATORS:
        found = found[0]
    bracket = _unbalanced(text)
    before = text[:start].split()
    if bracket is not None and (not found or start >= bracket.start):
        return bracket
    wanted = _wanted(expected, before)
    if not found:
        return Problem(
            f"expected {wanted}, but the line ends", max(0, len(text) - 1), 1, _hint(expected, "", text, start)
        )
    return Problem(f"expected {wanted}, found '{found}'", start, len(found), _hint(expected, found, text, start))


def _wanted(expected: set[str], before: list[str]) -> str:
    if "QUANTITY" in expected:
        return "v= or i="
    if expected & _VALUES:
        return "a value"
    if "FUNCTION" in expected and "NAME" not in expected:
        return "a function, as in f(x)"
    if "VOLTAGE" in expected:
        return "v(node)"
    if expected == {"EQUAL"}:
        return "'='"
    if "WORD" in expected and "$END" not in expected:
        element = not before or before[0][0] not in ".*"
        return "a node" if element and (len(before) <= 2 or before[-1].endswith("v(")) else "a name"
    if "NAME" in expected and "$END" not in expected and not expected & {"RPAR", "COMMA"}:
        return "a name"
    for terminal, words in (("QUOTE", "a closing quote"), ("RBRACE", "'}'"), ("RPAR", "')'"), ("LPAR", "'('")):
        if terminal in expected:
            return f"an operator or {words}" if "PLUS" in expected else words
    if expected == {"COLON"} or ("COLON" in expected and "$END" not in expected):
        return "':' and the value otherwise"
    if "EQUAL" in expected:
        return "'='"
    if "PLUS" in expected:
        return "an operator or the end of the expression"
    return "the end of the line"


def _hint(expected: set[str], found: str, text: str, start: int) -> str | None:
    if found == "=" and re.match(r"[eg]\S*\s+\S+\s+\S+\s+[vi]\s*$", text[:start]):
        return f"ngspice wants value= or {'vol' if text[0] == 'e' else 'cur'}= here"
    if found == "," and text.startswith(".param"):
        return "assignments stand side by side, without commas"
    if found in ("%", "\\"):
        return "remainder and whole division are not in the language of sources: use floor(a/b)"
    if found in ("&", "|"):
        return f"the logical operator is {found * 2}"
    if found == "=" and (not expected or "PLUS" in expected):
        return "equality is =="
    if found == '"':
        return "expressions are quoted with ' or braces"
    spaced = split_suffix(text[:start] + found)
    if spaced is not None:
        return spaced
    if expected & _VALUES and "WORD" in expected:
        return "a number such as 10k or 1e-9, a parameter, or an expression in braces: {...}"
    return None


def split_suffix(text: str) -> str | None:
    """Return a hint where ``text``, up to what is wrong, ends in a number and then a suffix or unit apart from it."""
    found = _SPACED.search(text[-_LONGEST_NUMBER:])
    return f"a suffix or unit is written without a space: {found[1]}{found[2]}" if found else None


def _unbalanced(text: str) -> Problem | None:
    """Find a bracket that nothing closes, or that closes nothing."""
    closers = {"(": ")", "{": "}"}
    stack: list[tuple[str, int]] = []
    for offset, character in enumerate(text):
        if character in closers:
            stack.append((character, offset))
        elif character in ")}":
            if not stack or closers[stack[-1][0]] != character:
                if stack:
                    opened = stack[-1]
                    return Problem(
                        f"'{opened[0]}' is not closed before this '{character}'",
                        offset,
                        1,
                        f"add '{closers[opened[0]]}'",
                    )
                return Problem(f"'{character}' closes nothing", offset, 1, "delete it, or open it before")
            stack.pop()
    if stack:
        character, offset = stack[-1]
        return Problem(f"'{character}' is never closed", offset, 1, f"add '{closers[character]}'")
    if text.count("'") % 2:
        return Problem("this quote is never closed", text.rindex("'"), 1, "add a quote")
    return None
