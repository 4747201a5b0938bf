"""IR attributes in GE protobuf: the names of the attributes this compiler adds, and two encodings.

Attributes that GE reads are written in GE's own ``AttrDef`` kinds. What only ``load`` needs
(argument attributes, discardable attributes, types) is written as JSON, exact and safe to read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    NoneAttr,
    NoneType,
    StringAttr,
    TensorType,
    UnitAttr,
    UnrankedTensorType,
)
from xdsl.ir import Attribute, TypeAttribute
from xdsl.utils.exceptions import VerifyException

from torchair.backend_ge import proto
from torchair.backend_ge.proto.attrs import read_attr, write_attr
from torchair.dialects.ge import dtypes
from torchair.errors import ArtifactError, ConversionError, VerifyError
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type
from torchair.ir.interned import DYNAMIC
from torchair.ir.values import decode, encode_list, encode_scalar
from torchair.ir.weights import WeightAttr, WeightHandle

INPUT_NAMES: Final = "_input_name_key"
INPUT_INDEXES: Final = "_input_name_value"
OUTPUT_NAMES: Final = "_output_name_key"
OUTPUT_INDEXES: Final = "_output_name_value"
UNFED: Final = "_is_unfed_optional"
READABLE: Final = "_readable_value"
FX_NAME: Final = "_fx_tensor_name"
LOCATION: Final = "_torchair_location"
SYMBOLS: Final = "_torchair_symbols"
VALUE_NAME: Final = "_torchair_value"
ATTRIBUTES: Final = "_torchair_attributes"
NAMED: Final = "_torchair_named"
CONTROL_RESULT: Final = "_torchair_control"
ORDER_EDGES: Final = "_torchair_order_edges"
WEIGHT: Final = "_torchair_weight"
MODULE: Final = "_torchair_module"
REF_OUTPUTS: Final = "_torchair_ref_outputs"

NODE_NAME: Final = "ge.node_name"
"""Discardable attribute: the name of the node."""
PLAIN_PREFIX: Final = "ge.attr."
"""Discardable attribute ``ge.attr.<name>``: node attribute ``<name>`` that the registry lacks."""

RESERVED: Final = frozenset(
    {
        INPUT_NAMES, INPUT_INDEXES, OUTPUT_NAMES, OUTPUT_INDEXES, READABLE, LOCATION, ATTRIBUTES,
        NAMED, CONTROL_RESULT, ORDER_EDGES, WEIGHT, "_opt_input",
    }
)  # fmt: skip
"""Node attributes that are not part of the IR: written by ``emit``, consumed by ``load``."""

MAX_RANK: Final = 32
_NAMES_LIST: Final = proto.AttrDef.ListValue.VT_LIST_STRING


def write_typed(attr_def: proto.AttrDef, kind: str, value: Any) -> None:
    """``write_attr`` that also marks string lists: GE drops a list whose type is not marked."""
    write_attr(attr_def, kind, value)
    if kind == "ListString":
        attr_def.list.val_type = cast(Any, _NAMES_LIST)


def type_number(element: Attribute) -> int:
    """``ge::DataType`` number of an element type."""
    return dtypes.BY_NAME[element_types.to_name(element)].ge


def property_value(kind: str, attribute: Attribute) -> Any:
    """Value of a property as ``write_attr`` takes it for registry type `kind`."""
    if kind == "Tensor":
        return attribute
    value = decode(attribute)
    if kind == "Type":
        return value if isinstance(value, str | int) else element_types.to_name(value)
    if kind == "ListType":
        return [v if isinstance(v, str | int) else element_types.to_name(v) for v in value]
    return value


def property_attribute(kind: str, value: Any) -> Attribute:
    """The property of a value that ``read_attr`` gave for registry type `kind`."""
    if kind == "Type":
        return element_type(value)
    if kind == "ListType":
        return encode_list([element_type(v) for v in value])
    if kind.startswith("List"):
        return encode_list(list(value), single=True)
    return encode_scalar(value, single=True)


def element_type(name: str | int) -> Attribute:
    """Element type of a name or number that ``read_attr`` gave.

    Raises:
        ArtifactError: GE has no such data type.
    """
    if isinstance(name, int):
        raise ArtifactError("an attribute names an unknown data type", found=name)
    return element_types.from_name(name)


def discardable_kind(attribute: Attribute) -> str | None:
    """GE attribute kind of a discardable attribute, None when GE has none for it."""
    if isinstance(attribute, StringAttr):
        return "String"
    if isinstance(attribute, IntegerAttr):
        return "Bool" if cast(Any, attribute).type == interned.i1 else "Int"
    if isinstance(attribute, FloatAttr):
        return "Float"
    if isinstance(attribute, DenseArrayBase):
        return "ListInt" if cast(Any, attribute).elt_type == interned.i64 else None
    if isinstance(attribute, ArrayAttr):
        kinds = {discardable_kind(item) for item in cast("ArrayAttr[Attribute]", attribute)}
        return _LIST_KINDS.get(kinds.pop() if len(kinds) == 1 else None) if kinds else "ListString"
    if isinstance(attribute, TypeAttribute):
        return "Type" if _is_element(attribute) else None
    return None


_LIST_KINDS: Final[Mapping[str | None, str]] = {
    "String": "ListString",
    "Int": "ListInt",
    "Float": "ListFloat",
    "Bool": "ListBool",
    "Type": "ListType",
    "ListInt": "ListListInt",
    "ListFloat": "ListListFloat",
}


def _is_element(attribute: Attribute) -> bool:
    try:
        return element_types.to_name(attribute) in dtypes.BY_NAME
    except ConversionError:
        return False


def read_discardable(attr_def: proto.AttrDef, what: str) -> Attribute:
    """IR attribute of a node attribute that the registry does not have.

    Raises:
        ArtifactError: it holds something the IR has no attribute for (a graph, bytes...).
    """
    kind, value = read_attr(attr_def)
    if kind not in _READABLE_KINDS:
        raise ArtifactError(f"{what} holds a {kind}", hint="write the graph without this attribute")
    check_text(value, what)
    if kind == "ListString":
        return ArrayAttr([interned.string(item) for item in value])
    return property_attribute(kind, value)


_READABLE_KINDS: Final = frozenset(
    {"Int", "Float", "Bool", "String", "Type", *_LIST_KINDS.values()}
)


def check_text(value: Any, what: str) -> None:
    """Refuse strings that are not UTF-8, which neither text nor JSON could carry.

    Raises:
        ArtifactError: a string holds escaped bytes.
    """
    for item in cast("Sequence[Any]", value) if isinstance(value, tuple | list) else (value,):
        if isinstance(item, str) and not item.isascii():
            _check_string(item, what)


def _check_string(text: str, what: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{what} is not UTF-8 text", found=ascii(text[:60])) from error


# ---------------------------------------------------------------- JSON


def to_json(attribute: Attribute) -> Any:
    """JSON value of an attribute: plain where JSON has the kind, else a one-entry tagged object.

    Raises:
        VerifyError: the attribute has no such form.
    """
    if isinstance(attribute, StringAttr):
        return attribute.data
    if isinstance(attribute, NoneType):
        return None
    if isinstance(attribute, UnitAttr):
        return {"unit": True}
    if isinstance(attribute, WeightAttr):
        return {"weight": attribute.data.key}
    if isinstance(attribute, DictionaryAttr):
        return {"dict": {key: to_json(value) for key, value in attribute.data.items()}}
    if isinstance(attribute, ArrayAttr):
        return [to_json(item) for item in cast("ArrayAttr[Attribute]", attribute)]
    if isinstance(attribute, DenseArrayBase):
        return _dense_to_json(cast("DenseArrayBase[Any]", attribute))
    if isinstance(attribute, IntegerAttr | FloatAttr):
        return _number_to_json(cast("IntegerAttr[Any] | FloatAttr[Any]", attribute))
    if isinstance(attribute, TypeAttribute):
        return {"type": type_to_json(attribute)}
    raise VerifyError(
        f"a discardable attribute of kind '{attribute.name}' cannot be written to a GE graph",
        found=attribute,
        hint="remove it before emission, or use a string, a number, a list or a dictionary",
    )


def _dense_to_json(attribute: DenseArrayBase[Any]) -> Any:
    element = element_types.to_name(attribute.elt_type)
    values = [v.hex() if isinstance(v, float) else int(v) for v in attribute.get_values()]
    return {"array": [element, values]}


def _number_to_json(attribute: IntegerAttr[Any] | FloatAttr[Any]) -> Any:
    if isinstance(attribute, FloatAttr):
        return {"float": [element_types.to_name(attribute.type), attribute.value.data.hex()]}
    if attribute.type == interned.i1:
        return attribute.value.data != 0
    if attribute.type == interned.i64:
        return attribute.value.data
    return {"int": [element_types.to_name(attribute.type), attribute.value.data]}


def type_to_json(type_: Attribute) -> Any:
    """JSON value of a tensor type, an element type or the control type."""
    if type_ == control_type:
        return {"control": True}
    if isinstance(type_, TensorType):
        tensor = cast("TensorType[Any]", type_)
        symbols = symbols_of(tensor)
        dims = [None if size == DYNAMIC else size for size in tensor.get_shape()]
        body = {"dtype": element_types.to_name(tensor.element_type), "shape": dims}
        return body if symbols is None else {**body, "symbols": symbols}
    if isinstance(type_, UnrankedTensorType):
        element = cast("UnrankedTensorType[Any]", type_).element_type
        return {"dtype": element_types.to_name(element), "shape": None}
    return element_types.to_name(type_)


def symbols_of(type_: TensorType[Any]) -> list[str] | None:
    """The symbolic sizes in a tensor type's encoding, None when it has none.

    Raises:
        VerifyError: the encoding is something else.
    """
    encoding = type_.encoding
    if isinstance(encoding, NoneAttr):
        return None
    if isinstance(encoding, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", encoding).data
        if all(isinstance(item, StringAttr) for item in items):
            return [cast(StringAttr, item).data for item in items]
    raise VerifyError("the encoding of a tensor type is not a list of sizes", found=type_)


def read_json(text: str, what: str) -> Any:
    """Parse JSON of an untrusted file.

    Raises:
        ArtifactError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{what} is not JSON", found=ascii(text[:60])) from error


