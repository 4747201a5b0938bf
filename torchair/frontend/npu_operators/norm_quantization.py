"""RMS normalisation that ends in quantisation."""

from __future__ import annotations

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_norm_quantization as kernels
from torchair.dialects.ge.npu_types import ge_number
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import visible
from torchair.frontend.npu_operators.registry import implements

_INT8 = 1
"""torch_npu's number of int8."""


@implements("npu_rms_norm_quant")
def npu_rms_norm_quant(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    scale: Tensor,
    offset: Tensor,
    epsilon: float = 1e-6,
    *,
    dst_dtype: int | None = None,
) -> Tensor:
    number = ge_number(_INT8 if dst_dtype is None else dst_dtype, "npu_rms_norm_quant")
    return visible(kernels.rms_norm_quant(x, gamma, beta, scale, offset, epsilon, number))


@implements("npu_add_rms_norm_quant")
def npu_add_rms_norm_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    scales1: Tensor,
    zero_points1: Tensor | None,
    beta: Tensor | None = None,
    scales2: Tensor | None = None,
    zero_points2: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-6,
    div_mode: bool = True,
    dst_type: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    if axis != -1:
        raise ConversionError(
            "npu_add_rms_norm_quant has one axis only", expected="axis = -1", found=axis
        )
    number = ge_number(_INT8 if dst_type is None else dst_type, "npu_add_rms_norm_quant")
    points = (zero_points1, zero_points2)
    return kernels.add_rms_norm_quant(
        x1, x2, gamma, scales1, scales2, *points, beta, axis, epsilon, div_mode, number
    )


@implements("npu_add_rms_norm_dynamic_quant")
def npu_add_rms_norm_dynamic_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    *,
    smooth_scale1: Tensor | None = None,
    smooth_scale2: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    output_mask: list[bool] | None = None,
    y_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if output_mask is not None and not any(output_mask):
        raise ConversionError(
            "npu_add_rms_norm_dynamic_quant: output_mask wants no output", found=output_mask
        )
    number = ge_number(_INT8 if y_dtype is None else y_dtype, "npu_add_rms_norm_dynamic_quant")
    y1, y2, x, scale1, scale2 = kernels.add_rms_norm_dynamic_quant(
        x1, x2, gamma, smooth_scale1, smooth_scale2, beta, epsilon, output_mask, number
    )
    return visible(y1), visible(y2), x, scale1, scale2


@implements("_npu_rms_norm_backward_quant")
def rms_norm_backward_quant(
    dy: Tensor,
    x: Tensor,
    rstd: Tensor,
    gamma: Tensor,
    scale_x: Tensor,
    *,
    offset_x: Tensor | None = None,
    div_mode: bool | None = True,
    quant_mode: str = "static",
    dst_type: int | None = 1,
) -> tuple[Tensor, Tensor]:
    number = ge_number(_INT8 if dst_type is None else dst_type, "_npu_rms_norm_backward_quant")
    divides = div_mode is None or div_mode
    return kernels.rms_norm_grad_quant(
        dy, x, rstd, gamma, scale_x, offset_x, divides, quant_mode, number
    )
