"""Kernels of copies, assignments and assertions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.indexing import require_data
from torchair.backend_ge.host.kernels.registry import ints, kernel


@kernel("TensorMove")
def tensor_move(x: Tensor) -> Tensor:
    """A value is never written on the host device, so its copy may share its memory."""
    return x


@kernel("Assign")
def assign(ref: Tensor, value: Tensor, validate_shape: bool) -> Tensor:
    """The new value of ``ref``; the engine writes those of graph inputs when the graph is done."""
    if validate_shape and ref.shape != value.shape:
        raise ValueError(f"cannot assign shape {list(value.shape)} to {list(ref.shape)}")
    return value


@kernel("ViewCopy")
def view_copy(
    dst: Tensor,
    dst_size: Tensor,
    dst_stride: Tensor,
    dst_storage_offset: Tensor,
    src: Tensor,
    src_size: Tensor,
    src_stride: Tensor,
    src_storage_offset: Tensor,
) -> Tensor:
    """``dst`` with a strided view of it replaced by a strided view of ``src``."""
    flat = src.contiguous().view(-1)[ints(src_storage_offset)[0] :]
    part = torch.as_strided(flat, ints(src_size), ints(src_stride))
    offset = ints(dst_storage_offset)[0]
    whole = dst.clone(memory_format=torch.contiguous_format)
    return torch.as_strided_scatter(whole, part, ints(dst_size), ints(dst_stride), offset)


@kernel("Assert", random=True)
def assert_(input_condition: Tensor, input_data: list[Tensor], summarize: int) -> list[Tensor]:
    """Checks the condition whenever the graph runs."""
    require_data(input_condition)
    if not bool(input_condition):
        shown = ", ".join(str(t.flatten()[:summarize].tolist()) for t in input_data)
        raise ValueError(f"an assertion does not hold: {shown}")
    return []
