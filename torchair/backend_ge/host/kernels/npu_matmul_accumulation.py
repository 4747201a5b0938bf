"""Kernels that add products of 8-bit floats to a float32 tensor, after GE's definitions.

A scale is one float32 per matrix, a float32 per column of ``x2``, or a power of two per 32 elements
of the inner dimension (``float8_e8m0``, in pairs; see ``npu_mx_quantization``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_grouped_matmul import group_ends
from torchair.backend_ge.host.kernels.npu_grouped_rows import column_groups
from torchair.backend_ge.host.kernels.npu_mx_quantization import power
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.backend_ge.host.narrow_types import FLOAT8_E8M0, dequantized
from torchair.errors import EngineError

_BLOCK = 32
_MX_GROUPS = (0, (1 << 32) + (1 << 16) + _BLOCK)
"""``group_size`` of blocks of 32 inner elements, said or left out."""


@kernel("QuantBatchMatmulInplaceAdd")
def quant_batch_matmul_inplace_add(
    x1: Tensor,
    x2: Tensor,
    x2_scale: Tensor,
    y: Tensor,
    x1_scale: Tensor | None = None,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
    group_size: int = 0,
) -> Tensor:
    """``y + x1 x2`` of ``[m, k]`` and ``[k, n]``, both scaled.

    Powers of two are ``[m, k / 64, 2]`` and ``[k / 64, n, 2]``, ``k / 64`` rounded up.
    """
    name = "QuantBatchMatmulInplaceAdd"
    if group_size not in _MX_GROUPS:
        raise EngineError(
            f"the host kernel of {name} takes blocks of 32 inner elements",
            expected="group sizes (1, 1, 32)",
            found=f"({group_size >> 32}, {group_size >> 16 & 0xFFFF}, {group_size & 0xFFFF})",
        )
    left, right = (x1.mT if transpose_x1 else x1), (x2.mT if transpose_x2 else x2)
    blocks = torch.arange(right.size(0), device=right.device) // _BLOCK
    product = torch.matmul(
        _scaled_blocks(left, x1_scale, blocks, 1), _scaled_blocks(right, x2_scale, blocks, 0)
    )
    for scale in (x1_scale, x2_scale):
        if scale is not None and scale.dtype is not FLOAT8_E8M0:
            product = product * _float_scale(scale, 1, right.size(1), name)[0]
    return y + product


@kernel("QuantGroupedMatmulInplaceAdd")
def quant_grouped_matmul_inplace_add(
    x1: Tensor,
    x2: Tensor,
    scale2: Tensor,
    group_list: Tensor,
    y: Tensor,
    scale1: Tensor | None = None,
    group_list_type: int = 0,
    group_size: int = 0,
) -> Tensor:
    """``y[g] + x1[:, rows of g] x2[rows of g]`` for every group of the inner dimension.

    Powers of two are ``[m, k / 64 + groups, 2]`` and ``[k / 64 + groups, n, 2]``: those of a group
    begin at its first inner element over 64 plus its number. Other scales are one per group, or one
    per group and column.
    """
    name = "QuantGroupedMatmulInplaceAdd"
    if group_size:
        raise EngineError(f"the host kernel of {name} takes no group sizes", found=group_size)
    ends = group_ends(group_list, group_list_type, y.size(0))
    blocks = _group_blocks(x2.size(0), ends)
    left, right = _scaled_blocks(x1, scale1, blocks, 1), _scaled_blocks(x2, scale2, blocks, 0)
    product = column_groups(left, right, ends)
    for scale in (scale1, scale2):
        if scale is not None and scale.dtype is not FLOAT8_E8M0:
            product = product * _float_scale(scale, y.size(0), y.size(2), name)
    return y + product


def _group_blocks(size: int, ends: Tensor) -> Tensor:
    """Number of the block of scales of each inner element, blocks beginning anew in every group."""
    place = torch.arange(size, device=ends.device)
    group = (place.unsqueeze(-1) >= ends).sum(-1).clamp(max=ends.size(0) - 1)
    starts = torch.cat((ends.new_zeros(1), ends[:-1])).index_select(0, group)
    return (starts // (2 * _BLOCK) + group) * 2 + (place - starts) // _BLOCK


def _scaled_blocks(x: Tensor, scale: Tensor | None, blocks: Tensor, inner: int) -> Tensor:
    """``x`` in float32, times the powers of two of its blocks along ``inner`` if it has any."""
    values = dequantized(x)
    if scale is None or scale.dtype is not FLOAT8_E8M0:
        return values
    codes = scale.contiguous().view(torch.uint8).int().movedim(inner, -2).flatten(-2)
    return values * power(codes.index_select(-1, blocks)).movedim(-1, inner)


def _float_scale(scale: Tensor, groups: int, columns: int, name: str) -> Tensor:
    """Scales as ``[groups, 1, 1 or columns]``."""
    is_float = scale.dtype is torch.float32
    if is_float and scale.numel() == groups:
        return scale.reshape(groups, 1, 1)
    if is_float and scale.numel() == groups * columns:
        return scale.reshape(groups, 1, columns)
    raise EngineError(
        f"the host kernel of {name} takes other scales",
        expected=f"{groups} or {groups} x {columns} float32, or float8_e8m0 blocks",
        found=f"{scale.dtype} {list(scale.shape)}",
        hint="scales held in a uint8 tensor need x1_scale_dtype and x2_scale_dtype",
    )
