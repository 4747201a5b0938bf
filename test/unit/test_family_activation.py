"""Converters and kernels of activation functions and their gradients, against eager."""

from __future__ import annotations

import math

import pytest
import torch
from family_check import build, check
from test_family_elementwise import values
from torch.nn import functional as F

ACTIVATIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "elu": lambda x: F.elu(x, 0.3),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.7),
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.4),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softplus": lambda x: F.softplus(x, 0.7, 1.0),
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 0.2),
    "softsign": F.softsign,
    "glu": lambda x: F.glu(x, -1),
}
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-3, 20.5, -20.5]


def every_activation(x):
    return [f(x) for f in ACTIVATIONS.values()]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16))
def test_activations(dtype, dynamic):
    check(every_activation, values(dtype, 3, 6), dynamic=dynamic)


def test_activations_of_doubles():
    check(every_activation, values(torch.float64, 3, 6), exact=False)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_special_values(dtype):
    check(every_activation, torch.tensor(SPECIAL, dtype=dtype), exact=dtype is torch.float32)


@pytest.mark.parametrize("shape", ((0, 4), (1, 2)))
def test_shapes(shape):
    check(every_activation, values(torch.float32, *shape))


@pytest.mark.parametrize("dtype", (torch.int64, torch.int32, torch.uint8))
def test_relu_of_integers(dtype):
    check(lambda x: [F.relu(x), F.relu6(x)], values(dtype, 3, 5))


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float64))
def test_gradients(dtype):
    x = values(dtype, 3, 6).requires_grad_()
    compiled, graphs = build(every_activation)
    wanted, found = every_activation(x), compiled(x)
    assert len(graphs) == 1
    for name, one, other in zip(ACTIVATIONS, found, wanted, strict=True):
        cotangent = torch.full_like(other, 0.7)
        gradients = [
            torch.autograd.grad(y, x, cotangent, retain_graph=True)[0] for y in (one, other)
        ]
        # Eager holds the sixth of hardsigmoid as a float32 also for doubles.
        exact = (
            {"rtol": 0, "atol": 0} if dtype is not torch.float64 else {"rtol": 1e-7, "atol": 1e-12}
        )
        torch.testing.assert_close(one, other, **exact, msg=name)
        torch.testing.assert_close(*gradients, **exact, msg=name)
    assert len(graphs) == 2, "one backward graph for all"


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.float64))
def test_prelu(dtype, dynamic):
    x = values(dtype, 2, 5, 3).requires_grad_()
    weight = torch.linspace(0.1, 0.5, 5, dtype=dtype).requires_grad_()
    compiled, _ = build(F.prelu, dynamic=dynamic)
    wanted, found = F.prelu(x, weight), compiled(x, weight)
    assert torch.equal(found, wanted)
    grads = [torch.autograd.grad(y, (x, weight), torch.ones_like(y)) for y in (wanted, found)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize("dim", (0, -1))
def test_glu_dimensions(dim):
    check(lambda x: F.glu(x, dim), values(torch.float32, 4, 6))


@pytest.mark.parametrize(
    ("name", "wanted"),
    (
        ("gelu", ["GeluV2"]),
        ("gelu tanh", ["GeluV2"]),
        ("silu", ["Swish"]),
        ("relu6", ["Relu6"]),
        ("leaky_relu", ["LeakyRelu"]),
        ("logsigmoid", ["LogSigmoid"]),
        ("hardtanh", ["Const", "Const", "ClipByValueV2"]),
    ),
)
def test_number_of_nodes(name, wanted):
    assert check(ACTIVATIONS[name], values(torch.float16, 4))[0].node_types == wanted
