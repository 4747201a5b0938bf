"""Argument values of table-driven operations: to operands and properties, and back."""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, SSAValue

from torchair.ir.call_verify import SEGMENTS, operand_counts
from torchair.ir.interned import DYNAMIC, segments
from torchair.ir.private import VALUE_CLASSES, operands_of
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
    is_regular = schema.variable <= 1
    for parameter, value, usual in zip(schema.parameters, values, schema.usual_counts, strict=True):
        kind = value.__class__
        count = 0
        if kind in VALUE_CLASSES:
            operands.append(cast(SSAValue, value))
            count = 1
        elif kind is list or kind is tuple:
            items = cast("Sequence[object]", value)
            count = _encode_list(parameter, items, operands, properties, single)
        elif value is not REQUIRED_VALUE and not _is_default(parameter, value):
            properties[parameter.name] = encode_scalar(value, single)
        counts.append(count)
        if count != usual and usual >= 0:
            is_regular = False
    if not is_regular:
        properties[SEGMENTS] = segments(counts)
    return operands, properties


def _is_default(parameter: Parameter, value: object) -> bool:
    if value is None and parameter.role in (Role.OPTIONAL, Role.VARIADIC):
        return True
    default = parameter.default
    return type(value) is type(default) and value == default


def _encode_list(
    parameter: Parameter,
    value: Sequence[object],
    operands: list[SSAValue],
    properties: dict[str, Attribute],
    single: bool,
) -> int:
    """Add a list's operands and static part; returns the number of operands."""
    dynamic = [cast(SSAValue, v) for v in value if v.__class__ in VALUE_CLASSES]
    operands.extend(dynamic)
    if parameter.role is Role.MASKED:
        properties[parameter.name] = encode_list([v.__class__ in VALUE_CLASSES for v in value])
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
    schema = op.schema
    counts = schema.base_counts
    if len(operands) != schema.least or SEGMENTS in properties or schema.has_control:
        counts = operand_counts(op)
    values: list[Any] = []
    position = 0
    for parameter, count in zip(schema.parameters, counts, strict=True):
        static = properties.get(parameter.name)
        role = parameter.role
        if role is Role.REQUIRED and count == 1:
            values.append(operands[position])
        elif static is not None:
            if not count and role is not Role.MASKED:
                values.append(decode(static))
            else:
                held = operands[position : position + count]
                values.append(_with_static(decode(static), held, role))
        elif role is Role.VARIADIC or role is Role.MASKED:
            values.append(list(operands[position : position + count]))
        elif count:
            values.append(operands[position])
        else:
            values.append(_absent(parameter))
        position += count
    return values


def read_argument(op: CallOp, name: str) -> Any:
    """The value of one parameter, as in ``read_arguments``."""
    index = op.schema.positions[name]
    parameter = op.schema.parameters[index]
    if parameter.role is not Role.STATIC:
        return read_arguments(op)[index]
    static = op.properties.get(name)
    return _absent(parameter) if static is None else decode(static)


def _absent(parameter: Parameter) -> Any:
    return None if parameter.default is REQUIRED_VALUE else parameter.default


def _with_static(static: Any, held: Sequence[SSAValue], role: Role) -> Any:
    dynamic = iter(held)
    if role is Role.MASKED:
        return [next(dynamic, None) if present else None for present in static]
    return [next(dynamic) if v == DYNAMIC or isinstance(v, UnitAttr) else v for v in static]
