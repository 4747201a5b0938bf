"""Converters and kernels of normalization and softmax, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check
from family_training import check_training
from torch import nn
from torch.nn import functional as F

aten = torch.ops.aten
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def numbers(dtype, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def layers(x, w, c):
    return (
        F.layer_norm(x, [5], w, w),
        F.layer_norm(x, [4, 5]),
        F.group_norm(x, 3, c, c),
        *aten.native_layer_norm(x, [5], w, None, 1e-3),
        *aten.native_group_norm(x, c, None, x.shape[0], 6, x.shape[2] * 5, 2, 1e-3)[1:],
    )


def softmaxes(x, scalar):
    hidden = torch.where(x[..., :1] > 0, x, float("-inf"))
    return (
        F.softmax(x, 1),
        F.log_softmax(x, -1),
        F.softmax(scalar, 0),
        F.softmin(x, 2),
        aten._safe_softmax(hidden, -1),
        F.softmax(x, -1, dtype=torch.float32),
    )


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_layers(dtype, dynamic):
    given = numbers(dtype, 2, 6, 4, 5), numbers(dtype, 5), numbers(dtype, 6)
    check(layers, *given, dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (*DTYPES, torch.float64))
def test_softmaxes(dtype, dynamic):
    check(softmaxes, numbers(dtype, 2, 6, 4), numbers(dtype), dynamic=dynamic)


def test_softmax_of_nothing():
    check(lambda x: (F.softmax(x, -1), F.log_softmax(x, 0)), torch.ones(0, 3))


def test_rows_hidden_entirely():
    x = torch.tensor([[float("-inf")] * 3, [float("nan"), 1, 2], [1, float("-inf"), 2]])
    graphs = check(lambda x: aten._safe_softmax(x, -1), x)
    assert "SoftmaxV2" in graphs[0].node_types


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("shape", ((3, 6), (3, 6, 7), (3, 6, 4, 5), (3, 6, 2, 3, 2)))
def test_batch_norm(shape, dynamic):
    def function(x, weight, mean, variance):
        return (
            F.batch_norm(x, mean, variance, weight, weight),
            F.batch_norm(x, mean, variance),
            *aten._native_batch_norm_legit_functional(
                x, weight, None, mean, variance, True, 0.3, 1e-3
            ),
            *aten._native_batch_norm_legit_functional(
                x, weight, weight, mean, variance, False, 0.3, 1e-3
            ),
            *aten._native_batch_norm_legit.no_stats(x, weight, weight, True, 0.1, 1e-5),
        )

    x, row = numbers(torch.float32, *shape), numbers(torch.float32, 6)
    check(function, x, row, row, row.abs(), dynamic=dynamic)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
@pytest.mark.parametrize("mixed", (False, True))
def test_batch_norm_of_short_floats(dtype, mixed):
    def function(x, weight, mean, variance):
        return (
            F.batch_norm(x, mean, variance, weight, weight),
            aten._native_batch_norm_legit_functional(
                x, weight, weight, mean, variance, True, 0.3, 1e-3
            )[0],
        )

    row = numbers(torch.float32 if mixed else dtype, 6)
    check(function, numbers(dtype, 3, 6, 4, 5), row, row, row.abs())


def test_batch_norm_is_one_node():
    row = numbers(torch.float32, 6)
    graphs = check(
        lambda x, r: F.batch_norm(x, r, r * r, r, r), numbers(torch.float32, 3, 6, 4, 5), row
    )
    assert graphs[0].node_types[-1] == "BNInfer"


def test_running_statistics_are_written_where_they_are():
    def function(x, mean, variance):
        before = mean + 0
        return F.batch_norm(x, mean, variance, training=True), before, mean * 2

    given = numbers(torch.float32, 3, 6, 4, 5), torch.ones(6), torch.ones(6)
    graphs = check(function, *given)
    assert "TensorMove" not in graphs[0].node_types  # nobody reads the old values afterwards


TRAINED = {
    "layer": (lambda: nn.LayerNorm([4, 5]), (2, 6, 4, 5)),
    "layer, no bias": (lambda: nn.LayerNorm(5, bias=False), (2, 6, 4, 5)),
    "layer, plain": (lambda: nn.LayerNorm(5, elementwise_affine=False), (2, 6, 4, 5)),
    "group": (lambda: nn.GroupNorm(3, 6), (2, 6, 4, 5)),
    "batch": (lambda: nn.BatchNorm2d(6), (2, 6, 4, 5)),
    "batch of rows": (lambda: nn.BatchNorm1d(6, affine=False), (4, 6)),
    "instance": (lambda: nn.InstanceNorm1d(6), (2, 6, 8)),
    "softmax": (lambda: nn.Softmax(1), (2, 6, 4)),
    "log_softmax": (lambda: nn.LogSoftmax(-1), (2, 6, 4)),
}


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("name", TRAINED)
def test_training(name, dtype):
    make, shape = TRAINED[name]
    plain_group = name == "instance" and dtype is torch.bfloat16
    check_training(make, numbers(dtype, *shape), tolerance=0.05 if plain_group else None)


@pytest.mark.parametrize("name", ("layer", "group", "batch", "softmax"))
def test_training_with_symbolic_sizes(name):
    make, shape = TRAINED[name]
    check_training(make, numbers(torch.float32, *shape), dynamic=True)


def test_rms_norm_kernel():
    from torchair.backend_ge.host.kernels.registry import kernels

    x, gamma = numbers(torch.bfloat16, 3, 8), numbers(torch.float32, 8)
    y, rstd = kernels()["RmsNorm"]([x, gamma], {"epsilon": 1e-5}, {})
    assert y.dtype is torch.bfloat16 and rstd.shape == (3, 1)
    given = x.float().requires_grad_(), gamma.clone().requires_grad_()
    wanted = F.rms_norm(given[0], [8], given[1], 1e-5)
    assert torch.equal(y, wanted.to(torch.bfloat16))
    wanted.sum().backward()
    dx, dgamma = kernels()["RmsNormGrad"]([torch.ones(3, 8), given[0], rstd, gamma], {}, {})
    torch.testing.assert_close((dx, dgamma), (given[0].grad, given[1].grad))


def test_softmax_over_several_axes():
    from torchair.backend_ge.host.kernels.registry import kernels

    x = numbers(torch.float32, 2, 3, 4)
    both = kernels()["SoftmaxV2"]([x], {"axes": [0, 2]}, {})
    torch.testing.assert_close(both.sum((0, 2)), torch.ones(3))
    logs = kernels()["LogSoftmaxV2"]([x], {"axes": [0, -1]}, {})
    torch.testing.assert_close(logs.exp(), both)


def test_double_is_decomposed_where_ges_operator_stops_at_float32():
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    function, _ = build(lambda x: F.group_norm(x, 2))
    torch.testing.assert_close(function(x), F.group_norm(x, 2))
