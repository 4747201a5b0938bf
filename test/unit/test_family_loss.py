"""Converters and kernels of losses, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check
from torch.nn import functional as F

aten = torch.ops.aten
REDUCTIONS = ("none", "mean", "sum")


def numbers(dtype, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def between(dtype, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_regression(reduction, dtype, dynamic):
    number = REDUCTIONS.index(reduction)

    def function(x, y, grad):
        grad = grad if reduction == "none" else grad[0, 0]
        return (
            F.mse_loss(x, y, reduction=reduction),
            F.smooth_l1_loss(x, y, reduction=reduction, beta=0.5),
            F.smooth_l1_loss(x, y, reduction=reduction, beta=0.0),
            F.l1_loss(x, y, reduction=reduction),
            aten.mse_loss_backward(grad, x, y, number),
            aten.smooth_l1_loss_backward(grad, x, y, number, 0.5),
        )

    check(function, *(numbers(dtype, 4, n) for n in (5, 5, 5)), dynamic=dynamic)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_huber(reduction):
    def function(x, y, grad):
        grad = grad if reduction == "none" else grad[0, 0]
        number = REDUCTIONS.index(reduction)
        return (
            F.huber_loss(x, y, reduction=reduction, delta=0.7),
            aten.huber_loss_backward(grad, x, y, number, 0.7),
        )

    given = numbers(torch.float32, 4, 5), numbers(torch.float32, 5, 4).t().contiguous()
    check(function, *given, numbers(torch.float32, 4, 5), exact=False)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(reduction, dtype, dynamic):
    def function(x, p, q, w, grad):
        grad = grad if reduction == "none" else grad[0, 0]
        number = REDUCTIONS.index(reduction)
        return (
            F.binary_cross_entropy(p, q, reduction=reduction),
            F.binary_cross_entropy(p, q, w, reduction=reduction),
            F.binary_cross_entropy_with_logits(x, q, reduction=reduction),
            F.binary_cross_entropy_with_logits(x, q, w, pos_weight=w, reduction=reduction),
            aten.binary_cross_entropy_backward(grad, p, q, None, number),
        )

    given = numbers(dtype, 4, 5), between(dtype, 4, 5), between(dtype, 5, 4).t().contiguous()
    check(function, *given, between(dtype, 5), numbers(dtype, 4, 5), dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_classes(reduction, dtype, dynamic):
    number = REDUCTIONS.index(reduction)

    def function(x, target, weight, grad):
        grad = grad if reduction == "none" else grad[0]
        total = aten.nll_loss_forward(x, target, weight, number, -100)[1]
        return (
            F.nll_loss(x, target, reduction=reduction),
            F.nll_loss(x[0], target[0], reduction=reduction),
            F.cross_entropy(x, target, weight, reduction=reduction),
            aten.nll_loss_backward(grad, x, target, weight, number, -100, total),
            aten.nll_loss_backward(grad, x, target, None, number, -100, total),
        )

    target = torch.tensor([1, 2, -100, 4])
    given = numbers(dtype, 4, 5), target, between(dtype, 5), numbers(dtype, 4)
    check(function, *given, dynamic=dynamic, exact=dtype is torch.float32)


def test_cross_entropy_is_two_nodes():
    target = torch.tensor([1, 2, 0, 4])
    graphs = check(F.cross_entropy, numbers(torch.float32, 4, 5), target)
    assert graphs[0].node_types == ["LogSoftmaxV2", "NLLLoss"]


def test_cross_entropy_of_images_and_probabilities():
    def function(x, target, rows, p):
        return F.cross_entropy(x, target), F.cross_entropy(rows, p, label_smoothing=0.1)

    given = numbers(torch.float32, 2, 5, 3, 4), torch.arange(24).reshape(2, 3, 4) % 5
    check(function, *given, numbers(torch.float32, 4, 5), between(torch.float32, 4, 5), exact=False)


def test_ignored_class():
    target = torch.tensor([1, 2, 0, 2])
    check(lambda x, t: F.nll_loss(x, t, ignore_index=2), numbers(torch.float32, 4, 5), target)


def test_double_mse():
    check(F.mse_loss, numbers(torch.float64, 4, 5), numbers(torch.float64, 5, 4).t().contiguous())
