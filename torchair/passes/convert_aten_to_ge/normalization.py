"""Layer, group and RMS normalization, softmax. Batch normalization is in ``batch_norm.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.geometry import Size, axis, rank, shape
from torchair.passes.convert_aten_to_ge.recipes import filled, has_type, like, require
from torchair.passes.convert_aten_to_ge.registry import converts

_EPSILONS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Machine epsilon of each type: PyTorch's default eps of rms_norm."""


@converts(
    "native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, "
    "float eps) -> (Tensor, Tensor, Tensor)"
)
def native_layer_norm(
    input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any, out: Any
) -> Any:
    size = ge.sizes(normalized_shape)
    return ge.LayerNormV4(input, size, weight, bias, epsilon=eps, out=tuple(out))


@converts(
    "native_layer_norm_backward(Tensor grad_out, Tensor input, SymInt[] normalized_shape, "
    "Tensor mean, Tensor rstd, Tensor? weight, Tensor? bias, bool[3] output_mask) "
    "-> (Tensor, Tensor, Tensor)"
)
def native_layer_norm_backward(
    grad_out: Any,
    input: Any,
    normalized_shape: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    bias: Any,
    output_mask: Any,
    out: Any,
) -> Any:
    require("LayerNormGradV3", grad_out, input)
    element = ge.element(input)
    if weight is None:
        weight = filled(1.0, normalized_shape, element)
    types = (input.type, weight.type, weight.type)
    grads = ge.LayerNormGradV3(grad_out, input, rstd, mean, weight, out=types)
    return _masked(grads, output_mask, out)


def _masked(grads: Sequence[Any], mask: Sequence[bool], types: Sequence[Attribute]) -> list[Any]:
    """Gradients in the types that ATen gives; None for those that were not asked for."""
    return [
        ge.cast_to(grad, interned.element_type(type_)) if wanted else None
        for grad, wanted, type_ in zip(grads, mask, types, strict=True)
    ]


def _affine(value: Any, number: float, channels: Size, element: Attribute) -> SSAValue:
    """A scale or an offset: the given one, or one that changes nothing."""
    return filled(number, [channels], element) if value is None else value


@converts(
    "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, "
    "SymInt HxW, int group, float eps) -> (Tensor, Tensor, Tensor)"
)
def native_group_norm(
    input: Any, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: Any, eps: Any, out: Any
) -> Any:
    require("GroupNormV2", input)
    element = ge.element(input)
    gamma = _affine(weight, 1.0, C, element)
    beta = _affine(bias, 0.0, C, element)
    return ge.GroupNormV2(
        input, gamma, beta, num_groups=group, data_format="NCHW", eps=eps, out=tuple(out)
    )


@converts(
    "native_group_norm_backward(Tensor grad_out, Tensor input, Tensor mean, Tensor rstd, "
    "Tensor? weight, SymInt N, SymInt C, SymInt HxW, int group, bool[3] output_mask) "
    "-> (Tensor, Tensor, Tensor)"
)
def native_group_norm_backward(
    grad_out: Any,
    input: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    N: Any,
    C: Any,
    HxW: Any,
    group: Any,
    output_mask: Any,
    out: Any,
) -> Any:
    require("GroupNormGrad", grad_out, input)
    gamma = _affine(weight, 1.0, C, ge.element(input))
    names = ("dx_is_require", "dgamma_is_require", "dbeta_is_require")
    unwanted = {name: False for name, on in zip(names, output_mask, strict=True) if not on}
    types = (input.type, gamma.type, gamma.type)
    grads = ge.GroupNormGrad(
        grad_out, mean, rstd, input, gamma, num_groups=group, out=types, **unwanted
    )
    return _masked(grads, output_mask, out)


@converts(
    "_fused_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float? eps) "
    "-> (Tensor, Tensor)"
)
def fused_rms_norm(input: Any, normalized_shape: Any, weight: Any, eps: Any, out: Any) -> Any:
    y, rstd = _rms_norm(input, normalized_shape, weight, eps, out[0], shape(out[1]))
    return y, ge.cast_to(rstd, interned.element_type(out[1]))


