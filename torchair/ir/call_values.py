"""Argument values of table-driven operations: to operands and properties, and back."""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, SSAValue

from torchair.ir.call_verify import SEGMENTS, operand_counts
from torchair.ir.interned import DYNAMIC, segments
from torchair.ir.private import operands_of
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role
from torchair.ir.values import decode, encode_list, encode_scalar

if TYPE_CHECKING:
    from torchair.ir.calls import CallOp


def encode_call(
    cls: type[CallOp], values: Sequence[object]
) -> tuple[list[SSAValue], dict[str, Attribute]]:
    """Operands and properties of a call, given one value per schema parameter."""
    schema = cls.schema
    operands: list[SSAValue] = []
    properties: dict[str, Attribute] = {}
    counts: list[int] = []
    single = cls.single_floats
    for parameter, value in zip(schema.parameters, values, strict=True):
        if isinstance(value, SSAValue):
            operands.append(value)
            counts.append(1)
            continue
        count = 0
        if isinstance(value, list | tuple):
            count = _encode_list(parameter, value, operands, properties, single)
        elif value is not REQUIRED_VALUE and not _is_default(parameter, value):
            properties[parameter.name] = encode_scalar(value, single)
        counts.append(count)
    if schema.variable > 1 or _is_irregular(schema.base_counts, schema.variable_index, counts):
        properties[SEGMENTS] = segments(counts)
    return operands, properties


def _is_irregular(base: tuple[int, ...], variable_index: int, counts: list[int]) -> bool:
    """Whether the counts do not follow from the schema and the number of operands."""
    return any(
        count != expected and index != variable_index
        for index, (count, expected) in enumerate(zip(counts, base, strict=True))
    )


def _is_default(parameter: Parameter, value: object) -> bool:
    default = parameter.default
    if value is None and parameter.role in (Role.OPTIONAL, Role.VARIADIC):
        return True
    return value == default and type(value) is type(default)


def _encode_list(
    parameter: Parameter,
    value: Sequence[object],
    operands: list[SSAValue],
    properties: dict[str, Attribute],
    single: bool,
) -> int:
    """Add a list's operands and static part; returns the number of operands."""
    dynamic = [v for v in value if isinstance(v, SSAValue)]
    operands.extend(dynamic)
    if parameter.role is Role.MASKED:
        properties[parameter.name] = encode_list([isinstance(v, SSAValue) for v in value])
        return len(dynamic)
    if parameter.role is Role.VARIADIC and len(dynamic) == len(value):
        return len(dynamic)
    default = parameter.default
    if dynamic or not isinstance(default, list) or list(value) != default:
        properties[parameter.name] = encode_list(value, single)
    return len(dynamic)


def read_arguments(op: CallOp) -> list[Any]:
    """One Python value per schema parameter, defaults filled in; tensors are SSA values."""
    operands = operands_of(op)
    properties = op.properties
    values: list[Any] = []
    position = 0
    for parameter, count in zip(op.schema.parameters, operand_counts(op), strict=True):
        static = properties.get(parameter.name) if properties else None
        role = parameter.role
        if role is Role.REQUIRED and count == 1:
            values.append(operands[position])
        elif static is not None:
            held = operands[position : position + count]
            values.append(_with_static(decode(static), held, role))
        elif role is Role.VARIADIC or role is Role.MASKED:
            values.append(list(operands[position : position + count]))
        elif count:
            values.append(operands[position])
        else:
            values.append(None if parameter.default is REQUIRED_VALUE else parameter.default)
        position += count
    return values


def _with_static(static: Any, held: Sequence[SSAValue], role: Role) -> Any:
    dynamic = iter(held)
    if role is Role.MASKED:
        return [next(dynamic, None) if present else None for present in static]
    if not held:
        return static
    return [next(dynamic) if v == DYNAMIC or isinstance(v, UnitAttr) else v for v in static]
