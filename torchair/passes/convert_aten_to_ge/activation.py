"""Activation functions and their gradients."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.comparison import select
from torchair.passes.convert_aten_to_ge.complex_numbers import is_complex
from torchair.passes.convert_aten_to_ge.elementwise import clamp
from torchair.passes.convert_aten_to_ge.operands import (
    compute,
    has_type,
    shape_of,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts


def _test(op: str, value: Any, bound: float) -> SSAValue:
    """A comparison of a tensor with a number."""
    flags = with_element(value.type, interned.i1)
    return compute(op, value, bound, out=flags, element=ge.element(value))


def _lacks(op: str, out: Attribute) -> bool:
    """Whether a result type is float64 or complex and a GE operator stops at float32."""
    element = interned.element_type(out)
    is_wide = element == interned.f64 or element_types.is_complex(element)
    return is_wide and not has_type(op, element)


@converts("relu(Tensor self) -> Tensor")
def relu(self: Any, out: Any) -> Any:
    return compute("Relu", self, out=out)


@converts("threshold_backward(Tensor grad_output, Tensor self, Scalar threshold) -> Tensor")
def threshold_backward(grad_output: Any, self: Any, threshold: Any, out: Any) -> Any:
    if threshold == 0:
        return compute("ReluGrad", grad_output, self, out=out)
    return select(_test("LessEqual", self, threshold), 0, grad_output, out)


@converts("threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor")
def threshold(self: Any, threshold: Any, value: Any, out: Any) -> Any:
    return select(_test("LessEqual", self, threshold), value, self, out)


@converts('gelu(Tensor self, *, str approximate="none") -> Tensor')
def gelu(self: Any, out: Any, approximate: Any = "none") -> Any:
    if not _lacks("GeluV2", out):
        return compute("GeluV2", self, out=out, approximate=approximate)
    if approximate == "tanh":
        inner = _tanh_argument(self, out)
        gate = compute("Tanh", inner, out=out)
    else:
        gate = compute("Erf", compute("Mul", self, math.sqrt(0.5), out=out), out=out)
    half = compute("Mul", self, 0.5, out=out)
    return compute("Mul", half, compute("Add", gate, 1, out=out), out=out)


def _tanh_argument(x: Any, out: Attribute) -> SSAValue:
    cube = compute("Mul", compute("Square", x, out=out), x, out=out)
    inner = compute("Add", x, compute("Mul", cube, 0.044715, out=out), out=out)
    return compute("Mul", inner, math.sqrt(2 / math.pi), out=out)


@converts('gelu_backward(Tensor grad_output, Tensor self, *, str approximate="none") -> Tensor')
def gelu_backward(grad_output: Any, self: Any, out: Any, approximate: Any = "none") -> Any:
    if not _lacks("GeluGradV2", out):
        return compute("GeluGradV2", grad_output, self, out=out, approximate=approximate)
    slope = _gelu_tanh_slope if approximate == "tanh" else _gelu_erf_slope
    return compute("Mul", grad_output, slope(self, out), out=out)


def _gelu_erf_slope(x: Any, out: Attribute) -> SSAValue:
    """Phi(x) + x phi(x), of the normal distribution."""
    erf = compute("Erf", compute("Mul", x, math.sqrt(0.5), out=out), out=out)
    cdf = compute("Mul", compute("Add", erf, 1, out=out), 0.5, out=out)
    square = compute("Mul", compute("Square", x, out=out), -0.5, out=out)
    pdf = compute("Mul", compute("Exp", square, out=out), 1 / math.sqrt(2 * math.pi), out=out)
    return compute("Add", cdf, compute("Mul", x, pdf, out=out), out=out)


def _gelu_tanh_slope(x: Any, out: Attribute) -> SSAValue:
    """With t = tanh(u): (1 + t) / 2 + x (1 - t^2) u' / 2."""
    tanh = compute("Tanh", _tanh_argument(x, out), out=out)
    left = compute("Mul", compute("Add", tanh, 1, out=out), 0.5, out=out)
    square = compute("Mul", compute("Square", x, out=out), 3 * 0.044715, out=out)
    inner = compute("Mul", compute("Add", square, 1, out=out), math.sqrt(0.5 / math.pi), out=out)
    rest = compute("Sub", 1, compute("Square", tanh, out=out), out=out)
    right = compute("Mul", compute("Mul", x, rest, out=out), inner, out=out)
    return compute("Add", left, right, out=out)


