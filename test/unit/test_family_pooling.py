"""Converters and kernels of pooling, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check, check_gradients
from family_training import check_training
from torch import nn
from torch.nn import functional as F

aten = torch.ops.aten
DTYPES = (torch.float32, torch.bfloat16)


def numbers(dtype, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def pooled(x):
    return (
        F.max_pool2d(x, 3, 2, 1),
        F.max_pool2d(x, (3, 2), 2, 1, return_indices=True, ceil_mode=True),
        F.max_pool2d(x, 3, 1, 1, 2),
        F.max_pool2d(x[0], 2),
        F.max_pool1d(x[0], 2),
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, (3, 2), 2, 1, True, False),
        F.avg_pool2d(x[0], 2, divisor_override=3),
        F.avg_pool1d(x[0], 2),
        F.adaptive_avg_pool2d(x, (3, 4)),
        F.adaptive_avg_pool2d(x[0], (3, 5)),
        F.adaptive_avg_pool1d(x[0], 3),
        F.adaptive_max_pool2d(x, (3, 4), return_indices=True),
    )


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_planes(dtype, dynamic):
    check(pooled, numbers(dtype, 2, 3, 9, 10), dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
def test_volumes(dynamic):
    def function(x):
        return (
            F.max_pool3d(x, 2, 1, return_indices=True),
            F.max_pool3d(x[0], (2, 3, 2), ceil_mode=True),
            F.avg_pool3d(x, 2, 1, 1),
            F.avg_pool3d(x[0], 2, count_include_pad=False),
        )

    check(function, numbers(torch.float32, 2, 3, 4, 6, 5), dynamic=dynamic)


@pytest.mark.parametrize("size", ((2, 3, 5), (3, 4, 2), (1, 1, 1)))
def test_adaptive_volumes(size):
    x = numbers(torch.float32, 2, 3, 4, 6, 5)
    check(lambda x: F.adaptive_avg_pool3d(x, size), x, exact=size != (3, 4, 2))


def test_adaptive_volumes_of_short_floats_are_rounded_once():
    x = numbers(torch.bfloat16, 2, 3, 4, 6, 5)
    function, _ = build(lambda x: F.adaptive_avg_pool3d(x, (3, 4, 2)))
    wanted = F.adaptive_avg_pool3d(x.float(), (3, 4, 2)).to(torch.bfloat16)
    torch.testing.assert_close(function(x), wanted)


def test_unused_indices_cost_nothing():
    graphs = check(lambda x: F.max_pool2d(x, 2), numbers(torch.float32, 1, 2, 4, 4))
    assert graphs[0].node_types == ["MaxPoolV3"]


def test_unbatched_and_empty():
    def function(x):
        return F.max_pool2d(x, 2), F.avg_pool2d(x, 2)

    check(function, torch.ones(0, 3, 4, 4))


def gradients(x, grad):
    window = [3, 3], [2, 2], [1, 1]
    _, places = aten.max_pool2d_with_indices(x, *window)
    _, adaptive = aten.adaptive_max_pool2d(x, [5, 5])
    return (
        aten.max_pool2d_with_indices_backward(grad, x, *window, [1, 1], False, places),
        aten.avg_pool2d_backward(grad, x, *window, False, False, None),
        aten.avg_pool2d_backward(grad[0], x[0], *window, False, True, 5),
        aten.adaptive_max_pool2d_backward(grad, x, adaptive),
    )


@pytest.mark.parametrize("dynamic", (False, True))
def test_gradients(dynamic):
    given = numbers(torch.float32, 2, 3, 9, 10), numbers(torch.float32, 2, 3, 5, 5)
    check(gradients, *given, dynamic=dynamic)


TRAINED = {
    "max": (lambda: nn.MaxPool2d(3, 2, 1), (2, 3, 9, 10)),
    "max of volumes": (lambda: nn.MaxPool3d(2, 1), (2, 3, 4, 6, 5)),
    "max, no batch": (lambda: nn.MaxPool2d(2), (3, 9, 10)),
    "average of volumes": (lambda: nn.AvgPool3d(2, 1), (2, 3, 4, 6, 5)),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((3, 4)), (2, 3, 9, 10)),
    "adaptive of volumes": (lambda: nn.AdaptiveAvgPool3d((2, 3, 5)), (2, 3, 4, 6, 5)),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training(name):
    make, shape = TRAINED[name]
    check_training(make, numbers(torch.float32, *shape))


WINDOWS = [
    (lambda x: F.max_pool2d(x, 2, return_indices=True), (2, 3, 5, 7)),
    (lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2, ceil_mode=True), (3, 9, 8)),
    (lambda x: F.max_pool3d(x, 2, return_indices=True), (1, 2, 4, 5, 6)),
]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.int32, torch.int64, torch.float64))
@pytest.mark.parametrize(("function", "shape"), WINDOWS)
def test_maxima_of_types_that_ge_does_not_pool(function, shape, dtype, dynamic):
    check(function, numbers(torch.float32, *shape).mul(9).to(dtype), dynamic=dynamic)


AVERAGES = [
    (lambda x: F.avg_pool2d(x, 3, 2, 1), (2, 3, 7, 6)),
    (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), (3, 6, 7)),
    (lambda x: F.avg_pool2d(x, 2, divisor_override=3), (1, 1, 4, 5)),
    (lambda x: F.avg_pool3d(x, 2, 2, 1, ceil_mode=True), (1, 2, 4, 5, 6)),
]


@pytest.mark.parametrize(("function", "shape"), AVERAGES)
def test_averages_of_integers(function, shape):
    check(function, numbers(torch.float32, *shape).mul(99).to(torch.int64))


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_gradient_of_uneven_dynamic_windows(dtype):
    check_gradients(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), numbers(dtype, 2, 3, 7, 9),
                    dynamic=True, exact=False)  # fmt: skip


def test_gradient_of_uneven_volumes():
    x = numbers(torch.float32, 1, 2, 5, 7, 9)
    check_gradients(lambda x: F.adaptive_avg_pool3d(x, (2, 3, 4)), x, exact=False)


@pytest.mark.parametrize("mode", ("VALID", "SAME", "CALCULATED"))
def test_kernel_padding_modes(mode):
    from torchair.backend_ge.host.kernels.registry import kernels

    x = numbers(torch.float32, 1, 2, 5, 6)
    attributes = {"ksize": [1, 1, 2, 3], "strides": [1, 1, 2, 2], "padding_mode": mode,
                  "pads": [1, 0, 0, 2]}  # fmt: skip
    found = kernels()["MaxPoolV3"]([x], attributes, {})
    sides = {"VALID": [0, 0, 0, 0], "SAME": [0, 1, 0, 1], "CALCULATED": [0, 2, 1, 0]}[mode]
    wanted = F.max_pool2d(F.pad(x, sides, value=float("-inf")), (2, 3), 2)
    assert torch.equal(found, wanted)


def test_kernel_of_the_whole_plane():
    from torchair.backend_ge.host.kernels.registry import kernels

    x = numbers(torch.float32, 1, 2, 5, 6)
    attributes = {"ksize": [1, 1, 1, 1], "strides": [1, 1, 1, 1], "global_pooling": True}
    torch.testing.assert_close(
        kernels()["AvgPoolV2"]([x], attributes, {}), x.mean((2, 3), keepdim=True)
    )
