"""Kernels of activations that end in quantisation, and of quantisation in blocks of a matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.npu_activation import clipped_gate, halves, keep_rows
from torchair.backend_ge.host.kernels.npu_mx_quantization import mx_quantized
from torchair.backend_ge.host.kernels.npu_quantization import (
    divided,
    per_row,
    row_groups,
    symmetric_scale,
)
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import largest, quantized
from torchair.errors import EngineError

_INT8 = 2
"""``ge::DataType`` number of int8."""


def _by_row(values: Tensor, dtype: torch.dtype, mode: str = "rint") -> tuple[Tensor, Tensor]:
    """Values with one symmetric scale per row, and the scales."""
    scale = symmetric_scale(values, [-1], dtype)
    return quantized(divided(values, scale), dtype, mode), scale.squeeze(-1)


def _require_mode(name: str, quant_mode: str) -> None:
    if quant_mode not in ("static", "dynamic"):
        raise EngineError(
            f"{name} has no such quant_mode", expected="static or dynamic", found=quant_mode
        )


@kernel("GeluQuant")
def gelu_quant(
    x: Tensor,
    input_scale: Tensor | None = None,
    input_offset: Tensor | None = None,
    approximate: str = "none",
    quant_mode: str = "dynamic",
    dst_type: int = _INT8,
    round_mode: str = "rint",
) -> tuple[Tensor, Tensor]:
    """gelu, then ``round(gelu * input_scale + input_offset)`` (static) or one scale per row after
    multiplication with ``input_scale`` (dynamic).

    Returns:
        Numbers, and the scales of rows (empty when static).
    """
    _require_mode("GeluQuant", quant_mode)
    dtype = torch_dtype(dst_type)
    values = functional.gelu(x.float(), approximate=approximate)
    if input_scale is not None:
        values = values * input_scale.float()
    if quant_mode == "dynamic":
        return _by_row(values, dtype, round_mode)
    if input_scale is None:
        raise EngineError("static quantisation needs input_scale")
    if input_offset is not None:
        values = values + input_offset.float()
    none = torch.zeros([0], dtype=torch.float32, device=x.device)
    return quantized(values, dtype, round_mode), none


def gated(
    x: Tensor, dim: int, activate_left: bool, variant: int, limit: float, alpha: float, bias: float
) -> Tensor:
    """The SwiGLU of these operators in float32.

    Args:
        activate_left: which half ``silu`` applies to; not of the variant.
        variant: 1: clipped, of even and odd elements (``ClippedSwiglu``).
    """
    if variant == 1:
        moved = x.movedim(dim, -1)
        y = clipped_gate(moved[..., ::2], moved[..., 1::2], alpha, limit, bias)
        return y.movedim(-1, dim)
    left, right = halves(x, dim)
    active, other = (left, right) if activate_left else (right, left)
    return functional.silu(active) * other


@kernel("SwiGluQuant")
def swiglu_quant(
    x: Tensor,
    smooth_scales: Tensor | None = None,
    offsets: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: str = "static",
    group_list_type: int = 0,
    dst_type: int = _INT8,
) -> tuple[Tensor, Tensor]:
    """SwiGLU times the factors of each row's group, quantised.

    Args:
        smooth_scales: ``[groups, N]`` or ``[groups]``, as ``offsets`` (static only).
        group_index: the row after the last one of each group, or (type 1) their sizes.

    Returns:
        Numbers, and the scales of rows (zero when static).
    """
    _require_mode("SwiGluQuant", quant_mode)
    values = gated(x.float(), -1, activate_left, 0, 0.0, 0.0, 0.0)
    rows = values.flatten(0, -2)
    ends = group_index.cumsum(0) if group_index is not None and group_list_type else group_index

    def factors(table: Tensor) -> Tensor:
        wide = table.float().reshape(table.size(0), -1)
        return per_row(wide, ends, rows.size(0)) if ends is not None else wide[:1]

    if smooth_scales is not None:
        rows = rows * factors(smooth_scales)
    if quant_mode == "dynamic":
        y, scale = _by_row(rows, torch_dtype(dst_type))
    else:
        shifted = rows if offsets is None else rows + factors(offsets)
        y, scale = quantized(shifted, torch_dtype(dst_type)), torch.zeros_like(rows[:, 0])
    return y.reshape(values.shape), scale.reshape(values.shape[:-1])


@kernel("DequantSwigluQuant")
def dequant_swiglu_quant(
    x: Tensor,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: str = "static",
    dst_type: int = _INT8,
    round_mode: str = "rint",
    activate_dim: int = -1,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Integers become floats, SwiGLU, and the result is quantised.

    Args:
        weight_scale: factors ``[groups, 2H]`` or ``[2H]`` of int32 inputs.
        activation_scale: factors per row of int32 inputs.
        bias: added before the factors when it is an integer, after them otherwise.
        quant_scale: factors ``[groups, H]`` or ``[H]`` before quantisation.
        group_index: sizes of the groups of rows; rows beyond them are zero here, undefined on the
            device.

    Returns:
        Numbers, and the scales of rows (zero when static).
    """
    _require_mode("DequantSwigluQuant", quant_mode)
    rows = x.flatten(0, -2)
    ends = None if group_index is None else group_index.cumsum(0)
    group = None if ends is None else row_groups(ends, rows.size(0))
    wide = _dequantised(rows, weight_scale, activation_scale, bias, group).reshape(x.shape)
    variant = (swiglu_mode, clamp_limit, glu_alpha, glu_bias)
    values = gated(wide, activate_dim, activate_left, *variant)
    flat = values.flatten(0, -2)
    if quant_scale is not None:
        flat = flat * _table(quant_scale, group)
    if quant_mode == "dynamic":
        flat = keep_rows(flat, group_index, 1)
        y, scale = _by_row(flat, torch_dtype(dst_type), round_mode)
    else:
        shifted = flat if quant_offset is None else flat + _table(quant_offset, group)
        y = quantized(shifted, torch_dtype(dst_type), round_mode)
        scale = torch.zeros_like(flat[:, 0])
    return y.reshape(values.shape), scale.reshape(values.shape[:-1])


