"""Writes to graph inputs, and their functional forms: copy, fill, zero."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, BlockArgument, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import broadcast_to


def _as(x: SSAValue, source: SSAValue, out: Attribute) -> SSAValue:
    """``source`` with the dtype and shape of ``x``."""
    return broadcast_to(ge.cast_to(source, ge.element(x)), out, geometry.all_sizes(x))


@converts("copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor")
def copy(self: Any, src: Any, out: Any) -> Any:
    return _as(self, src, out)


@converts("copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)")
def copy_(self: Any, src: Any, out: Any) -> Any:
    """Assigns to a graph input when the graph is done; readers of the result get the value."""
    return write(self, _as(self, src, out))


def write(target: SSAValue, value: SSAValue) -> SSAValue:
    """Assign a value to a graph input.

    Raises:
        ConversionError: the target is computed in the graph, so that other views of it may exist.
    """
    if not isinstance(target, BlockArgument):
        raise ConversionError(
            "an in-place write to a tensor that is computed inside the graph",
            expected="a graph input",
            found=target.type,
            hint="functionalise the graph (torch.func.functionalize), or use the out-of-place call",
        )
    if value is not target:
        ge.Assign(target, value, out=target.type)
    return value


def _filled(x: SSAValue, value: Any, out: Attribute) -> SSAValue:
    number = operand(value, ge.element(x))
    if geometry.rank(x) == 0:
        return number
    return ge.Fill(geometry.all_sizes(x), number, out=out)


@converts("fill.Scalar(Tensor self, Scalar value) -> Tensor")
def fill_scalar(self: Any, value: Any, out: Any) -> Any:
    return _filled(self, value, out)


@converts("fill.Tensor(Tensor self, Tensor value) -> Tensor")
def fill_tensor(self: Any, value: Any, out: Any) -> Any:
    return _filled(self, value, out)


@converts("zero(Tensor self) -> Tensor")
def zero(self: Any, out: Any) -> Any:
    return _filled(self, 0, out)
