"""The words that fusion patterns are written in: one spelling per idea, whatever the overload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from torchair.dialects.aten import lookup
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Call, Node, OneOf, call, one_of, shared
from torchair.ir.rewrite import Rewriter
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.canonicalize.permutations import PERMUTATIONS

SPLITS = ("aten.split.Tensor", "aten.split", "aten.split_with_sizes", "aten.chunk")
VIEWS = ("aten.view", "aten._unsafe_view", "aten.reshape")
FLOATS = (interned.f32, interned.f16, interned.bf16)
"""Element types that GE's fused operators take."""
INT64_MAX = 2**63 - 1
"""What a slice says for "to the end"."""
HALVES = (interned.f16, interned.bf16)


def add(left: Any, right: Any) -> Call:
    return call(("aten.add.Tensor", "aten.add.Scalar"), left, right)


def mul(left: Any, right: Any) -> Call:
    return call(("aten.mul.Tensor", "aten.mul.Scalar"), left, right)


def div(left: Any, right: Any) -> Call:
    return call(("aten.div.Tensor", "aten.div.Scalar"), left, right)


def cast_of(operand: Any) -> Call:
    """A cast to any element type (a graph has one device and one layout)."""
    names = ("dtype", "layout", "device", "pin_memory", "non_blocking", "memory_format")
    return Call(CASTS, (operand,), dict.fromkeys(names, ANY))


def maybe_cast(operand: Node) -> OneOf:
    """A value, cast or not."""
    return one_of(cast_of(operand), operand)


def scalar(number: float) -> Call:
    """A tensor without dimensions that holds a number; it may have other users."""
    names = ("dtype", "layout", "device", "pin_memory")
    return shared(Call(("aten.scalar_tensor",), (number,), dict.fromkeys(names, ANY)))


def permuted(operand: Any) -> Call:
    """Dimensions in another order; ``order_of`` says which."""
    return Call(PERMUTATIONS, (operand,), dict.fromkeys(("dim0", "dim1", "dims"), ANY))


def square(operand: Any) -> OneOf:
    return one_of(call("aten.pow.Tensor_Scalar", operand, 2), mul(operand, operand))


def element_of(value: SSAValue) -> Attribute:
    """Element type of a tensor."""
    return interned.element_type(value.type)


def shape_of(value: SSAValue) -> tuple[int, ...] | None:
    """Sizes, ``DYNAMIC`` where symbolic; None when even the rank is unknown."""
    shape = interned.shape_of(value.type)
    return None if shape is None else tuple(shape)


Size: TypeAlias = int | str
"""A static size, or the expression of a symbolic one."""


def sizes_of(value: SSAValue) -> list[Size] | None:
    """Sizes of a tensor such that equal lists mean equal shapes; None when one is unknown."""
    shape, symbols = interned.shape_of(value.type), interned.symbols_of(value.type)
    if shape is None or (symbols is None and interned.DYNAMIC in shape):
        return None
    names = symbols or [str(size) for size in shape]
    return [
        name if size == interned.DYNAMIC else size for size, name in zip(shape, names, strict=True)
    ]


def type_with_sizes(type_: Attribute, sizes: Sequence[Size]) -> Attribute:
    """A tensor type of the same element with these sizes."""
    shape = [interned.DYNAMIC if isinstance(size, str) else size for size in sizes]
    symbols = None if interned.DYNAMIC not in shape else [str(size) for size in sizes]
    return interned.tensor(shape, interned.element_type(type_), symbols)


def resized(type_: Attribute, sizes: dict[int, int], element: Attribute) -> Attribute:
    """A tensor type with other sizes, by (possibly negative) dimension, and another element."""
    shape, symbols = interned.shape_of(type_), interned.symbols_of(type_)
    assert shape is not None
    new_shape, new_symbols = list(shape), None if symbols is None else list(symbols)
    for dim, size in sizes.items():
        new_shape[dim] = size
        if new_symbols is not None:
            new_symbols[dim] = str(size)
    if interned.DYNAMIC not in new_shape:
        new_symbols = None
    return interned.tensor(new_shape, element, new_symbols)