@converts(
    "rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) "
    "-> Tensor"
)
def rms_norm(
    input: Any, normalized_shape: Any, out: Any, weight: Any = None, eps: Any = None
) -> Any:
    outer = rank(input) - len(normalized_shape)
    sizes = [*shape(input)[:outer], *[1] * len(normalized_shape)]
    return _rms_norm(input, normalized_shape, weight, eps, out, sizes)[0]


def _rms_norm(
    input: SSAValue,
    normalized_shape: Sequence[Size],
    weight: Any,
    eps: Any,
    out: Attribute,
    rstd_sizes: Sequence[int],
) -> tuple[SSAValue, SSAValue]:
    require("RmsNorm", input)
    element = ge.element(input)
    if eps is None:
        eps = _EPSILONS[element_types.to_name(element)]
    if weight is None:
        weight = filled(1.0, normalized_shape, element)
    types = (interned.tensor(shape(out), element), interned.tensor(rstd_sizes, interned.f32))
    y, rstd = ge.RmsNorm(input, weight, epsilon=eps, out=types)
    return ge.cast_to(y, interned.element_type(out)), rstd


@converts("_softmax(Tensor self, int dim, bool half_to_float) -> Tensor")
def softmax(self: Any, dim: Any, half_to_float: Any, out: Any) -> Any:
    require("SoftmaxV2", self)
    flag = {"half_to_float": True} if half_to_float else {}
    return ge.SoftmaxV2(self, axes=[axis(dim, rank(self))], out=out, **flag)


@converts("_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor")
def log_softmax(self: Any, dim: Any, half_to_float: Any, out: Any) -> Any:
    wide = ge.cast_to(self, interned.element_type(out))
    require("LogSoftmaxV2", wide)
    return ge.LogSoftmaxV2(wide, axes=[axis(dim, rank(self))], out=out)


@converts("_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor")
def safe_softmax(self: Any, dim: Any, out: Any, dtype: Any = None) -> Any:
    """Rows of only -inf become 0: their maximum is -inf, and no other row's is."""
    values = ge.cast_to(self, interned.element_type(out))
    require("SoftmaxV2", values)
    place = axis(dim, rank(self))
    sizes = [1 if i == place else n for i, n in enumerate(shape(self))]
    largest = ge.ReduceMax(values, [place], keep_dims=True, out=like(values.type, sizes))
    empty = ge.Equal(largest, float("-inf"), out=interned.tensor(sizes, interned.i1))
    zero = ge.current().constant(0.0, ge.element(values))
    return ge.SelectV2(empty, zero, ge.SoftmaxV2(values, axes=[place], out=out), out=out)


@converts(
    "_softmax_backward_data(Tensor grad_output, Tensor output, int dim, ScalarType input_dtype) "
    "-> Tensor"
)
def softmax_backward_data(
    grad_output: Any, output: Any, dim: Any, input_dtype: Any, out: Any
) -> Any:
    element = ge.element(output)
    place = axis(dim, rank(output))
    if has_type("SoftmaxGrad", element):
        grad = ge.SoftmaxGrad(output, grad_output, axes=[place], out=output.type)
        return ge.cast_to(grad, interned.element_type(out))
    product = ge.Mul(grad_output, output, out=output.type)
    scaled = ge.Mul(output, _total(product, place), out=output.type)
    return ge.cast_to(ge.Sub(product, scaled, out=output.type), interned.element_type(out))


@converts(
    "_log_softmax_backward_data(Tensor grad_output, Tensor output, int dim, "
    "ScalarType input_dtype) -> Tensor"
)
def log_softmax_backward_data(
    grad_output: Any, output: Any, dim: Any, input_dtype: Any, out: Any
) -> Any:
    place = axis(dim, rank(output))
    if has_type("LogSoftmaxGrad", ge.element(output)):
        grad = ge.LogSoftmaxGrad(grad_output, output, axis=[place], out=output.type)
        return ge.cast_to(grad, interned.element_type(out))
    share = ge.Mul(ge.Exp(output, out=output.type), _total(grad_output, place), out=output.type)
    return ge.cast_to(ge.Sub(grad_output, share, out=output.type), interned.element_type(out))


def _total(value: SSAValue, place: int) -> SSAValue:
    """Sum over one dimension, which stays with size 1."""
    sizes = [1 if i == place else n for i, n in enumerate(shape(value))]
    return ge.ReduceSum(value, [place], keep_dims=True, out=like(value.type, sizes))
