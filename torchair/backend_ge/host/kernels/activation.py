"""Kernels of activation functions and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.numbers import written
from torchair.backend_ge.host.kernels.registry import kernel

aten = torch.ops.aten


@kernel("Relu")
def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


@kernel("ReluGrad")
def relu_grad(gradients: Tensor, features: Tensor) -> Tensor:
    return aten.threshold_backward(gradients, features, 0)


@kernel("Relu6")
def relu6(x: Tensor) -> Tensor:
    return torch.clamp(x, 0, 6)


@kernel("ThresholdV2")
def threshold_v2(x: Tensor, threshold: Tensor, value: Tensor | None) -> Tensor:
    return torch.where(x > threshold, x, torch.zeros_like(threshold) if value is None else value)


@kernel("Gelu")
def gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


@kernel("GeluV2")
def gelu_v2(x: Tensor, approximate: str) -> Tensor:
    return functional.gelu(x, approximate=approximate)


@kernel("GeluGrad")
def gelu_grad(dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return aten.gelu_backward(dy, x, approximate="tanh")


@kernel("GeluGradV2")
def gelu_grad_v2(dy: Tensor, x: Tensor, approximate: str) -> Tensor:
    return aten.gelu_backward(dy, x, approximate=approximate)


@kernel("Swish")
def swish(x: Tensor, scale: float) -> Tensor:
    if scale == 1.0:
        return functional.silu(x)
    return x * torch.sigmoid(x * written(scale))


@kernel("SwishGrad")
def swish_grad(grad: Tensor, x: Tensor, y: Tensor, scale: float) -> Tensor:
    if scale == 1.0:
        return aten.silu_backward(grad, x)
    gate = torch.sigmoid(x * written(scale))
    return grad * (gate + written(scale) * y * (1 - gate))


@kernel("SigmoidGrad")
def sigmoid_grad(y: Tensor, dy: Tensor, complex_conj: bool) -> Tensor:
    return aten.sigmoid_backward(dy, _slope_of(y, complex_conj))


@kernel("TanhGrad")
def tanh_grad(y: Tensor, dy: Tensor, complex_conj: bool) -> Tensor:
    return aten.tanh_backward(dy, _slope_of(y, complex_conj))


def _slope_of(y: Tensor, complex_conj: bool) -> Tensor:
    """PyTorch's gradients conjugate the slope of complex numbers always."""
    return y if complex_conj or not y.is_complex() else y.conj_physical()


@kernel("LeakyRelu")
def leaky_relu(x: Tensor, negative_slope: float) -> Tensor:
    return functional.leaky_relu(x, written(negative_slope))


@kernel("LeakyReluGrad")
def leaky_relu_grad(gradients: Tensor, features: Tensor, negative_slope: float) -> Tensor:
    return aten.leaky_relu_backward(gradients, features, written(negative_slope), False)


@kernel("Elu")
def elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    return aten.elu(x, written(alpha), written(scale), written(input_scale))


@kernel("CeluV2")
def celu_v2(x: Tensor, alpha: float) -> Tensor:
    return torch.celu(x, written(alpha))


@kernel("Selu")
def selu(x: Tensor) -> Tensor:
    return torch.selu(x)


@kernel("EluGrad")
def elu_grad(grads: Tensor, activations: Tensor) -> Tensor:
    return aten.elu_backward(grads, 1, 1, 1, True, activations)


@kernel("EluGradV2")
def elu_grad_v2(
    grads: Tensor,
    activations: Tensor,
    alpha: float,
    scale: float,
    input_scale: float,
    is_result: bool,
) -> Tensor:
    constants = written(alpha), written(scale), written(input_scale)
    return aten.elu_backward(grads, *constants, is_result, activations)


@kernel("HardtanhGrad")
def hardtanh_grad(result: Tensor, grad: Tensor, min_val: float, max_val: float) -> Tensor:
    return aten.hardtanh_backward(grad, result, written(min_val), written(max_val))


