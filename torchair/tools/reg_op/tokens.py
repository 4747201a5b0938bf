"""Cuts a C++ header into tokens. Comments and preprocessor lines vanish; a documentation comment
stays with the token that follows it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torchair.errors import ArtifactError

TokenKind = Literal["name", "number", "string", "punctuation", "end"]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\\\r?\n)
      | (?P<newline>\n)
      | (?P<directive>\#(?:[^\n\\/]|\\(?:\r?\n|.)|/(?!/|\*)|\\$)*)
      | (?P<comment>//(?:[^\n\\]|\\\r?\n|\\.)*|/\*.*?\*/)
      | (?P<raw>(?:u8|[uUL])?R"(?P<fence>[^ ()\\\t\v\f\n"]{0,16})\((?P<raw_text>.*?)\)(?P=fence)")
      | (?P<string>(?:u8|[uUL])?"(?:[^"\\\n]|\\(?:\r?\n|.))*")
      | (?P<character>'(?:[^'\\\n]|\\.)+')
      | (?P<number>\.?[0-9](?:[eEpP][+-]|'[0-9A-Za-z]|[0-9A-Za-z_.])*)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<punctuation>::|.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]+)|u([0-9A-Fa-f]{4})|(\r?\n)|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "0": "\0",
}
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file; lines and columns count from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Args:
        kind: what it is; ``end`` stands after the last one.
        text: its spelling; of a string the value.
        place: where it starts.
        doc: text of the documentation comments right before it, comment marks included.
    """

    kind: TokenKind
    text: str
    place: Place
    doc: str = ""


def tokenize(text: str, file: str) -> list[Token]:
    """Tokens of a header; the last one is the ``end``.

    Code between ``#if 0`` and its ``#else`` or ``#endif`` is left out, all other conditional code
    is taken.

    Raises:
        ArtifactError: a comment or a string is not closed.
    """
    return list(_scan(text, file))


def _scan(text: str, file: str) -> Iterator[Token]:
    skipping = _Skipping()
    line, start, doc = 1, 0, ""
    for match in _TOKEN.finditer(text):
        kind, spelling = match.lastgroup or "", match[0]
        if match["raw"] is not None:
            kind = "raw"
        place = Place(file, line, match.start() - start + 1)
        newlines = spelling.count("\n")
        if newlines:
            line += newlines
            start = match.start() + spelling.rindex("\n") + 1
        if kind == "directive":
            skipping.see(spelling)
        elif kind == "comment":
            if spelling.startswith(("/**", "///", "/*!", "//!")):
                doc = spelling if spelling.startswith("/*") else f"{doc}\n{spelling}"
        elif kind in ("space", "newline") or skipping.active:
            continue
        else:
            yield _token(kind, match, place, doc)
            doc = ""
    yield Token("end", "end of file", Place(file, line, len(text) - start + 1))


def _token(kind: str, match: re.Match[str], place: Place, doc: str) -> Token:
    spelling = match[0]
    if kind == "raw":
        return Token("string", match["raw_text"], place, doc)
    if kind == "string":
        return Token("string", _unescaped(spelling[spelling.index('"') + 1 : -1], place), place)
    if kind == "punctuation" and spelling == "/" and match.string[match.end() :][:1] == "*":
        raise ArtifactError("a comment is not closed", expected="*/", loc=str(place))
    if kind == "punctuation" and spelling == '"':
        raise ArtifactError("a string is not closed", expected='"', loc=str(place))
    if kind == "name":
        return Token("name", spelling, place, doc)
    return Token("number" if kind == "number" else "punctuation", spelling, place, doc)


def _unescaped(body: str, place: Place) -> str:
    def value(found: re.Match[str]) -> str:
        octal, hexadecimal, unicode, _, simple = found.groups()
        if simple is not None:
            return _SIMPLE_ESCAPES.get(simple, simple)
        if octal is None and hexadecimal is None and unicode is None:
            return ""
        number = int(octal, 8) if octal else int(hexadecimal or unicode, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise ArtifactError("a string has no such character", found=found[0], loc=str(place))
        return chr(number)

    return _ESCAPE.sub(value, body)


class _Skipping:
    """Which conditional code is left out: ``#if 0`` and what is inside it."""

    def __init__(self) -> None:
        self._open: list[bool] = []

    @property
    def active(self) -> bool:
        return any(self._open)

    def see(self, directive: str) -> None:
        match = _DIRECTIVE.match(directive)
        word, rest = (match[1], match[2].strip()) if match else ("", "")
        if word in ("if", "ifdef", "ifndef"):
            self._open.append(word == "if" and rest == "0")
        elif word in ("else", "elif") and self._open:
            self._open[-1] = False
        elif word == "endif" and self._open:
            self._open.pop()


def decode(data: bytes) -> str:
    """The text of a header's bytes; comments may hold characters of another encoding."""
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").replace("\r\n", "\n")
