"""The only module that touches private fields of xDSL's IR classes.

xDSL's public constructors cost 7-20 us per operation; building and rewriting whole graphs needs a
third of that. ``test_ir_private.py`` asserts that each field used here exists in the installed
xDSL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar, cast

from xdsl.dialects.builtin import AnyFloat, UnknownLoc
from xdsl.ir import (
    Attribute,
    Block,
    BlockArgument,
    ErasedSSAValue,
    Operation,
    OpResult,
    SSAValue,
    SSAValues,
    Use,
)
from xdsl.parser import AttrParser, Parser
from xdsl.parser.core import ForwardDeclaredValue
from xdsl.utils.mlir_lexer import MLIRTokenKind

OpT = TypeVar("OpT", bound=Operation)
AttributeT = TypeVar("AttributeT", bound=Attribute)

UNKNOWN_LOCATION = UnknownLoc()
FIELDS: dict[type, tuple[str, ...]] = {
    Operation: ("_operands", "_operand_uses", "_next_op", "_prev_op", "results", "properties"),
    OpResult: ("op", "index"),
    Block: ("_first_op", "_last_op", "_args"),
    SSAValue: ("_type", "_name", "first_use"),
    Use: ("_prev_use", "_next_use", "_operation", "_index"),
    AttrParser: ("_TensorLiteralElement", "_parse_tensor_literal_element"),
}
"""Every private field this module relies on, by class."""


VALUE_CLASSES: frozenset[type] = frozenset(
    (OpResult, BlockArgument, ErasedSSAValue, ForwardDeclaredValue)
)
"""All classes of SSA values: ``value.__class__ in VALUE_CLASSES`` asks what ``isinstance(value,
SSAValue)`` does, without the quarter of a microsecond that abstract classes take for an answer."""


class Values(SSAValues[SSAValue]):
    """Operands or results that are indexed as fast as a tuple.

    A slice of them is a tuple as well, which the accessors that xDSL generates from operation
    definitions do not expect: only operations made from a schema hold them.
    """

    __getitem__ = tuple.__getitem__  # pyright: ignore


def create_op(
    cls: type[OpT],
    operands: Sequence[SSAValue],
    result_types: Sequence[Attribute],
    properties: dict[str, Attribute],
    location: Attribute = UNKNOWN_LOCATION,
    attributes: dict[str, Attribute] | None = None,
) -> OpT:
    """Build a region-free, successor-free operation; takes ownership of both dictionaries."""
    op: Any = cls.__new__(cls)
    values_class = Values if hasattr(cls, "schema") else SSAValues
    op._operands = values_class(operands)
    uses: list[Use] = []
    for index, value in enumerate(operands):
        use = Use(op, index)
        first = value.first_use
        use._next_use = first  # pyright: ignore[reportPrivateUsage]
        if first is not None:
            first._prev_use = use  # pyright: ignore[reportPrivateUsage]
        value.first_use = use
        uses.append(use)
    op._operand_uses = tuple(uses)
    results: list[OpResult] = []
    for index, type_ in enumerate(result_types):
        result: Any = OpResult.__new__(OpResult)
        result._type = type_
        result.op = op
        result.index = index
        results.append(result)
    op.results = values_class(results)
    op.properties = properties
    op.attributes = {} if attributes is None else attributes
    op.location = location
    return op


def make_attribute(cls: type[AttributeT], **parameters: object) -> AttributeT:
    """Build an attribute of parameters that are known to be right, without verification."""
    attribute = cls.__new__(cls)
    for name, value in parameters.items():
        object.__setattr__(attribute, name, value)
    return attribute


def append_op(block: Block, op: Operation) -> None:
    """Append a detached operation to a block."""
    last = block._last_op  # pyright: ignore[reportPrivateUsage]
    op.parent = block
    op._prev_op = last  # pyright: ignore[reportPrivateUsage]
    op._next_op = None  # pyright: ignore[reportPrivateUsage]
    if last is None:
        block._first_op = op  # pyright: ignore[reportPrivateUsage]
    else:
        last._next_op = op  # pyright: ignore[reportPrivateUsage]
    block._last_op = op  # pyright: ignore[reportPrivateUsage]


def erase_op(block: Block, op: Operation) -> None:
    """Erase an operation of a block.

    Raises:
        ValueError: one of its results has a user.
    """
    if op.regions or op.successors:
        block.erase_op(op)
        return
    for result in op.results:
        if result.first_use is not None:
            raise ValueError(f"'{op.name}' is erased, but its result is used")
    before, after = op._prev_op, op._next_op  # pyright: ignore[reportPrivateUsage]
    if before is None:
        block._first_op = after  # pyright: ignore[reportPrivateUsage]
    else:
        before._next_op = after  # pyright: ignore[reportPrivateUsage]
    if after is None:
        block._last_op = before  # pyright: ignore[reportPrivateUsage]
    else:
        after._prev_op = before  # pyright: ignore[reportPrivateUsage]
    op.parent = op._prev_op = op._next_op = None  # pyright: ignore[reportPrivateUsage]
    uses = op._operand_uses  # pyright: ignore[reportPrivateUsage]
    for operand, use in zip(op._operands, uses, strict=True):  # pyright: ignore[reportPrivateUsage]
        operand.remove_use(use)
    op._operand_uses = ()  # pyright: ignore[reportPrivateUsage]


def operands_of(op: Operation) -> tuple[SSAValue, ...]:
    """The operand tuple itself, without the sequence wrapper."""
    return op._operands  # pyright: ignore[reportPrivateUsage]


def insert_before(block: Block, op: Operation, anchor: Operation) -> None:
    """Insert a detached operation in front of one of a block."""
    before = anchor._prev_op  # pyright: ignore[reportPrivateUsage]
    op.parent = block
    op._prev_op, op._next_op = before, anchor  # pyright: ignore[reportPrivateUsage]
    anchor._prev_op = op  # pyright: ignore[reportPrivateUsage]
    if before is None:
        block._first_op = op  # pyright: ignore[reportPrivateUsage]
    else:
        before._next_op = op  # pyright: ignore[reportPrivateUsage]


types_of: Callable[[Iterable[SSAValue]], Iterable[Attribute]] = partial(map, attrgetter("_type"))
"""The types of values, one after the other."""


def next_op(op: Operation) -> Operation | None:
    """The following operation of the block."""
    return op._next_op  # pyright: ignore[reportPrivateUsage]


def iter_ops(block: Block) -> Iterator[Operation]:
    """Iterate over a block's operations; the current one may be erased while iterating."""
    op = block._first_op  # pyright: ignore[reportPrivateUsage]
    while op is not None:
        following = op._next_op  # pyright: ignore[reportPrivateUsage]
        yield op
        op = following


