"""Building a GE operator from a call of torch_npu whose arguments have the same names.

    @converts(listed("npu_ffn"))
    def npu_ffn(out, **named):
        return build("npu_ffn", "FFN", named, out, expert_tokens=tokens)

Schemas of dozens of parameters are taken from the table rather than repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from xdsl.ir import Attribute

from torchair.dialects.aten import table
from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.schema import REQUIRED_VALUE, Role, Schema
from torchair.passes.convert_aten_to_ge.geometry import is_value


def listed(name: str) -> str:
    """Schema of an operator of torch_npu, namespace included, as the table has it."""
    return _schema(name).text


def _schema(name: str) -> Schema:
    found = table.find(f"npu.{name}")
    if found is None:
        raise ConversionError(f"the schema table has no operator npu::{name}")
    return found


def build(
    name: str,
    op: str,
    named: Mapping[str, Any],
    out: Any,
    *,
    renamed: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
    **given: Any,
) -> Any:
    """Append a GE operator, its inputs and attributes taken from a call's arguments by name.

    Args:
        name: operator of torch_npu.
        op: GE type.
        named: the call's arguments.
        out: result types.
        renamed: GE name -> name in the schema, where they differ.
        ignored: arguments without meaning in a graph (hints on performance).
        given: GE inputs and attributes that the converter computed, by GE name.

    Returns:
        What ``ge.call`` returns.

    Raises:
        ConversionError: an argument that GE has no place for does not have its default.
    """
    schema = ge.op_class(op).schema
    names = dict(renamed or {})
    used = set(ignored)
    arguments: dict[str, Any] = {}
    for parameter in schema.parameters:
        source = names.get(parameter.name, parameter.name)
        used.add(source)
        if parameter.name in given:
            value = given[parameter.name]
        elif source in named:
            value = named[source]
        else:
            continue
        if value is not None:
            is_tensor = parameter.role in (Role.REQUIRED, Role.OPTIONAL)
            arguments[parameter.name] = _argument(value, parameter.role, is_tensor)
    _refuse_others(name, named, used)
    types = tuple(cast("list[Attribute]", out)) if isinstance(out, list) else out
    return ge.call(op, out=types, **arguments)


def _argument(value: Any, role: Role, is_tensor: bool) -> Any:
    """Lists of sizes given for a tensor become one; one tensor given for a list, a list."""
    if is_tensor and isinstance(value, list):
        return ge.sizes(cast("list[Any]", value))
    if role is Role.VARIADIC and is_value(value):
        return [value]
    return value


def _refuse_others(name: str, named: Mapping[str, Any], used: Collection[str]) -> None:
    for parameter in _schema(name).parameters:
        value = named.get(parameter.name)
        if parameter.name in used or value is None or value == [] or value is REQUIRED_VALUE:
            continue
        if is_value(value) or value != parameter.default:
            raise ConversionError(
                f"argument '{parameter.name}' of npu::{name} is not supported here",
                expected=parameter.default,
                found=value,
                hint="leave the argument out",
            )


def ge_type(out: Attribute) -> int:
    """``ge::DataType`` number of a result's element type."""

    return dtypes.BY_NAME[element_types.to_name(interned.element_type(out))].ge