def from_json(value: Any, what: str) -> Attribute:
    """The attribute that ``to_json`` wrote.

    Raises:
        ArtifactError: it is no such value.
    """
    try:
        return _from_json(value)
    except (
        AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
        VerifyException, ConversionError,
    ) as error:  # fmt: skip
        raise ArtifactError(f"{what} does not describe an attribute") from error


def dict_from_json(value: Any, what: str) -> dict[str, Attribute]:
    """A dictionary of attributes by name.

    Raises:
        ArtifactError: it is no such dictionary.
    """
    if not isinstance(value, dict):
        raise ArtifactError(f"{what} is not a dictionary of attributes", found=type(value).__name__)
    entries = cast("dict[str, Any]", value)
    check_text(list(entries), what)
    return {key: from_json(item, what) for key, item in entries.items()}


def _from_json(value: Any) -> Attribute:
    if isinstance(value, str):
        value.encode("utf-8")
        return interned.string(value)
    if value is None or isinstance(value, bool):
        return encode_scalar(value)
    if isinstance(value, int):
        _check_int(value)
        return interned.integer(value)
    if isinstance(value, list):
        return ArrayAttr([_from_json(item) for item in cast("list[Any]", value)])
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) != 1:
        raise ValueError("not a tagged value")
    ((tag, body),) = cast("dict[str, Any]", value).items()
    return _TAGS[tag](body)