@converts("silu(Tensor self) -> Tensor")
def silu(self: Any, out: Any) -> Any:
    if _lacks("Swish", out):
        return compute("Mul", self, compute("Sigmoid", self, out=out), out=out)
    return compute("Swish", self, out=out)


@converts("silu_backward(Tensor grad_output, Tensor self) -> Tensor")
def silu_backward(grad_output: Any, self: Any, out: Any) -> Any:
    if not _lacks("SwishGrad", out):
        forward = compute("Swish", self, out=out)
        return compute("SwishGrad", grad_output, self, forward, out=out)
    gate = compute("Sigmoid", self, out=out)
    rest = compute("Mul", self, compute("Sub", 1, gate, out=out), out=out)
    slope = compute("Mul", gate, compute("Add", rest, 1, out=out), out=out)
    return compute("Mul", grad_output, slope, out=out)


@converts("sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor")
def sigmoid_backward(grad_output: Any, output: Any, out: Any) -> Any:
    return compute("SigmoidGrad", output, grad_output, out=out, complex_conj=is_complex(out))


@converts("tanh_backward(Tensor grad_output, Tensor output) -> Tensor")
def tanh_backward(grad_output: Any, output: Any, out: Any) -> Any:
    return compute("TanhGrad", output, grad_output, out=out, complex_conj=is_complex(out))


@converts("leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor")
def leaky_relu(self: Any, out: Any, negative_slope: Any = 0.01) -> Any:
    return compute("LeakyRelu", self, out=out, negative_slope=float(negative_slope))


@converts(
    "leaky_relu_backward(Tensor grad_output, Tensor self, Scalar negative_slope, "
    "bool self_is_result) -> Tensor"
)
def leaky_relu_backward(
    grad_output: Any, self: Any, negative_slope: Any, self_is_result: Any, out: Any
) -> Any:
    # With a slope > 0 the result has the sign of the input, and PyTorch allows no other here.
    slope = float(negative_slope)
    return compute("LeakyReluGrad", grad_output, self, out=out, negative_slope=slope)


def _elu_constants(alpha: Any, scale: Any, input_scale: Any) -> dict[str, Any]:
    return {"alpha": float(alpha), "scale": float(scale), "input_scale": float(input_scale)}


