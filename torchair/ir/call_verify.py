"""Verification of table-driven operations: arity, operand types, properties, results.

Everything here depends only on the operation's signature (class, operand and result types,
properties), so the verifier memoises it.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    NoneType,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.exceptions import VerifyException

from torchair.ir import interned
from torchair.ir.private import operands_of
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema
from torchair.ir.values import decode
from torchair.ir.weights import WeightAttr

if TYPE_CHECKING:
    from torchair.ir.calls import CallOp


@irdl_attr_definition
class ControlType(ParametrizedAttribute, TypeAttribute):
    """Type of a control edge: order without data."""

    name = "ge.control"


control_type = ControlType()
SEGMENTS = "operandSegmentSizes"
_RESERVED = {SEGMENTS}
_TENSOR_ROLES = (Role.REQUIRED, Role.OPTIONAL, Role.VARIADIC, Role.MASKED)
_LISTS = {
    "ints": "int",
    "floats": "float",
    "bools": "bool",
    "strs": "str",
    "dtypes": "dtype",
    "int_lists": "ints",
    "float_lists": "floats",
}
"""Kinds of whole-list properties (GE) and the kind of their items."""
_SCALARS: tuple[Attribute, ...] = (interned.i64, interned.f64, interned.i1)


def control_count(op: CallOp) -> int:
    """Number of trailing control operands."""
    if not op.schema.has_control:
        return 0
    count = 0
    for operand in reversed(operands_of(op)):
        if operand.type != control_type:
            break
        count += 1
    return count


def operand_counts(op: CallOp) -> list[int]:
    """Number of operands held by each parameter of the schema.

    Raises:
        VerifyException: the operands do not fit the schema.
    """
    schema = op.schema
    total = len(operands_of(op)) - control_count(op)
    explicit = op.properties.get(SEGMENTS)
    if explicit is not None:
        return _explicit_counts(schema, decode(explicit), total)
    counts = list(schema.base_counts)
    rest = total - sum(counts)
    if rest:
        if rest < 0 or schema.variable != 1:
            raise VerifyException(f"{total} operands do not fit {schema.text}")
        counts[schema.variable_index] = rest
    return counts


def _explicit_counts(schema: Schema, counts: Any, total: int) -> list[int]:
    found = cast("list[int]", counts) if isinstance(counts, list) else []
    if len(found) != len(schema.parameters) or sum(found) != total or min(found, default=0) < 0:
        raise VerifyException(
            f"operandSegmentSizes {counts} does not describe {total} operands of {schema.text}"
        )
    return found


def verify_call(op: CallOp) -> None:
    """Check an operation against its schema.

    Raises:
        VerifyException: naming the parameter and what was found.
    """
    schema = op.schema
    for name in op.properties:
        if name not in schema.positions and name not in _RESERVED:
            raise VerifyException(f"unknown argument '{name}' of {schema.text}")
    counts = operand_counts(op)
    position = 0
    for parameter, count in zip(schema.parameters, counts, strict=True):
        held = op.operand_types[position : position + count]
        position += count
        static = op.properties.get(parameter.name)
        _verify_parameter(op, parameter, held, static)
    _verify_results(op)


def _verify_parameter(
    op: CallOp, parameter: Parameter, held: Sequence[Attribute], static: Attribute | None
) -> None:
    role, count = parameter.role, len(held)
    where = f"argument '{parameter.name}' of {op.schema.text}"
    if role is Role.STATIC and count:
        raise VerifyException(f"{where} must be static")
    if role in (Role.REQUIRED, Role.OPTIONAL, Role.SCALAR) and count > 1:
        raise VerifyException(f"{where} takes one value, got {count}")
    takes_scalar = role is Role.REQUIRED and not op.schema.has_control
    for type_ in held:
        _verify_operand(role, type_, takes_scalar, where)
    if static is not None:
        _verify_static(parameter, static, count, where)
    elif not count and parameter.default is REQUIRED_VALUE and role is not Role.VARIADIC:
        raise VerifyException(f"{where} is missing")


def _verify_operand(role: Role, type_: Attribute, takes_scalar: bool, where: str) -> None:
    if role not in _TENSOR_ROLES:
        if type_ not in _SCALARS:
            raise VerifyException(f"{where} must be i64, f64 or i1, got {type_}")
        return
    is_tensor = isinstance(type_, TensorType | UnrankedTensorType)
    if not is_tensor and not (takes_scalar and type_ in _SCALARS):
        raise VerifyException(f"{where} must be a tensor, got {type_}")


def _verify_holes(role: Role, static: Attribute, count: int, where: str) -> None:
    """The number of operands of a mixed list equals the number of holes in its static part."""
    if role is Role.MASKED:
        marks = cast("ArrayAttr[Attribute]", static).data if isinstance(static, ArrayAttr) else ()
        holes = sum(mark == interned.true for mark in marks)
    elif isinstance(static, DenseArrayBase):
        holes = sum(v == interned.DYNAMIC for v in static.get_values())  # pyright: ignore
    elif isinstance(static, ArrayAttr):
        holes = sum(v == interned.unit for v in cast("ArrayAttr[Attribute]", static))
    else:
        holes = 0
    if holes != count:
        raise VerifyException(f"{where} has {holes} dynamic places and {count} operands")


def _is_kind(kind: str, value: Attribute) -> bool:
    if kind == "any":
        return True
    if isinstance(value, IntegerAttr):
        is_bool = value.type == interned.i1  # pyright: ignore[reportUnknownMemberType]
        return kind in (("bool", "number") if is_bool else ("int", "number", "float", "tensor"))
    if isinstance(value, FloatAttr):
        return kind in ("float", "number", "tensor")
    if isinstance(value, StringAttr):
        return kind in ("str", "layout", "device", "memory_format", "dtype")
    if isinstance(value, TypeAttribute):
        return kind == "dtype"
    if isinstance(value, DenseIntOrFPElementsAttr | WeightAttr):
        return kind == "tensor"
    if isinstance(value, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", value).data
        if kind == "number":
            return all(isinstance(item, FloatAttr) for item in items)
        return kind in _LISTS and all(_is_list_item(_LISTS[kind], item) for item in items)
    if isinstance(value, DenseArrayBase):
        return kind == "ints" or (kind in _LISTS and not value.get_values())  # pyright: ignore
    return False


def _verify_static(parameter: Parameter, static: Attribute, count: int, where: str) -> None:
    if isinstance(static, NoneType):
        if not parameter.nullable:
            raise VerifyException(f"{where} must not be none")
        return
    _verify_static_kind(parameter, static, where)
    _verify_holes(parameter.role, static, count, where)


def _verify_static_kind(parameter: Parameter, static: Attribute, where: str) -> None:
    kind = parameter.kind
    if parameter.role in (Role.VARIADIC, Role.OPTIONAL):
        raise VerifyException(f"{where} must be an SSA value, got {static}")
    if parameter.role is Role.MASKED:
        return
    if parameter.role is not Role.STATIC and isinstance(static, DenseArrayBase):
        if kind not in ("int", "any", "number", "float") or parameter.role is Role.SCALAR:
            raise VerifyException(f"{where} must be {kind}, got a list of integers")
        return
    if parameter.role is Role.LIST and isinstance(static, ArrayAttr):
        for item in cast("ArrayAttr[Attribute]", static):
            if item != interned.unit and not _is_list_item(kind, item):
                raise VerifyException(f"{where} must be a list of {kind}, got {item}")
        return
    if parameter.role is Role.REQUIRED:
        if not isinstance(static, IntegerAttr | FloatAttr | ArrayAttr):
            raise VerifyException(f"{where} must be a tensor or a number, got {static}")
        return
    if not _is_kind(kind, static):
        raise VerifyException(f"{where} must be {kind}, got {static}")


def _is_list_item(kind: str, item: Attribute) -> bool:
    return _is_kind(kind, item)


def _verify_results(op: CallOp) -> None:
    schema = op.schema
    types = [r.type for r in op.results]
    if schema.has_control and types and types[-1] == control_type:
        types.pop()
    if schema.has_list_result:
        fixed = sum(not r.endswith(("[]", "*")) for r in schema.results)
        if len(types) < fixed:
            raise VerifyException(f"{len(types)} results, at least {fixed} in {schema.text}")
        return
    if len(types) != len(schema.results):
        raise VerifyException(f"{len(types)} results, {len(schema.results)} in {schema.text}")
