"""The steps of batch normalization over several devices, between its collectives."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.batch_norm import normalized
from torchair.passes.convert_aten_to_ge.geometry import all_sizes, rank, shape
from torchair.passes.convert_aten_to_ge.recipes import filled, like, require, unsqueeze
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(
    "batch_norm_elemt(Tensor input, Tensor? weight, Tensor? bias, Tensor mean, Tensor invstd, "
    "float eps) -> Tensor"
)
def batch_norm_elemt(input: Any, weight: Any, bias: Any, mean: Any, invstd: Any, eps: Any) -> Any:
    """GE wants the variance, PyTorch gives its root's reciprocal."""
    deviation = ge.cast_to(invstd, interned.f32)
    square = ge.Reciprocal(ge.Square(deviation, out=deviation.type), out=deviation.type)
    variance = ge.Sub(square, eps, out=deviation.type)
    return normalized(input, (weight, bias), (mean, variance), eps)


@converts(
    "batch_norm_backward_reduce(Tensor grad_out, Tensor input, Tensor mean, Tensor invstd, "
    "Tensor? weight, bool input_g, bool weight_g, bool bias_g) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
def batch_norm_backward_reduce(
    grad_out: Any,
    input: Any,
    mean: Any,
    invstd: Any,
    weight: Any,
    input_g: Any,
    weight_g: Any,
    bias_g: Any,
    out: Any,
) -> Any:
    """Sums over one device: of the gradient, and of it times the centred input."""
    dy, x = (ge.cast_to(v, interned.f32) for v in (grad_out, input))
    row = interned.tensor(shape(mean), interned.f32)
    axes = [0, *range(2, rank(input))]
    sum_dy = ge.ReduceSum(dy, axes, out=row)
    sum_dy_x = ge.ReduceSum(ge.Mul(dy, x, out=dy.type), axes, out=row)
    center, deviation = (ge.cast_to(v, interned.f32) for v in (mean, invstd))
    sum_dy_xmu, grad_weight = ge.SyncBatchNormBackwardReduce(
        sum_dy, sum_dy_x, center, deviation, out=(row, row)
    )
    found = (sum_dy, sum_dy_xmu, grad_weight, sum_dy)
    wanted = (input_g, input_g, weight_g, bias_g)
    return [
        ge.cast_to(value, interned.element_type(type_)) if on else None
        for value, type_, on in zip(found, out, wanted, strict=True)
    ]


@converts(
    "batch_norm_backward_elemt(Tensor grad_out, Tensor input, Tensor mean, Tensor invstd, "
    "Tensor? weight, Tensor sum_dy, Tensor sum_dy_xmu, Tensor count) -> Tensor"
)
def batch_norm_backward_elemt(
    grad_out: Any,
    input: Any,
    mean: Any,
    invstd: Any,
    weight: Any,
    sum_dy: Any,
    sum_dy_xmu: Any,
    count: Any,
    out: Any,
) -> Any:
    """The gradient from sums over all devices, whose numbers of elements are in ``count``."""
    require("SyncBatchNormBackwardElemt", grad_out, input)
    scalar = interned.tensor([], ge.element(count))
    total = ge.cast_to(ge.ReduceSum(count, [0], out=scalar), ge.element(sum_dy))
    mean_dy = ge.RealDiv(sum_dy, total, out=sum_dy.type)
    mean_dy_xmu = ge.RealDiv(sum_dy_xmu, total, out=sum_dy_xmu.type)
    if weight is None:
        weight = filled(1.0, [ge.size(input, 1)], ge.element(mean))
    rows = (mean, invstd, weight, mean_dy, mean_dy_xmu)
    spread = [_over_channels(row, input) for row in rows]
    return ge.SyncBatchNormBackwardElemt(grad_out, input, *spread, out=out)


def _over_channels(row: SSAValue, over: SSAValue) -> SSAValue:
    """One number per channel, broadcast to the shape of the input."""
    column = unsqueeze(row, list(range(1, rank(over) - 1)))
    dynamic = interned.DYNAMIC in shape(over)
    size = ge.shape(over) if dynamic else all_sizes(over)
    return ge.BroadcastTo(column, size, out=like(row.type, shape(over)))
