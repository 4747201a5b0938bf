"""Microscaling (MX) formats: blocks of 32 elements that share a power of two."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host import narrow_types
from torchair.backend_ge.host.kernels import npu_mx_quantization as kernels
from torchair.backend_ge.host.kernels.registry import torch_dtype
from torchair.dialects.ge.npu_types import ge_number
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import require_default, visible
from torchair.frontend.npu_operators.registry import implements

_FLOAT4 = 296
"""torch_npu's number of float4_e2m1."""


@implements("npu_dynamic_mx_quant")
def npu_dynamic_mx_quant(
    input: Tensor,
    *,
    axis: int = -1,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    block_size: int = 32,
    scale_alg: int | None = 0,
    dst_type_max: float = 0.0,
    max_low_bound: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require_default("npu_dynamic_mx_quant", dst_type_max=(dst_type_max, 0.0))
    if block_size % 32 or not 0 < block_size <= 1024 or not -input.dim() <= axis < input.dim():
        raise ConversionError(
            "npu_dynamic_mx_quant cannot make such blocks",
            expected="a block_size of 32 to 1024, a multiple of 32; an axis of the input",
            found=f"block_size {block_size}, axis {axis} of {input.dim()} dimensions",
        )
    number = ge_number(dst_type, "npu_dynamic_mx_quant")
    y, scale = kernels.dynamic_mx_quant(
        input, axis, round_mode, number, block_size, scale_alg or 0, max_low_bound
    )
    return visible(y), visible(scale)


@implements("npu_anti_mx_quant")
def npu_anti_mx_quant(
    x: Tensor,
    mxscale: Tensor,
    *,
    axis: int | None = -1,
    dst_type: int | None = 15,
    src_type: int | None = 292,
) -> Tensor:
    if x.dtype is torch.uint8:
        held = torch_dtype(ge_number(292 if src_type is None else src_type, "npu_anti_mx_quant"))
        if not narrow_types.is_four_bit(held):
            raise ConversionError(
                "npu_anti_mx_quant: what does the uint8 tensor hold?",
                expected="src_type 296 (float4_e2m1) or 297 (float4_e1m2)",
                found=src_type,
            )
        x = narrow_types.unfolded(x, held)
    number = ge_number(15 if dst_type is None else dst_type, "npu_anti_mx_quant")
    return kernels.anti_mx_quant(x, mxscale, -1 if axis is None else axis, number)


@implements("npu_dynamic_mx_quant_with_dual_axis")
def npu_dynamic_mx_quant_with_dual_axis(
    input: Tensor,
    *,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    scale_alg: int = 0,
    dst_type_max: float | None = 0.0,
) -> tuple[Tensor, ...]:
    require_default("npu_dynamic_mx_quant_with_dual_axis", dst_type_max=(dst_type_max or 0.0, 0.0))
    number = ge_number(dst_type, "npu_dynamic_mx_quant_with_dual_axis")
    found = kernels.dynamic_mx_quant_with_dual_axis(input, round_mode, number, scale_alg)
    return tuple(visible(value) for value in found)


@implements("npu_dynamic_block_mx_quant")
def npu_dynamic_block_mx_quant(
    input: Tensor,
    *,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
    scale_alg: int = 0,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, ...]:
    require_default("npu_dynamic_block_mx_quant", dst_type_max=(dst_type_max, 0.0))
    number = ge_number(dst_type, "npu_dynamic_block_mx_quant")
    found = kernels.dynamic_block_mx_quant(input, round_mode, number, scale_alg)
    return tuple(visible(value) for value in found)


@implements("npu_dynamic_dual_level_mx_quant")
def npu_dynamic_dual_level_mx_quant(
    input: Tensor, *, smooth_scale: Tensor | None = None, round_mode: str = "rint"
) -> tuple[Tensor, ...]:
    found = kernels.dynamic_dual_level_mx_quant(input, smooth_scale, round_mode)
    return tuple(visible(value) for value in found)


@implements("npu_grouped_dynamic_mx_quant")
def npu_grouped_dynamic_mx_quant(
    x: Tensor,
    group_index: Tensor,
    *,
    round_mode: str = "rint",
    dst_type: int = 23,
    blocksize: int = 32,
    scale_alg: int | None = 0,
    dst_type_max: float | None = 0.0,
) -> tuple[Tensor, ...]:
    require_default(
        "npu_grouped_dynamic_mx_quant",
        blocksize=(blocksize, 32),
        dst_type_max=(dst_type_max or 0.0, 0.0),
    )
    number = ge_number(dst_type, "npu_grouped_dynamic_mx_quant")
    found = kernels.grouped_dynamic_mx_quant(
        x, group_index, round_mode, number, blocksize, scale_alg or 0
    )
    return tuple(visible(value) for value in found)


@implements("npu_rms_norm_dynamic_mx_quant")
def npu_rms_norm_dynamic_mx_quant(
    x: Tensor,
    gamma: Tensor,
    *,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
) -> tuple[Tensor, ...]:
    number = ge_number(dst_type, "npu_rms_norm_dynamic_mx_quant")
    found = kernels.rms_norm_dynamic_mx_quant(
        x, gamma, beta, epsilon, scale_alg, round_mode, number
    )
    return tuple(visible(value) for value in found)


@implements("npu_add_rms_norm_dynamic_mx_quant")
def npu_add_rms_norm_dynamic_mx_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    *,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = _FLOAT4,
) -> tuple[Tensor, ...]:
    number = ge_number(dst_type, "npu_add_rms_norm_dynamic_mx_quant")
    found = kernels.add_rms_norm_dynamic_mx_quant(
        x1, x2, gamma, beta, epsilon, scale_alg, round_mode, number
    )
    return tuple(visible(value) for value in found)