def iter_ops_backwards(block: Block) -> Iterator[Operation]:
    """Iterate over a block from its end; the current one may be erased while iterating."""
    op = block._last_op  # pyright: ignore[reportPrivateUsage]
    while op is not None:
        preceding = op._prev_op  # pyright: ignore[reportPrivateUsage]
        yield op
        op = preceding


def users_of(value: SSAValue) -> Iterator[Operation]:
    """The operation of each use of a value."""
    use = value.first_use
    while use is not None:
        yield use._operation  # pyright: ignore[reportPrivateUsage]
        use = use._next_use  # pyright: ignore[reportPrivateUsage]


def redirect_uses(
    old: SSAValue, new: SSAValue, wide: dict[Operation, list[SSAValue]]
) -> list[Operation]:
    """Make every use of ``old`` a use of ``new``; returns the users, one entry per use.

    Operations that are keys of ``wide`` only have their list updated; ``assign_wide`` writes the
    tuple once, so that a terminator of n operands is not rebuilt n times.
    """
    users: list[Operation] = []
    use = old.first_use
    while use is not None:
        following = use._next_use  # pyright: ignore[reportPrivateUsage]
        user = use._operation  # pyright: ignore[reportPrivateUsage]
        index = use._index  # pyright: ignore[reportPrivateUsage]
        users.append(user)
        new.add_use(use)
        pending = wide.get(user)
        if pending is not None:
            pending[index] = new
        else:
            held = user._operands  # pyright: ignore[reportPrivateUsage]
            changed = type(held)((*held[:index], new, *held[index + 1 :]))
            user._operands = changed  # pyright: ignore[reportPrivateUsage]
        use = following
    old.first_use = None
    if new._name is None:  # pyright: ignore[reportPrivateUsage]
        new._name = old._name  # pyright: ignore[reportPrivateUsage]
    return users