def _table(values: Tensor, group: Tensor | None) -> Tensor:
    """Factors of each row from a table ``[groups, N]``, or ``[N]`` for all rows."""
    wide = values.float()
    if wide.dim() < 2 or group is None:
        return wide
    return wide.index_select(0, group)


def _dequantised(
    rows: Tensor,
    weight_scale: Tensor | None,
    activation_scale: Tensor | None,
    bias: Tensor | None,
    group: Tensor | None,
) -> Tensor:
    integer_bias = bias is not None and not bias.is_floating_point()
    wide = (rows + bias if bias is not None and integer_bias else rows).float()
    if weight_scale is not None:
        wide = wide * _table(weight_scale, group)
    if activation_scale is not None:
        wide = wide * activation_scale.float().reshape(-1, 1)
    return wide if bias is None or integer_bias else wide + bias.float()


@kernel("SwigluMxQuant")
def swiglu_mx_quant(
    x: Tensor,
    group_index: Tensor | None = None,
    activate_dim: int = -1,
    activate_left: bool = False,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
    axis: int = -1,
    dst_type: int = 40,
    round_mode: str = "rint",
    scale_alg: int = 0,
) -> tuple[Tensor, Tensor]:
    """SwiGLU in a microscaling format; with groups along the last axis only."""
    if group_index is not None and axis not in (-1, x.dim() - 1):
        raise EngineError(
            "the host kernel of SwigluMxQuant groups rows along the last axis only", found=axis
        )
    variant = (swiglu_mode, clamp_limit, glu_alpha, glu_bias)
    values = gated(x.float(), activate_dim, activate_left, *variant)
    return mx_quantized(values, axis, torch_dtype(dst_type), scale_alg, round_mode)


@kernel("DynamicBlockQuant")
def dynamic_block_quant(
    x: Tensor,
    min_scale: float = 0.0,
    round_mode: str = "rint",
    dst_type: int = 35,
    row_block_size: int = 1,
    col_block_size: int = 128,
) -> tuple[Tensor, Tensor]:
    """One symmetric scale, at least ``min_scale``, per block of the last two dimensions.

    Returns:
        Numbers, and scales with one place per block.
    """
    dtype = torch_dtype(dst_type)
    rows, columns = x.size(-2), x.size(-1)
    wide = x.float()
    padded = functional.pad(wide.abs(), [0, -columns % col_block_size, 0, -rows % row_block_size])
    blocks = padded.unflatten(-1, (-1, col_block_size)).unflatten(-3, (-1, row_block_size))
    scale = (blocks.amax((-3, -1)) / largest(dtype)).clamp(min=min_scale)
    spread = scale.repeat_interleave(row_block_size, -2).narrow(-2, 0, rows)
    spread = spread.repeat_interleave(col_block_size, -1).narrow(-1, 0, columns)
    return quantized(divided(wide, spread), dtype, round_mode), scale


@kernel("GroupedDynamicBlockQuant")
def grouped_dynamic_block_quant(
    x: Tensor,
    group_list: Tensor,
    min_scale: float = 0.0,
    round_mode: str = "rint",
    dst_type: int = 35,
    row_block_size: int = 1,
    col_block_size: int = 128,
) -> tuple[Tensor, Tensor]:
    """As ``DynamicBlockQuant`` of ``x[M, N]``, with blocks of rows that begin anew in every group.

    Args:
        group_list: the row after the last one of each group.

    Returns:
        Numbers, and scales ``[M / row block + groups, blocks]``: those of a group begin at its
        first row over the block size plus its number.
    """
    dtype = torch_dtype(dst_type)
    ends, columns = group_list.long(), x.size(1)
    row = torch.arange(x.size(0), device=x.device)
    group = (row.unsqueeze(-1) >= ends).sum(-1).clamp(max=ends.size(0) - 1)
    first = torch.cat((ends.new_zeros(1), ends[:-1])).index_select(0, group)
    slot = first // row_block_size + group + (row - first) // row_block_size
    padded = functional.pad(x.float().abs(), [0, -columns % col_block_size])
    amax = padded.unflatten(-1, (-1, col_block_size)).amax(-1)
    count = x.size(0) // row_block_size + ends.size(0)
    zeros = torch.zeros([count, amax.size(1)], dtype=torch.float32, device=x.device)
    index = slot.unsqueeze(-1).expand(-1, amax.size(1))
    largest_by_block = zeros.scatter_reduce(0, index, amax, "amax")
    scale = (largest_by_block / largest(dtype)).clamp(min=min_scale)
    spread = scale.index_select(0, slot).repeat_interleave(col_block_size, -1)
    values = divided(x.float(), spread.narrow(-1, 0, columns))
    return quantized(values, dtype, round_mode), scale
