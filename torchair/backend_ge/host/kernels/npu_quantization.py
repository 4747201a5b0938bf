"""Kernels that round floats to narrow types and back, after the GE operators' definitions.

Everything is computed in float32. A row of zeros has scale 0 and quantises to zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import dequantized, largest, quantized
from torchair.errors import EngineError

_INT8 = 2
"""``ge::DataType`` number of int8."""


def row_groups(ends: Tensor, rows: int) -> Tensor:
    """Group of each row, given the row after the last one of each group; the last group takes the
    rest."""
    row = torch.arange(rows, device=ends.device)
    passed = (row.unsqueeze(-1) >= ends.long()).sum(-1)
    return passed.clamp(max=ends.size(0) - 1)


def per_row(values: Tensor, group_index: Tensor | None, rows: int) -> Tensor:
    """A row of ``values`` for each of ``rows`` rows; the values themselves when there are no
    groups."""
    if group_index is None:
        return values
    return values.index_select(0, row_groups(group_index, rows))


def divided(values: Tensor, scale: Tensor) -> Tensor:
    """``values / scale``, 0 where the scale is 0."""
    return values / torch.where(scale == 0, 1.0, scale)


def symmetric_scale(values: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
    """The scale that maps the largest absolute value to the type's largest; dims are kept."""
    return values.abs().amax(dims, keepdim=True) / largest(dtype)


@kernel("AscendQuantV2")
def ascend_quant_v2(
    x: Tensor,
    scale: Tensor,
    offset: Tensor | None = None,
    sqrt_mode: bool = False,
    round_mode: str = "round",
    dst_type: int = _INT8,
    axis: int = -1,
) -> Tensor:
    """``round(x * scale + offset)``; with ``sqrt_mode`` the scale is applied twice.

    Args:
        scale: one number, one per element of ``axis`` (-1 or -2), or of the rank of ``x``.
        round_mode: ``round`` is half to even here, as ``rint``.
    """
    factor = _along(scale.float(), x, axis)
    values = x.float() * factor
    if sqrt_mode:
        values = values * factor
    if offset is not None:
        values = values + _along(offset.float(), x, axis)
    mode = "rint" if round_mode == "round" else round_mode
    return quantized(values, torch_dtype(dst_type), mode)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    if values.dim() != 1 or axis % x.dim() != x.dim() - 2:
        return values
    return values.unsqueeze(-1)


QUANTIZE_TYPES = {
    "torch.qint8": torch.int8,
    "torch.quint8": torch.uint8,
    "torch.qint32": torch.int32,
    "torch.qint16": torch.int16,
    "torch.float8_e5m2": torch.float8_e5m2,
    "torch.float8_e4m3fn": torch.float8_e4m3fn,
}
"""``Quantize.dtype`` -> dtype of the result."""


@kernel("Quantize")
def quantize(
    x: Tensor, scales: Tensor, zero_points: Tensor | None, dtype: str, axis: int
) -> Tensor:
    """``round(x / scales) + zero_points``; scales and zero points broadcast, or lie along
    ``axis``."""
    if dtype not in QUANTIZE_TYPES:
        raise EngineError(
            "Quantize cannot write this type", expected=", ".join(QUANTIZE_TYPES), found=dtype
        )
    result = QUANTIZE_TYPES[dtype]
    sizes = [1] * x.dim()
    sizes[axis] = -1
    values = x.float() / (scales.reshape(sizes) if scales.dim() == 1 else scales).float()
    if zero_points is None:
        return quantized(values, result)
    points = zero_points.reshape(sizes) if zero_points.dim() == 1 else zero_points
    if result.is_floating_point:
        return quantized(values + points.float(), result)
    return quantized(values.round() + points.float(), result)