def assign_wide(op: Operation, operands: list[SSAValue]) -> None:
    """Write the operand tuple of a wide operation whose uses ``redirect_uses`` already moved."""
    held = op._operands  # pyright: ignore[reportPrivateUsage]
    op._operands = type(held)(operands)  # pyright: ignore[reportPrivateUsage]


def set_type(value: SSAValue, type_: Attribute) -> None:
    """Change a value's type in place (for conversions that refine a result)."""
    value._type = type_  # pyright: ignore[reportPrivateUsage]
    touched: list[Any] = [value.owner, *users_of(value)]
    for op in touched:
        op.checked = None


def set_name(value: SSAValue, name: str) -> None:
    """Set a name hint that the caller knows to be a valid identifier, keeping its ``_<n>``
    suffix."""
    value._name = name  # pyright: ignore[reportPrivateUsage]


def set_context_tables(target: Any, source: Any) -> None:
    """Copy xDSL's Context registries (for a subclass's ``clone``)."""
    for name in ("_loaded_dialects", "_loaded_ops", "_loaded_attrs", "_loaded_types"):
        setattr(target, name, dict(getattr(source, name)))
    target._registered_dialects = dict(source._registered_dialects)


def context_dialects(context: Any) -> Mapping[str, Any]:
    """The dialects loaded in a Context, by name."""
    return context._loaded_dialects


def remember_op(context: Any, cls: type[Operation]) -> None:
    """Add an operation class to a Context's table of loaded operations."""
    context._loaded_ops[cls.name] = cls


def token_at(parser: Parser) -> tuple[MLIRTokenKind, int, str]:
    """Kind, start offset and text of the parser's current token."""
    token = parser._current_token  # pyright: ignore[reportPrivateUsage]
    return token.kind, token.span.start, token.text


def source_text(parser: Parser) -> str:
    """The whole text being parsed."""
    return parser.lexer.input.content


def resume_at(parser: Parser, position: int) -> None:
    """Continue parsing at an offset."""
    parser._resume_from(position)  # pyright: ignore[reportPrivateUsage]


def relink_ops(block: Block, ops: Sequence[Operation]) -> None:
    """Make these the operations of a block, in this order; all of its own must be among them."""
    block._first_op = block._last_op = None  # pyright: ignore[reportPrivateUsage]
    for op in ops:
        append_op(block, op)


def add_result(op: Operation, type_: Attribute) -> OpResult:
    """Give an operation one more result."""
    result: Any = OpResult.__new__(OpResult)
    result._type = type_
    result.op = op
    result.index = len(op.results)
    op.results = type(op.results)((*op.results, result))
    return result


class FloatBits(AttrParser._TensorLiteralElement):  # pyright: ignore[reportPrivateUsage]
    """A hexadecimal literal: the bits of a float, which is how infinities and NaN are printed.

    xDSL reads such a literal of a dense attribute as an integer: ``0x7f800000`` as 2139095040.0.
    """

    def to_type(self, parser: Any, type: Any) -> Any:
        """The number of these bits in a float type; integers are what they are."""
        if not isinstance(type, AnyFloat):
            return super().to_type(parser, type)
        size = type.compile_time_size
        try:
            return type.unpack(int(cast(int, self.value)).to_bytes(size, "little"), 1)[0]
        except OverflowError:
            parser.raise_error(f"Expected the bits of a float of {size} bytes", self.span)


def as_float_bits(element: Any) -> Any:
    """A literal of a dense attribute, hexadecimal ones as ``FloatBits``."""
    if not element.span.text.lower().startswith("0x"):
        return element
    return FloatBits(element.is_negative, element.value, element.span)
