"""torch_npu's RMS normalisation and its fusions."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import converts


@converts("npu::npu_rms_norm(Tensor input, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor)")
def npu_rms_norm(input: Any, gamma: Any, epsilon: Any = 1e-6) -> Any:
    return ge.RmsNorm(input, gamma, epsilon=epsilon)


@converts(
    "npu::npu_rms_norm_backward(Tensor dy, Tensor input, Tensor gamma, Tensor rstd)"
    " -> (Tensor, Tensor)"
)
def npu_rms_norm_backward(dy: Any, input: Any, gamma: Any, rstd: Any) -> Any:
    return ge.RmsNormGrad(dy, input, rstd, gamma)


@converts(
    "npu::npu_add_rms_norm(Tensor x1, Tensor x2, Tensor gamma, float epsilon=1e-06)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_add_rms_norm(x1: Any, x2: Any, gamma: Any, epsilon: Any = 1e-6) -> Any:
    return ge.AddRmsNorm(x1, x2, gamma, epsilon=epsilon)
