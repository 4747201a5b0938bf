"""Gradients that are one operator without a decomposition in PyTorch, and the multilabel margin
loss, whose decomposition in PyTorch counts what follows the last label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
_NONE, _MEAN = 0, 1
"""``reduction`` of a loss."""


def _weight_norm(
    grad_w: Tensor, saved_v: Tensor, saved_g: Tensor, saved_norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """Of ``v * (g / norm(v))``, whose norm is over all dimensions but ``dim``."""
    kept = dim % saved_v.dim()
    others = [d for d in range(saved_v.dim()) if d != kept]
    v, norms, wide = saved_v.float(), saved_norms.float(), grad_w.float()
    along = (wide * v).sum(others, keepdim=True)
    grad_v = saved_g.float() / norms * (wide - v * (along / norms.square()))
    return grad_v.to(saved_v.dtype), (along / norms).to(saved_g.dtype)


def _distance_gradient(difference: Tensor, grad: Tensor, distance: Tensor, p: float) -> Tensor:
    """Of ``p``-norms over the last dimension; where a norm has no gradient it is zero."""
    if p == 0:
        return torch.zeros_like(difference * grad)
    if p == 1:
        return difference.sign() * grad
    if p == float("inf"):
        return difference.sign() * (difference.abs() == distance).to(grad.dtype) * grad
    is_flat = (distance == 0) | (difference == 0)
    size = torch.where(difference == 0, torch.ones_like(difference), difference.abs())
    length = torch.where(distance == 0, torch.ones_like(distance), distance)
    found = difference.sign() * (size / length).pow(p - 1) * grad
    return torch.where(is_flat, torch.zeros_like(found), found)


def _cdist(grad: Tensor, x1: Tensor, x2: Tensor, p: float, cdist: Tensor) -> Tensor:
    """For ``x1`` [..., m, k], of distances [..., m, n] to rows of ``x2`` [..., n, k]."""
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    return _distance_gradient(difference, grad.unsqueeze(-1), cdist.unsqueeze(-1), p).sum(-2)


def _pdist(grad: Tensor, self: Tensor, p: float, pdist: Tensor) -> Tensor:
    """Of the distances of the pairs i < j of rows of [n, k]."""
    rows, columns = torch.triu_indices(self.shape[0], self.shape[0], 1, device=self.device)
    difference = self[rows] - self[columns]
    found = _distance_gradient(difference, grad.unsqueeze(-1), pdist.unsqueeze(-1), p)
    total = torch.index_add(torch.zeros_like(self), 0, rows, found)
    return torch.index_add(total, 0, columns, -found)


def _to_places(grad_output: Tensor, self: Tensor, indices: Tensor, rank: int) -> Tensor:
    """Adds each gradient at the place in its plane that pooling took the value from."""
    planes = self.shape[:-rank]
    empty = torch.zeros_like(self).reshape(*planes, -1)
    places, values = (t.reshape(*planes, -1) for t in (indices, grad_output))
    return torch.scatter_add(empty, -1, places, values).reshape(self.shape)


def _fractional_max_pool(rank: int) -> Callable[..., Tensor]:
    def run(
        grad_output: Tensor,
        self: Tensor,
        kernel_size: Sequence[int],
        output_size: Sequence[int],
        indices: Tensor,
    ) -> Tensor:
        return _to_places(grad_output, self, indices, rank)

    return run


def _adaptive_max_pool3d(grad_output: Tensor, self: Tensor, indices: Tensor) -> Tensor:
    return _to_places(grad_output, self, indices, 3)


def _of_rows(grad_output: Tensor, rows: int, reduction: int) -> Tensor:
    """The gradient of each row's loss, ``[rows, 1]`` or one number."""
    if reduction == _NONE:
        return grad_output.reshape(-1, 1)
    return grad_output / rows if reduction == _MEAN else grad_output


