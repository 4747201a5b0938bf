"""Attribute types and their defaults: C++ expressions to the values that the registry holds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from torchair.dialects.ge import dtypes, registry
from torchair.tools.reg_op.cursor import DEEPEST, Cursor

_ATTR_VALUE: Final[Mapping[str, str]] = {
    "INT": "Int",
    "FLOAT": "Float",
    "BOOL": "Bool",
    "STR": "String",
    "TENSOR": "Tensor",
    "DATATYPE": "Type",
    "LIST_INT": "ListInt",
    "LIST_FLOAT": "ListFloat",
    "LIST_BOOL": "ListBool",
    "LIST_STR": "ListString",
    "LIST_DATATYPE": "ListType",
    "LIST_LIST_INT": "ListListInt",
}
"""The older spelling ``AttrValue::INT`` of attribute types."""

_CONSTANTS: Final[Mapping[str, object]] = {
    "true": True,
    "false": False,
    "INT32_MAX": 2**31 - 1,
    "INT_MAX": 2**31 - 1,
    "INT32_MIN": -(2**31),
    "INT_MIN": -(2**31),
    "INT64_MAX": 2**63 - 1,
    "INT64_MIN": -(2**63),
    "FLT_MAX": 3.4028234663852886e38,
    "FLT_MIN": 1.1754943508222875e-38,
    "FLT_EPSILON": 1.1920928955078125e-07,
    "UNKNOWN_SHAPE": [-1],
    "UNKNOWN_RANK": [-2],
}
_INTEGER = re.compile(r"(0[xX][0-9A-Fa-f]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)[uUlL]*", re.ASCII)
_FLOAT = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFlL]?", re.ASCII)
_LONGEST_NUMBER = 80
_LARGEST = 1.8e308


@dataclass(frozen=True, slots=True)
class ElementType:
    """A data type as a value."""

    name: str


def read_type(cursor: Cursor) -> str:
    """Pass an attribute's type and return the registry's name of it.

    Raises:
        ArtifactError: GE has no such attribute type.
    """
    place = cursor.token.place
    name = cursor.name("the attribute's type")
    if cursor.accept("::"):
        qualifier, name = name, cursor.name("the attribute's type")
        if qualifier == "AttrValue":
            name = _ATTR_VALUE.get(name, name)
    if name not in registry.ATTR_TYPES:
        raise cursor.error(
            "has an attribute of a type that the registry does not hold",
            expected=", ".join(registry.ATTR_TYPES),
            found=name,
            at=place,
        )
    return name


def read_default(cursor: Cursor, kind: str) -> object:
    """Pass a default and return it as a plain value of attribute type `kind`.

    Raises:
        ArtifactError: it is no constant expression, or not of that type.
    """
    place = cursor.token.place
    value = _Expression(cursor).read()
    if kind == "Tensor":
        return None
    converted = _as_kind(kind, value)
    if converted is None:
        raise cursor.error(f"has a default that is not of type {kind}", found=value, at=place)
    return converted


def _as_kind(kind: str, value: object) -> object | None:
    """`value` as exactly what `kind` stands for, None when it is something else."""
    if kind.startswith("List"):
        if not isinstance(value, list):
            return None
        items = [_as_kind(kind[len("List") :], item) for item in cast("list[object]", value)]
        return None if any(item is None for item in items) else items
    if isinstance(value, list):  # AttrValue::INT{1}, and Int(1)
        items = cast("list[object]", value)
        return _as_kind(kind, items[0]) if len(items) == 1 else None
    if kind == "Bool":
        return bool(value) if isinstance(value, bool) or value in (0, 1) else None
    if kind == "String":
        return value if isinstance(value, str) else None
    if kind == "Type":
        return value if isinstance(value, ElementType) else None
    if kind == "Float" and isinstance(value, int | float):
        return float(value) if abs(value) <= 1.8e308 and math.isfinite(value) else None
    return _as_integer(value) if kind == "Int" else None


def _as_integer(value: object) -> object | None:
    if isinstance(value, ElementType):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and -(2**63) <= value < 2**63
    return int(value) if fits else None  # pyright: ignore[reportArgumentType]


class _Expression:
    """Reads a constant C++ expression."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.depth = 0

    def read(self) -> object:
        """A sum of products."""
        value = self._product()
        while self.cursor.at("+", "-"):
            sign = self.cursor.take().text
            other = self._product()
            value = self._apply(sign, value, other)
        return value

    def _product(self) -> object:
        value = self._unary()
        while self.cursor.at("*", "/"):
            sign = self.cursor.take().text
            other = self._unary()
            value = self._apply(sign, value, other)
        return value

    def _apply(self, sign: str, a: object, b: object) -> object:
        if not isinstance(a, int | float) or not isinstance(b, int | float):
            raise self.cursor.error("has a default that is not a number", found=f"{a} {sign} {b}")
        try:
            if sign == "/" and isinstance(a, int) and isinstance(b, int):
                return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            value = a / b if sign == "/" else {"+": a + b, "-": a - b, "*": a * b}[sign]
        except ArithmeticError as error:
            raise self.cursor.error("has a default without a value", found=error) from error
        if abs(value) > _LARGEST:
            raise self.cursor.error("has a default that is too large", found=f"{a} {sign} {b}")
        return value

    def _unary(self) -> object:
        signs = 0
        while self.cursor.at("-", "+"):
            signs += self.cursor.take().text == "-"
        place = self.cursor.token.place
        value = self._primary()
        if not signs:
            return value
        if not isinstance(value, int | float):
            raise self.cursor.error("has a sign before what is no number", found=value, at=place)
        return -value if signs % 2 else value

    def _primary(self) -> object:
        token = self.cursor.token
        if token.kind == "number":
            return self._number(self.cursor.take().text)
        if token.kind == "string":
            return self._string()
        if self.cursor.at("{", "("):
            return self._bracketed()
        if token.kind == "name":
            return self._named()
        raise self.cursor.error("has no default", expected="a value")

    def _number(self, text: str) -> object:
        digits = text.replace("'", "")
        if len(digits) <= _LONGEST_NUMBER:
            if integer := _INTEGER.fullmatch(digits):
                spelling = integer[1]
                octal = spelling[0] == "0" and spelling.isdigit() and len(spelling) > 1
                return int(spelling, 8 if octal else 0)
            if fraction := _FLOAT.fullmatch(digits):
                return float(fraction[1])
        raise self.cursor.error("has a default that is no number", found=text)

    def _string(self) -> str:
        parts: list[str] = []
        while self.cursor.token.kind == "string":
            parts.append(self.cursor.take().text)
        return "".join(parts)

    def _bracketed(self) -> object:
        """``{1, 2}`` is a list; ``(1)`` is what is inside."""
        is_list = self.cursor.at("{")
        close = "}" if is_list else ")"
        self.cursor.take()
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.cursor.error("is nested too deeply", expected=f"at most {DEEPEST} levels")
        items: list[object] = []
        while not self.cursor.at(close):
            items.append(self.read())
            if not self.cursor.accept(","):
                break
        self.cursor.expect(close)
        self.depth -= 1
        return items if is_list or len(items) != 1 else items[0]

    def _named(self) -> object:
        """A constant, a data type, or ``Type{...}`` and ``static_cast<Type>(...)`` around one."""
        place = self.cursor.token.place
        name = self.cursor.take().text
        while self.cursor.accept("::"):
            name = self.cursor.name("a constant")
        if self.cursor.accept("<"):
            while not self.cursor.accept(">"):
                if self.cursor.take().kind == "end":
                    raise self.cursor.error("is malformed", expected="'>'")
        if self.cursor.at("{", "("):
            return self._bracketed()
        if name in dtypes.BY_SYMBOL:
            return ElementType(dtypes.BY_SYMBOL[name].name)
        if name not in _CONSTANTS:
            raise self.cursor.error(
                "has a default that is not known here",
                expected="a number, a string, a list, DT_... or one of " + ", ".join(_CONSTANTS),
                found=name,
                at=place,
                hint="write the value in the header",
            )
        return _CONSTANTS[name]
