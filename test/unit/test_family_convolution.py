"""Converters and kernels of convolutions, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check
from family_training import check_training
from torch import nn
from torch.nn import functional as F

FORWARD = (
    (lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=(0, 1)), (2, 4, 8, 9), (6, 4, 3, 3)),
    (lambda x, w: F.conv2d(x, w, groups=2, dilation=(2, 3)), (2, 4, 8, 9), (6, 2, 3, 2)),
    (lambda x, w: F.conv2d(x, w, groups=4, padding="same"), (2, 4, 8, 9), (4, 1, 3, 3)),
    (lambda x, w: F.conv1d(x, w, padding=1, stride=2), (2, 4, 9), (6, 4, 3)),
    (lambda x, w: F.conv2d(x, w), (4, 8, 9), (6, 4, 1, 1)),
    (lambda x, w: F.conv2d(x, w), (0, 4, 8, 9), (6, 4, 3, 3)),
    (lambda x, w: F.conv3d(x, w, padding=1, groups=2), (2, 4, 5, 4, 3), (6, 2, 3, 3, 2)),
)
TRANSPOSED = (
    (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        (2, 4, 5, 6),
        (4, 3, 3, 3),
    ),
    (lambda x, w: F.conv_transpose2d(x, w, stride=(2, 3), groups=2), (2, 4, 5, 6), (4, 3, 3, 2)),
    (lambda x, w: F.conv_transpose2d(x, w, dilation=2), (2, 4, 5, 6), (4, 3, 3, 2)),
    (lambda x, w: F.conv_transpose1d(x, w, stride=2, output_padding=1), (2, 4, 5), (4, 3, 3)),
    (lambda x, w: F.conv_transpose3d(x, w, stride=2), (2, 4, 3, 4, 3), (4, 3, 3, 2, 2)),
)


def numbers(dtype, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def check_all(cases, dtype, dynamic):
    functions = [function for function, _, _ in cases]

    def every(*tensors):
        pairs = zip(functions, tensors[::2], tensors[1::2], strict=True)
        return [function(x, w) for function, x, w in pairs]

    given = [numbers(dtype, *shape) for case in cases for shape in case[1:]]
    check(every, *given, dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_forward(dtype, dynamic):
    same_padding_is_symbolic = dynamic
    cases = [c for i, c in enumerate(FORWARD) if i != 2 or not same_padding_is_symbolic]
    check_all(cases, dtype, dynamic)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16))
def test_bias(dtype):
    x, w, b = numbers(dtype, 2, 4, 8, 9), numbers(dtype, 6, 4, 3, 3), numbers(dtype, 6)
    graphs = check(lambda x, w, b: F.conv2d(x, w, b), x, w, b, exact=False)
    casts = ["Cast"] if dtype is torch.bfloat16 else []
    assert graphs[0].node_types == [*casts, "Conv2D"]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16))
def test_transposed(dtype, dynamic):
    check_all(TRANSPOSED, dtype, dynamic)


def test_transposed_bias():
    x, w, b = (numbers(torch.float32, *s) for s in ((2, 4, 5, 6), (4, 3, 3, 3), (3,)))
    graphs = check(lambda x, w, b: F.conv_transpose2d(x, w, b, 2), x, w, b, exact=False)
    assert graphs[0].node_types == ["Const", "Conv2DBackpropInput", "BiasAdd"]


@pytest.mark.parametrize("dynamic", (False, True))
def test_volume(dynamic):
    x, w, b = (numbers(torch.float16, *s) for s in ((2, 4, 5, 6, 7), (6, 4, 3, 3, 3), (6,)))
    check(lambda x, w, b: F.conv3d(x, w, b, padding=1), x, w, b, dynamic=dynamic, exact=False)


TRAINED = {
    "plane": (lambda: nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 8, 9)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, bias=False), (2, 4, 8, 9)),
    "line": (lambda: nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), (2, 4, 5, 6)),
    "volume": (lambda: nn.Conv3d(2, 4, 3, padding=1), (1, 2, 4, 5, 4)),
    "transposed line": (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), (2, 4, 9)),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training(name):
    make, shape = TRAINED[name]
    check_training(make, numbers(torch.float32, *shape), tolerance=1e-5)


@pytest.mark.parametrize("name", ("plane", "transposed line"))
def test_training_with_symbolic_sizes(name):
    make, shape = TRAINED[name]
    check_training(make, numbers(torch.float32, *shape), dynamic=True, tolerance=1e-5)


@pytest.mark.parametrize("name", ("plane", "volume"))
def test_training_in_bfloat16(name):
    make, shape = TRAINED[name]
    check_training(make, numbers(torch.bfloat16, *shape), tolerance=0.05)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.int64, torch.float64))
def test_types_that_ge_does_not_convolve(dtype, dynamic):
    cases = [c for c in (*FORWARD[:2], *FORWARD[3:], *TRANSPOSED) if 0 not in c[1]]

    def every(*tensors):
        pairs = zip(cases, tensors[::2], tensors[1::2], strict=True)
        return [function(x, w) for (function, _, _), x, w in pairs]

    given = [numbers(torch.float32, *s).mul(99).to(dtype) for case in cases for s in case[1:]]
    check(every, *given, dynamic=dynamic, exact=dtype is torch.int64)


def test_large_integers_wrap_as_in_eager():
    check(F.conv1d, torch.full((1, 1, 3), 2**62), torch.full((1, 1, 2), 3))


def test_kernel_pads_sides_differently():
    from torchair.backend_ge.host.kernels.registry import kernels

    x, w = numbers(torch.float32, 1, 2, 4, 5), numbers(torch.float32, 3, 2, 2, 2)
    attributes = {"strides": [1, 1, 1, 1], "pads": [1, 0, 2, 1], "dilations": [1, 1, 1, 1],
                  "groups": 1, "data_format": "NCHW"}  # fmt: skip
    found = kernels()["Conv2D"]([x, w, None, None], attributes, {})
    torch.testing.assert_close(found, F.conv2d(F.pad(x, [2, 1, 1, 0]), w))


def test_int8_kernel_is_exact():
    from torchair.backend_ge.host.kernels.registry import kernels

    x = torch.randint(-128, 127, (1, 2, 4, 5), dtype=torch.int8)
    w = torch.randint(-128, 127, (3, 2, 2, 2), dtype=torch.int8)
    attributes = {"strides": [1, 1, 1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1, 1, 1],
                  "groups": 1, "data_format": "NCHW"}  # fmt: skip
    found = kernels()["Conv2D"]([x, w, None, None], attributes, {})
    assert torch.equal(found, F.conv2d(x.double(), w.double()).int())