@kernel("AscendAntiQuantV2")
def ascend_anti_quant_v2(
    x: Tensor,
    scale: Tensor,
    offset: Tensor | None = None,
    dst_type: int = 1,
    sqrt_mode: bool = False,
) -> Tensor:
    """``(x + offset) * scale``; with ``sqrt_mode`` the scale is applied twice."""
    values = dequantized(x)
    if offset is not None:
        values = values + offset.float()
    values = values * scale.float()
    return (values * scale.float() if sqrt_mode else values).to(torch_dtype(dst_type))


def smoothed(x: Tensor, smooth_scales: Tensor | None, group_index: Tensor | None) -> Tensor:
    """``x`` in float32 times the smoothing factors of each row's group.

    Args:
        smooth_scales: ``[N]``, or ``[groups, N]`` with ``group_index`` (the row after the last one
            of each group, counted over all dimensions but the last).
    """
    wide = x.float()
    if smooth_scales is None:
        return wide
    if group_index is None:
        return wide * smooth_scales.float()
    rows = wide.flatten(0, -2)
    return (rows * per_row(smooth_scales.float(), group_index, rows.size(0))).reshape(x.shape)


def quant_dims(quant_mode: str, rank: int) -> list[int]:
    """Dimensions that share one scale.

    Raises:
        EngineError: unknown mode.
    """
    dims = {"pertoken": [-1], "perchannel": [-2], "pertensor": list(range(rank))}
    if quant_mode not in dims:
        raise EngineError("no such quant_mode", expected=", ".join(dims), found=quant_mode)
    return dims[quant_mode]


def _reported(scale: Tensor, quant_mode: str) -> Tensor:
    """A scale as it is returned: without the dimensions it was reduced over."""
    if quant_mode == "pertensor":
        return scale.reshape([1])
    return scale.squeeze(-1 if quant_mode == "pertoken" else -2)


@kernel("DynamicQuant")
def dynamic_quant(
    x: Tensor,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int = _INT8,
) -> tuple[Tensor, Tensor]:
    """One symmetric scale per row; returns the numbers and the scales ``x.shape[:-1]``."""
    return dynamic_quant_v2(x, smooth_scales, group_index, dst_type, True)[:2]


@kernel("DynamicQuantV2")
def dynamic_quant_v2(
    x: Tensor,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int = _INT8,
    is_symmetrical: bool = False,
    quant_mode: str = "pertoken",
) -> tuple[Tensor, Tensor, Tensor]:
    """``round(x / scale + offset)`` with scales and offsets per row, column or tensor.

    Symmetric: ``scale = max|x| / largest``, no offset. Otherwise the smallest and the largest value
    are mapped to the ends of the type's range.
    """
    dtype = torch_dtype(dst_type)
    values = smoothed(x, smooth_scales, group_index)
    dims = quant_dims(quant_mode, x.dim())
    if is_symmetrical:
        scale = symmetric_scale(values, dims, dtype)
        y = quantized(divided(values, scale), dtype)
        reported = _reported(scale, quant_mode)
        return y, reported, torch.zeros_like(reported)
    high = largest(dtype)
    low = -high if dtype.is_floating_point else -high - 1
    top = values.amax(dims, keepdim=True)
    scale = (top - values.amin(dims, keepdim=True)) / (high - low)
    offset = high - divided(top, scale)
    y = quantized(divided(values, scale) + offset, dtype)
    return y, _reported(scale, quant_mode), _reported(offset, quant_mode)


@kernel("GroupQuant")
def group_quant(
    x: Tensor,
    scale: Tensor,
    group_index: Tensor,
    offset: Tensor | None = None,
    dst_type: int = _INT8,
) -> Tensor:
    """``round(x * scale[group] + offset)`` of the rows of ``x[S, H]``.

    Args:
        scale: ``[groups, H]``.
        group_index: the row after the last one of each group; rows beyond all groups take the last
            scale here and are undefined on the device.
        offset: one number.
    """
    values = x.float() * per_row(scale.float(), group_index, x.size(0))
    if offset is not None:
        values = values + offset.float()
    return quantized(values, torch_dtype(dst_type))


