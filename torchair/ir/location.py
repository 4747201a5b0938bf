"""Source locations: the user's ``file:line`` plus the FX node and ATen operator it came from.

An operation's location is ``loc("<fx node>-<aten op>"("file.py":12:0))``; every rewrite keeps it.
"""

from __future__ import annotations

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, NameLoc, StringAttr, UnknownLoc
from xdsl.ir import Attribute, Operation

from torchair.ir.private import UNKNOWN_LOCATION, make_attribute

_files: dict[tuple[str, int], FileLineColLoc] = {}


def file_location(file: str, line: int) -> FileLineColLoc:
    """``loc("file":line:0)``, interned."""
    found = _files.get((file, line))
    if found is None:
        found = FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(0))
        _files[(file, line)] = found
    return found


def named_location(name: str, inner: Attribute = UNKNOWN_LOCATION) -> NameLoc:
    """``loc("name"(inner))``; the name is ``<fx node>-<aten op>``."""
    return make_attribute(NameLoc, desc=make_attribute(StringAttr, data=name), location=inner)


def source_of(location: Attribute) -> str | None:
    """The ``file:line`` of a location, or None."""
    if isinstance(location, NameLoc):
        return source_of(location.location)
    if isinstance(location, FileLineColLoc):
        return f"{location.filename.data}:{location.line.data}"
    return None


def name_of(location: Attribute) -> str | None:
    """The ``<fx node>-<aten op>`` name of a location, or None."""
    return location.desc.data if isinstance(location, NameLoc) else None


def is_known(location: Attribute) -> bool:
    """Whether a location says anything."""
    return not isinstance(location, UnknownLoc)


def describe(op: Operation) -> tuple[str, str | None]:
    """The operator as a reader knows it, and its source line, for an error message."""
    name = name_of(op.location)
    label = op.name if name is None else f"{op.name} (from {name})"
    return label, source_of(op.location)


def serialize(location: Attribute) -> str:
    """One line of text that ``deserialize`` reads back: ``name|file:line``; empty when unknown."""
    name, source = name_of(location), source_of(location)
    if name is None and source is None:
        return ""
    return f"{name or ''}|{source or ''}"


def deserialize(text: str) -> Attribute:
    """The location written by ``serialize``; unreadable text is an unknown location."""
    name, _, source = text.rpartition("|")
    file, _, line = source.rpartition(":")
    inner = file_location(file, int(line)) if file and line.isdigit() else UNKNOWN_LOCATION
    return named_location(name, inner) if name else inner
