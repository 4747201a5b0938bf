"""Batch normalization, forward and backward.

GE's BatchNormV3 updates its running statistics in place, so a functional call gives it copies; they
must be float32, and the input must have four or five dimensions.
"""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import shape
from torchair.passes.convert_aten_to_ge.recipes import empty, filled, require, unsqueeze
from torchair.passes.convert_aten_to_ge.registry import converts

_MISSING_AXES = {2: [2, 3], 3: [2], 4: [], 5: []}
"""By rank of the input, where dimensions of size 1 are added."""


def _spatial(value: SSAValue) -> tuple[SSAValue, list[int]]:
    """The value with at least four dimensions, and the axes that were added.

    Raises:
        ConversionError: GE has no batch normalization of this rank.
    """
    axes = _MISSING_AXES.get(len(shape(value)))
    if axes is None:
        raise ConversionError(
            "batch normalization of this rank is not supported by GE",
            expected="2 to 5 dimensions",
            found=value.type,
            hint="flatten the trailing dimensions before the call",
        )
    return (unsqueeze(value, axes), axes) if axes else (value, axes)


def _restored(value: SSAValue, axes: list[int], out: Attribute) -> SSAValue:
    return ge.Squeeze(value, axis=axes, out=out) if axes else value


def _channels(value: SSAValue) -> list[SSAValue | int]:
    return [ge.size(value, 1)]


def _affine(input: SSAValue, weight: Any, bias: Any, statistic: Any) -> tuple[SSAValue, SSAValue]:
    """Scale and offset in one type; those that are absent change nothing."""
    given = next((v for v in (weight, bias, statistic) if v is not None), input)
    element = ge.element(given)
    if weight is None:
        weight = filled(1.0, _channels(input), element)
    if bias is None:
        bias = filled(0.0, _channels(input), element)
    return weight, ge.cast_to(bias, ge.element(weight))


def _owned(statistic: SSAValue) -> SSAValue:
    """A float32 copy of a running statistic that may be overwritten."""
    if ge.element(statistic) != interned.f32:
        return ge.cast_to(statistic, interned.f32)
    return ge.TensorMove(statistic, out=statistic.type)


def _train(
    input: SSAValue, affine: tuple[Any, Any], running: tuple[Any, Any], momentum: Any, eps: Any
) -> tuple[SSAValue, ...]:
    """y, running mean, running variance, batch mean and deviation; all but y float32."""
    require("BatchNormV3", input)
    weight, bias = _affine(input, *affine, running[0])
    mean, variance = running
    if mean is None:
        mean = filled(0.0, _channels(input), interned.f32)
        variance = filled(1.0, _channels(input), interned.f32)
    else:
        mean, variance = _owned(mean), _owned(variance)
    x, axes = _spatial(input)
    row = interned.tensor(shape(mean), interned.f32)
    types = (x.type, row, row, row, row)
    results = ge.BatchNormV3(
        x, weight, bias, mean, variance, epsilon=eps, momentum=momentum, out=types
    )
    return _restored(results[0], axes, input.type), *results[1:]


def normalized(
    input: SSAValue, affine: tuple[Any, Any], running: tuple[Any, Any], eps: Any
) -> SSAValue:
    """y from running statistics."""
    require("BatchNormV3", input)
    weight, bias = _affine(input, *affine, running[0])
    x, axes = _spatial(input)
    mean, variance = (ge.cast_to(s, interned.f32) for s in running)
    single = all(ge.element(v) == interned.f32 for v in (weight, bias, *running))
    if single and len(shape(x)) == 4 and ge.element(x) in (interned.f32, interned.f16):
        y = ge.BNInfer(x, weight, bias, mean, variance, epsilon=eps, out=x.type)
    else:
        row = mean.type
        types = (x.type, row, row, row, row)
        y = ge.BatchNormV3(
            x, weight, bias, mean, variance, epsilon=eps, is_training=False, out=types
        )[0]
    return _restored(y, axes, input.type)


def _typed(values: tuple[SSAValue, ...], types: Any) -> list[SSAValue]:
    """Values in the element types that ATen gives."""
    return [
        ge.cast_to(value, interned.element_type(type_))
        for value, type_ in zip(values, types, strict=True)
    ]


@converts(
    "_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, "
    "Tensor running_mean, Tensor running_var, float momentum, float eps) "
    "-> (Tensor, Tensor, Tensor)"
)
def native_batch_norm_legit_no_training(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: Any,
    eps: Any,
    out: Any,
) -> Any:
    y = normalized(input, (weight, bias), (running_mean, running_var), eps)
    return [y, *[empty(interned.element_type(t)) for t in out[1:]]]


@converts(
    "_native_batch_norm_legit_functional(Tensor input, Tensor? weight, Tensor? bias, "
    "Tensor running_mean, Tensor running_var, bool training, float momentum, float eps) "
    "-> (Tensor, Tensor, Tensor, Tensor running_mean_out, Tensor running_var_out)"
)
def native_batch_norm_legit_functional(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: Any,
    momentum: Any,
    eps: Any,
    out: Any,
) -> Any:
    running = (running_mean, running_var)
    if not training:
        y = normalized(input, (weight, bias), running, eps)
        saved = [empty(interned.element_type(t)) for t in out[1:3]]
        return [y, *saved, *_typed(running, out[3:])]
    y, mean, variance, save_mean, save_rstd = _train(input, (weight, bias), running, momentum, eps)
    return _typed((y, save_mean, save_rstd, mean, variance), out)


@converts(
    "_native_batch_norm_legit.no_stats(Tensor input, Tensor? weight, Tensor? bias, bool training, "
    "float momentum, float eps) -> (Tensor, Tensor, Tensor)"
)
def native_batch_norm_legit_no_stats(
    input: Any, weight: Any, bias: Any, training: Any, momentum: Any, eps: Any, out: Any
) -> Any:
    y, _, _, save_mean, save_rstd = _train(input, (weight, bias), (None, None), momentum, eps)
    return _typed((y, save_mean, save_rstd), out)


@converts(
    "native_batch_norm_backward(Tensor grad_out, Tensor input, Tensor? weight, "
    "Tensor? running_mean, Tensor? running_var, Tensor? save_mean, Tensor? save_invstd, "
    "bool train, float eps, bool[3] output_mask) -> (Tensor, Tensor, Tensor)"
)
def native_batch_norm_backward(
    grad_out: Any,
    input: Any,
    weight: Any,
    running_mean: Any,
    running_var: Any,
    save_mean: Any,
    save_invstd: Any,
    train: Any,
    eps: Any,
    output_mask: Any,
    out: Any,
) -> Any:
    """In training the running statistics are unused, otherwise the saved ones."""
    require("BatchNormGradV3", input)
    if weight is None:
        weight = filled(1.0, _channels(input), interned.f32)
    saved = (save_mean, save_invstd) if train else (running_mean, running_var)
    saved = tuple(ge.cast_to(s, interned.f32) for s in saved)
    running = saved if running_mean is None or train else (running_mean, running_var)
    x, axes = _spatial(input)
    dy, _ = _spatial(grad_out)
    grads = ge.BatchNormGradV3(
        dy, x, weight, *running, *saved, is_training=train, epsilon=eps,
        out=(x.type, weight.type, weight.type),
    )  # fmt: skip
    grads = (_restored(grads[0], axes, input.type), *grads[1:])
    return [
        ge.cast_to(grad, interned.element_type(type_)) if wanted else None
        for grad, wanted, type_ in zip(grads, output_mask, out, strict=True)
    ]