def _check_int(value: object) -> None:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError("not a 64-bit integer")


def _float_from_json(body: Any) -> Attribute:
    name, text = body
    value = float.fromhex(text)
    if name == "float64" or (name == "float32" and not math.isnan(value)):
        return interned.floating(value, single=name == "float32")
    return FloatAttr(value, cast(Any, element_types.BY_NAME[name]))


def _int_from_json(body: Any) -> Attribute:
    name, value = body
    _check_int(value)
    type_ = element_types.BY_NAME[name]
    if not isinstance(type_, IntegerType):
        raise ValueError("not an integer type")
    return IntegerAttr(value, cast("IntegerType[Any, Any]", type_))


def _array_from_json(body: Any) -> Attribute:
    name, values = body
    for value in values:
        if not isinstance(value, str):
            _check_int(value)
    if name == "int64":
        return interned.int_list(values)
    numbers = [float.fromhex(v) if isinstance(v, str) else v for v in values]
    return DenseArrayBase.from_list(cast(Any, element_types.BY_NAME[name]), cast(Any, numbers))


def _dict_from_json(body: Any) -> Attribute:
    return DictionaryAttr({str(key): _from_json(item) for key, item in body.items()})


def _unit_from_json(_: Any) -> Attribute:
    return interned.unit


def _weight_from_json(body: Any) -> Attribute:
    body.encode("utf-8")
    return WeightAttr(WeightHandle(body))


def type_from_json(body: Any) -> Attribute:
    """The type that ``type_to_json`` wrote; raises as ``_from_json`` for anything else."""
    if isinstance(body, str):
        return element_types.from_name(dtypes.BY_NAME[body].name)
    if "control" in body:
        return control_type
    element = element_types.from_name(dtypes.BY_NAME[body["dtype"]].name)
    shape = body["shape"]
    if shape is None:
        return interned.unranked(element)
    sizes = [DYNAMIC if size is None else size for size in shape]
    return tensor_type(sizes, element, body.get("symbols"))


def tensor_type(
    sizes: Sequence[int], element: Attribute, symbols: Sequence[str] | None
) -> Attribute:
    """A tensor type from untrusted parts.

    Raises:
        ValueError: too many dimensions, a bad size, or a wrong number of symbols.
    """
    if len(sizes) > MAX_RANK:
        raise ValueError(f"{len(sizes)} dimensions, the most is {MAX_RANK}")
    for size in sizes:
        if type(size) is not int or (size != DYNAMIC and not 0 <= size < 2**63):
            raise ValueError(f"a dimension of size {size}")
    if symbols is not None:
        if len(symbols) != len(sizes):
            raise ValueError(f"{len(symbols)} symbols for {len(sizes)} dimensions")
        for symbol in symbols:
            symbol.encode("utf-8")
    return interned.tensor(sizes, element, symbols)


_TAGS: Final[Mapping[str, Any]] = {
    "unit": _unit_from_json,
    "weight": _weight_from_json,
    "dict": _dict_from_json,
    "array": _array_from_json,
    "float": _float_from_json,
    "int": _int_from_json,
    "type": type_from_json,
}
