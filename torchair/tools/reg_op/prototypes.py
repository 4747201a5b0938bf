"""Reads ``REG_OP(...)`` chains to ``Prototype`` objects; errors name file, line and macro."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torchair.dialects.ge import dtypes
from torchair.errors import ArtifactError
from torchair.tools.reg_op.cursor import DEEPEST, Cursor
from torchair.tools.reg_op.defaults import read_default, read_type
from torchair.tools.reg_op.element_types import CLASSES, Types
from torchair.tools.reg_op.tokens import Place, decode, tokenize

PortKind = Literal["required", "optional", "dynamic"]

_STARTS = ("REG_OP", "REG_CUST_OP")
_ENDS = ("OP_END_FACTORY_REG", "CUST_OP_END_FACTORY_REG", "OP_END")
_PORTS: dict[str, tuple[str, PortKind]] = {
    "INPUT": ("inputs", "required"),
    "OPTIONAL_INPUT": ("inputs", "optional"),
    "DYNAMIC_INPUT": ("inputs", "dynamic"),
    "OUTPUT": ("outputs", "required"),
    "OPTIONAL_OUTPUT": ("outputs", "optional"),
    "DYNAMIC_OUTPUT": ("outputs", "dynamic"),
}
MACROS = (*_PORTS, "ATTR", "REQUIRED_ATTR", "GRAPH", "DYNAMIC_GRAPH", "DATATYPE", *_ENDS)
"""Everything that may follow ``REG_OP(...)``."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output."""

    name: str
    kind: PortKind
    types: Types


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; `type` is one of the registry's, `default` counts when not `required`."""

    name: str
    type: str
    required: bool
    default: object = None


@dataclass(slots=True)
class Prototype:
    """One operator as its header declares it.

    Args:
        name: the GE type.
        family: name of the header without its suffix.
        place: where ``REG_OP`` stands.
        doc: the documentation comment, marks included.
        inputs, outputs, attrs: in order.
        graphs: names of subgraphs and whether each is a dynamic one.
        symbols: the named data types.
    """

    name: str
    family: str
    place: Place
    doc: str = ""
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])
    attrs: list[Attribute] = field(default_factory=list[Attribute])
    graphs: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    symbols: dict[str, Types] = field(default_factory=dict[str, Types])


def read_headers(paths: Iterable[Path]) -> list[Prototype]:
    """Prototypes of several headers, each operator once.

    Raises:
        ArtifactError: a file cannot be read, is malformed, or declares an operator otherwise than
            a file before it.
    """
    found: list[Prototype] = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read", found=error.strerror) from error
        found += parse_header(decode(data), str(path))
    return found


def parse_header(text: str, file: str) -> list[Prototype]:
    """Prototypes of one header, in order.

    Args:
        text: the header's content.
        file: its name, for messages; the stem is the operators' family.

    Raises:
        ArtifactError: a prototype is malformed; the message has file, line, column and macro.
    """
    cursor = Cursor(tokenize(text, file))
    family = re.sub(r"\W", "_", Path(file).stem, flags=re.ASCII) or "custom"
    found: list[Prototype] = []
    while cursor.token.kind != "end":
        token = cursor.take()
        if token.kind == "name" and token.text in _STARTS:
            prototype = Prototype("", family, token.place, token.doc)
            _Reader(cursor, prototype).read()
            found.append(prototype)
    return found


