"""npu writes to caches: against loops over elements, eager and compiled."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair

npu = torch.ops.npu

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32]


def numbers(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return (torch.randn(shape) * 20).to(dtype)


def placed(var: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
    """One element at a time."""
    result = var.clone()
    axis %= var.dim()
    for place in itertools.product(*(range(n) for n in updates.shape)):
        target = list(place)
        if indices.dim() == 2:
            target[0], first = indices[place[0]].tolist()
        else:
            first = int(indices[place[0]])
        target[axis] = first + place[axis]
        result[tuple(target)] = updates[place]
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [-2, -1, 1])
def test_scatter_update(dtype: torch.dtype, axis: int) -> None:
    sizes = [3, 2, 6, 5]
    part = list(sizes)
    part[axis] = 2 if axis != 1 else 1
    var, updates = numbers(dtype, *sizes), numbers(dtype, *part)
    indices = torch.tensor([1, 0, 1] if axis == 1 else [3, 0, 1], dtype=torch.int32)
    out = check_compiled(lambda *t: npu.scatter_update(*t, axis), var, indices, updates)
    assert torch.equal(out, placed(var, indices, updates, axis))


def test_scatter_update_with_rows() -> None:
    var, updates = numbers(torch.float16, 4, 2, 6, 5), numbers(torch.float16, 2, 2, 3, 5)
    indices = torch.tensor([[3, 1], [0, 2]])
    out = check_compiled(lambda *t: npu.scatter_update(*t, -2), var, indices, updates)
    assert torch.equal(out, placed(var, indices, updates, -2))


def run_in_place(function: Any, *args: Tensor, dynamic: bool) -> tuple[list[Tensor], Any]:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
    copies = [a.clone() for a in args]
    return copies, compiled(*copies)


@pytest.mark.parametrize("dynamic", [False, True])
def test_paged_cache_in_place(dynamic: bool) -> None:
    key, value = numbers(torch.float16, 3, 2, 16), numbers(torch.float16, 3, 2, 32)
    caches = numbers(torch.float16, 4, 8, 2, 16), numbers(torch.float16, 4, 8, 2, 32)
    slots = torch.tensor([9, 31, 0], dtype=torch.int32)

    def write(k: Tensor, v: Tensor, kc: Tensor, vc: Tensor, slots: Tensor) -> Tensor:
        npu.npu_scatter_pa_kv_cache(k, v, kc, vc, slots, cache_mode="Norm")
        return kc.float().sum() + vc.float().sum()

    expected = [c.clone() for c in caches]
    for token, slot in enumerate(slots.tolist()):
        expected[0][slot // 8, slot % 8] = key[token]
        expected[1][slot // 8, slot % 8] = value[token]
    found, total = run_in_place(write, key, value, *caches, slots, dynamic=dynamic)
    assert torch.equal(found[2], expected[0]) and torch.equal(found[3], expected[1])
    torch.testing.assert_close(total, expected[0].float().sum() + expected[1].float().sum())
    eager = [c.clone() for c in caches]
    write(key, value, *eager, slots)
    assert torch.equal(eager[0], expected[0]) and torch.equal(eager[1], expected[1])


def test_tiled_paged_cache() -> None:
    key, value = numbers(torch.int8, 3, 2, 64), numbers(torch.int8, 3, 2, 32)
    caches = numbers(torch.int8, 4, 4, 8, 32), numbers(torch.int8, 4, 2, 8, 32)
    slots = torch.tensor([9, 31, 0])
    out = check_compiled(npu.npu_scatter_pa_kv_cache_functional, key, value, *caches, slots)
    for new, old, tokens in zip(out, caches, (key, value), strict=True):
        expected = old.clone()
        for token, slot in enumerate(slots.tolist()):
            for i, number in enumerate(tokens[token].flatten().tolist()):
                expected[slot // 8, i // 32, slot % 8, i % 32] = number
        assert torch.equal(new, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scatter_nd_update(dtype: torch.dtype) -> None:
    var, updates = numbers(dtype, 6, 4, 3), numbers(dtype, 2, 3)
    indices = torch.tensor([[5, 1], [0, 3]])
    out = check_compiled(npu.npu_scatter_nd_update, var, indices, updates)
    expected = var.clone()
    expected[5, 1], expected[0, 3] = updates[0], updates[1]
    assert torch.equal(out, expected)
    assert npu.npu_scatter_nd_update_(var, indices, updates) is var
    assert torch.equal(var, expected)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("with_counts", [False, True])
def test_scatter_list(with_mask: bool, with_counts: bool) -> None:
    tensors = [numbers(torch.float16, 2, 6, 4) + i for i in range(3)]
    updates = numbers(torch.float16, 3, 2, 2, 4)
    indices = torch.tensor([[4, 1], [0, 2], [3, 0]] if with_counts else [4, 0, 3])
    mask = torch.tensor([1, 0, 1], dtype=torch.uint8) if with_mask else None
    out = check_compiled(
        lambda a, b, c, i, u: npu.npu_scatter_list([a, b, c], i, u, mask),
        *tensors,
        indices,
        updates,
    )
    for n, (old, new) in enumerate(zip(tensors, out, strict=True)):
        first, count = indices[n].tolist() if with_counts else (int(indices[n]), 2)
        expected = old.clone()
        if mask is None or mask[n]:
            expected[:, first : first + count] = updates[n, :, :count]
        assert torch.equal(new, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("with_zero_points", [False, True])
def test_quant_scatter(dtype: torch.dtype, with_zero_points: bool) -> None:
    var, updates = numbers(torch.int8, 4, 9, 32), numbers(dtype, 4, 1, 32)
    scales = (torch.rand(1, 1, 32) + 0.2).to(torch.bfloat16)
    zero_points = torch.ones(1, 1, 32).to(torch.bfloat16) if with_zero_points else None
    indices = torch.tensor([8, 0, 3, 4], dtype=torch.int32)
    out = check_compiled(
        lambda *t: npu.npu_quant_scatter(*t, axis=-2, quant_axis=-1, dst_type=1),
        var,
        indices,
        updates,
        scales,
        zero_points,
    )
    shift = 1 if with_zero_points else 0
    exact = (updates.float() / scales.float() + shift).round().clamp(-128, 127).to(torch.int8)
    assert torch.equal(out, placed(var, indices, exact, -2))


def test_gather_backward() -> None:
    source = torch.randn(3, 5, requires_grad=True)
    index = torch.randint(5, (3, 7))
    grad = torch.randn(3, 7)
    (expected,) = torch.autograd.grad(source.gather(1, index), source, grad)
    out = check_compiled(
        lambda g, x, i: npu.npu_gather_backward(g, x.shape, 1, i, False),
        grad,
        source.detach(),
        index,
    )
    torch.testing.assert_close(out, expected)
