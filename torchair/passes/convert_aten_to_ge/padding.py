"""Padding by a constant, by reflection and by replication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.slicing import slice_dim


def _paddings(pad: Sequence[Any], rank: int) -> list[Any]:
    """PyTorch's pairs, last dimension first, as GE's (before, after) per dimension."""
    pairs = [list(pad[i : i + 2]) for i in range(0, len(pad), 2)]
    untouched = [[0, 0] for _ in range(rank - len(pairs))]
    return [amount for pair in [*untouched, *reversed(pairs)] for amount in pair]


@converts("constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor")
def constant_pad_nd(self: Any, pad: Any, out: Any, value: Any = 0) -> Any:
    """Pads; negative amounts crop first."""
    paddings = _paddings(pad, geometry.rank(self))
    x = _crop(self, paddings, out)
    positive = [max(p, 0) if isinstance(p, int) else p for p in paddings]
    if all(isinstance(p, int) and p == 0 for p in positive):
        return x
    return ge.PadV3(x, positive, operand(value, ge.element(self)), out=out)


def _crop(x: SSAValue, paddings: Sequence[Any], out: Attribute) -> SSAValue:
    cropped = [
        d
        for d in range(geometry.rank(x))
        if any(isinstance(p, int) and p < 0 for p in paddings[2 * d : 2 * d + 2])
    ]
    only_crops = all(isinstance(p, int) and p <= 0 for p in paddings)
    for d in cropped:
        pair = paddings[2 * d : 2 * d + 2]
        before, after = (-p if isinstance(p, int) and p < 0 else 0 for p in pair)
        end = -after if after else geometry.INT64_MAX
        last = only_crops and d == cropped[-1]
        x = slice_dim(x, d, before, end, 1, out if last else None)
    return x


@converts(
    "reflection_pad1d(Tensor self, SymInt[2] padding) -> Tensor",
    "reflection_pad2d(Tensor self, SymInt[4] padding) -> Tensor",
    "reflection_pad3d(Tensor self, SymInt[6] padding) -> Tensor",
)
def reflection_pad(self: Any, padding: Any, out: Any) -> Any:
    return _pad_by(self, padding, "reflect", out)


@converts(
    "replication_pad1d(Tensor self, SymInt[2] padding) -> Tensor",
    "replication_pad2d(Tensor self, SymInt[4] padding) -> Tensor",
    "replication_pad3d(Tensor self, SymInt[6] padding) -> Tensor",
)
def replication_pad(self: Any, padding: Any, out: Any) -> Any:
    return _pad_by(self, padding, "edge", out)


def _pad_by(x: SSAValue, padding: Sequence[Any], mode: str, out: Attribute) -> SSAValue:
    paddings = _paddings(padding, geometry.rank(x))
    if mode == "edge":
        paddings = _keep_an_edge(paddings, geometry.shape(x))
    x = _crop(x, paddings, out)
    positive = [max(p, 0) if isinstance(p, int) else p for p in paddings]
    if all(isinstance(p, int) and p == 0 for p in positive):
        return x
    return ge.PadV3(x, positive, None, mode=mode, out=out)


def _keep_an_edge(paddings: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """Crops leave one element for the other side to repeat: (-4, 5) of 4 elements is (-3, 4)."""
    kept = list(paddings)
    for d, size in enumerate(sizes):
        for one, other in ((2 * d, 2 * d + 1), (2 * d + 1, 2 * d)):
            known = isinstance(kept[one], int) and isinstance(kept[other], int)
            if known and size > 0 and -kept[one] >= size:
                excess = -kept[one] - (size - 1)
                kept[one], kept[other] = kept[one] + excess, kept[other] - excess
    return kept


@converts(
    "reflection_pad1d_backward(Tensor grad_output, Tensor self, SymInt[2] padding) -> Tensor",
    "reflection_pad2d_backward(Tensor grad_output, Tensor self, SymInt[4] padding) -> Tensor",
    "reflection_pad3d_backward(Tensor grad_output, Tensor self, SymInt[6] padding) -> Tensor",
)
def reflection_pad_backward(grad_output: Any, self: Any, padding: Any, out: Any) -> Any:
    paddings = _paddings(padding, geometry.rank(self))
    return ge.PadV3Grad(grad_output, paddings, mode="reflect", out=out)


@converts(
    "replication_pad1d_backward(Tensor grad_output, Tensor self, SymInt[2] padding) -> Tensor",
    "replication_pad2d_backward(Tensor grad_output, Tensor self, SymInt[4] padding) -> Tensor",
    "replication_pad3d_backward(Tensor grad_output, Tensor self, SymInt[6] padding) -> Tensor",
)
def replication_pad_backward(grad_output: Any, self: Any, padding: Any, out: Any) -> Any:
    paddings = _paddings(padding, geometry.rank(self))
    return ge.PadV3Grad(grad_output, paddings, mode="edge", out=out)