@kernel("TransQuantParamV2")
def trans_quant_param_v2(
    scale: Tensor, offset: Tensor | None = None, round_mode: int = 0
) -> Tensor:
    """Packs a float32 scale, shortened to 19 bits, and a 9-bit offset into an int64.

    Bits 13 to 31 hold the scale (cut off, or rounded half to even when ``round_mode`` is 1), bits
    37 to 45 the offset rounded to -256 .. 255, bit 46 is set.
    """
    bits = scale.float().contiguous().view(torch.int32).long() & 0xFFFFFFFF
    if round_mode == 1:
        bits = bits + 0xFFF + ((bits >> 13) & 1)
    packed = (bits & 0xFFFFE000) | (1 << 46)
    if offset is None:
        return packed
    number = offset.float().round().clamp(-256, 255).long()
    return packed | ((number & 0x1FF) << 37)


@kernel("DequantBias")
def dequant_bias(
    x: Tensor,
    weight_scale: Tensor,
    activate_scale: Tensor | None = None,
    bias: Tensor | None = None,
    output_dtype: int = 1,
) -> Tensor:
    """``x[M, N]`` times a scale per column and one per row; an integer bias is added before, a
    floating-point one after."""
    integer = bias is not None and not bias.is_floating_point()
    values = (x + bias if integer and bias is not None else x).float() * weight_scale.float()
    if activate_scale is not None:
        values = values * activate_scale.float().reshape(-1, 1)
    if bias is not None and not integer:
        values = values + bias.float()
    return values.to(torch_dtype(output_dtype))


@kernel("QuantMax")
def quant_max(
    x: Tensor,
    scale: Tensor,
    group_list: Tensor | None = None,
    round_mode: str = "rint",
    dst_type: int = 35,
) -> tuple[Tensor, Tensor]:
    """``x * scale`` in a narrow type and the largest absolute value of ``x``.

    Args:
        group_list: the row after the last one of each group of the first dimension; there are as
            many scales and maxima as groups.
    """
    dtype = torch_dtype(dst_type)
    if group_list is None or group_list.size(0) <= 1:
        return quantized(x.float() * scale.float(), dtype, round_mode), x.abs().amax().reshape([1])
    group = row_groups(group_list, x.size(0))
    rows = x.reshape(x.size(0), -1)
    y = quantized(rows.float() * scale.float()[group].unsqueeze(-1), dtype, round_mode)
    start = torch.zeros(group_list.shape, dtype=x.dtype, device=x.device)
    amax = start.scatter_reduce(0, group, rows.abs().amax(-1), "amax")
    return y.reshape(x.shape), amax


@kernel("RotateQuant")
def rotate_quant(
    x: Tensor, rotation: Tensor, alpha: Tensor | None = None, y_dtype: int = _INT8
) -> tuple[Tensor, Tensor]:
    """Blocks of ``K`` columns of ``x[M, N]`` times ``rotation[K, K]``, then one symmetric scale
    per row. ``alpha`` has no effect on integers."""
    size = rotation.size(-1)
    blocks = x.float().reshape(x.size(0), x.size(1) // size, size) @ rotation.float()
    return dynamic_quant(blocks.reshape(x.shape), None, None, y_dtype)


@kernel("FlatQuant")
def flat_quant(
    x: Tensor, kronecker_p1: Tensor, kronecker_p2: Tensor, clip_ratio: float = 1.0
) -> tuple[Tensor, Tensor]:
    """``p1 @ x @ p2`` as int4 with one scale per matrix of ``x[K, M, N]``, shrunk by
    ``clip_ratio``."""
    dtype = torch_dtype(29)
    values = kronecker_p1.float() @ x.float() @ kronecker_p2.float()
    scale = symmetric_scale(values, [-2, -1], dtype) * clip_ratio
    return quantized(divided(values, scale), dtype), scale.reshape([x.size(0)])