def last_dims_type(type_: Attribute, count: int, element: Attribute) -> Attribute | None:
    """The type of a tensor that covers the last dimensions of another; None when a size of them is
    unknown, for then it cannot be told."""
    shape, symbols = interned.shape_of(type_), interned.symbols_of(type_)
    if shape is None or len(shape) < count:
        return None
    sizes = shape[-count:]
    if interned.DYNAMIC not in sizes:
        return interned.tensor(sizes, element)
    return None if symbols is None else interned.tensor(sizes, element, symbols[-count:])


def is_last_dim(dims: Any, value: SSAValue) -> bool:
    """Whether a static argument names the last dimension of a tensor and no other."""
    shape = shape_of(value)
    if shape is None:
        return False
    found: list[Any] = cast("list[Any]", dims) if isinstance(dims, list) else [dims]
    return len(found) == 1 and isinstance(found[0], int) and found[0] % len(shape) == len(shape) - 1


@dataclass(frozen=True, slots=True)
class Half:
    """One of the two equal halves of a tensor along a dimension, not negative."""

    source: SSAValue
    dim: int
    index: int


def half_of(value: SSAValue) -> Half | None:
    """What a value is the lower or upper half of, by slice, split or chunk; None if it is not."""
    op = value.owner
    if not isinstance(op, CallOp) or op.name not in ("aten.slice.Tensor", *SPLITS):
        return None
    source, dim = op.operands[0], op.argument("dim")
    shape, part = shape_of(source), shape_of(value)
    if shape is None or part is None:
        return None
    dim %= len(shape)
    if shape[dim] == interned.DYNAMIC or part[dim] * 2 != shape[dim]:
        return None
    if op.name in SPLITS:
        return Half(source, dim, int(value is op.results[-1])) if len(op.results) == 2 else None
    start = op.argument("start") or 0
    if op.argument("step") != 1 or start not in (0, part[dim]):
        return None
    return Half(source, dim, int(start != 0))


def are_halves(lower: SSAValue, upper: SSAValue) -> Half | None:
    """The lower half, when two values are the lower and the upper half of one tensor."""
    low, high = half_of(lower), half_of(upper)
    if low is None or high is None or (low.source, low.dim) != (high.source, high.dim):
        return None
    return low if (low.index, high.index) == (0, 1) else None


def is_available(value: SSAValue, at: Operation | Block) -> bool:
    """Whether a value is certainly defined before an operation: an argument, or just above."""
    if isinstance(value, BlockArgument) or isinstance(at, Block):
        return isinstance(value, BlockArgument)
    owner = value.owner
    earlier = at
    for _ in range(_LOOK_BACK):
        previous = earlier.prev_op
        if previous is None:
            return False
        if previous is owner:
            return True
        earlier = previous
    return False


_LOOK_BACK = 64
"""How far ``is_available`` looks; a bound that keeps passes linear."""


def create(
    rewriter: Rewriter, name: str, values: list[Any], types: list[Attribute], before: Operation
) -> CallOp:
    """Build an operation by mnemonic, with one value per leading parameter of its schema."""
    cls = lookup(name)
    assert cls is not None, name
    defaults = [parameter.default for parameter in cls.schema.parameters[len(values) :]]
    return rewriter.create(cls, [*values, *defaults], types, before)


def create_named(
    rewriter: Rewriter, name: str, named: dict[str, Any], types: list[Attribute], before: Operation
) -> CallOp:
    """Build an operation by mnemonic, with values by the names of its parameters."""
    cls = lookup(name)
    assert cls is not None, name
    values = [named.get(parameter.name, parameter.default) for parameter in cls.schema.parameters]
    return rewriter.create(cls, values, types, before)


def read_size(rewriter: Rewriter, source: SSAValue, dim: int, before: Operation) -> int | SSAValue:
    """The size of a dimension: a number, or a value read where it is symbolic."""
    shape = shape_of(source)
    assert shape is not None, "only dimensions of known tensors are read"
    if shape[dim] != interned.DYNAMIC:
        return shape[dim]
    return create(rewriter, "aten.sym_size.int", [source, dim], [interned.i64], before).results[0]
