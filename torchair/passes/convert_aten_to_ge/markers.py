"""Operators of ``torchair.ops`` and ``torchair.scope`` that are more than placement."""

from __future__ import annotations

from typing import Any

from xdsl.ir import BlockArgument, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.stream_order import control_of


@converts("air::wait_tensor(Tensor self, Tensor dependency) -> Tensor")
def wait_tensor(self: SSAValue, dependency: SSAValue, out: Any) -> SSAValue:
    """``Identity`` with a control edge from whatever computes the dependency."""
    values: list[object] = [self]
    producer = dependency.owner
    is_input = isinstance(dependency, BlockArgument)
    controls = [] if is_input else [control_of(producer)]  # pyright: ignore[reportArgumentType]
    return ge.current().append("Identity", values, [out], controls)[0]


@converts(
    "air::print(Tensor[] tensors, str msg_format, str placeholder, int summarize_size, "
    "bool tensor_detail) -> ()"
)
def print_(
    tensors: list[SSAValue],
    msg_format: str,
    placeholder: str,
    summarize_size: int,
    tensor_detail: bool,
) -> tuple[()]:
    """``StringFormat`` of the tensors (and of their shapes, when asked for) into ``PrintV2``."""
    shown: list[SSAValue] = []
    for tensor in tensors:
        is_narrow = ge.element(tensor) == interned.bf16
        shown.append(ge.cast_to(tensor, interned.f32) if is_narrow else tensor)
        if tensor_detail:
            shown.append(ge.shape(tensor))
    text = ge.call(
        "StringFormat",
        shown,
        template=msg_format,
        placeholder=placeholder,
        summarize=summarize_size,
        out=interned.tensor([], element_types.from_name("string")),
    )
    builder = ge.current()
    before = builder.attributes
    builder.attributes = {**before, "_kernel": interned.string("extend")}
    ge.call("PrintV2", text)
    builder.attributes = before
    return ()
