"""Table-driven operations: one small class per schema, with shared build, read, verify, print,
parse.

``CallOp`` subclasses are made lazily from a ``Schema`` (a few microseconds each), so a dialect of
4,000 operators costs nothing until an operator is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar, cast

from xdsl.ir import Attribute, Operation, OpTraits, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoMemoryEffect, OpTrait

from torchair.ir import call_text, call_verify
from torchair.ir.call_values import SEGMENTS, encode_call, read_argument, read_arguments
from torchair.ir.private import UNKNOWN_LOCATION, create_op
from torchair.ir.schema import Schema

CallT = TypeVar("CallT", bound="CallOp")


class _CallMeta(type(Operation)):
    """``isinstance(op, CallOp)`` without the walk over registered classes that ABC does: it is what
    every loop over operations asks first."""

    __instancecheck__ = type.__instancecheck__


class CallOp(Operation, metaclass=_CallMeta):
    """Base of all operations whose definition is a table row."""

    checked: tuple[object, object, dict[str, Attribute]] | None = None
    """Operands, results and properties when the signature was last found right."""
    __hash__ = object.__hash__  # by identity, as xDSL's, without a call of Python
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
        operands, properties = encode_call(cls, values)
        operands.extend(controls)
        return create_op(cls, operands, result_types, properties, location, attributes)

    def arguments(self) -> list[Any]:
        """One Python value per schema parameter, defaults filled in; tensors are SSA values."""
        return read_arguments(self)

    def argument(self, name: str) -> Any:
        """Value of one parameter by name."""
        return read_argument(self, name)

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
    return cast("type[CallT]", type(base)(schema.name, (base,), namespace))


__all__ = ["SEGMENTS", "CallOp", "make_call_class"]
