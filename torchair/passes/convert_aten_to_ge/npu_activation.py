"""torch_npu's activation functions."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import converts


@converts("npu::npu_swiglu(Tensor input, int dim=-1) -> Tensor")
def npu_swiglu(input: Any, dim: Any = -1) -> Any:
    return ge.SwiGlu(input, dim=dim)


@converts("npu::npu_swiglu_backward(Tensor grad_output, Tensor input, int dim=-1) -> Tensor")
def npu_swiglu_backward(grad_output: Any, input: Any, dim: Any = -1) -> Any:
    return ge.SwiGluGrad(grad_output, input, dim=dim)


@converts(
    "npu::npu_clipped_swiglu(Tensor x, *, Tensor? group_index=None, int dim=-1, float alpha=1.702,"
    " float limit=7.0, float bias=1.0, bool interleaved=True) -> Tensor"
)
def npu_clipped_swiglu(x: Any, group_index: Any, **attributes: Any) -> Any:
    return ge.ClippedSwiglu(x, group_index, **attributes)


@converts(
    "npu::npu_geglu(Tensor input, int dim=-1, int approximate=1, bool activate_left=False)"
    " -> (Tensor, Tensor)"
)
def npu_geglu(input: Any, dim: Any, approximate: Any, activate_left: Any) -> Any:
    return ge.GeGluV2(input, dim=dim, approximate=approximate, activate_left=activate_left)


@converts(
    "npu::npu_geglu_grad(Tensor grad_output, Tensor input, Tensor gelu, int dim=-1,"
    " int approximate=1, bool activate_left=False) -> Tensor"
)
def npu_geglu_grad(
    grad_output: Any, input: Any, gelu: Any, dim: Any, approximate: Any, activate_left: Any
) -> Any:
    return ge.GeGluGradV2(
        grad_output, input, gelu, dim=dim, approximate=approximate, activate_left=activate_left
    )


@converts("npu::npu_gelu_mul(Tensor input, *, str approximate='none') -> Tensor")
def npu_gelu_mul(input: Any, approximate: Any) -> Any:
    return ge.GeluMul(input, approximate=approximate)


@converts("npu::npu_gelu(Tensor input, *, str approximate='none') -> Tensor")
def npu_gelu(input: Any, approximate: Any) -> Any:
    return ge.GeluV2(input, approximate=approximate)


@converts(
    "npu::npu_gelu_backward(Tensor grad_output, Tensor input, *, str approximate='none') -> Tensor"
)
def npu_gelu_backward(grad_output: Any, input: Any, approximate: Any) -> Any:
    return ge.GeluGradV2(grad_output, input, approximate=approximate)


@converts("npu::npu_fast_gelu(Tensor input) -> Tensor", "npu::fast_gelu(Tensor input) -> Tensor")
def npu_fast_gelu(input: Any) -> Any:
    return ge.FastGelu(input)


@converts("npu::npu_fast_gelu_backward(Tensor grad, Tensor input) -> Tensor")
def npu_fast_gelu_backward(grad: Any, input: Any) -> Any:
    return ge.FastGeluGrad(grad, input)


@converts("npu::npu_silu(Tensor input) -> Tensor")
def npu_silu(input: Any) -> Any:
    return ge.Swish(input)


@converts("npu::npu_silu_backward(Tensor grad_output, Tensor x0, Tensor x1) -> Tensor")
def npu_silu_backward(grad_output: Any, x0: Any, x1: Any) -> Any:
    return ge.SwishGrad(grad_output, x0, x1)


@converts("npu::npu_mish(Tensor input) -> Tensor")
def npu_mish(input: Any) -> Any:
    return ge.Mish(input)


@converts("npu::npu_mish_backward(Tensor grad, Tensor input) -> Tensor")
def npu_mish_backward(grad: Any, input: Any) -> Any:
    return ge.MishGrad(grad, input)
