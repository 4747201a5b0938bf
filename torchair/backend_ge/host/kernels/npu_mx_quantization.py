"""Kernels of microscaling (MX) formats, after the definitions of the GE operators.

A block of 32 elements shares a power of two, stored as its exponent plus 127 in ``float8_e8m0``.
Scales lie in pairs in a last dimension of 2: the blocks of an axis are padded to an even number
with zeros, and that axis of the scales has half as many places.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.npu_norm_quantization import normalized
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import (
    FLOAT4_E1M2,
    FLOAT4_E2M1,
    FLOAT8_E8M0,
    dequantized,
    largest,
    quantized,
)
from torchair.errors import EngineError

_BLOCK = 32
_FLOAT4 = 40
"""``ge::DataType`` number of float4_e2m1."""
_EXPONENTS = {FLOAT4_E2M1: 2, FLOAT4_E1M2: 0, torch.float8_e4m3fn: 8, torch.float8_e5m2: 15}
"""Exponent of the largest value of each type."""
_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def scale_codes(
    amax: Tensor, dtype: torch.dtype, scale_alg: int = 0, low_bound: float = 0.0
) -> Tensor:
    """Codes (int32) of the scales of blocks, given their largest absolute values in float32.

    Args:
        amax: largest absolute values, float32.
        dtype: type that the elements are rounded to.
        scale_alg: 0: the exponent of the largest value less that of the type's largest value; 1
            (8-bit floats): largest over the type's largest value, rounded up to a power of two.
        low_bound: smallest value that ``amax`` counts as, of algorithm 1.

    Raises:
        EngineError: the host does not quantise so.
    """
    if dtype not in _EXPONENTS or scale_alg not in (0, 1) or (scale_alg and dtype not in _FLOAT8):
        raise EngineError(
            "the host device does not quantise blocks so",
            expected="scale_alg 0 to float8 or float4, scale_alg 1 to float8",
            found=f"scale_alg {scale_alg} to {dtype}",
            hint="choose another scale_alg or dst_type, or run this graph on an NPU",
        )
    if scale_alg == 0:
        field = (amax.contiguous().view(torch.int32) >> 23) & 0xFF
        return torch.where(field == 255, 255, (field - _EXPONENTS[dtype]).clamp(0, 254))
    ratio = amax.clamp(min=low_bound) if low_bound else amax
    bits = (ratio / largest(dtype)).contiguous().view(torch.int32)
    field, rest = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    limit = torch.where(field == 0, 0x400000, 0)
    return field + ((rest > limit) & (field < 254)).int()


def power(codes: Tensor) -> Tensor:
    """The scales of codes in float32; code 0 is ``2**-127``, code 255 is NaN."""
    bits = torch.where(codes == 0, 0x400000, codes.int() << 23)
    value = bits.int().view(torch.float32)
    return torch.where(codes == 255, float("nan"), value)


def _blocks(x: Tensor, size: int) -> Tensor:
    """The last dimension in blocks ``[..., blocks, size]``, padded with zeros."""
    missing = -x.size(-1) % size
    padded = functional.pad(x, [0, missing])
    return padded.reshape(*x.shape[:-1], (x.size(-1) + missing) // size, size)


def _paired(codes: Tensor, axis: int) -> Tensor:
    """Scales as they are returned, from codes whose blocks are in the last dimension."""
    even = functional.pad(codes, [0, codes.size(-1) % 2])
    pairs = even.reshape(*even.shape[:-1], even.size(-1) // 2, 2)
    return pairs.to(torch.uint8).movedim(-2, axis).contiguous().view(FLOAT8_E8M0)


def mx_quantized(
    x: Tensor,
    axis: int,
    dtype: torch.dtype,
    scale_alg: int = 0,
    round_mode: str = "rint",
    block_size: int = _BLOCK,
    low_bound: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """``x`` divided by the scale of its block along ``axis`` and rounded, and the scales."""
    axis %= x.dim()
    moved = x.float().movedim(axis, -1)
    blocks = _blocks(moved, block_size)
    codes = scale_codes(blocks.abs().amax(-1), dtype, scale_alg, low_bound)
    shared = (blocks / power(codes).unsqueeze(-1)).flatten(-2).narrow(-1, 0, moved.size(-1))
    return quantized(shared.movedim(-1, axis), dtype, round_mode), _paired(codes, axis)


@kernel("DynamicMxQuant")
def dynamic_mx_quant(
    x: Tensor,
    axis: int = -1,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    block_size: int = _BLOCK,
    scale_alg: int = 0,
    max_low_bound: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Blocks along one axis; returns the numbers and the scales."""
    dtype = torch_dtype(dst_type)
    return mx_quantized(x, axis, dtype, scale_alg, round_mode, block_size, max_low_bound)


