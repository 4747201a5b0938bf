"""Products with weights per head, as latent attention and ``einsum`` write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_fusions import TOLERANCE, compile_and_count
from torch import Tensor


def by_bmm(x: Tensor, w: Tensor) -> Tensor:
    return torch.bmm(x.transpose(0, 1), w).transpose(0, 1)


def by_matmul(x: Tensor, w: Tensor) -> Tensor:
    return torch.matmul(x.transpose(0, 1), w).transpose(0, 1).reshape(x.shape[0], -1)


def by_einsum(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("thd,hdr->thr", x, w)


def by_einsum_of_batches(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("bshd,hdr->bshr", x.unflatten(0, (2, -1)), w)


def by_matmul_of_batches(x: Tensor, w: Tensor) -> Tensor:
    return torch.matmul(x.unflatten(0, (2, -1)).transpose(1, 2), w).transpose(1, 2)


def by_heads(x: Tensor, w: Tensor) -> Tensor:
    heads = torch.relu(x.transpose(0, 1)).contiguous()
    return torch.bmm(heads, w).transpose(0, 1)


FORMS = (by_bmm, by_matmul, by_einsum, by_einsum_of_batches, by_matmul_of_batches, by_heads)


def factors(dtype: torch.dtype, inner: int = 128) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 4, inner, dtype=dtype) / 8, torch.randn(4, inner, 128, dtype=dtype)


def check(form: Any, inputs: tuple[Tensor, ...], folder: Path, **how: bool) -> list[str]:
    """GE operators of the compiled function, whose numbers are compared with eager."""
    expected = form(*inputs)
    found, nodes = compile_and_count(form, inputs, folder, **how)
    limit = TOLERANCE[inputs[0].dtype] * 4
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
    return nodes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    nodes = check(form, factors(dtype), tmp_path)
    assert "TransposeBatchMatMul" in nodes
    assert not {"BatchMatMul", "BroadcastTo"} & set(nodes)


@pytest.mark.parametrize("form", [by_bmm, by_einsum, by_matmul])
def test_any_number_of_tokens(form: Any, tmp_path: Path) -> None:
    x, w = factors(torch.float16)
    torch._dynamo.reset()
    nodes = check(lambda x: form(x, w), (x,), tmp_path, dynamic=True)
    assert "TransposeBatchMatMul" in nodes and "Transpose" not in nodes


def test_sizes_that_it_does_not_take(tmp_path: Path) -> None:
    nodes = check(by_einsum, factors(torch.bfloat16, inner=64), tmp_path)
    assert "BatchMatMul" in nodes and "TransposeBatchMatMul" not in nodes


def test_weights_read_transposed(tmp_path: Path) -> None:
    def absorb(x: Tensor, w: Tensor) -> Tensor:
        return torch.einsum("thd,hrd->thr", x, w)

    x, w = factors(torch.bfloat16)
    nodes = check(absorb, (x, w.mT.contiguous()), tmp_path)
    assert "BatchMatMul" in nodes and nodes.count("Transpose") == 2


@pytest.mark.parametrize("rows", [1, 5])
def test_attention_by_einsum(rows: int, tmp_path: Path) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) * 0.25, -1)
        return torch.einsum("bhqk,bhkd->bhqd", weights, v)

    torch.manual_seed(1)
    inputs = tuple(torch.randn(2, 8, n, 16, dtype=torch.bfloat16) for n in (rows, 12, 12))
    nodes = check(attention, inputs, tmp_path)
    assert set(nodes) <= {"Data", "Const", "FusedInferAttentionScore", "NetOutput"}


def test_einsum_in_float32(tmp_path: Path) -> None:
    def outer(x: Tensor, y: Tensor) -> Tensor:
        return torch.einsum("abc,dbc->bad", x, y)

    inputs = (torch.randn(3, 4, 5), torch.randn(6, 4, 5))
    nodes = check(outer, inputs, tmp_path)
    assert nodes.count("Transpose") <= 2 and "Unsqueeze" not in nodes
