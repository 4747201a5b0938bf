"""Table-driven operations: one small class per schema, with shared build, read, verify, print, parse.

``CallOp`` subclasses are made lazily from a ``Schema`` (a few microseconds each), so a dialect of
4,000 operators costs nothing until an operator is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from xdsl.dialects.builtin import DenseArrayBase, UnitAttr
from xdsl.ir import Attribute, Operation, OpTraits, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoMemoryEffect, OpTrait
from xdsl.utils.exceptions import VerifyException

from torchair.ir import call_text, call_verify
from torchair.ir.interned import DYNAMIC, boolean, segments
from torchair.ir.private import UNKNOWN_LOCATION, create_op
from torchair.ir.schema import REQUIRED_VALUE, Role, Schema
from torchair.ir.values import decode, encode_list, encode_scalar

SEGMENTS = "operandSegmentSizes"
CallT = TypeVar("CallT", bound="CallOp")


class CallOp(Operation):
    """Base of all operations whose definition is a table row."""

    schema: ClassVar[Schema]
    single_floats: ClassVar[bool] = False
    """Whether float attributes are float32 (GE) rather than float64 (ATen)."""
    traits: ClassVar[OpTraits] = OpTraits(lambda: ())

    @classmethod
    def build_call(
        cls: type[CallT],
        values: Sequence[object],
        result_types: Sequence[Attribute],
        location: Attribute = UNKNOWN_LOCATION,
        controls: Sequence[SSAValue] = (),
        attributes: dict[str, Attribute] | None = None,
    ) -> CallT:
        """Build from one value per schema parameter, in order.

        Args:
            values: SSA values, lists of them, or static Python values; ``REQUIRED_VALUE`` or the
                default leaves a parameter out.
            result_types: flat list of result types.
            location: source location.
            controls: control operands (schemas with ``has_control``).
            attributes: discardable attributes; ownership passes to the operation.
        """
        operands, properties = _encode(cls, values)
        operands.extend(controls)
        return create_op(cls, operands, result_types, properties, location, attributes)

    def arguments(self) -> list[Any]:
        """One Python value per schema parameter, defaults filled in; tensors are SSA values."""
        return _read(self)

    def argument(self, name: str) -> Any:
        """Value of one parameter by name."""
        return _read(self)[self.schema.positions[name]]

    def operand_counts(self) -> list[int]:
        """Number of operands held by each parameter."""
        return call_verify.operand_counts(self)

    def verify_(self) -> None:
        call_verify.verify_call(self)

    def print(self, printer: Printer) -> None:
        call_text.print_call(self, printer)

    @classmethod
    def parse(cls: type[CallT], parser: Parser) -> CallT:
        return call_text.parse_call(cls, parser)


def make_call_class(
    base: type[CallT], schema: Schema, traits: Sequence[OpTrait] = ()
) -> type[CallT]:
    """Make the operation class of a schema."""
    effects = (NoMemoryEffect(),) if schema.pure else ()
    namespace = {
        "name": schema.name,
        "schema": schema,
        "traits": OpTraits(lambda: (*effects, *traits)),
        "__doc__": f"``{schema.text}``",
        "__module__": base.__module__,
    }
    return type(schema.name, (base,), namespace)


def _encode(
    cls: type[CallOp], values: Sequence[object]
) -> tuple[list[SSAValue], dict[str, Attribute]]:
    operands: list[SSAValue] = []
    properties: dict[str, Attribute] = {}
    counts: list[int] = []
    irregular = 0
    single = cls.single_floats
    for parameter, value in zip(cls.schema.parameters, values, strict=True):
        role = parameter.role
        if isinstance(value, SSAValue):
            operands.append(value)
            counts.append(1)
            irregular += role is Role.LIST
            continue
        before = len(operands)
        if value is not REQUIRED_VALUE:
            if isinstance(value, list | tuple):
                _encode_list(parameter.name, role, value, operands, properties, single, parameter)
            elif value != parameter.default or type(value) is not type(parameter.default):
                if not (value is None and role in (Role.OPTIONAL, Role.VARIADIC)):
                    properties[parameter.name] = encode_scalar(value, single)
        if role is Role.REQUIRED:
            irregular += 1
        counts.append(len(operands) - before)
    if irregular or cls.schema.variable > 1:
        properties[SEGMENTS] = segments(counts)
    return operands, properties


def _encode_list(
    name: str,
    role: Role,
    value: Sequence[object],
    operands: list[SSAValue],
    properties: dict[str, Attribute],
    single: bool,
    parameter: Any,
) -> None:
    dynamic = [v for v in value if isinstance(v, SSAValue)]
    operands.extend(dynamic)
    if role is Role.VARIADIC and len(dynamic) == len(value):
        return
    if role is Role.MASKED:
        properties[name] = encode_list([isinstance(v, SSAValue) for v in value])
        return
    default = parameter.default
    if not dynamic and isinstance(default, list) and list(value) == default:
        return
    properties[name] = encode_list(value, single)


def _read(op: CallOp) -> list[Any]:
    operands = op._operands  # pyright: ignore[reportPrivateUsage]
    properties = op.properties
    values: list[Any] = []
    position = 0
    counts = call_verify.operand_counts(op)
    for parameter, count in zip(op.schema.parameters, counts, strict=True):
        held = operands[position : position + count]
        position += count
        static = properties.get(parameter.name)
        role = parameter.role
        if static is not None and count == 0:
            value = decode(static)
            values.append([None] * len(value) if role is Role.MASKED else value)
        elif static is not None:
            values.append(_merge(decode(static), held, role))
        elif role is Role.VARIADIC or role is Role.MASKED:
            values.append(list(held))
        elif count:
            values.append(held[0])
        else:
            values.append(None if parameter.default is REQUIRED_VALUE else parameter.default)
    return values


def _merge(static: list[Any], held: Sequence[SSAValue], role: Role) -> list[Any]:
    dynamic = iter(held)
    if role is Role.MASKED:
        return [next(dynamic) if present else None for present in static]
    return [
        next(dynamic) if v == DYNAMIC or isinstance(v, UnitAttr) else v for v in static
    ]


def segment_sizes(op: Operation) -> tuple[int, ...] | None:
    """The explicit operand segment sizes, None when they follow from the schema."""
    found = op.properties.get(SEGMENTS)
    return tuple(found.get_values()) if isinstance(found, DenseArrayBase) else None  # pyright: ignore


__all__ = ["SEGMENTS", "CallOp", "boolean", "make_call_class", "segment_sizes"]