@kernel("DynamicMxQuantWithDualAxis")
def dynamic_mx_quant_with_dual_axis(
    x: Tensor, round_mode: str = "rint", dst_type: int = _FLOAT4, scale_alg: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Numbers and scales of blocks along the last axis, then along the one before."""
    dtype = torch_dtype(dst_type)
    last = mx_quantized(x, -1, dtype, scale_alg, round_mode)
    return *last, *mx_quantized(x, -2, dtype, scale_alg, round_mode)


@kernel("DynamicBlockMxQuant")
def dynamic_block_mx_quant(
    x: Tensor, round_mode: str = "rint", dst_type: int = _FLOAT4, scale_alg: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Blocks of 32 by 32 elements share a scale.

    Returns:
        Numbers, the scales along the last axis for every row, and along the axis before for every
        column.
    """
    dtype = torch_dtype(dst_type)
    rows, columns = x.size(-2), x.size(-1)
    amax = _blocks(x.float().abs(), _BLOCK).amax(-1)
    amax = _blocks(amax.transpose(-1, -2), _BLOCK).amax(-1).transpose(-1, -2)
    codes = scale_codes(amax, dtype, scale_alg)
    by_row = codes.repeat_interleave(_BLOCK, -2).narrow(-2, 0, rows)
    by_column = codes.repeat_interleave(_BLOCK, -1).narrow(-1, 0, columns)
    scale = power(by_row).repeat_interleave(_BLOCK, -1).narrow(-1, 0, columns)
    y = quantized(x.float() / scale, dtype, round_mode)
    last = x.dim() - 1
    return y, _paired(by_row, last), _paired(by_column.transpose(-1, -2), last - 1)


@kernel("DynamicDualLevelMxQuant")
def dynamic_dual_level_mx_quant(
    x: Tensor,
    smooth_scale: Tensor | None = None,
    round_mode: str = "rint",
    level0_block_size: int = 512,
    level1_block_size: int = _BLOCK,
) -> tuple[Tensor, Tensor, Tensor]:
    """A float32 scale per 512 elements of the last axis, then powers of two per 32, to float4_e2m1.

    Returns:
        Numbers, the float32 scales, the powers of two.
    """
    wide = x.float() if smooth_scale is None else x.float() * smooth_scale.float()
    blocks = _blocks(wide, level0_block_size)
    scale = blocks.abs().amax(-1) / largest(FLOAT4_E2M1)
    divisor = torch.where(scale == 0, 1.0, scale).unsqueeze(-1)
    shared = (blocks / divisor).flatten(-2).narrow(-1, 0, x.size(-1))
    y, codes = mx_quantized(shared, -1, FLOAT4_E2M1, 0, round_mode, level1_block_size)
    return y, scale, codes


@kernel("GroupedDynamicMxQuant")
def grouped_dynamic_mx_quant(
    x: Tensor,
    group_index: Tensor,
    round_mode: str = "rint",
    dst_type: int = 35,
    blocksize: int = _BLOCK,
    scale_alg: int = 0,
) -> tuple[Tensor, Tensor]:
    """Blocks along the rows of ``x[M, N]`` that begin anew in every group.

    Args:
        group_index: the row after the last one of each group.

    Returns:
        Numbers, and scales ``[M / 64 + groups, N, 2]``: those of a group begin at its first row
        over 64 plus its number.
    """
    dtype = torch_dtype(dst_type)
    ends = group_index.long()
    row = torch.arange(x.size(0), device=x.device)
    group = (row.unsqueeze(-1) >= ends).sum(-1).clamp(max=ends.size(0) - 1)
    starts = torch.cat((ends.new_zeros(1), ends[:-1])).index_select(0, group)
    block = (row - starts) // blocksize
    slot = (starts // (2 * blocksize) + group) * 2 + block
    count = (x.size(0) // (2 * blocksize) + ends.size(0)) * 2
    index = slot.unsqueeze(-1).expand(-1, x.size(1))
    zeros = torch.zeros([count, x.size(1)], dtype=torch.float32, device=x.device)
    amax = zeros.scatter_reduce(0, index, x.float().abs(), "amax")
    codes = scale_codes(amax, dtype, scale_alg)
    y = quantized(x.float() / power(codes).index_select(0, slot), dtype, round_mode)
    return y, _paired(codes.t(), 0)


@kernel("AntiMxQuant")
def anti_mx_quant(x: Tensor, mxscale: Tensor, axis: int = -1, dst_type: int = 27) -> Tensor:
    """Numbers times the scales of their blocks of 32 along ``axis``."""
    axis %= x.dim()
    codes = mxscale.contiguous().view(torch.uint8).int().movedim(axis, -2).flatten(-2)
    scale = power(codes).repeat_interleave(_BLOCK, -1).narrow(-1, 0, x.size(axis))
    return (dequantized(x) * scale.movedim(-1, axis)).to(torch_dtype(dst_type))


@kernel("RmsNormDynamicMxQuant")
def rms_norm_dynamic_mx_quant(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    output_rstd: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers and scales of the normalised values, and rstd, which the device writes only with
    ``output_rstd``."""
    y, rstd = normalized(x, gamma, beta, epsilon)
    return *mx_quantized(y, -1, torch_dtype(dst_type), scale_alg, round_mode), rstd


@kernel("AddRmsNormDynamicMxQuant")
def add_rms_norm_dynamic_mx_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    output_rstd: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``RmsNormDynamicMxQuant`` of ``x = x1 + x2``; returns y, x, scales, rstd."""
    x = x1 + x2
    y, scale, rstd = rms_norm_dynamic_mx_quant(
        x, gamma, beta, epsilon, scale_alg, round_mode, dst_type
    )
    return y, x, scale, rstd
