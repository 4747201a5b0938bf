"""The one text form of table-driven operations.

    %2 = aten.add.Tensor(%0, %1, alpha = 2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %4 = aten.view(%2, size = [%s0, -1]) : (tensor<?x4xf32>, i64) -> tensor<?x?xf32>

Leading tensors are positional, the rest is ``name = value`` in schema order; values equal to the
default are left out. Control operands follow as ``after [%c]``, discardable attributes as
``{...}``.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from torchair.ir.call_verify import control_count
from torchair.ir.interned import round_to_single
from torchair.ir.schema import REQUIRED_VALUE, Role, Schema

if TYPE_CHECKING:
    from torchair.ir.calls import CallOp

CallT = TypeVar("CallT", bound="CallOp")
_POSITIONAL = (Role.REQUIRED, Role.VARIADIC)


def print_call(op: CallOp, printer: Printer) -> None:
    """Print everything after the operation's name."""
    try:
        values = op.arguments()
    except VerifyException:  # malformed: the generic form shows what is there
        printer.print_op_with_default_format(op)
        return
    printer.print_string("(")
    first = True
    positional = True
    for parameter, value in zip(op.schema.parameters, values, strict=True):
        static = op.properties.get(parameter.name)
        present = (
            static is not None
            or isinstance(value, SSAValue)
            or (
                parameter.role in (Role.VARIADIC, Role.MASKED)
                and (value or parameter.role is Role.VARIADIC)
            )
        )
        positional = positional and parameter.role in _POSITIONAL and bool(present)
        if not present:
            continue
        if not first:
            printer.print_string(", ")
        first = False
        if not positional:
            printer.print_string(f"{parameter.name} = ")
        _print_value(value, printer, op.single_floats)
    printer.print_string(")")
    controls = control_count(op)
    if controls:
        printer.print_string(" after [")
        printer.print_list(op.operands[len(op.operands) - controls :], printer.print_ssa_value)
        printer.print_string("]")
    if op.attributes:
        printer.print_op_attributes(op.attributes)
    printer.print_string(" : ")
    printer.print_function_type(op.operand_types, op.result_types)


def _print_value(value: Any, printer: Printer, single: bool) -> None:
    if isinstance(value, SSAValue):
        printer.print_ssa_value(value)
    elif isinstance(value, list):
        printer.print_string("[")
        printer.print_list(cast("list[Any]", value), lambda v: _print_value(v, printer, single))
        printer.print_string("]")
    elif isinstance(value, str):
        printer.print_string_literal(value)
    elif isinstance(value, Attribute):
        printer.print_attribute(value)
    elif value is None:
        printer.print_string("none")
    elif isinstance(value, bool):
        printer.print_string("true" if value else "false")
    elif isinstance(value, float):
        printer.print_string(_float_text(value, single))
    else:
        printer.print_string(repr(value))


def _float_text(value: float, single: bool) -> str:
    """Shortest text that reads back as the same float64 (or float32)."""
    text = repr(value)
    if single:
        shorter = (f"{value:.{digits}g}" for digits in range(6, 10))
        text = next((t for t in shorter if round_to_single(float(t)) == value), text)
        if text.lstrip("-").isdigit():
            text += ".0"
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def parse_call(cls: type[CallT], parser: Parser) -> CallT:
    """Parse everything after the operation's name."""
    schema = cls.schema
    values: list[Any] = [REQUIRED_VALUE] * len(schema.parameters)
    parser.parse_punctuation("(")
    if parser.parse_optional_punctuation(")") is None:
        positional = 0
        while True:
            positional = _parse_argument(schema, values, positional, parser)
            if parser.parse_optional_punctuation(",") is None:
                break
        parser.parse_punctuation(")")
    controls: list[Any] = []
    if schema.has_control and parser.parse_optional_keyword("after"):
        controls = parser.parse_comma_separated_list(
            parser.Delimiter.SQUARE, parser.parse_unresolved_operand
        )
    attributes = parser.parse_optional_attr_dict()
    parser.parse_punctuation(":")
    position = parser.pos
    types = parser.parse_function_type()
    operand_types = iter(types.inputs.data)
    unresolved = list(_unresolved(values)) + controls
    if len(unresolved) != len(types.inputs.data):
        parser.raise_error(
            f"{len(unresolved)} operands, but {len(types.inputs.data)} operand types",
            position,
            parser.pos,
        )
    values = [_resolve(value, operand_types, parser) for value in values]
    resolved = [parser.resolve_operand(c, next(operand_types)) for c in controls]
    return cls.build_call(
        values, types.outputs.data, controls=resolved, attributes=dict(attributes)
    )


def _parse_argument(schema: Schema, values: list[Any], positional: int, parser: Parser) -> int:
    """Parse one argument into ``values``; returns the next positional index."""
    start = parser.pos
    name = parser.parse_optional_identifier()
    if name is not None and parser.parse_optional_punctuation("=") is not None:
        index = schema.positions.get(name)
        if index is None:
            parser.raise_error(f"unknown argument '{name}' of {schema.text}", start, parser.pos)
        positional = len(values)
    elif name is not None:
        parser.raise_error(f"expected 'name = value' in {schema.text}", start, parser.pos)
    else:
        index = positional
        positional += 1
        if index >= len(values):
            parser.raise_error(f"too many arguments for {schema.text}", start, parser.pos)
    if values[index] is not REQUIRED_VALUE:
        parser.raise_error(
            f"argument '{schema.parameters[index].name}' given twice", start, parser.pos
        )
    values[index] = _parse_value(parser)
    return positional


_KEYWORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "none": None,
    "inf": float("inf"),
    "nan": float("nan"),
}


def _parse_value(parser: Parser) -> Any:
    operand = parser.parse_optional_unresolved_operand()
    if operand is not None:
        return operand
    items = parser.parse_optional_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: _parse_value(parser)
    )
    if items is not None:
        return items
    text = parser.parse_optional_str_literal()
    if text is not None:
        return text
    for keyword, value in _KEYWORDS.items():
        if parser.parse_optional_keyword(keyword) is not None:
            return value
    if parser.parse_optional_punctuation("-") is not None:
        if parser.parse_optional_keyword("inf") is not None:
            return float("-inf")
        return -parser.parse_number(allow_boolean=False)
    number = parser.parse_optional_number()
    if number is not None:
        return number
    if parser.parse_optional_keyword("unit") is not None:
        return UnitAttr()
    return parser.parse_attribute()


def _unresolved(values: list[Any]) -> Iterator[UnresolvedOperand]:
    for value in values:
        if isinstance(value, list):
            yield from _unresolved(cast("list[Any]", value))
        elif isinstance(value, UnresolvedOperand):
            yield value


def _resolve(value: Any, types: Iterator[Attribute], parser: Parser) -> Any:
    if isinstance(value, list):
        return [_resolve(v, types, parser) for v in cast("list[Any]", value)]
    if isinstance(value, UnresolvedOperand):
        return parser.resolve_operand(value, next(types))
    return value
