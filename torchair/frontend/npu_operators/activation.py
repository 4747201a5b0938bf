"""Gated and approximate activation functions with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import activation as basic
from torchair.backend_ge.host.kernels import npu_activation as kernels
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_swiglu")
def npu_swiglu(input: Tensor, dim: int = -1) -> Tensor:
    return kernels.swiglu(input, dim)


@implements("npu_swiglu_backward")
def npu_swiglu_backward(grad_output: Tensor, input: Tensor, dim: int = -1) -> Tensor:
    return kernels.swiglu_grad(grad_output, input, dim)


def _save_with_dim(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.dim = inputs[1]


@gradient("npu_swiglu", save=_save_with_dim)
def swiglu_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
    return torch.ops.npu.npu_swiglu_backward(dy, *ctx.saved_tensors, ctx.dim), None


@implements("npu_clipped_swiglu")
def npu_clipped_swiglu(
    x: Tensor,
    *,
    group_index: Tensor | None = None,
    dim: int = -1,
    alpha: float = 1.702,
    limit: float = 7.0,
    bias: float = 1.0,
    interleaved: bool = True,
) -> Tensor:
    return kernels.clipped_swiglu(x, group_index, dim, alpha, limit, bias, interleaved)


@implements("npu_geglu")
def npu_geglu(
    input: Tensor, dim: int = -1, approximate: int = 1, activate_left: bool = False
) -> tuple[Tensor, Tensor]:
    if approximate not in (0, 1):
        raise ConversionError(
            "npu_geglu has no such approximation", expected="0 (erf) or 1 (tanh)", found=approximate
        )
    return kernels.geglu(input, dim, approximate, activate_left)


@implements("npu_geglu_grad")
def npu_geglu_grad(
    grad_output: Tensor,
    input: Tensor,
    gelu: Tensor,
    dim: int = -1,
    approximate: int = 1,
    activate_left: bool = False,
) -> Tensor:
    return kernels.geglu_grad(grad_output, input, gelu, dim, approximate, activate_left)


def _save_geglu(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.attributes = inputs[1:]


@gradient("npu_geglu", save=_save_geglu)
def geglu_gradient(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
    dx = torch.ops.npu.npu_geglu_grad(dy, *ctx.saved_tensors, *ctx.attributes)
    return dx, None, None, None


@implements("npu_gelu_mul")
def npu_gelu_mul(input: Tensor, *, approximate: str = "none") -> Tensor:
    return kernels.gelu_mul(input, approximate)


@implements("npu_gelu")
def npu_gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    return basic.gelu_v2(input, approximate)


@implements("npu_gelu_backward")
def npu_gelu_backward(grad_output: Tensor, input: Tensor, *, approximate: str = "none") -> Tensor:
    return basic.gelu_grad_v2(grad_output, input, approximate)


def _save_gelu(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.approximate = keyword_only_inputs["approximate"]


@gradient("npu_gelu", save=_save_gelu)
def gelu_gradient(ctx: Any, dy: Tensor) -> Tensor:
    approximate = ctx.approximate
    return torch.ops.npu.npu_gelu_backward(dy, *ctx.saved_tensors, approximate=approximate)


@implements("npu_fast_gelu")
def npu_fast_gelu(input: Tensor) -> Tensor:
    return kernels.fast_gelu(input)


@implements("fast_gelu")
def fast_gelu(input: Tensor) -> Tensor:
    return kernels.fast_gelu(input)


@implements("npu_fast_gelu_backward")
def npu_fast_gelu_backward(grad: Tensor, input: Tensor) -> Tensor:
    return kernels.fast_gelu_grad(grad, input)


def _save_input(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


@gradient("npu_fast_gelu", save=_save_input)
def npu_fast_gelu_gradient(ctx: Any, dy: Tensor) -> Tensor:
    return torch.ops.npu.npu_fast_gelu_backward(dy, *ctx.saved_tensors)


@gradient("fast_gelu", save=_save_input)
def fast_gelu_gradient(ctx: Any, dy: Tensor) -> Tensor:
    return torch.ops.npu.npu_fast_gelu_backward(dy, *ctx.saved_tensors)


@implements("npu_silu")
def npu_silu(input: Tensor) -> Tensor:
    return basic.swish(input, 1.0)


@implements("npu_silu_backward")
def npu_silu_backward(grad_output: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    return basic.swish_grad(grad_output, x0, x1, 1.0)


def _save_silu(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


@gradient("npu_silu", save=_save_silu)
def silu_gradient(ctx: Any, dy: Tensor) -> Tensor:
    return torch.ops.npu.npu_silu_backward(dy, *ctx.saved_tensors)


@implements("npu_mish")
def npu_mish(input: Tensor) -> Tensor:
    return basic.mish(input)


@implements("npu_mish_backward")
def npu_mish_backward(grad: Tensor, input: Tensor) -> Tensor:
    return basic.mish_grad(grad, input, None)


@gradient("npu_mish", save=_save_input)
def mish_gradient(ctx: Any, dy: Tensor) -> Tensor:
    return torch.ops.npu.npu_mish_backward(dy, *ctx.saved_tensors)
