"""npu RMS normalisation: against the formula in float64, eager and compiled, static and dynamic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def formula(x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    wide = x.double()
    return wide / torch.sqrt(wide.square().mean(-1, keepdim=True) + epsilon) * gamma.double()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 16), (1, 1)])
def test_rms_norm(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x, gamma = torch.randn(shape, dtype=dtype), torch.randn(shape[-1], dtype=dtype)
    y, rstd = check_compiled(lambda x, g: npu.npu_rms_norm(x, g, 1e-5), x, gamma)
    limit = TOLERANCE[dtype]
    torch.testing.assert_close(y.double(), formula(x, gamma, 1e-5), rtol=limit, atol=limit)
    assert rstd.shape == (*shape[:-1], 1) and rstd.dtype == torch.float32


def test_rms_norm_over_two_dims() -> None:
    x, gamma = torch.randn(3, 4, 5), torch.randn(4, 5)
    y, rstd = check_compiled(npu.npu_rms_norm, x, gamma)
    expected = formula(x.flatten(1), gamma.flatten(), 1e-6).view(3, 4, 5)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    assert rstd.shape == (3, 1, 1)


def test_rms_norm_gradient() -> None:
    x = torch.randn(4, 8, dtype=torch.float32, requires_grad=True)
    gamma = torch.randn(8, requires_grad=True)
    expected = torch.autograd.grad(formula(x, gamma, 1e-6).square().sum(), (x, gamma))
    found = torch.autograd.grad(npu.npu_rms_norm(x, gamma)[0].square().sum(), (x, gamma))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_add_rms_norm(dtype: torch.dtype) -> None:
    arguments: Any = [torch.randn(2, 6, 8, dtype=dtype), torch.randn(2, 6, 8, dtype=dtype)]
    gamma = torch.randn(8, dtype=dtype)
    y, _, total = check_compiled(npu.npu_add_rms_norm, *arguments, gamma)
    assert torch.equal(total, arguments[0] + arguments[1])
    assert torch.equal(y, npu.npu_rms_norm(total, gamma)[0])


def write_add_rms_norm(x1: Tensor, x2: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    rstd = npu.npu_add_rms_norm_v2(x1, x2, gamma)
    return rstd, x1 + 1, x2 + 1


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_variants_of_add_rms_norm(dtype: torch.dtype) -> None:
    x1, x2 = torch.randn(1, 2, 6, dtype=dtype), torch.randn(1, 2, 6, dtype=dtype)
    gamma = torch.randn(6, dtype=dtype)
    rstd, y, total = check_compiled(npu.npu_add_rms_norm_v2_functional, x1, x2, gamma)
    assert torch.equal(total, x1 + x2)
    limit = TOLERANCE[dtype]
    torch.testing.assert_close(y.double(), formula(total, gamma, 1e-6), rtol=limit, atol=limit)
    written = [x1.clone(), x2.clone()]
    assert torch.equal(npu.npu_add_rms_norm_v2(*written, gamma), rstd)
    assert torch.equal(written[0], y) and torch.equal(written[1], total)
    found = check_compiled(write_add_rms_norm, x1, x2, gamma)
    assert torch.equal(found[0], rstd) and torch.equal(found[1], y + 1)
    assert torch.equal(found[2], total + 1)
    gemma, _ = check_compiled(npu.npu_gemma_rms_norm, x1, gamma)
    expected = formula(x1, gamma.double() + 1, 1e-6)
    torch.testing.assert_close(gemma.double(), expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_add_rms_norm_cast(dtype: torch.dtype) -> None:
    x1, x2, gamma = (torch.randn(s, dtype=dtype) for s in ((1, 2, 3), (1, 2, 3), (3,)))
    y1, y2, rstd, total = check_compiled(
        lambda *a: npu.npu_add_rms_norm_cast(*a, 1e-6), x1, x2, gamma
    )
    assert y1.dtype is torch.float32 and rstd.shape == (1, 2, 1)
    torch.testing.assert_close(y1.double(), formula(total, gamma, 1e-6), rtol=1e-5, atol=1e-5)
    assert torch.equal(y2, y1.to(dtype)) and torch.equal(total, x1 + x2)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    x = x.double()
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * gamma.double() + beta.double()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_layer_norms(dtype: torch.dtype) -> None:
    x, gx = torch.randn(4, 3, 8, dtype=dtype), torch.randn(4, 3, 8, dtype=dtype)
    gamma, beta = torch.randn(8, dtype=dtype), torch.randn(8, dtype=dtype)
    limit = 2 * TOLERANCE[dtype]
    y, mean, rstd, total = check_compiled(npu.npu_add_layer_norm, x, gx, gamma, beta)
    expected = layer_norm(x.double() + gx.double(), gamma, beta, 1e-5)
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)
    torch.testing.assert_close(total.double(), x.double() + gx.double(), rtol=limit, atol=limit)
    assert mean.shape == rstd.shape == (4, 3, 1) and mean.dtype is torch.float32
    mean, rstd, y = check_compiled(lambda *a: npu.npu_deep_norm(*a, 0.5), x, gx, beta, gamma)
    expected = layer_norm(0.5 * x.double() + gx.double(), gamma, beta, 1e-6)
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)
    y = check_compiled(lambda x, g, b: npu.npu_layer_norm_eval(x, [8], g, b), x, gamma, beta)
    torch.testing.assert_close(y.double(), layer_norm(x, gamma, beta, 1e-5), rtol=limit, atol=limit)


def same_gradients(found: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    grads = torch.autograd.grad(found.square().sum(), leaves)
    wanted = torch.autograd.grad(expected.square().sum(), leaves)
    for one, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_layer_norm_gradients() -> None:
    shapes = [(4, 3, 8), (4, 3, 8), (8,), (8,)]
    leaves = [torch.randn(s, requires_grad=True) for s in shapes]
    x1, x2, gamma, beta = leaves
    y, _, _, total = npu.npu_add_layer_norm(*leaves)
    expected = layer_norm(x1 + x2, gamma, beta, 1e-5)
    same_gradients(y, expected, leaves)
    y, _, _, total = npu.npu_add_layer_norm(*leaves)
    same_gradients(y + 3 * total, layer_norm(x1 + x2, gamma, beta, 1e-5) + 3 * (x1 + x2), leaves)
    y = npu.npu_deep_norm(x1, x2, beta, gamma, 0.5)[2]
    same_gradients(y, layer_norm(0.5 * x1 + x2, gamma, beta, 1e-6), leaves)


def test_layer_norm_backward_operators_compile() -> None:
    x, gx, dy = (torch.randn(4, 3, 8).bfloat16() for _ in range(3))
    gamma, beta = torch.randn(8).bfloat16(), torch.randn(8).bfloat16()

    def backward(*tensors: Tensor) -> list[Any]:
        x, gx, dy, gamma, beta = tensors
        _, mean, rstd, _ = npu.npu_add_layer_norm(x, gx, gamma, beta)
        first = npu.npu_add_layer_norm_backward(dy, x, gx, rstd, mean, gamma, None)
        second = npu.npu_add_layer_norm_backward(None, x, gx, rstd, mean, gamma, dy)
        mean, rstd, _ = npu.npu_deep_norm(x, gx, beta, gamma)
        return [first, second, npu.npu_deep_norm_backward(dy, x, gx, gamma, mean, rstd)]

    check_compiled(backward, x, gx, dy, gamma, beta)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    parts = x.double().reshape(x.shape[0], groups, -1)
    mean = parts.mean(-1, keepdim=True)
    variance = (parts - mean).square().mean(-1, keepdim=True)
    flat = ((parts - mean) / torch.sqrt(variance + epsilon)).reshape(x.shape)
    sizes = [1, -1, *[1] * (x.dim() - 2)]
    return flat * gamma.double().reshape(sizes) + beta.double().reshape(sizes)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_group_norms(dtype: torch.dtype) -> None:
    x = torch.randn(2, 8, 5, 3, dtype=dtype)
    gamma, beta = torch.randn(8, dtype=dtype), torch.randn(8, dtype=dtype)
    limit = 2 * TOLERANCE[dtype]
    y, mean, rstd = check_compiled(
        lambda *a: npu.npu_group_norm_silu(*a, group=4, eps=0.0001), x, gamma, beta
    )
    plain = group_norm(x, gamma, beta, 4, 1e-4)
    torch.testing.assert_close(y.double(), plain * plain.sigmoid(), rtol=limit, atol=limit)
    assert mean.shape == rstd.shape == (2, 4) and mean.dtype is dtype
    y, _, _ = check_compiled(
        lambda x, g, b: npu.npu_group_norm_swish(x, 4, g, b, swish_scale=1.5), x, gamma, beta
    )
    plain = group_norm(x, gamma, beta, 4, 1e-5)
    expected = plain * torch.sigmoid(1.5 * plain)
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)
    bare, _, _ = check_compiled(lambda x: npu.npu_group_norm_silu(x, None, None, 2), x)
    plain = group_norm(x, torch.ones(8), torch.zeros(8), 2, 1e-5)
    torch.testing.assert_close(bare.double(), plain * plain.sigmoid(), rtol=limit, atol=limit)


def test_group_norm_swish_gradient() -> None:
    leaves = [torch.randn(s, requires_grad=True) for s in ((2, 6, 5), (6,), (6,))]
    x, gamma, beta = leaves
    plain = group_norm(x, gamma, beta, 3, 1e-5)
    y = npu.npu_group_norm_swish(x, 3, gamma, beta, 1e-5, 0.7)[0]
    same_gradients(y, plain * torch.sigmoid(0.7 * plain), leaves)
    statistics = [torch.randn(2, 3), torch.rand(2, 3) + 0.5]
    dx, dgamma, dbeta = check_compiled(
        lambda dy, x, g, b, m, r: npu.npu_group_norm_swish_grad(
            dy, x, 3, g, b, m, r, [True, True, False]
        ),
        torch.randn(2, 6, 5),
        *(leaf.detach() for leaf in leaves),
        *statistics,
    )
    assert dx.shape == x.shape and dgamma.abs().sum() > 0 and dbeta.abs().sum() == 0


def check_running_statistics_stay(x: Tensor, *sums: Tensor) -> None:
    """The schema writes nothing, in eager and compiled."""

    def call(x: Tensor, sums: Tensor, squares: Tensor, counts: Tensor) -> list[Tensor]:
        mean, var = torch.full((3,), 2.0), torch.full((3,), 4.0)
        npu.batch_norm_gather_stats_update(x, sums, squares, mean, var, 0.9, 1e-7, counts)
        return [mean, var]

    mean, var = check_compiled(call, x, *sums)
    assert mean.tolist() == [2.0] * 3 and var.tolist() == [4.0] * 3


def test_batch_norm_steps() -> None:
    x = torch.randn(4, 3, 5, 2)
    total, square = check_compiled(lambda x: npu.batch_norm_reduce(x, 1e-5), x)
    torch.testing.assert_close(total, x.sum((0, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(square, x.square().sum((0, 2, 3)), rtol=1e-5, atol=1e-5)
    shares = x.split(1)
    sums = torch.stack([s.sum((0, 2, 3)) for s in shares])
    squares = torch.stack([s.square().sum((0, 2, 3)) for s in shares])
    counts, running = torch.full((4,), 10.0), torch.zeros(3)
    check_running_statistics_stay(x, sums, squares, counts)
    mean, invstd = check_compiled(
        lambda x, s, q, r, c: npu.batch_norm_gather_stats_update(x, s, q, r, None, 0.9, 1e-7, c),
        x,
        sums,
        squares,
        running,
        counts,
    )
    torch.testing.assert_close(mean, x.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    deviation = x.transpose(0, 1).flatten(1).var(1, correction=0)
    torch.testing.assert_close(invstd, (deviation + 1e-7).rsqrt(), rtol=1e-4, atol=1e-5)
