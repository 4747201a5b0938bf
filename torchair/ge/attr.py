"""Typed attributes for ``custom_op(attrs=...)``: ``attr.Int(3)``, ``attr.ListFloat([0.5])``."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchair.ge.data_types import element_of, torch_dtype_value_to_ge_type
from torchair.ge.errors import ArgumentTypeError


@dataclass(frozen=True)
class Attr:
    """Base of the attribute classes.

    Args:
        value: what the node gets; checked and stored in plain Python.
    """

    value: Any

    def __post_init__(self) -> None:
        if self.value is None:
            raise ArgumentTypeError(
                f"attr.{type(self).__name__} needs a value",
                found=None,
                hint="leave the attribute out of attrs to use its default",
            )
        object.__setattr__(self, "value", type(self).plain(self.value))

    @staticmethod
    def plain(value: Any, /) -> Any:
        """The checked value."""
        raise NotImplementedError

    def as_property(self, registered: str) -> Any:
        """The value for an attribute whose registry type is this one.

        Raises:
            ArgumentTypeError: the registry says another type.
        """
        kind = registry_type(self)
        if registered == kind:
            return _property(kind, self.value)
        if (kind, registered) in _WIDER:
            return _WIDER[kind, registered](self.value)
        raise ArgumentTypeError(
            "the attribute has another type in GE's registry",
            expected=f"attr.{_CLASS_NAMES.get(registered, registered)}",
            found=f"attr.{type(self).__name__}",
        )


def _checked(kind: type | tuple[type, ...], name: str, convert: Callable[[Any], Any]) -> Any:
    def plain(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and name != "bool"):
            raise ArgumentTypeError(
                f"not a value of an attribute of type {name}",
                expected=name,
                found=f"{value!r} ({type(value).__name__})",
            )
        return convert(value)

    return plain


_int = _checked(numbers.Integral, "int", int)
_float = _checked(numbers.Real, "float", float)
_str = _checked((str, bytes), "str", lambda v: v.decode() if isinstance(v, bytes) else v)


def _bool(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, numbers.Integral) and value in (0, 1)):
        return bool(value)
    raise ArgumentTypeError("not a value of an attribute of type bool", found=repr(value))


def _list(item: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def plain(values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):
            raise ArgumentTypeError(
                "a list attribute takes a list", found=f"{values!r} ({type(values).__name__})"
            )
        return [item(value) for value in values]

    return plain


class Int(Attr):
    """An integer."""

    plain = staticmethod(_int)


class Float(Attr):
    """A float, kept in single precision."""

    plain = staticmethod(_float)


class Bool(Attr):
    """A truth value."""

    plain = staticmethod(_bool)


class Str(Attr):
    """A string."""

    plain = staticmethod(_str)


class DataType(Attr):
    """A data type: a ``torchair.ge.DataType`` number or a torch dtype."""

    plain = staticmethod(torch_dtype_value_to_ge_type)


class ListInt(Attr):
    """Integers."""

    plain = staticmethod(_list(_int))


class ListFloat(Attr):
    """Floats, kept in single precision."""

    plain = staticmethod(_list(_float))


class ListBool(Attr):
    """Truth values."""

    plain = staticmethod(_list(_bool))


class ListStr(Attr):
    """Strings."""

    plain = staticmethod(_list(_str))


class ListDataType(Attr):
    """Data types."""

    plain = staticmethod(_list(torch_dtype_value_to_ge_type))


class ListListInt(Attr):
    """Lists of integers."""

    plain = staticmethod(_list(_list(_int)))


class ListListFloat(Attr):
    """Lists of floats."""

    plain = staticmethod(_list(_list(_float)))


CLASSES: dict[str, type[Attr]] = {
    "Int": Int,
    "Float": Float,
    "Bool": Bool,
    "String": Str,
    "Type": DataType,
    "ListInt": ListInt,
    "ListFloat": ListFloat,
    "ListBool": ListBool,
    "ListString": ListStr,
    "ListType": ListDataType,
    "ListListInt": ListListInt,
    "ListListFloat": ListListFloat,
}
"""Attribute class of each registry type."""

_CLASS_NAMES = {kind: cls.__name__ for kind, cls in CLASSES.items()}
_WIDER: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("Type", "Int"): int,
    ("Int", "Type"): element_of,
    ("ListType", "ListInt"): list,
}
"""Registry types that are also accepted: GE declares some data types as plain integers."""


def registry_type(attribute: Attr) -> str:
    """Registry type of an attribute."""
    return next(kind for kind, cls in CLASSES.items() if isinstance(attribute, cls))


def _property(kind: str, value: Any) -> Any:
    if kind == "Type":
        return element_of(value)
    return [element_of(item) for item in value] if kind == "ListType" else value


def from_value(kind: str, value: Any, name: str) -> Any:
    """The property of a plain value given for an attribute of a registry type.

    Raises:
        ArgumentTypeError: the value is of another type.
    """
    cls = CLASSES.get(kind)
    if cls is None:
        raise ArgumentTypeError(f"attribute '{name}' has a type that cannot be given", found=kind)
    if kind in ("Int", "ListInt") and "torch." in str(value):
        value = _numbers_of_types(value)
    try:
        return cls(value).as_property(kind)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(
            f"attribute '{name}': {error.what}", expected=kind, found=repr(value)
        ) from error


def _numbers_of_types(value: Any) -> Any:
    """torch dtypes as GE numbers, for attributes that GE declares as integers."""
    if isinstance(value, list | tuple):
        return [_numbers_of_types(item) for item in value]
    return torch_dtype_value_to_ge_type(value) if str(value).startswith("torch.") else value


__all__ = [
    "Attr",
    "Bool",
    "DataType",
    "Float",
    "Int",
    "ListBool",
    "ListDataType",
    "ListFloat",
    "ListInt",
    "ListListFloat",
    "ListListInt",
    "ListStr",
    "Str",
]