def _multi_margin(
    grad_output: Tensor,
    self: Tensor,
    target: Tensor,
    p: Any,
    margin: Any,
    weight: Tensor | None = None,
    reduction: int = _MEAN,
) -> Tensor:
    """Of ``sum_j max(0, margin - x[y] + x[j])^p / classes`` over the wrong classes."""
    x, label = _rows(self), target.reshape(-1, 1)
    excess = (margin - x.gather(1, label) + x).clamp(min=0)
    slope = (excess > 0).to(x.dtype) if p == 1 else 2 * excess
    slope = torch.scatter(slope, 1, label, 0.0) / x.shape[1]
    if weight is not None:
        slope = slope * weight[label]
    slope = torch.scatter(slope, 1, label, -slope.sum(1, keepdim=True))
    return (slope * _of_rows(grad_output, x.shape[0], reduction)).reshape(self.shape)


def _rows(scores: Tensor) -> Tensor:
    """One row per sample; a single score, or one row, is one sample."""
    return scores.reshape(-1, scores.shape[-1] if scores.dim() else 1)


def _labels(self: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of scores, places of their labels, and which places count: those before the first -1."""
    x, labels = _rows(self), _rows(target)
    is_label = torch.cumsum((labels < 0).to(torch.int64), 1) == 0
    return x, torch.where(is_label, labels, torch.zeros_like(labels)), is_label


def _excess(x: Tensor, places: Tensor, is_label: Tensor, is_right: Tensor) -> Tensor:
    """``max(0, 1 - x[right] + x[wrong])``: [rows, places, classes]."""
    excess = (1 - x.gather(1, places).unsqueeze(2) + x.unsqueeze(1)).clamp(min=0)
    counts = is_label.unsqueeze(2) & ~is_right.unsqueeze(1)
    return torch.where(counts, excess, torch.zeros_like(excess))


def _multilabel_margin_loss(self: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    """The loss, ``sum max(0, 1 - x[right] + x[wrong]) / classes``, and which classes are right."""
    x, places, is_label = _labels(self, target)
    number = torch.scatter_add(torch.zeros_like(places), 1, places, is_label.to(places.dtype))
    loss = _excess(x, places, is_label, number > 0).sum((1, 2)) / x.shape[1]
    is_target = (number > 0).to(self.dtype).reshape(target.shape)
    if reduction == _NONE:
        return loss.reshape(self.shape[:-1]), is_target
    return (loss.mean() if reduction == _MEAN else loss.sum()), is_target


def _multilabel_margin(
    grad_output: Tensor, self: Tensor, target: Tensor, reduction: int, is_target: Tensor
) -> Tensor:
    """Of the loss above."""
    x, places, is_label = _labels(self, target)
    excess = _excess(x, places, is_label, is_target.reshape(x.shape) != 0)
    share = (excess > 0).to(x.dtype) / x.shape[1]
    slope = torch.scatter_add(share.sum(1), 1, places, -share.sum(2))
    return (slope * _of_rows(grad_output, x.shape[0], reduction)).reshape(self.shape)


def _masked_scatter(grad_output: Tensor, mask: Tensor, sizes: Sequence[int]) -> Tensor:
    """For the source, whose elements went to the places of the mask in order."""
    chosen = mask.expand(grad_output.shape).reshape(-1)
    order = torch.cumsum(chosen.to(torch.int64), 0) - 1
    places = torch.where(chosen, order, torch.zeros_like(order))
    flat = grad_output.reshape(-1)
    values = torch.where(chosen, flat, torch.zeros_like(flat))
    count = 1
    for size in sizes:
        count = count * size
    return torch.scatter_add(grad_output.new_zeros([count]), 0, places, values).reshape(sizes)


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten._weight_norm_interface_backward.default: _weight_norm,
    aten._cdist_backward.default: _cdist,
    aten._pdist_backward.default: _pdist,
    aten.fractional_max_pool2d_backward.default: _fractional_max_pool(2),
    aten.fractional_max_pool3d_backward.default: _fractional_max_pool(3),
    aten.adaptive_max_pool3d_backward.default: _adaptive_max_pool3d,
    aten.multi_margin_loss_backward.default: _multi_margin,
    aten.multilabel_margin_loss_forward.default: _multilabel_margin_loss,
    aten.multilabel_margin_loss_backward.default: _multilabel_margin,
    aten.masked_scatter_backward.default: _masked_scatter,
}
"""Decompositions by OpOverload."""
