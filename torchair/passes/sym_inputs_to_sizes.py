"""Reads symbolic sizes from the tensor inputs that have them."""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, SSAValue

from torchair.dialects.aten import lookup
from torchair.ir import interned
from torchair.ir.conversion import argument_attributes
from torchair.ir.location import named_location
from torchair.passes.rewrite_pass import RewritePass


@dataclass(frozen=True)
class SymInputsToSizesPass(RewritePass):
    """Replaces a size argument by the dimension of a tensor argument that has the same symbol.

        func @f(%s: i64, %x: tensor<?x4xf32, ["s0", "4"]>)      use(%s)
        ->
        %0 = aten.sym_size.int(%x, dim = 0)                     use(%0)

    The argument then has no user and is dropped on conversion, so nothing is copied for it per
    call.
    Numeric class: exact. Shown by: test/lit/passes/sym-inputs-to-sizes.mlir
    """

    name = "sym-inputs-to-sizes"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        functions = [f for f in module.ops if isinstance(f, FuncOp) and not f.is_declaration]
        return sum(_rewrite(function) for function in functions) > 0


def _rewrite(function: FuncOp) -> int:
    """Replace the size arguments of a function; returns how many."""
    replaced = 0
    block = function.body.block
    places = _tensor_dims(block.args)
    size_op = lookup("aten.sym_size.int")
    assert size_op is not None
    for argument, entry in zip(block.args, argument_attributes(function), strict=True):
        symbol = entry.get("torchair.symbol")
        if argument.type != interned.i64 or argument.first_use is None:
            continue
        place = places.get(symbol.data) if isinstance(symbol, StringAttr) else None
        if place is None:
            continue
        tensor, dim = place
        location = named_location(f"{argument.name_hint or 'size'}-aten.sym_size.int")
        op = size_op.build_call([tensor, dim], [interned.i64], location)
        first = block.first_op
        assert first is not None, "a verified function has a terminator"
        block.insert_op_before(op, first)
        argument.replace_all_uses_with(op.results[0])
        replaced += 1
    return replaced


def _tensor_dims(arguments: tuple[SSAValue, ...]) -> dict[str, tuple[SSAValue, int]]:
    """For every plain symbol, the first tensor argument and dimension that has it."""
    places: dict[str, tuple[SSAValue, int]] = {}
    for argument in arguments:
        type_ = argument.type
        if not isinstance(type_, TensorType):
            continue
        known = cast("TensorType[Attribute]", type_)
        if not isinstance(known.encoding, ArrayAttr):
            continue
        encoding = cast("ArrayAttr[StringAttr]", known.encoding)
        shape = interned.shape_of(known) or ()
        for dim, symbol in enumerate(encoding):
            if shape[dim] == interned.DYNAMIC and symbol.data.isidentifier():
                places.setdefault(symbol.data, (argument, dim))
    return places
