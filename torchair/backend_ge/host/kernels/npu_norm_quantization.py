"""Kernels of RMS normalisation that ends in quantisation, after the GE operators' definitions.

Normalised values are quantised in float32, before any rounding to the input's type.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_normalization import rms_norm, rms_norm_grad
from torchair.backend_ge.host.kernels.npu_quantization import dynamic_quant
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError

_INT8 = 2
"""``ge::DataType`` number of int8."""


def normalized(
    x: Tensor, gamma: Tensor, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """RmsNorm of x plus beta in float32, and rstd."""
    y, rstd = rms_norm(x.float(), gamma, epsilon)
    return (y if beta is None else y + beta.float()), rstd


@kernel("RmsNormQuant")
def rms_norm_quant(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    scale: Tensor,
    offset: Tensor,
    epsilon: float = 1e-6,
    dst_type: int = _INT8,
) -> Tensor:
    """``round((rms_norm(x) + beta) * scale + offset)``; scale and offset are one number each."""
    y, _ = normalized(x, gamma.reshape(-1), beta.reshape(-1), epsilon)
    return quantized(y * scale.float() + offset.float(), torch_dtype(dst_type))


@kernel("AddRmsNormQuant")
def add_rms_norm_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    scales1: Tensor,
    scales2: Tensor | None = None,
    zero_points1: Tensor | None = None,
    zero_points2: Tensor | None = None,
    beta: Tensor | None = None,
    axis: int = -1,
    epsilon: float = 1e-6,
    div_mode: bool = True,
    dst_type: int = _INT8,
) -> tuple[Tensor, Tensor, Tensor]:
    """RmsNorm of ``x = x1 + x2`` quantised with one or two sets of factors; returns y1, y2, x.

    ``round(y / scales + zero_points)``, with ``y * scales`` unless ``div_mode``. Without
    ``scales2`` y2 is zero here, undefined on the device.
    """
    x = x1 + x2
    y, _ = normalized(x, gamma, beta, epsilon)
    dtype = torch_dtype(dst_type)

    def narrow(scales: Tensor | None, points: Tensor | None) -> Tensor:
        if scales is None:
            return torch.zeros(x.shape, dtype=torch.float32, device=x.device).to(dtype)
        values = y / scales.float() if div_mode else y * scales.float()
        return quantized(values if points is None else values + points.float(), dtype)

    return narrow(scales1, zero_points1), narrow(scales2, zero_points2), x


@kernel("AddRmsNormDynamicQuant")
def add_rms_norm_dynamic_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    smooth_scale1: Tensor | None = None,
    smooth_scale2: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    output_mask: list[bool] | None = None,
    dst_type: int = _INT8,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """RmsNorm of ``x = x1 + x2``, then one symmetric scale per row; returns y1, y2, x, scale1,
    scale2.

    Args:
        smooth_scale1: factors before the quantisation of y1, as ``smooth_scale2`` for y2.
        output_mask: which of y1 and y2 are computed; without it y1, and y2 when both smoothing
            factors are given. What is not computed is empty here, undefined on the device.
    """
    x = x1 + x2
    y, _ = normalized(x, gamma, beta, epsilon)
    wanted = output_mask or [True, smooth_scale1 is not None and smooth_scale2 is not None]

    def narrow(on: bool, smooth: Tensor | None) -> tuple[Tensor, Tensor]:
        if on:
            return dynamic_quant(y, smooth, None, dst_type)
        none = torch.zeros([0], dtype=torch.float32, device=x.device)
        return quantized(none, torch_dtype(dst_type)), none

    y1, scale1 = narrow(wanted[0], smooth_scale1)
    y2, scale2 = narrow(wanted[1], smooth_scale2)
    return y1, y2, x, scale1, scale2


@kernel("RmsNormGradQuant")
def rms_norm_grad_quant(
    dy: Tensor,
    x: Tensor,
    rstd: Tensor,
    gamma: Tensor,
    scale_x: Tensor | None = None,
    offset_x: Tensor | None = None,
    div_mode: bool = True,
    quant_mode: str = "static",
    dst_type: int = _INT8,
) -> tuple[Tensor, Tensor]:
    """RmsNormGrad with dx quantised as ``round(dx / scale_x + offset_x)`` (times, unless
    ``div_mode``); dgamma is float32."""
    if quant_mode != "static" or scale_x is None:
        raise EngineError(
            "the host kernel of RmsNormGradQuant needs a scale", expected="quant_mode static"
        )
    dx, dgamma = rms_norm_grad(dy.float(), x.float(), rstd, gamma)
    values = dx / scale_x.float() if div_mode else dx * scale_x.float()
    if offset_x is not None:
        values = values + offset_x.float()
    return quantized(values, torch_dtype(dst_type)), dgamma
