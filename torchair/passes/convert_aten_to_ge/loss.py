"""Loss functions and their gradients."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape
from torchair.passes.convert_aten_to_ge.operands import REDUCED, with_element
from torchair.passes.convert_aten_to_ge.recipes import (
    filled,
    has_type,
    like,
    require,
    scale,
    unsqueeze,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_REDUCTIONS = ("none", "mean", "sum")


def _require_equal_shapes(one: SSAValue, other: SSAValue) -> None:
    if shape(one) != shape(other):
        raise ConversionError(
            "a loss of tensors of different shapes",
            expected=one.type,
            found=other.type,
            hint="expand the target to the shape of the prediction (torch.broadcast_tensors)",
        )


def _reduced(value: SSAValue, reduction: int, out: Attribute) -> SSAValue:
    """All elements, their mean or their sum."""
    if reduction == 0:
        return value
    reduce = ge.ReduceMean if reduction == 1 else ge.ReduceSum
    return reduce(value, list(range(rank(value))), out=out)


@converts("mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor")
def mse_loss(self: Any, target: Any, out: Any, reduction: Any = 1) -> Any:
    _require_equal_shapes(self, target)
    if has_type("MseLoss", ge.element(self)):
        return ge.MseLoss(self, target, reduction=_REDUCTIONS[reduction], out=out)
    difference = ge.Sub(self, target, out=self.type)
    return _reduced(ge.Square(difference, out=self.type), reduction, out)


@converts(
    "mse_loss_backward(Tensor grad_output, Tensor self, Tensor target, int reduction) -> Tensor"
)
def mse_loss_backward(grad_output: Any, self: Any, target: Any, reduction: Any, out: Any) -> Any:
    _require_equal_shapes(self, target)
    require("MseLossGrad", self)
    return ge.MseLossGrad(self, target, grad_output, reduction=_REDUCTIONS[reduction], out=out)


@converts("smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.0) -> Tensor")
def smooth_l1_loss(self: Any, target: Any, out: Any, reduction: Any = 1, beta: Any = 1.0) -> Any:
    _require_equal_shapes(self, target)
    if beta == 0:
        difference = ge.Sub(self, target, out=self.type)
        return _reduced(ge.Abs(difference, out=self.type), reduction, out)
    require("SmoothL1LossV2", self)
    return ge.SmoothL1LossV2(self, target, sigma=beta, reduction=_REDUCTIONS[reduction], out=out)


@converts(
    "smooth_l1_loss_backward(Tensor grad_output, Tensor self, Tensor target, int reduction, "
    "float beta) -> Tensor"
)
def smooth_l1_loss_backward(
    grad_output: Any, self: Any, target: Any, reduction: Any, beta: Any, out: Any
) -> Any:
    _require_equal_shapes(self, target)
    require("SmoothL1LossGradV2", self)
    return ge.SmoothL1LossGradV2(
        self, target, grad_output, sigma=beta, reduction=_REDUCTIONS[reduction], out=out
    )


@converts("huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor")
def huber_loss(self: Any, target: Any, out: Any, reduction: Any = 1, delta: Any = 1.0) -> Any:
    """Delta times the smooth L1 loss with that threshold, rounded once."""
    element = interned.element_type(out)
    if delta == 1 or element not in REDUCED:
        return scale(smooth_l1_loss(self, target, out, reduction, delta), delta)
    x, y = (ge.cast_to(v, interned.f32) for v in (self, target))
    return ge.cast_to(huber_loss(x, y, with_element(out, interned.f32), reduction, delta), element)


@converts(
    "huber_loss_backward(Tensor grad_output, Tensor self, Tensor target, int reduction, "
    "float delta) -> Tensor"
)
def huber_loss_backward(
    grad_output: Any, self: Any, target: Any, reduction: Any, delta: Any, out: Any
) -> Any:
    grad = smooth_l1_loss_backward(grad_output, self, target, reduction, delta, out)
    return scale(grad, delta)


@converts(
    "binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) "
    "-> Tensor"
)
def binary_cross_entropy(
    self: Any, target: Any, out: Any, weight: Any = None, reduction: Any = 1
) -> Any:
    require("BinaryCrossEntropy", self)
    return ge.BinaryCrossEntropy(
        self, target, _spread(weight, self), reduction=_REDUCTIONS[reduction], out=out
    )


@converts(
    "binary_cross_entropy_backward(Tensor grad_output, Tensor self, Tensor target, "
    "Tensor? weight=None, int reduction=1) -> Tensor"
)
def binary_cross_entropy_backward(
    grad_output: Any, self: Any, target: Any, out: Any, weight: Any = None, reduction: Any = 1
) -> Any:
    require("BinaryCrossEntropyGrad", self)
    spread = _spread(weight, self)
    return ge.BinaryCrossEntropyGrad(
        self, target, grad_output, spread, reduction=_REDUCTIONS[reduction], out=out
    )


@converts(
    "binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, "
    "Tensor? pos_weight=None, int reduction=1) -> Tensor"
)
def binary_cross_entropy_with_logits(
    self: Any,
    target: Any,
    out: Any,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: Any = 1,
) -> Any:
    require("SigmoidCrossEntropyWithLogitsV2", self)
    return ge.SigmoidCrossEntropyWithLogitsV2(
        self,
        target,
        _spread(weight, self),
        _spread(pos_weight, self),
        reduction=_REDUCTIONS[reduction],
        out=out,
    )


def _spread(weight: SSAValue | None, over: SSAValue) -> SSAValue | None:
    """An optional weight broadcast to the shape of the prediction."""
    if weight is None or shape(weight) == shape(over):
        return weight
    static = interned.DYNAMIC not in shape(over)
    size = list(shape(over)) if static else ge.shape(over)
    return ge.BroadcastTo(weight, size, out=like(weight.type, shape(over)))


def _logits(self: SSAValue) -> tuple[SSAValue, bool]:
    """Log-probabilities as float32 rows, and whether a batch dimension was added."""
    if ge.element(self) == interned.f64:
        require("NLLLoss", self)
    wide = ge.cast_to(self, interned.f32)
    return (unsqueeze(wide, [0]), True) if rank(wide) == 1 else (wide, False)


def _classes(target: SSAValue, single: bool) -> SSAValue:
    """Class numbers as a vector."""
    numbers = target if _is_index(target) else ge.cast_to(target, interned.i32)
    return ge.Reshape(numbers, [1], out=like(numbers.type, [1])) if single else numbers


def _is_index(target: SSAValue) -> bool:
    """Whether class numbers have a type that GE indexes with."""
    return ge.element(target) in (interned.i32, interned.i64)


@converts(
    "nll_loss_forward(Tensor self, Tensor target, Tensor? weight, int reduction, "
    "SymInt ignore_index) -> (Tensor output, Tensor total_weight)"
)
def nll_loss_forward(
    self: Any, target: Any, weight: Any, reduction: Any, ignore_index: Any, out: Any
) -> Any:
    x, single = _logits(self)
    classes = _classes(target, single)
    weights = None if weight is None else ge.cast_to(weight, interned.f32)
    rows = [shape(x)[0]] if reduction == 0 else []
    types = (interned.tensor(rows, interned.f32), interned.tensor([], interned.f32))
    loss, total = ge.NLLLoss(
        x, classes, weights, reduction=_REDUCTIONS[reduction], ignore_index=ignore_index, out=types
    )
    if single and reduction == 0:
        loss = ge.Squeeze(loss, axis=[0], out=interned.tensor([], interned.f32))
    return [
        ge.cast_to(v, interned.element_type(t)) for v, t in zip((loss, total), out, strict=True)
    ]


@converts(
    "nll_loss_backward(Tensor grad_output, Tensor self, Tensor target, Tensor? weight, "
    "int reduction, SymInt ignore_index, Tensor total_weight) -> Tensor"
)
def nll_loss_backward(
    grad_output: Any,
    self: Any,
    target: Any,
    weight: Any,
    reduction: Any,
    ignore_index: Any,
    total_weight: Any,
    out: Any,
) -> Any:
    x, single = _logits(self)
    grad = ge.cast_to(grad_output, interned.f32)
    if single and reduction == 0:
        grad = unsqueeze(grad, [0])
    if weight is None:
        weights = filled(1.0, [ge.size(x, 1)], interned.f32)
    else:
        weights = ge.cast_to(weight, interned.f32)
    dx = ge.NLLLossGrad(
        x,
        grad,
        _classes(target, single),
        weights,
        ge.cast_to(total_weight, interned.f32),
        reduction=_REDUCTIONS[reduction],
        ignore_index=ignore_index,
        out=x.type,
    )
    if single:
        dx = ge.Squeeze(dx, axis=[0], out=like(dx.type, shape(out)))
    return ge.cast_to(dx, interned.element_type(out))
