"""torch_npu's rotary position embedding."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import converts

_MODES = {"half": 0, "interleave": 1, "quarter": 2, "interleave-half": 3}
"""``RotaryPositionEmbedding.mode`` by name."""


@converts(
    "npu::npu_rotary_mul(Tensor input, Tensor r1, Tensor r2, str rotary_mode='half',"
    " Tensor? rotate=None) -> Tensor"
)
def npu_rotary_mul(input: Any, r1: Any, r2: Any, rotary_mode: Any, rotate: Any) -> Any:
    if rotary_mode == "half" and rotate is None:
        return ge.RotaryMul(input, r1, r2)
    return ge.RotaryPositionEmbedding(input, r1, r2, rotate, mode=_MODES[rotary_mode])


@converts(
    "npu::npu_rotary_mul_backward(Tensor grad, Tensor input, Tensor r1, Tensor r2,"
    " str rotary_mode='half') -> (Tensor, Tensor, Tensor)"
)
def npu_rotary_mul_backward(grad: Any, input: Any, r1: Any, r2: Any, rotary_mode: Any) -> Any:
    if rotary_mode == "half":
        return ge.RotaryMulGrad(input, r1, r2, grad)
    return ge.RotaryPositionEmbeddingGrad(grad, r1, r2, input, mode=_MODES[rotary_mode])
