"""Write and read one attribute: registry type and Python value to and from ``AttrDef``.

| registry type | Python value | field |
|---|---|---|
| Int, Float, Bool, String | int, float, bool, str | i, f, b, s |
| Type | canonical name, e.g. ``"float16"``, or a ``ge::DataType`` number | dt |
| ListInt, ListFloat, ListBool, ListString, ListType | sequence of these | list and its val_type |
| ListListInt, ListListFloat | sequence of sequences | list_list_int, list_list_float |
| Tensor | TensorDef | t |

Reading gives lists as tuples. It also knows what other writers may put there and this compiler does
not: Bytes, NamedAttrs, TensorDesc, Graph, Expression, the lists of messages, and Unset.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from torchair.backend_ge import proto
from torchair.dialects.ge import dtypes
from torchair.errors import VerifyError

_ListValue = proto.AttrDef.ListValue

LIST_VAL_TYPES: Final[Mapping[str, int]] = {
    # What the GE Python frontend has always written: VT_LIST_NONE for strings.
    "ListString": _ListValue.VT_LIST_STRING,
    "ListInt": _ListValue.VT_LIST_INT,
    "ListFloat": _ListValue.VT_LIST_FLOAT,
    "ListBool": _ListValue.VT_LIST_BOOL,
    "ListType": _ListValue.VT_LIST_DATA_TYPE,
}
"""``ListValue.val_type`` to write per registry type; empty lists have it too."""

_GE_NUMBER: Final = {t.name: t.ge for t in dtypes.DATA_TYPES}
_GE_NAME: Final = {t.ge: t.name for t in dtypes.DATA_TYPES}


def write_attr(attr_def: proto.AttrDef, attr_type: str, value: Any) -> None:
    """Set `attr_def` to `value` of registry type `attr_type`, replacing what it held.

    Raises:
        VerifyError: `attr_type` is not a registry type, or `value` is not of that type.
    """
    writer = _WRITERS.get(attr_type)
    if writer is None:
        raise VerifyError(
            "cannot write an attribute of this type", expected=", ".join(_WRITERS), found=attr_type
        )
    try:
        writer(attr_def, value)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise VerifyError(
            "an attribute value does not match its type", expected=attr_type, found=repr(value)
        ) from error


def read_attr(attr_def: proto.AttrDef) -> tuple[str, Any]:
    """The registry type and the value of `attr_def`.

    Floats come back as the shortest decimal that is the same float32, types as canonical names
    (numbers when unknown), undecodable bytes of strings as surrogate escapes: writing the result
    restores the bytes. A list without ``val_type`` is told by its content, an empty one is a
    ListString. An attribute that is not set reads as ``("Unset", None)``.
    """
    field = attr_def.WhichOneof("value")
    if field is None:
        return "Unset", None
    return _READERS[field](attr_def)


def shortest_float32(value: float) -> float:
    """The float of fewest decimal digits that rounds to the same float32 as `value`."""
    single = struct.pack("<f", value)
    for digits in (6, 7, 8):
        candidate = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", candidate) == single:
                return candidate
        except OverflowError:  # rounded up, past the largest float32
            continue
    return value


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _write_int(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.i = value


def _write_float(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.f = value


def _write_bool(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.b = value


def _write_string(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.s = _encode(value)


def _type_number(value: str | int) -> int:
    return _GE_NUMBER[value] if isinstance(value, str) else value


def _write_type(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.dt = _type_number(value)


def _write_list(attr_type: str, field: str, convert: Callable[[Any], Any] | None) -> _Writer:
    val_type = LIST_VAL_TYPES[attr_type]

    def write(attr_def: proto.AttrDef, value: Any) -> None:
        if isinstance(value, str):
            raise TypeError("a string is not a list")
        items = value if convert is None else [convert(item) for item in value]
        attr_def.Clear()
        target = attr_def.list
        getattr(target, field).extend(items)
        target.val_type = cast("Any", val_type)

    return write


def _write_list_list_int(attr_def: proto.AttrDef, value: Sequence[Iterable[int]]) -> None:
    attr_def.Clear()
    attr_def.list_list_int.SetInParent()
    rows = attr_def.list_list_int.list_list_i
    for row in value:
        rows.add().list_i.extend(row)


def _write_list_list_float(attr_def: proto.AttrDef, value: Sequence[Iterable[float]]) -> None:
    attr_def.Clear()
    attr_def.list_list_float.SetInParent()
    rows = attr_def.list_list_float.list_list_f
    for row in value:
        rows.add().list_f.extend(row)


def _write_tensor(attr_def: proto.AttrDef, value: Any) -> None:
    attr_def.t.CopyFrom(value)


_Writer = Callable[[proto.AttrDef, Any], None]
_WRITERS: Final[Mapping[str, _Writer]] = {
    "Int": _write_int,
    "Float": _write_float,
    "Bool": _write_bool,
    "String": _write_string,
    "Type": _write_type,
    "ListInt": _write_list("ListInt", "i", None),
    "ListFloat": _write_list("ListFloat", "f", None),
    "ListBool": _write_list("ListBool", "b", None),
    "ListString": _write_list("ListString", "s", _encode),
    "ListType": _write_list("ListType", "dt", _type_number),
    "ListListInt": _write_list_list_int,
    "ListListFloat": _write_list_list_float,
    "Tensor": _write_tensor,
}


def _as_tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(values)


def _read_floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(shortest_float32(v) for v in values)


def _read_types(values: Iterable[int]) -> tuple[str | int, ...]:
    return tuple(_GE_NAME.get(v, v) for v in values)


_ListReader = tuple[str, str, Callable[[Any], tuple[Any, ...]]]
_LIST_READERS: Final[Mapping[int, _ListReader]] = {
    _ListValue.VT_LIST_STRING: ("ListString", "s", lambda values: tuple(map(_decode, values))),
    _ListValue.VT_LIST_INT: ("ListInt", "i", _as_tuple),
    _ListValue.VT_LIST_FLOAT: ("ListFloat", "f", _read_floats),
    _ListValue.VT_LIST_BOOL: ("ListBool", "b", _as_tuple),
    _ListValue.VT_LIST_BYTES: ("ListBytes", "bt", _as_tuple),
    _ListValue.VT_LIST_TENSOR_DESC: ("ListTensorDesc", "td", _as_tuple),
    _ListValue.VT_LIST_TENSOR: ("ListTensor", "t", _as_tuple),
    _ListValue.VT_LIST_GRAPH: ("ListGraph", "g", _as_tuple),
    _ListValue.VT_LIST_NAMED_ATTRS: ("ListNamedAttrs", "na", _as_tuple),
    _ListValue.VT_LIST_DATA_TYPE: ("ListType", "dt", _read_types),
}


def _read_list(attr_def: proto.AttrDef) -> tuple[str, Any]:
    source = attr_def.list
    reader: _ListReader | None = _LIST_READERS.get(source.val_type)
    if reader is None:
        filled = (r for r in _LIST_READERS.values() if len(getattr(source, r[1])))
        reader = next(filled, _LIST_READERS[_ListValue.VT_LIST_STRING])
    name, field, convert = reader
    return name, convert(getattr(source, field))


def _read_list_list_int(attr_def: proto.AttrDef) -> tuple[str, Any]:
    return "ListListInt", tuple(tuple(row.list_i) for row in attr_def.list_list_int.list_list_i)


def _read_list_list_float(attr_def: proto.AttrDef) -> tuple[str, Any]:
    rows = attr_def.list_list_float.list_list_f
    return "ListListFloat", tuple(_read_floats(row.list_f) for row in rows)


_READERS: Final[Mapping[str, Callable[[proto.AttrDef], tuple[str, Any]]]] = {
    "i": lambda attr_def: ("Int", attr_def.i),
    "f": lambda attr_def: ("Float", shortest_float32(attr_def.f)),
    "b": lambda attr_def: ("Bool", attr_def.b),
    "s": lambda attr_def: ("String", _decode(attr_def.s)),
    "dt": lambda attr_def: ("Type", _GE_NAME.get(attr_def.dt, attr_def.dt)),
    "list": _read_list,
    "list_list_int": _read_list_list_int,
    "list_list_float": _read_list_list_float,
    "t": lambda attr_def: ("Tensor", attr_def.t),
    "bt": lambda attr_def: ("Bytes", attr_def.bt),
    "func": lambda attr_def: ("NamedAttrs", attr_def.func),
    "td": lambda attr_def: ("TensorDesc", attr_def.td),
    "g": lambda attr_def: ("Graph", attr_def.g),
    "expression": lambda attr_def: ("Expression", attr_def.expression),
}