@converts("elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor")
def elu(self: Any, out: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    constants = _elu_constants(alpha, scale, input_scale)
    is_exact = all(interned.round_to_single(v) == v for v in constants.values())
    if is_exact or interned.element_type(out) != interned.f64:
        return compute("Elu", self, out=out, **constants)
    curve = compute("Expm1", compute("Mul", self, input_scale, out=out), out=out)
    negative = compute("Mul", curve, float(alpha) * float(scale), out=out)
    positive = compute("Mul", self, scale, out=out)
    return select(_test("LessEqual", self, 0.0), negative, positive, out)


@converts("celu(Tensor self, Scalar alpha=1.) -> Tensor")
def celu(self: Any, out: Any, alpha: Any = 1.0) -> Any:
    if _lacks("CeluV2", out):
        return elu(self, out, alpha, 1, 1 / float(alpha))
    return compute("CeluV2", self, out=out, alpha=float(alpha))


@converts(
    "elu_backward(Tensor grad_output, Scalar alpha, Scalar scale, Scalar input_scale, "
    "bool is_result, Tensor self_or_result) -> Tensor"
)
def elu_backward(
    grad_output: Any,
    alpha: Any,
    scale: Any,
    input_scale: Any,
    is_result: Any,
    self_or_result: Any,
    out: Any,
) -> Any:
    constants = _elu_constants(alpha, scale, input_scale)
    if not _lacks("EluGradV2", out):
        return compute(
            "EluGradV2", grad_output, self_or_result, out=out, is_result=is_result, **constants
        )
    if is_result:
        tail = compute("Add", self_or_result, float(alpha) * float(scale), out=out)
        slope = compute("Mul", tail, float(input_scale), out=out)
    else:
        tail = compute("Mul", self_or_result, float(input_scale), out=out)
        product = float(alpha) * float(scale) * float(input_scale)
        slope = compute("Mul", compute("Exp", tail, out=out), product, out=out)
    negative = compute("Mul", grad_output, slope, out=out)
    positive = compute("Mul", grad_output, float(scale), out=out)
    return select(_test("LessEqual", self_or_result, 0.0), negative, positive, out)


@converts(
    "hardtanh_backward(Tensor grad_output, Tensor self, Scalar min_val, Scalar max_val) -> Tensor"
)
def hardtanh_backward(grad_output: Any, self: Any, min_val: Any, max_val: Any, out: Any) -> Any:
    if not _lacks("HardtanhGrad", out):
        bounds: dict[str, Any] = {"min_val": float(min_val), "max_val": float(max_val)}
        return compute("HardtanhGrad", self, grad_output, out=out, **bounds)
    flat = ge.call(
        "LogicalOr", _test("LessEqual", self, min_val), _test("GreaterEqual", self, max_val)
    )
    return select(flat, 0, grad_output, out)


@converts("hardswish(Tensor self) -> Tensor")
def hardswish(self: Any, out: Any) -> Any:
    if not _lacks("HardSwish", out):
        return compute("HardSwish", self, out=out)
    gate = clamp(compute("Add", self, 3, out=out), out, 0, 6)
    return compute("RealDiv", compute("Mul", self, gate, out=out), 6, out=out)


@converts("hardswish_backward(Tensor grad_output, Tensor self) -> Tensor")
def hardswish_backward(grad_output: Any, self: Any, out: Any) -> Any:
    if not _lacks("HardSwishGrad", out):
        return compute("HardSwishGrad", grad_output, self, out=out)
    slope = compute("Add", compute("RealDiv", self, 3, out=out), 0.5, out=out)
    inner = compute("Mul", grad_output, slope, out=out)
    upper = select(_test("Less", self, 3), inner, grad_output, out)
    return select(_test("LessEqual", self, -3), 0, upper, out)


@converts("hardsigmoid(Tensor self) -> Tensor")
def hardsigmoid(self: Any, out: Any) -> Any:
    if not _lacks("HardSigmoid", out):
        return compute("HardSigmoid", self, out=out)
    gate = clamp(compute("Add", self, 3, out=out), out, 0, 6)
    return compute("RealDiv", gate, 6, out=out)


@converts("hardsigmoid_backward(Tensor grad_output, Tensor self) -> Tensor")
def hardsigmoid_backward(grad_output: Any, self: Any, out: Any) -> Any:
    if not _lacks("HardSigmoidGrad", out):
        return compute("HardSigmoidGrad", grad_output, self, out=out)
    inner = compute("RealDiv", grad_output, 6, out=out)
    inside = ge.call("LogicalAnd", _test("Greater", self, -3), _test("Less", self, 3))
    return select(inside, inner, 0, out)


@converts("softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor")
def softplus(self: Any, out: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    if not _lacks("SoftplusV2", out):
        return compute("SoftplusV2", self, out=out, beta=float(beta), threshold=float(threshold))
    scaled = compute("Mul", self, beta, out=out)
    soft = compute("Log1p", compute("Exp", scaled, out=out), out=out)
    soft = compute("RealDiv", soft, beta, out=out)
    return select(_test("Greater", scaled, threshold), self, soft, out)


@converts(
    "softplus_backward(Tensor grad_output, Tensor self, Scalar beta, Scalar threshold) -> Tensor"
)
def softplus_backward(grad_output: Any, self: Any, beta: Any, threshold: Any, out: Any) -> Any:
    if not _lacks("SoftplusV2Grad", out):
        constants: dict[str, Any] = {"beta": float(beta), "threshold": float(threshold)}
        return compute("SoftplusV2Grad", grad_output, self, out=out, **constants)
    scaled = compute("Mul", self, beta, out=out)
    inner = compute("Mul", grad_output, compute("Sigmoid", scaled, out=out), out=out)
    return select(_test("Greater", scaled, threshold), grad_output, inner, out)


@converts("mish(Tensor self) -> Tensor")
def mish(self: Any, out: Any) -> Any:
    if not _lacks("Mish", out):
        return compute("Mish", self, out=out)
    return compute("Mul", self, compute("Tanh", softplus(self, out), out=out), out=out)


@converts("mish_backward(Tensor grad_output, Tensor self) -> Tensor")
def mish_backward(grad_output: Any, self: Any, out: Any) -> Any:
    if not _lacks("MishGrad", out):
        return compute("MishGrad", grad_output, self, out=out)
    tanh = compute("Tanh", softplus(self, out), out=out)
    rest = compute("Sub", 1, compute("Square", tanh, out=out), out=out)
    gate = compute("Mul", self, compute("Sigmoid", self, out=out), out=out)
    slope = compute("Add", tanh, compute("Mul", gate, rest, out=out), out=out)
    return compute("Mul", grad_output, slope, out=out)


@converts("log_sigmoid_forward(Tensor self) -> (Tensor output, Tensor buffer)")
def log_sigmoid_forward(self: Any, out: Any) -> Any:
    result, buffer = out
    decay = compute("Exp", compute("Neg", compute("Abs", self, out=result), out=result), out=result)
    kept = decay if interned.shape_of(buffer) == shape_of(self) else _empty(buffer)
    if not _lacks("LogSigmoid", result):
        return compute("LogSigmoid", self, out=result), kept
    tail = compute("Log1p", decay, out=result)
    low = compute("Minimum", self, 0, out=result)
    return compute("Sub", low, tail, out=result), kept


def _empty(type_: Any) -> SSAValue:
    """A tensor without elements."""
    sizes = interned.shape_of(type_)
    return ge.current().constant([], interned.element_type(type_), sizes)


@converts("log_sigmoid_backward(Tensor grad_output, Tensor self, Tensor buffer) -> Tensor")
def log_sigmoid_backward(grad_output: Any, self: Any, buffer: Any, out: Any) -> Any:
    if not _lacks("LogSigmoidGrad", out):
        return compute("LogSigmoidGrad", grad_output, self, out=out)
    slope = compute("Sigmoid", compute("Neg", self, out=out), out=out)
    return compute("Mul", grad_output, slope, out=out)


@converts("glu(Tensor self, int dim=-1) -> Tensor")
def glu(self: Any, out: Any, dim: Any = -1) -> Any:
    return compute("GLU", self, out=out, dim=dim)


@converts("glu_backward(Tensor grad_output, Tensor self, int dim) -> Tensor")
def glu_backward(grad_output: Any, self: Any, dim: Any, out: Any) -> Any:
    return compute("GLUGrad", grad_output, self, out=out, dim=dim)


@converts("_prelu_kernel(Tensor self, Tensor weight) -> Tensor")
def prelu_kernel(self: Any, weight: Any, out: Any) -> Any:
    if not _lacks("PRelu", out):
        return compute("PRelu", self, weight, out=out)
    negative = compute("Mul", self, weight, out=out)
    return select(_test("Greater", self, 0), self, negative, out)


@converts(
    "_prelu_kernel_backward(Tensor grad_output, Tensor self, Tensor weight) -> (Tensor, Tensor)"
)
def prelu_kernel_backward(grad_output: Any, self: Any, weight: Any, out: Any) -> Any:
    """Not ``PReluGrad``: that sums the second gradient to the shape of the weight."""
    grad_self, grad_weight = out
    positive = _test("Greater", self, 0)
    scaled = compute("Mul", weight, grad_output, out=grad_self)
    product = compute("Mul", self, grad_output, out=grad_weight)
    return (
        select(positive, grad_output, scaled, grad_self),
        select(positive, 0, product, grad_weight),
    )


@converts("softshrink(Tensor self, Scalar lambd=0.5) -> Tensor")
def softshrink(self: Any, out: Any, lambd: Any = 0.5) -> Any:
    if not _lacks("SoftShrink", out):
        return compute("SoftShrink", self, out=out, lambd=float(lambd))
    lower = select(_test("Less", self, -lambd), compute("Add", self, lambd, out=out), 0, out)
    return select(_test("Greater", self, lambd), compute("Sub", self, lambd, out=out), lower, out)


@converts("softshrink_backward(Tensor grad_output, Tensor self, Scalar lambd) -> Tensor")
def softshrink_backward(grad_output: Any, self: Any, lambd: Any, out: Any) -> Any:
    if not _lacks("SoftShrinkGrad", out):
        return compute("SoftShrinkGrad", grad_output, self, out=out, lambd=float(lambd))
    return select(_within(self, lambd), 0, grad_output, out)


@converts("hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor")
def hardshrink(self: Any, out: Any, lambd: Any = 0.5) -> Any:
    if not _lacks("HardShrink", out):
        return compute("HardShrink", self, out=out, lambd=float(lambd))
    return select(_within(self, lambd), 0, self, out)


@converts("hardshrink_backward(Tensor grad_out, Tensor self, Scalar lambd) -> Tensor")
def hardshrink_backward(grad_out: Any, self: Any, lambd: Any, out: Any) -> Any:
    if not _lacks("HardShrinkGrad", out):
        return compute("HardShrinkGrad", grad_out, self, out=out, lambd=float(lambd))
    return select(_within(self, lambd), 0, grad_out, out)


def _within(value: Any, bound: Any) -> SSAValue:
    """Whether elements lie in ``[-bound, bound]``."""
    return ge.call(
        "LogicalAnd", _test("GreaterEqual", value, -bound), _test("LessEqual", value, bound)
    )


@converts("relu6(Tensor self) -> Tensor")
def relu6(self: Any, out: Any) -> Any:
    return compute("Relu6", self, out=out)