@kernel("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    return functional.hardswish(x)


@kernel("HardSwishGrad")
def hard_swish_grad(grad: Tensor, x: Tensor) -> Tensor:
    return aten.hardswish_backward(grad, x)


_SIXTH = 0.1666666567325592  # float32 of GE's default 0.16666666, and of 1 / 6


@kernel("HardSigmoid")
def hard_sigmoid(input_x: Tensor, alpha: float, beta: float) -> Tensor:
    x = input_x if input_x.is_floating_point() else input_x.float()
    if abs(alpha - _SIXTH) < 1e-7 and beta == 0.5:
        return functional.hardsigmoid(x)
    return torch.clamp(x * written(alpha) + written(beta), 0, 1)


@kernel("HardSigmoidGrad")
def hard_sigmoid_grad(grads: Tensor, input_x: Tensor, alpha: float, beta: float) -> Tensor:
    if abs(alpha - _SIXTH) < 1e-7 and beta == 0.5:
        return aten.hardsigmoid_backward(grads, input_x)
    inner = input_x * written(alpha) + written(beta)
    zero = torch.zeros((), dtype=grads.dtype)
    return torch.where((inner > 0) & (inner < 1), grads * written(alpha), zero)


@kernel("Softplus")
def softplus(x: Tensor) -> Tensor:
    return functional.softplus(x)


@kernel("SoftplusGrad")
def softplus_grad(gradients: Tensor, features: Tensor) -> Tensor:
    return gradients * torch.sigmoid(features)


@kernel("SoftplusV2")
def softplus_v2(x: Tensor, beta: float, threshold: float) -> Tensor:
    return functional.softplus(x, written(beta), written(threshold))


@kernel("SoftplusV2Grad")
def softplus_v2_grad(
    input_gradients: Tensor, input_features: Tensor, beta: float, threshold: float
) -> Tensor:
    constants = written(beta), written(threshold)
    return aten.softplus_backward(input_gradients, input_features, *constants)


@kernel("Mish")
def mish(x: Tensor) -> Tensor:
    return functional.mish(x)


@kernel("MishGrad")
def mish_grad(grad: Tensor, x: Tensor, tanhx: Tensor | None) -> Tensor:
    return aten.mish_backward(grad, x)


@kernel("LogSigmoid")
def log_sigmoid(x: Tensor) -> Tensor:
    return aten.log_sigmoid_forward(x)[0]


@kernel("LogSigmoidGrad")
def log_sigmoid_grad(grads: Tensor, features: Tensor) -> Tensor:
    return aten.log_sigmoid_backward(grads, features, aten.log_sigmoid_forward(features)[1])


@kernel("GLU")
def glu(x: Tensor, dim: int) -> Tensor:
    return functional.glu(x, dim)


@kernel("GLUGrad")
def glu_grad(y_grad: Tensor, x: Tensor, dim: int) -> Tensor:
    return aten.glu_backward(y_grad, x, dim)


@kernel("PRelu")
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    return aten._prelu_kernel(x, _per_channel(weight, x))


@kernel("PReluGrad")
def prelu_grad(grads: Tensor, features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    weight = _per_channel(weights, features)
    dx, da = aten._prelu_kernel_backward(grads, features, weight)
    return dx, da.sum_to_size(weight.shape).reshape(weights.shape)


def _per_channel(weight: Tensor, x: Tensor) -> Tensor:
    """A 1-D weight belongs to dimension 1; others broadcast as they are."""
    if weight.dim() != 1 or x.dim() < 2 or weight.numel() == 1:
        return weight
    return weight.reshape([1, -1, *[1] * (x.dim() - 2)])


@kernel("SoftShrink")
def soft_shrink(input_x: Tensor, lambd: float) -> Tensor:
    return functional.softshrink(input_x, written(lambd))


@kernel("SoftShrinkGrad")
def soft_shrink_grad(input_grad: Tensor, input_x: Tensor, lambd: float) -> Tensor:
    return aten.softshrink_backward(input_grad, input_x, written(lambd))


@kernel("HardShrink")
def hard_shrink(input_x: Tensor, lambd: float) -> Tensor:
    return functional.hardshrink(input_x, written(lambd))


@kernel("HardShrinkGrad")
def hard_shrink_grad(gradients: Tensor, features: Tensor, lambd: float) -> Tensor:
    return aten.hardshrink_backward(gradients, features, written(lambd))
