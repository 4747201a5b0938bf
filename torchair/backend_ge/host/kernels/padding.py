"""Kernels of padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.numbers import value_of
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.backend_ge.host.kernels.slicing import Span, put
from torchair.backend_ge.host.tracing import DataDependentError, known_tensor

Pairs = list[tuple[int, int]]


def _pairs(paddings: Tensor, contiguous: bool) -> Pairs:
    """(before, after) per dimension; not contiguous means all befores, then all afters."""
    listed = known_tensor(paddings).tolist()
    flat = listed if paddings.dim() == 1 else [v for pair in listed for v in pair]
    if contiguous:
        return list(zip(flat[::2], flat[1::2], strict=True))
    half = len(flat) // 2
    return list(zip(flat[:half], flat[half:], strict=True))


def _torch_pad(pairs: Pairs) -> list[int]:
    """PyTorch's order: the last dimension first, untouched leading dimensions left out."""
    kept = list(pairs)
    while kept and kept[0] == (0, 0):
        kept.pop(0)
    return [amount for pair in reversed(kept) for amount in pair]


@kernel("PadV3")
def pad_v3(
    x: Tensor,
    paddings: Tensor,
    constant_values: Tensor | None,
    mode: str,
    paddings_contiguous: bool,
) -> Tensor:
    pairs = _pairs(paddings, paddings_contiguous)
    if mode == "constant":
        return _pad_constant(x, pairs, constant_values)
    return _pad_by_position(x, pairs, mode)


@kernel("Pad")
def pad(x: Tensor, paddings: Tensor) -> Tensor:
    return _pad_constant(x, _pairs(paddings, True), None)


@kernel("PadV2")
def pad_v2(x: Tensor, paddings: Tensor, constant_values: Tensor) -> Tensor:
    return _pad_constant(x, _pairs(paddings, True), constant_values)


@kernel("MirrorPad")
def mirror_pad(x: Tensor, paddings: Tensor, mode: str) -> Tensor:
    return _pad_by_position(x, _pairs(paddings, True), mode.lower())


def _pad_constant(x: Tensor, pairs: Pairs, value: Tensor | None) -> Tensor:
    amounts = _torch_pad(pairs)
    if value is None:
        return torch.constant_pad_nd(x, amounts, 0)
    try:
        return torch.constant_pad_nd(x, amounts, value_of(value))
    except DataDependentError:
        sizes = [n + low + high for n, (low, high) in zip(x.shape, pairs, strict=True)]
        inner = zip(x.shape, pairs, strict=True)
        spans = [Span(d, low, low + n, 1, False) for d, (n, (low, _)) in enumerate(inner)]
        return put(value.reshape(()).expand(sizes), spans, x)


_NATIVE = {"reflect": "reflect", "edge": "replicate"}


def _pad_by_position(x: Tensor, pairs: Pairs, mode: str) -> Tensor:
    """Padding with elements of the tensor itself: PyTorch's operators where they exist."""
    amounts = _torch_pad(pairs)
    padded = len(amounts) // 2
    if not padded:
        return x
    if mode in _NATIVE and padded <= 3 and x.dim() in (padded + 1, padded + 2):
        return functional.pad(x, amounts, _NATIVE[mode])
    for dim, (low, high) in enumerate(pairs):
        if low or high:
            x = torch.index_select(x, dim, _positions(x.shape[dim], low, high, mode))
    return x


def _positions(size: int, low: int, high: int, mode: str) -> Tensor:
    """Which element stands at each position of the padded dimension."""
    at = torch.arange(-low, size + high)
    if mode == "edge":
        return at.clamp(0, size - 1)
    if mode == "reflect":
        return (size - 1) - ((size - 1) - at.abs()).abs()
    if mode == "symmetric":
        folded = torch.where(at < 0, -at - 1, at)
        return torch.where(folded >= size, 2 * size - 1 - folded, folded)
    if mode == "circular":
        return at % size
    raise ValueError(f"unknown padding mode '{mode}'")


@kernel("PadV3Grad")
def pad_v3_grad(x: Tensor, paddings: Tensor, mode: str, paddings_contiguous: bool) -> Tensor:
    """Sums the gradient of every padded position into the element it copies."""
    pairs = _pairs(paddings, paddings_contiguous)
    sizes = [n - low - high for n, (low, high) in zip(x.shape, pairs, strict=True)]
    amounts = _torch_pad(pairs)
    padded = len(amounts) // 2
    if padded <= 3 and x.dim() in (padded + 1, padded + 2) and mode in _NATIVE:
        kind = "reflection" if mode == "reflect" else "replication"
        backward = getattr(torch.ops.aten, f"{kind}_pad{padded}d_backward").default
        return backward(x, x.new_empty(sizes), amounts)
    return _fold_back(x, sizes, pairs, mode)


def _fold_back(x: Tensor, sizes: Sequence[int], pairs: Pairs, mode: str) -> Tensor:
    for dim, (low, high) in enumerate(pairs):
        if not low and not high:
            continue
        shape = list(x.shape)
        shape[dim] = sizes[dim]
        places = _positions(sizes[dim], low, high, mode)
        x = torch.index_add(x.new_zeros(shape), dim, places, x)
    return x
