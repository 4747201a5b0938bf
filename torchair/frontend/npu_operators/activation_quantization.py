"""Activations that end in quantisation, and quantisation in blocks of a matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_activation_quantization as kernels
from torchair.dialects.ge.npu_types import ge_number
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import require_default, visible
from torchair.frontend.npu_operators.registry import implements

_INT8 = 1
"""torch_npu's number of int8."""
_ROUND_MODES = ("rint", "round", "floor", "ceil", "trunc")
"""``npu_dequant_swiglu_quant.round_mode`` by number."""


@implements("npu_gelu_quant")
def npu_gelu_quant(
    input: Tensor,
    *,
    input_scale: Tensor | None = None,
    input_offset: Tensor | None = None,
    approximate: str = "none",
    quant_mode: str = "dynamic",
    dst_type: int | None = None,
    round_mode: str = "rint",
) -> tuple[Tensor, Tensor]:
    """A static quantisation gives no scales: the second result is empty."""
    if quant_mode not in ("static", "dynamic") or (quant_mode == "static" and input_scale is None):
        raise ConversionError(
            "npu_gelu_quant is dynamic, or static with input_scale", found=quant_mode
        )
    number = ge_number(_INT8 if dst_type is None else dst_type, "npu_gelu_quant")
    y, scale = kernels.gelu_quant(
        input, input_scale, input_offset, approximate, quant_mode, number, round_mode
    )
    return visible(y), scale


@implements("npu_swiglu_quant")
def npu_swiglu_quant(
    x: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    offsets: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: int = 0,
    group_list_type: int = 0,
    dst_type: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    require_default("npu_swiglu_quant", dst_type=(dst_type or torch.int8, torch.int8))
    return kernels.swiglu_quant(
        x,
        smooth_scales,
        offsets,
        group_index,
        activate_left,
        mode_name("npu_swiglu_quant", quant_mode),
        group_list_type,
    )


def mode_name(operator: str, quant_mode: int) -> str:
    """GE's name of a mode of quantisation.

    Raises:
        ConversionError: no such mode.
    """
    if quant_mode not in (0, 1):
        raise ConversionError(
            f"{operator} has no such quant_mode",
            expected="0 (static), 1 (dynamic)",
            found=quant_mode,
        )
    return ("static", "dynamic")[quant_mode]


@implements("npu_dequant_swiglu_quant")
def npu_dequant_swiglu_quant(
    x: Tensor,
    *,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: int = 0,
    dst_type: int | None = None,
    round_mode: int | None = None,
    activate_dim: int | None = None,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
) -> tuple[Tensor, Tensor]:
    if x.dtype is torch.int32 and weight_scale is None:
        raise ConversionError("npu_dequant_swiglu_quant: int32 needs weight_scale")
    y, scale = kernels.dequant_swiglu_quant(
        x,
        weight_scale,
        activation_scale,
        bias,
        quant_scale,
        quant_offset,
        group_index,
        activate_left,
        mode_name("npu_dequant_swiglu_quant", quant_mode),
        ge_number(_INT8 if dst_type is None else dst_type, "npu_dequant_swiglu_quant"),
        _ROUND_MODES[round_mode or 0],
        -1 if activate_dim is None else activate_dim,
        swiglu_mode,
        clamp_limit,
        glu_alpha,
        glu_bias,
    )
    return visible(y), scale


@implements("npu_swiglu_mx_quant")
def npu_swiglu_mx_quant(
    x: Tensor,
    *,
    group_index: Tensor | None = None,
    activate_dim: int = -1,
    activate_left: bool = False,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
    group_mode: int = 0,
    axis: int = -1,
    dst_type: int = 296,
    round_mode: str = "rint",
    scale_alg: int = 0,
    max_dtype_value: float = 0,
) -> tuple[Tensor, Tensor]:
    require_default(
        "npu_swiglu_mx_quant", group_mode=(group_mode, 0), max_dtype_value=(max_dtype_value, 0)
    )
    y, scale = kernels.swiglu_mx_quant(
        x,
        group_index,
        activate_dim,
        activate_left,
        swiglu_mode,
        clamp_limit,
        glu_alpha,
        glu_bias,
        axis,
        ge_number(dst_type, "npu_swiglu_mx_quant"),
        round_mode,
        scale_alg,
    )
    return visible(y), visible(scale)


@implements("npu_dynamic_block_quant")
def npu_dynamic_block_quant(
    x: Tensor,
    *,
    min_scale: float = 0.0,
    round_mode: str = "rint",
    dst_type: int = 1,
    row_block_size: int = 1,
    col_block_size: int = 128,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require_default("npu_dynamic_block_quant", dst_type_max=(dst_type_max, 0.0))
    number = ge_number(dst_type, "npu_dynamic_block_quant")
    y, scale = kernels.dynamic_block_quant(
        x, min_scale, round_mode, number, row_block_size, col_block_size
    )
    return visible(y), scale


@implements("npu_grouped_dynamic_block_quant")
def npu_grouped_dynamic_block_quant(
    x: Tensor,
    group_list: Tensor,
    *,
    min_scale: float = 0.0,
    round_mode: str = "rint",
    dst_type: int = 291,
    row_block_size: int = 1,
    col_block_size: int = 128,
    group_list_type: int = 0,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require_default(
        "npu_grouped_dynamic_block_quant",
        group_list_type=(group_list_type, 0),
        dst_type_max=(dst_type_max, 0.0),
    )
    number = ge_number(dst_type, "npu_grouped_dynamic_block_quant")
    y, scale = kernels.grouped_dynamic_block_quant(
        x, group_list, min_scale, round_mode, number, row_block_size, col_block_size
    )
    return visible(y), scale