class _Reader:
    """Reads the macros of one operator, from the parenthesis after ``REG_OP``."""

    def __init__(self, cursor: Cursor, prototype: Prototype) -> None:
        self.cursor = cursor
        self.prototype = prototype
        self.names: dict[str, set[str]] = {}

    def read(self) -> None:
        cursor = self.cursor
        cursor.operator, cursor.macro = "", "REG_OP"
        cursor.expect("(")
        self.prototype.name = cursor.operator = cursor.name("an operator's name")
        cursor.expect(")")
        while True:
            if not cursor.accept("."):
                raise cursor.error("is not finished", expected=".OP_END_FACTORY_REG")
            place = cursor.token.place
            cursor.macro = cursor.name("a macro")
            if cursor.macro not in MACROS:
                near = difflib.get_close_matches(cursor.macro, MACROS, n=1)
                hint = f"{near[0]} (did you mean that?)" if near else None
                allowed = ", ".join(MACROS)
                macro, cursor.macro = cursor.macro, ""
                raise cursor.error(
                    "has an unknown macro", expected=allowed, found=macro, at=place, hint=hint
                )
            cursor.expect("(")
            if cursor.macro in _ENDS:
                self._end()
                return
            self._macro(place)
            cursor.expect(")")

    def _end(self) -> None:
        cursor = self.cursor
        place = cursor.token.place
        if not cursor.at(")"):
            name = cursor.name("the operator's name")
            if name != self.prototype.name:
                raise cursor.error(
                    "names another operator", expected=self.prototype.name, found=name, at=place
                )
        cursor.expect(")")
        cursor.macro = cursor.operator = ""

    def _macro(self, place: Place) -> None:
        cursor, macro, prototype = self.cursor, self.cursor.macro, self.prototype
        name = cursor.name("a name")
        if macro in _PORTS:
            side, kind = _PORTS[macro]
            self._once(side, name, place)
            cursor.expect(",")
            ports = prototype.inputs if side == "inputs" else prototype.outputs
            ports.append(Port(name, kind, self._types()))
        elif macro in ("GRAPH", "DYNAMIC_GRAPH"):
            self._once("graphs", name, place)
            prototype.graphs.append((name, macro == "DYNAMIC_GRAPH"))
        elif macro == "DATATYPE":
            self._once("data types", name, place)
            cursor.expect(",")
            prototype.symbols[name] = self._types()
        else:
            self._once("attributes", name, place)
            cursor.expect(",")
            prototype.attrs.append(self._attribute(name))

    def _once(self, what: str, name: str, place: Place) -> None:
        names = self.names.setdefault(what, set())
        if name in names:
            raise self.cursor.error(f"has two {what} of one name", found=name, at=place)
        names.add(name)

    def _attribute(self, name: str) -> Attribute:
        kind = read_type(self.cursor)
        if self.cursor.macro == "REQUIRED_ATTR":
            return Attribute(name, kind, True)
        if not self.cursor.at("{", "("):  # ATTR(mode, AttrValue::INT{1}) has both in one
            self.cursor.expect(",")
        return Attribute(name, kind, False, read_default(self.cursor, kind))

    def _types(self) -> Types:
        cursor = self.cursor
        if cursor.token.kind == "string":
            place = cursor.token.place
            symbol = cursor.take().text
            if re.fullmatch(r"[A-Za-z_]\w*", symbol, re.ASCII) is None:
                raise cursor.error("names no data type", expected='"T"', found=symbol, at=place)
            return Types(symbol=symbol)
        if cursor.at("Promote"):
            cursor.take()
            return Types(promotes=tuple(self._promoted()))
        if cursor.accept("ListTensorType"):
            names = self._element_types(0)
            return Types(frozenset() if names is None else names, is_list=True)
        names = self._element_types(0)
        return Types(frozenset() if names is None else names)

    def _promoted(self) -> list[str]:
        cursor = self.cursor
        closes = [{"(": ")", "{": "}"}[cursor.take().text] for _ in "12" if cursor.at("(", "{")]
        symbols: list[str] = []
        while cursor.token.kind == "string":
            symbols.append(cursor.take().text)
            cursor.accept(",")
        for close in reversed(closes):
            cursor.expect(close)
        if len(symbols) < 2:
            raise cursor.error("promotes fewer than two data types", found=", ".join(symbols))
        return symbols

    def _element_types(self, depth: int) -> frozenset[str] | None:
        """A data type, a class of them, or any nest of both; None is any type."""
        cursor = self.cursor
        if depth > DEEPEST:
            raise cursor.error("is nested too deeply", expected=f"at most {DEEPEST} levels")
        if cursor.at("(", "{"):
            return self._set(depth)
        place = cursor.token.place
        name = cursor.name("TensorType({...}), TensorType::...() or a data type")
        while cursor.accept("::"):
            place = cursor.token.place
            name = cursor.name("a class of data types")
        if name == "TensorType":
            return self._set(depth)
        if name in CLASSES:
            cursor.expect("(")
            cursor.expect(")")
            return CLASSES[name] or None
        if name in dtypes.BY_SYMBOL:
            return frozenset((dtypes.BY_SYMBOL[name].name,))
        known = dtypes.BY_SYMBOL if name.startswith("DT_") else CLASSES
        near = difflib.get_close_matches(name, known, n=1)
        raise cursor.error(
            "has an unknown data type",
            expected="DT_... or TensorType::" + "(), ".join(CLASSES) + "()",
            found=name,
            at=place,
            hint=f"{near[0]} (did you mean that?)" if near else None,
        )

    def _set(self, depth: int) -> frozenset[str] | None:
        cursor = self.cursor
        if not cursor.at("(", "{"):
            raise cursor.error("is malformed", expected="'('")
        close = ")" if cursor.take().text == "(" else "}"
        found: set[str] = set()
        is_any = False
        while not cursor.at(close):
            members = self._element_types(depth + 1)
            is_any |= members is None
            found |= members or set()
            if not cursor.accept(","):
                break
        cursor.expect(close)
        if not found and not is_any:
            raise cursor.error("lists no data type", found="{}")
        return None if is_any else frozenset(found)
